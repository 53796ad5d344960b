"""Decodes image files to 8-bit grey.

>>> pixels = decode_image(Path("a.png").read_bytes())
>>> network_input = resize_image(pixels, 512)
"""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pipeline.errors import one_line

Pixels = NDArray[np.uint8]

EXTENSIONS: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""What counts as an image file, in lower case."""

FORMATS: Final = ("PNG", "JPEG", "TIFF")
"""The decoders of Pillow that images reach, whatever a file's extension claims."""

MAX_PIXELS: Final = 2**26
"""Larger images are refused from the header, before anything is decoded; a radiograph has 2**20 to 2**25."""

_MULTI_PICTURE: Final = "MPO"  # what Pillow calls a JPEG with previews behind it
_DEEP_GREY: Final = {name: np.dtype(np.int32 if name == "I" else np.uint16) for name in ("I", "I;16", "I;16B", "I;16L")}
_EIGHT_BIT: Final = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_TIFF_PHOTOMETRIC: Final = 262
_TIFF_WHITE_IS_ZERO: Final = 0
_TIFF_TILE: Final = (322, 323)  # width and height
_LARGE_TILE: Final = 2**20  # pixels; tiles are filled up at the image's edges
_BAND: Final = 2**20  # pixels copied at a time
_PNG: Final = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"  # width and height follow
_PLAIN_PNG: Final = (b"\x08\0\0\0\0", b"IDAT")  # 8 bits, grey, not interlaced; nothing before the pixels


class ImageError(ValueError):
    """A file that cannot be taken; the message is one line that follows the file's name: "is empty"."""


def read_image(path: Path) -> Pixels:
    """Reads a PNG, JPEG or TIFF as grey values: `decode_image` of its content.

    Raises:
        ImageError: as `decode_image`, or the file cannot be read.
    """
    return decode_image(read_content(path))


def read_content(path: Path) -> bytes:
    """Reads a whole file of this machine.

    Raises:
        ImageError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from error


def decode_image(data: bytes) -> Pixels:
    """Decodes a PNG, JPEG or TIFF to grey values.

    Colour becomes luminance (ITU-R 601), transparency is dropped, an EXIF orientation is ignored, and of several
    pages the first is read. Grey values of more than 8 bits are stretched linearly from the image's own minimum
    and maximum to 0 and 255: detectors deliver 10 to 14 bits in 16-bit files, which would come out near black if
    only the upper 8 bits were kept.

    Returns:
        uint8 [height, width], 0-255, of more than one value.

    Raises:
        ImageError: the file is truncated, damaged, constant, too large or of an unsupported pixel format.
    """
    grey, _ = decode_grey(data)
    low, high = grey.min(), grey.max()
    if low == high:
        raise ImageError(f"is constant: every pixel is {low}")
    return grey if grey.dtype == np.uint8 else _stretch(grey, float(low), float(high))


def resize_image(pixels: Pixels, size: int) -> Pixels:
    """Resizes grey values to `size` x `size`, uint8 [size, size].

    The aspect ratio is not kept, so that a mask is taken back to the original by its width and height alone.
    Shrinking averages over areas, which does not alias; anything else interpolates linearly.
    """
    shrinks = min(pixels.shape) >= size
    resized = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def decode_grey(data: bytes, formats: tuple[str, ...] = FORMATS) -> tuple[NDArray[Any], bool]:
    """Decodes a file's grey values as stored, and tells whether they went through JPEG.

    Args:
        data: the whole file.
        formats: Pillow's names of those that may be tried.

    Returns:
        uint8 [height, width], or uint16 or int32 where the file holds more than 8 bits; and whether it is a JPEG.

    Raises:
        ImageError: the file is truncated, damaged, too large or of an unsupported pixel format.
    """
    if "PNG" in formats and (plain := _decode_grey_png(data)) is not None:
        return plain, False
    with _one_line_errors(formats), Image.open(io.BytesIO(data), formats=formats) as image:
        refuse_large(*image.size)
        _refuse_large_tiles(image)
        _refuse_unsupported(image)
        image.load()  # refuses truncated files, which OpenCV would fill with grey
        lossy = image.format in ("JPEG", _MULTI_PICTURE)
        return _to_grey(image), lossy


def _decode_grey_png(data: bytes) -> NDArray[Any] | None:
    """Decodes a plain grey PNG by libspng, in one call without the GIL; Pillow makes one for each 8 kB of the file.

    Returns:
        uint8 [height, width]; None for any other file, and for a damaged one, of which Pillow tells more.
    """
    if not data.startswith(_PNG) or (data[24:29], data[37:41]) != _PLAIN_PNG:
        return None
    if _count_png_pixels(data) > MAX_PIXELS:  # not `count_pixels`, which a file that poses as DICOM misleads
        return None
    try:
        return np.asarray(imagecodecs.spng_decode(data))
    except Exception:
        return None


def _count_png_pixels(data: bytes) -> int:
    width, height = struct.unpack_from(">II", data, len(_PNG))
    return int(width * height)


def count_pixels(data: bytes) -> int:
    """Tells from the header alone how many pixels an image or a mask has; 0 where it cannot be told."""
    from pipeline.ingest.formats.dicom import header as dicom  # it imports this module

    try:
        if dicom.is_dicom(data):
            return dicom.count_pixels(data)
        if data.startswith(_PNG):  # Pillow takes long to say the same
            return _count_png_pixels(data)
        with Image.open(io.BytesIO(data), formats=(*FORMATS, "GIF")) as image:
            return image.width * image.height
    except Exception:  # decoding says what is wrong
        return 0


def refuse_large(width: int, height: int) -> None:
    """Raises ImageError where an image has more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"is too large: {width} x {height} is more than {MAX_PIXELS} pixels")


@contextmanager
def _one_line_errors(formats: tuple[str, ...]) -> Iterator[None]:
    """Turns whatever a decoder raises into ImageError."""
    # A damaged file is answered with nearly any exception: SyntaxError, struct.error, zlib.error, ...
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"is no readable {', '.join(formats[:-1])} or {formats[-1]}") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"is too large: {one_line(error)}") from error
    except Exception as error:
        raise ImageError(f"is truncated or damaged: {one_line(error)}") from error


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


def _refuse_large_tiles(image: Image.Image) -> None:
    """Raises ImageError where a TIFF claims tiles far larger than the image, which are allocated all the same."""
    width, height = (_tiff_tag(image, tag) or 0 for tag in _TIFF_TILE)
    if width * height > _LARGE_TILE + 4 * image.width * image.height:
        raise ImageError(f"is damaged: its tiles of {width} x {height} pixels are larger than the image")


def _tiff_tag(image: Image.Image, tag: int) -> Any:
    return image.tag_v2.get(tag) if image.format == "TIFF" else None  # type: ignore[attr-defined]


def _to_grey(image: Image.Image) -> NDArray[Any]:
    if image.mode in _DEEP_GREY:
        return _to_array(image, _DEEP_GREY[image.mode])
    if image.mode == "P":  # with a transparent entry, Pillow warns about any other way
        image = image.convert("RGBA")
    return _to_array(image if image.mode == "L" else image.convert("L"), np.dtype(np.uint8))


def _to_array(image: Image.Image, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Copies the pixels, those of a large image in bands: NumPy's own way holds them three times over."""
    width, height = image.size
    rows = max(1, _BAND // width)
    if height <= rows:
        return np.array(image, dtype)
    grey = np.empty((height, width), dtype)
    for top in range(0, height, rows):
        grey[top : top + rows] = np.asarray(image.crop((0, top, width, min(top + rows, height))))
    return grey


def _stretch(grey: NDArray[Any], low: float, high: float) -> Pixels:
    """Maps `low` to 0 and `high` to 255."""

    def to_level(values: NDArray[Any]) -> Pixels:
        return np.rint((values.astype(np.float64) - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)

    if grey.dtype == np.uint16:
        return np.asarray(cv2.LUT(grey, to_level(np.arange(2**16))), np.uint8)
    # Row by row, for 64-bit numbers of a whole image would take eight times its memory.
    return np.stack([to_level(row) for row in grey])
