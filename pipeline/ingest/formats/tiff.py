"""What the tags of a TIFF tell that Pillow passes over; of any other format there are none."""

import math
import re
from typing import Any, Final, cast

from PIL import Image

from pipeline.ingest.formats.base import ImageError

_SUBFILE: Final = 254
_REDUCED: Final = 1
_BITS: Final = 258  # of each sample
_COMPRESSION: Final = 259
_UNCOMPRESSED: Final = 1
_JPEG: Final = (6, 7)
_PHOTOMETRIC: Final = 262
_WHITE_IS_ZERO: Final = 0
_DESCRIPTION: Final = 270
_SAMPLES: Final = 277  # of a pixel
_TILE: Final = (322, 323)  # width and height
_LARGE_TILE: Final = 2**20  # pixels; tiles are filled up at the image's edges
_SAMPLE_FORMAT: Final = 339
_UNSIGNED: Final = 1
_SIGNED: Final = 2
_HIGHEST_SIGNED: Final = {"L": 2**7 - 1, "I": 2**31 - 1}
_IMAGEJ: Final = re.compile(r"ImageJ=.*?^images=(\d{1,9})\s*$", re.DOTALL | re.MULTILINE)
_TIFFFILE: Final = re.compile(r'\{"shape": \[(\d{1,9}(?:, \d{1,9}){1,7})\]')


def is_white_zero(image: Image.Image) -> bool:
    """Tell whether 0 is white, which Pillow inverts at 8 bits but not at 16."""
    return bool(_tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO)


def holds_jpeg(image: Image.Image) -> bool:
    """Tell whether the pixels are compressed as JPEG."""
    return _tag(image, _COMPRESSION) in _JPEG


def has_deep_samples(image: Image.Image) -> bool:
    """Tell whether a sample has more than 8 bits, whatever Pillow makes of it."""
    return max(_bits(image)) > 8


def refuse_large_tiles(image: Image.Image) -> None:
    """Raise ImageError where tiles are claimed far larger than the image, which are allocated all the same."""
    width, height = (_tag(image, tag) or 0 for tag in _TILE)
    if width * height > _LARGE_TILE + 4 * image.width * image.height:
        raise ImageError(f"is damaged: its tiles of {width} x {height} pixels are larger than the image")


def refuse_wrapped(image: Image.Image) -> None:
    """Raise ImageError where a level beyond the middle was read with the other sign than it was saved with.

    Pillow takes 8 bits as unsigned and 32 bits as signed, whatever the tag says, which is right up to the middle.
    """
    if image.format != "TIFF" or image.mode not in _HIGHEST_SIGNED:
        return
    is_signed = _SIGNED in (_tag(image, _SAMPLE_FORMAT) or (_UNSIGNED,))
    lowest, highest = cast(tuple[float, float], image.getextrema())
    if image.mode == "L" and is_signed and highest > _HIGHEST_SIGNED["L"]:
        raise ImageError("has signed 8-bit levels below 0: save it as unsigned 8-bit grey")
    if image.mode == "I" and not is_signed and lowest < 0:
        raise ImageError(f"has levels above {_HIGHEST_SIGNED['I']}: save it as 16-bit grey")


def is_smaller_copy(image: Image.Image, pixels: int) -> bool:
    """Tell whether the page that was sought is a preview of one of so many pixels."""
    return bool((_tag(image, _SUBFILE) or 0) & _REDUCED) and image.width * image.height < pixels


def count_planes(image: Image.Image, length: int) -> int:
    """Count the pictures that lie behind each other in the first page.

    ImageJ and tifffile write large stacks so, and name their number in the description; a description may have outlived
    the other planes, though.

    Args:
        image: As it was opened.
        length: Of the file, bytes.
    """
    if _tag(image, _COMPRESSION) != _UNCOMPRESSED:
        return 1
    pixels, description = image.width * image.height, str(_tag(image, _DESCRIPTION) or "")
    if match := _IMAGEJ.match(description):
        planes = int(match[1])
    elif match := _TIFFFILE.match(description):
        planes = math.prod(map(int, match[1].split(", "))) // (pixels * (_tag(image, _SAMPLES) or 1))
    else:
        return 1
    return planes if planes > 1 and planes * pixels * sum(_bits(image)) // 8 <= length else 1


def _bits(image: Image.Image) -> tuple[int, ...]:
    return tuple(_tag(image, _BITS) or (1,))


def _tag(image: Image.Image, tag: int) -> Any:
    return image.tag_v2.get(tag) if image.format == "TIFF" else None  # type: ignore[attr-defined]
