"""CT volumes and their lung masks.

A volume is `volumes/NAME.nii.gz`, or a series of DICOM files in `volumes/NAME/`, whatever their names: what they hold
tells which are slices. Its mask is `masks/NAME.nii.gz`. `metadata.csv` may describe the volumes, as it does images.
"""

from functools import partial
from typing import TYPE_CHECKING, Final

from pipeline.ingest.formats.extensions import DICOM_EXTENSIONS, VOLUME_EXTENSIONS, begins_as_dicom
from pipeline.ingest.layouts.base import Input, Layout, has_subfolders
from pipeline.ingest.metadata import DescribeByRow, Description, describe_by_source, find_metadata
from pipeline.ingest.pairing import Pair
from pipeline.ingest.storage.files import base_name, join, read_head
from pipeline.ingest.volumes import VolumeSample

if TYPE_CHECKING:
    import apache_beam as beam

_VOLUMES, _MASKS = "volumes", "masks"
_SLICES: Final = 250
_DIRECTORY: Final = "DICOMDIR"  # the table of contents of a disc, which is DICOM as well


def _find(input_: Input) -> "beam.PTransform":
    from pipeline.ingest.beam.file_listing import FileRole, PairByName

    metadata = find_metadata(input_.root)
    by_name = partial(describe_by_source, input_.source or base_name(input_.root))
    return PairByName(
        input_.root,
        FileRole(_VOLUMES, (_VOLUMES,), VOLUME_EXTENSIONS, series=("",)),
        [FileRole(_MASKS, (_MASKS,), VOLUME_EXTENSIONS)],
        DescribeByRow(by_name, metadata, input_.refuses_unnamed),
        metadata=metadata,
        make_sample=_make_sample,
    )


def _make_sample(root: str, pair: Pair, stem: str, description: Description) -> VolumeSample:
    is_series = pair.files != (pair.image,)
    slices = tuple(file for file in pair.files if _is_slice(root, file)) if is_series else pair.files
    return VolumeSample(root, pair.image, slices, pair.masks[0], stem, description)


def _is_slice(root: str, name: str) -> bool:
    """Tell whether a file of a series' folder is DICOM: by its name, or else by how it begins."""
    file = base_name(name)
    if file.upper() == _DIRECTORY:
        return False
    return file.lower().endswith(DICOM_EXTENSIONS) or begins_as_dicom(lambda: read_head(join(root, name)))


CT: Final = Layout(f"{_VOLUMES}/ and {_MASKS}/", has_subfolders(_VOLUMES, _MASKS), _find, records_per_sample=_SLICES)
"""The layout of CT volumes."""
