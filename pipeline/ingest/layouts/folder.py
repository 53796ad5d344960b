"""A folder with `images/` and `masks/`, paired by the stems of their names; `metadata.csv` may describe the images."""

from functools import partial
from typing import TYPE_CHECKING, Final

from pipeline.ingest.layouts.base import Input, Layout, has_subfolders
from pipeline.ingest.metadata import describe_by_row, find_metadata
from pipeline.ingest.storage.files import base_name

if TYPE_CHECKING:
    import apache_beam as beam

_IMAGES, _MASKS = "images", "masks"


def _find(input_: Input) -> "beam.PTransform":
    from pipeline.ingest.beam.file_listing import FileRole, PairByName

    return PairByName(
        input_.root,
        FileRole.in_folder(_IMAGES),
        [FileRole.in_folder(_MASKS)],
        partial(describe_by_row, input_.source or base_name(input_.root)),
        metadata=find_metadata(input_.root),
    )


FOLDER: Final = Layout(f"{_IMAGES}/ and {_MASKS}/", has_subfolders(_IMAGES, _MASKS), _find)
"""The layout of a plain folder."""
