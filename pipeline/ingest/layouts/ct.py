"""CT volumes (`volumes/NAME.nii.gz`, or `volumes/NAME/*.dcm`, a series of slices) and lung masks (`masks/NAME.nii.gz`).

`metadata.csv` may describe the volumes, as it does images.
"""

from functools import partial
from typing import TYPE_CHECKING, Final

from pipeline.ingest.layouts.base import Input, Layout, has_folders
from pipeline.ingest.metadata import VOLUME_FILES, Description, describe_by_row, find_metadata
from pipeline.ingest.pairing import Pair
from pipeline.ingest.storage.files import name_of
from pipeline.ingest.volumes import VolumeSample

if TYPE_CHECKING:
    import apache_beam as beam

_VOLUMES, _MASKS = "volumes", "masks"
_SERIES: Final = (".dcm",)
_SLICES: Final = 250


def _find(given: Input) -> "beam.PTransform":
    from pipeline.ingest.beam.file_listing import PairByName, Role

    return PairByName(
        given.root,
        Role(_VOLUMES, (_VOLUMES,), VOLUME_FILES, series=_SERIES),
        [Role(_MASKS, (_MASKS,), VOLUME_FILES)],
        partial(describe_by_row, given.source or name_of(given.root)),
        metadata=find_metadata(given.root),
        make=_make,
    )


def _make(root: str, pair: Pair, stem: str, description: Description) -> VolumeSample:
    return VolumeSample(root, pair.image, pair.files, pair.masks[0], stem, description)


CT: Final = Layout(f"{_VOLUMES}/ and {_MASKS}/", has_folders(_VOLUMES, _MASKS), _find, records=_SLICES)
"""The layout of CT volumes."""
