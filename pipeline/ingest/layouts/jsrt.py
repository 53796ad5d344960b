"""The JSRT database of chest radiographs, with the lung masks of SCR, as both are handed out.

Images are raw: 2048 x 2048 big-endian 16-bit values, 0 to 4095, of which 0 is white; 0.175 mm between pixels (Shiraishi
et al., AJR 174:71-74, 2000). Masks are GIF or PNG files of 1024 x 1024, one for each lung, in `masks/left lung/` and
`masks/right lung/`, of SCR as a whole or of its two folds (van Ginneken et al., Medical Image Analysis 10:19-40, 2006).
"""

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.ingest.formats.base import Decoded, ImageError
from pipeline.ingest.formats.grey_levels import to_8_bits
from pipeline.ingest.layouts.base import Input, Layout
from pipeline.ingest.metadata import DescribeByRow, Description, find_metadata
from pipeline.ingest.samples import ImageSample
from pipeline.ingest.storage.files import exists, join
from schema import features
from schema.record import Pixels

if TYPE_CHECKING:
    import apache_beam as beam

_SIDE: Final = 2048
_DARKEST: Final = 4095
_PIXEL_SPACING: Final = 0.175
_EXTENSION: Final = (".img",)
_IMAGE_FOLDERS: Final = ("All247images", "Nodule154images", "NonNodule93images", "images")
_MASK_ROOTS: Final = ("", "fold1", "fold2")
_LUNGS: Final = ("masks/left lung", "masks/right lung")
_FINDINGS: Final = {"JPCLN": "nodule", "JPCNN": "normal"}


class JsrtSample(ImageSample):
    """A raw image of JSRT with its masks, whose pixels cover two by two of the image's or one each."""

    def decode(self, data: bytes) -> Decoded:
        """Decode a raw image, black as 0, stretched as all deep images are.

        Raises:
            ImageError: The file has another size, holds larger values, or is constant.
        """
        if len(data) != 2 * _SIDE**2:
            raise ImageError(f"has {len(data)} bytes, not the {2 * _SIDE**2} of {_SIDE} x {_SIDE} 16-bit pixels")
        values = np.frombuffer(data, ">u2").reshape(_SIDE, _SIDE).astype(np.uint16)
        if values.max() > _DARKEST:
            raise ImageError(f"holds the value {values.max()}, above the {_DARKEST} of 12 bits: is it big-endian?")
        return Decoded(255 - to_8_bits(values))

    def mask_fits(self, mask: Pixels, image: Pixels) -> bool:
        """Tell whether a mask has the image's size or half of it."""
        return mask.shape in (image.shape, tuple(side // 2 for side in image.shape))


def _fits(root: str) -> bool:
    return bool(_image_folders(root)) and all(_folders_of(root, lung) for lung in _LUNGS)


def _find(input_: Input) -> "beam.PTransform":
    from pipeline.ingest.beam.file_listing import FileRole, PairByName

    images = FileRole("images", _image_folders(input_.root), _EXTENSION)
    masks = [FileRole.of_masks(lung, _folders_of(input_.root, lung)) for lung in _LUNGS]
    metadata = find_metadata(input_.root)
    describe = DescribeByRow(partial(_describe, input_.source or "jsrt"), metadata, input_.refuses_unnamed)
    return PairByName(input_.root, images, masks, describe, metadata=metadata, make_sample=JsrtSample.from_pair)


def _image_folders(root: str) -> tuple[str, ...]:
    """Return the folders of images that are there: copies of the database have one or two."""
    found = [name for name in _IMAGE_FOLDERS if exists(join(root, name))]
    return tuple(found[:1] if found[:1] == ["All247images"] else found)


def _folders_of(root: str, lung: str) -> tuple[str, ...]:
    folders = [f"{fold}/{lung}" if fold else lung for fold in _MASK_ROOTS]
    return tuple(folder for folder in folders if exists(join(root, folder)))


def _describe(source: str, stem: str) -> Description:
    """Describe an image by its name: one image a patient, and at its beginning whether a nodule is in it."""
    finding = _FINDINGS.get(stem[:5].upper(), features.UNKNOWN)
    return Description(patient_id=stem, source=source, finding=finding, pixel_spacing=_PIXEL_SPACING)


JSRT: Final = Layout(
    f"{_IMAGE_FOLDERS[0]}/ (or {', '.join(f'{name}/' for name in _IMAGE_FOLDERS[1:])}) with .IMG files, and "
    f"{_LUNGS[0]}/ and {_LUNGS[1]}/, below it or below fold1/ and fold2/",
    _fits,
    _find,
)
"""The layout of the JSRT database."""
