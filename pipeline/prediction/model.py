"""The model that predicts: which it is, what it was trained on, and how far new images have moved from that.

>>> model = open_model(Path("run/serving"))
>>> model.identity.version, model.identity.trained_on.modality
(3, 'radiographs')
>>> [segmented] = model.load().segment([image])
>>> [feature.feature for feature in find_drift(model, measurements).drifted]
['mean_intensity']
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import UserError
from pipeline.ingest.formats.base import ImageError
from pipeline.prediction.formats import VOLUMES
from schema import features
from schema.reports.base import ReportFileError
from schema.reports.prediction import Kind, Measurement, Modality, PredictingModel, TrainingData
from schema.reports.statistics import Drift

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatistics

    from modules.serving.segmenter import Segmenter

_SHORT: Final = 12
"""Digits of a digest that tell one model from all others there may be in a hospital."""
_COMPARED: Final = (
    features.WIDTH, features.HEIGHT, features.MEAN_INTENSITY, features.STD_INTENSITY, features.LUNG_FRACTION
)  # fmt: skip
"""Features of records that are fields of `Measurement` as well."""


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


def find_drift(model: Model, measurements: Sequence[Measurement]) -> Drift:
    """Compare the radiographs among the inputs with those that a model was trained on.

    The lung fraction is that of the masks that the model makes: what it learned, unless something is wrong with the
    images, or with the model.

    Raises:
        UserError: The statistics beside the model are damaged.
    """
    from components.example_validator.values import ALL, compare_values

    rows = [row for row in measurements if row.mean_intensity is not None]
    statistics, trained_on = _read_statistics(model.folder), model.identity.trained_on
    if statistics is None or trained_on is None:
        return Drift(reason="there are no statistics beside it", new_examples=len(rows))
    if trained_on.modality != "radiographs":
        return Drift(reason="it was trained on CT, and radiographs alone are compared", new_examples=len(rows))
    if not rows:
        return Drift(reason="no radiograph was measured", new_examples=0)
    compared = compare_values(statistics, {name: [getattr(row, name) for row in rows] for name in _COMPARED})
    reason = ""
    if not compared:
        reason = "the statistics beside it know nothing that is compared"
    elif any(feature.noise == ALL for feature in compared) and not any(feature.drifted for feature in compared):
        reason = f"{len(rows)} {'is' if len(rows) == 1 else 'are'} too few"
    return Drift(reason=reason, baseline_examples=statistics.num_examples, new_examples=len(rows), features=compared)


def _digest(folder: Path) -> str:
    from modules.serving.content import digest

    return digest(folder)


def _read_statistics(folder: Path) -> "DatasetFeatureStatistics | None":
    """Read the statistics beside a pushed model, of the originals of its training split."""
    from tensorflow_metadata.proto.v0 import statistics_pb2

    from modules.serving.saved_model import STATISTICS_FILE

    path = folder / STATISTICS_FILE
    if not path.exists():
        return None
    try:
        [data] = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes()).datasets
    except Exception as error:  # protobuf's DecodeError differs between its implementations
        raise UserError(f"'{path}' is damaged: push the model again") from error
    return data


def _read_training_data(folder: Path) -> TrainingData | None:
    data = _read_statistics(folder)
    if data is None:
        return None
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
