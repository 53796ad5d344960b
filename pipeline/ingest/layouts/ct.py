"""CT volumes (`volumes/NAME.nii.gz`, or `volumes/NAME/*.dcm`, a series of slices) and lung masks (`masks/NAME.nii.gz`).

`metadata.csv` may describe the volumes, as it does images.
"""

from functools import partial
from typing import TYPE_CHECKING, Final

from pipeline.ingest.formats.extensions import DICOM_EXTENSIONS, VOLUME_EXTENSIONS
from pipeline.ingest.layouts.base import Input, Layout, has_subfolders
from pipeline.ingest.metadata import Description, describe_by_row, find_metadata
from pipeline.ingest.pairing import Pair
from pipeline.ingest.storage.files import base_name
from pipeline.ingest.volumes import VolumeSample

if TYPE_CHECKING:
    import apache_beam as beam

_VOLUMES, _MASKS = "volumes", "masks"
_SLICES: Final = 250


def _find(input_: Input) -> "beam.PTransform":
    from pipeline.ingest.beam.file_listing import FileRole, PairByName

    return PairByName(
        input_.root,
        FileRole(_VOLUMES, (_VOLUMES,), VOLUME_EXTENSIONS, series=DICOM_EXTENSIONS),
        [FileRole(_MASKS, (_MASKS,), VOLUME_EXTENSIONS)],
        partial(describe_by_row, input_.source or base_name(input_.root)),
        metadata=find_metadata(input_.root),
        make_sample=_make_sample,
    )


def _make_sample(root: str, pair: Pair, stem: str, description: Description) -> VolumeSample:
    return VolumeSample(root, pair.image, pair.files, pair.masks[0], stem, description)


CT: Final = Layout(f"{_VOLUMES}/ and {_MASKS}/", has_subfolders(_VOLUMES, _MASKS), _find, records_per_sample=_SLICES)
"""The layout of CT volumes."""
