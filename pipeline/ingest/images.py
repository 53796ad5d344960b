"""Reads image files as 8-bit grey.

>>> pixels = read_image(Path("a.png"))
>>> network_input = resize_image(pixels, 512)
"""

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

Pixels = NDArray[np.uint8]

EXTENSIONS: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""What counts as an image file, in lower case."""

# No other decoder of Pillow is reachable, whatever a file's extension claims.
_FORMATS: Final = ("PNG", "JPEG", "TIFF")
_MULTI_PICTURE: Final = "MPO"  # what Pillow calls a JPEG with previews behind it
_DEEP_GREY: Final = ("I", "I;16", "I;16B", "I;16L")
_EIGHT_BIT: Final = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_TIFF_PHOTOMETRIC: Final = 262
_TIFF_WHITE_IS_ZERO: Final = 0


class ImageError(ValueError):
    """A file that cannot be taken; the message is one line that follows the file's name: "is empty"."""


def read_image(path: Path) -> Pixels:
    """Reads a PNG, JPEG or TIFF as grey values.

    Colour becomes luminance (ITU-R 601), transparency is dropped, an EXIF orientation is ignored, and of several
    pages the first is read. Grey values of more than 8 bits are stretched linearly from the image's own minimum
    and maximum to 0 and 255: detectors deliver 10 to 14 bits in 16-bit files, which would come out near black if
    only the upper 8 bits were kept.

    Returns:
        uint8 [height, width], 0-255, of more than one value.

    Raises:
        ImageError: the file is missing, truncated, damaged, constant, too large or of an unsupported pixel format.
    """
    grey, _ = read_grey(path)
    low, high = grey.min(), grey.max()
    if low == high:
        raise ImageError(f"is constant: every pixel is {low}")
    if grey.dtype == np.uint8:
        return grey
    return np.rint((grey.astype(np.float64) - low) * (255 / (float(high) - float(low)))).astype(np.uint8)


def resize_image(pixels: Pixels, size: int) -> Pixels:
    """Resizes grey values to `size` x `size`, uint8 [size, size].

    The aspect ratio is not kept, so that a mask is taken back to the original by its width and height alone.
    Shrinking averages over areas, which does not alias; anything else interpolates linearly.
    """
    shrinks = min(pixels.shape) >= size
    resized = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def read_grey(path: Path) -> tuple[NDArray[Any], bool]:
    """Reads a file's grey values as stored, and tells whether they went through JPEG.

    Returns:
        uint8 [height, width], or uint16 or int32 where the file holds more than 8 bits; and whether it is a JPEG.

    Raises:
        ImageError: the file is missing, truncated, damaged, too large or of an unsupported pixel format.
    """
    # Decoders answer a damaged file with nearly any exception: SyntaxError, struct.error, zlib.error, ...
    try:
        with Image.open(path, formats=_FORMATS) as image:
            _refuse_unsupported(image)
            image.load()  # refuses truncated files, which OpenCV would fill with grey
            lossy = image.format in ("JPEG", _MULTI_PICTURE)
            return _to_grey(image), lossy
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError("is no readable PNG, JPEG or TIFF") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"is too large: {_one_line(error)}") from error
    except OSError as error:
        if error.strerror:
            raise ImageError(f"cannot be read: {error.strerror}") from error
        raise ImageError(f"is truncated or damaged: {_one_line(error)}") from error
    except Exception as error:
        raise ImageError(f"is truncated or damaged: {_one_line(error)}") from error


def _refuse_unsupported(image: Image.Image) -> None:
    """Raises ImageError where Pillow would hand over other pixels than the file's author meant."""
    if image.mode not in (*_DEEP_GREY, *_EIGHT_BIT):
        raise ImageError(f"has the pixel format '{image.mode}', which is not supported: save it as 8- or 16-bit grey")
    if image.mode in _EIGHT_BIT:
        # Pillow drops the lower 8 bits of deep colour, which may be all that a detector filled.
        if any(";16" in str(tile.args) for tile in image.tile):  # type: ignore[attr-defined]
            raise ImageError("has 16 bits a channel in colour or with transparency: save it as 16-bit grey")
    elif _tiff_tag(image, _TIFF_PHOTOMETRIC) == _TIFF_WHITE_IS_ZERO:
        # Pillow inverts these at 8 bits but not at 16.
        raise ImageError("is a 16-bit TIFF in which 0 is white: save it with 0 as black")


def _tiff_tag(image: Image.Image, tag: int) -> object:
    return image.tag_v2.get(tag) if image.format == "TIFF" else None  # type: ignore[attr-defined]


def _to_grey(image: Image.Image) -> NDArray[Any]:
    if image.mode in _DEEP_GREY:
        grey = np.asarray(image)
        return grey.astype(grey.dtype.newbyteorder("="), copy=False)
    if image.mode == "P":  # with a transparent entry, Pillow warns about any other way
        image = image.convert("RGBA")
    return np.asarray(image.convert("L"))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
