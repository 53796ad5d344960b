"""A folder with `images/` and `masks/`, paired by the stems of their names; `metadata.csv` may describe the images.

The folder of the masks may be called `mask/` or `lung masks/` as well. Where the input has folders of classes instead,
each with its images and masks, as COVID-QU-Ex has, the class is the finding of its images.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from pipeline.ingest.layouts.base import Input, Layout
from pipeline.ingest.metadata import DescribeByRow, Description, describe_by_source, find_metadata
from pipeline.ingest.pairing import Pair
from pipeline.ingest.samples import ImageSample
from pipeline.ingest.storage.files import base_name, exists, join, list_folders
from schema import features

if TYPE_CHECKING:
    import apache_beam as beam

_IMAGES: Final = "images"
MASK_FOLDERS: Final = ("masks", "mask", "lung masks")
"""Names of the folder of the masks, beside that of the images."""


def _find(input_: Input) -> "beam.PTransform":
    from pipeline.ingest.beam.file_listing import FileRole, PairByName

    images, mask_name, masks = _find_folders(input_.root)
    metadata = find_metadata(input_.root)
    by_name = partial(describe_by_source, input_.source or base_name(input_.root))
    return PairByName(
        input_.root,
        FileRole(_IMAGES, images),
        [FileRole.of_masks(mask_name, masks)],
        DescribeByRow(by_name, metadata, input_.refuses_unnamed),
        metadata=metadata,
        make_sample=_make_sample,
    )


def _find_folders(root: str) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Find the folders of the images, how those of the masks are called, and these; no folders where nothing fits."""
    for classes in ([""], sorted(f"{name}/" for name in list_folders(root))):
        images = _existing(root, classes, _IMAGES)
        for mask_name in MASK_FOLDERS if images else ():
            if masks := _existing(root, classes, mask_name):
                return images, mask_name, masks
    return (), MASK_FOLDERS[0], ()


def _existing(root: str, classes: Sequence[str], name: str) -> tuple[str, ...]:
    return tuple(f"{class_}{name}" for class_ in classes if exists(join(root, f"{class_}{name}")))


def _make_sample(root: str, pair: Pair, stem: str, description: Description) -> ImageSample:
    """Make the sample of a pair, whose finding is its class where nothing else tells."""
    class_, _, _ = pair.image.rpartition(f"{_IMAGES}/")
    if class_ and description.finding == features.UNKNOWN:
        description = replace(description, finding=class_.rstrip("/"))
    return ImageSample.from_pair(root, pair, stem, description)


FOLDER: Final = Layout(
    f"{_IMAGES}/ and {MASK_FOLDERS[0]}/ (or {MASK_FOLDERS[1]}/, or {MASK_FOLDERS[2]}/), "
    "or folders of classes with these",
    lambda root: bool(_find_folders(root)[0]),
    _find,
)
"""The layout of a plain folder."""
