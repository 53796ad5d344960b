"""The two data sets of the National Library of Medicine: Montgomery County and Shenzhen.

Both have one image a patient, and the finding at the end of its name (Jaeger et al., Quantitative Imaging in Medicine
and Surgery 4:475-477, 2014). Montgomery has a mask for each lung; Shenzhen has one for both (Stirenko et al., 2018).
They are handed out together as well; the beginning of a name tells which of them an image is from. `metadata.csv` may
tell more, or otherwise.
"""

from functools import partial
from typing import TYPE_CHECKING, Final

from pipeline.ingest.layouts.base import Input, Layout, has_subfolders
from pipeline.ingest.metadata import DescribeByRow, Description, find_metadata
from pipeline.ingest.storage.files import exists, join
from schema import features

if TYPE_CHECKING:
    import apache_beam as beam

    from pipeline.ingest.beam.file_listing import FileRole

_IMAGES: Final = "CXR_png"
_LUNGS: Final = ("ManualMask/leftMask", "ManualMask/rightMask")
_MASK_SUFFIX: Final = "_mask"
_SOURCES: Final = {"MCUCXR": "montgomery", "CHNCXR": "shenzhen"}
_FINDINGS: Final = {"_0": "normal", "_1": "tuberculosis"}


def _find_montgomery(input_: Input) -> "beam.PTransform":
    from pipeline.ingest.beam.file_listing import FileRole

    images, masks = FileRole.in_folder(_IMAGES), [FileRole.of_masks(lung) for lung in _LUNGS]
    return _pair(input_, "montgomery", images, masks)


def _find_shenzhen(input_: Input) -> "beam.PTransform":
    from pipeline.ingest.beam.file_listing import FileRole

    (image_folder, *_), (mask_folder, *_) = _shenzhen_folders(input_.root)
    images, masks = FileRole.in_folder(image_folder), [FileRole.of_masks(mask_folder, suffix=_MASK_SUFFIX)]
    return _pair(input_, "shenzhen", images, masks)


def _pair(input_: Input, layout: str, images: "FileRole", masks: "list[FileRole]") -> "beam.PTransform":
    from pipeline.ingest.beam.file_listing import PairByName

    metadata = find_metadata(input_.root)
    describe = DescribeByRow(partial(_describe, input_.source, layout), metadata, input_.refuses_unnamed)
    return PairByName(input_.root, images, masks, describe, metadata=metadata)


def _shenzhen_folders(root: str) -> tuple[list[str], list[str]]:
    """Return the folders of images and of masks that are there: copies of the data set name them in two ways."""
    images = [name for name in (_IMAGES, "images") if exists(join(root, name))]
    masks = [name for name in ("mask", "masks") if exists(join(root, name))]
    return images, masks


def _describe(source: str | None, layout: str, stem: str) -> Description:
    """Describe an image by its name; its source is that of the caller, else that of its name, else the layout's."""
    source = source or _SOURCES.get(stem.partition("_")[0].upper(), layout)
    return Description(patient_id=stem, source=source, finding=_FINDINGS.get(stem[-2:], features.UNKNOWN))


MONTGOMERY: Final = Layout(
    f"{_IMAGES}/, {_LUNGS[0]}/ and {_LUNGS[1]}/", has_subfolders(_IMAGES, *_LUNGS), _find_montgomery
)
"""The layout of the Montgomery County data set."""

SHENZHEN: Final = Layout(
    f"{_IMAGES}/ and mask/, or images/ and masks/", lambda root: all(_shenzhen_folders(root)), _find_shenzhen
)
"""The layout of the Shenzhen data set."""
