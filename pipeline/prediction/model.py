"""The model that predicts: which it is, and what it was trained on.

>>> model = open_model(Path("run/serving"))
>>> model.identity.version, model.identity.trained_on.modality
(3, 'radiographs')
>>> [segmented] = model.load().segment([image])
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import UserError
from pipeline.ingest.formats.base import ImageError
from pipeline.prediction.formats import VOLUMES
from schema import features
from schema.reports.base import ReportFileError
from schema.reports.prediction import Kind, Modality, PredictingModel, TrainingData

if TYPE_CHECKING:
    from modules.serving.segmenter import Segmenter

_SHORT: Final = 12
"""Digits of a digest that tell one model from all others there may be in a hospital."""


@dataclass(frozen=True)
class Model:
    """A model on disk.

    Attributes:
        folder: Of its SavedModel.
        identity: What it is.
    """

    folder: Path
    identity: PredictingModel

    @property
    def label(self) -> str:
        """What tables and segmentations name it by: its version, or the beginning of its digest."""
        return self.identity.digest[:_SHORT] if self.identity.version is None else str(self.identity.version)

    def check_kind(self, kind: Kind) -> None:
        """Refuse what the model was not trained on; one that does not tell is used for radiographs.

        Raises:
            ImageError: An input is of such a kind.
        """
        trained_on = self.identity.trained_on
        if kind not in VOLUMES:
            if trained_on and trained_on.modality == "CT":
                raise ImageError("is no CT volume, and the model was trained on CT alone")
        elif trained_on is None:
            raise ImageError("is a CT volume, and nothing tells that the model was trained on CT")
        elif trained_on.modality == "radiographs":
            raise ImageError("is a CT volume, and the model was trained on radiographs alone")

    def load(self) -> "Segmenter":
        """Load it.

        Raises:
            UserError: It cannot be loaded, or takes no images.
        """
        from modules.serving.segmenter import ModelError, Segmenter

        try:
            return Segmenter(self.folder)
        except ModelError as error:
            raise UserError(str(error)) from error


def open_model(folder: Path) -> Model:
    """Find out which model a folder holds, without loading it.

    Args:
        folder: An exported model, also a version of a serving folder or one that was withdrawn from it; or the serving
            folder, of which the current version is taken.

    Raises:
        UserError: There is no model, or it is damaged, or no longer the one that was put into the serving folder.
    """
    # Takes seconds: errors in the arguments come first.
    from modules.serving.serving_dir import digest_of, is_model, pointed_version, version_named

    try:
        if is_model(folder):
            place = folder.resolve()  # what it is called where it lies, not in a link to it
            version = version_named(place.name)
        else:
            current = pointed_version(folder)
            if current is None:
                raise UserError(f"'{folder}' is no model: it holds neither a SavedModel nor numbered folders with one")
            version, folder = current, folder / str(current)
            place = folder
        digest = _digest(folder) if version is None else digest_of(place)
    except (ReportFileError, ValueError) as error:
        raise UserError(str(error)) from error
    return Model(folder, PredictingModel(version=version, digest=digest, trained_on=_read_training_data(folder)))


def _digest(folder: Path) -> str:
    from modules.serving.saved_model import digest

    return digest(folder)


def _read_training_data(folder: Path) -> TrainingData | None:
    """Read what the statistics beside a pushed model tell of the originals of its training split."""
    from tensorflow_metadata.proto.v0 import statistics_pb2

    from modules.serving.saved_model import STATISTICS_FILE

    path = folder / STATISTICS_FILE
    if not path.exists():
        return None
    try:
        [data] = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes()).datasets
    except Exception as error:  # protobuf's DecodeError differs between its implementations
        raise UserError(f"'{path}' is damaged: push the model again") from error
    views = _count_values(data, features.VIEW)
    slices = views.get(features.AXIAL, 0)
    modality: Modality = (
        "radiographs" if not slices else "CT" if slices == sum(views.values()) else "radiographs and CT"
    )
    return TrainingData(
        modality=modality, images=data.num_examples, sources=_count_values(data, features.SOURCE), views=views
    )


def _count_values(data: Any, name: str) -> dict[str, int]:
    """Count the examples of each value of a text feature."""
    return {
        bucket.label: round(bucket.sample_count)
        for feature in data.features
        if name in (feature.name, *feature.path.step)
        for bucket in feature.string_stats.rank_histogram.buckets
    }
