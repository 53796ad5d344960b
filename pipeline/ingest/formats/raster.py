"""Decodes PNG, JPEG and TIFF files to grey values.

>>> decode_raster(Path("a.png").read_bytes()).pixels.dtype
dtype('uint8')
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.errors import one_line
from pipeline.ingest.formats.base import Decoded, ImageError, refuse_large
from pipeline.ingest.formats.grey_levels import to_8_bits
from pipeline.ingest.formats.png import decode_plain_png
from pipeline.ingest.formats.tiff import (
    count_planes,
    has_deep_samples,
    holds_jpeg,
    is_smaller_copy,
    is_white_zero,
    refuse_large_tiles,
    refuse_wrapped,
)

FORMATS: Final = ("PNG", "JPEG", "TIFF")
"""The decoders of Pillow that images reach, whatever a file's extension claims."""

_MULTI_PICTURE: Final = "MPO"  # what Pillow calls a JPEG with previews behind it
_DEEP_GREY: Final = {name: np.dtype(np.int32 if name == "I" else np.uint16) for name in ("I", "I;16", "I;16B", "I;16L")}
_EIGHT_BIT: Final = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_GREY_ONLY: Final = (*_DEEP_GREY, "1", "L", "LA")
_BAND: Final = 2**20  # pixels copied at a time


def decode_raster(data: bytes) -> Decoded:
    """Decode a PNG, JPEG or TIFF to grey values.

    Colour becomes luminance (ITU-R 601), transparency is dropped, and an EXIF orientation is applied. Grey values of
    more than 8 bits are stretched (see `grey_levels.to_8_bits`): detectors deliver 10 to 14 bits in 16-bit files,
    which would come out near black if only the upper 8 bits were kept.

    Raises:
        ImageError: The file is truncated, damaged, constant, too large, of several pages or of an unsupported pixel
            format.
    """
    return Decoded(to_8_bits(decode_grey(data).values))


def count_pixels(data: bytes) -> int:
    """Tell from the header alone how many pixels an image or a mask has; raise whatever Pillow does."""
    with Image.open(io.BytesIO(data), formats=(*FORMATS, "GIF")) as image:
        return image.width * image.height


class Grey(NamedTuple):
    """Grey values as a file stores them.

    Attributes:
        values: Uint8 [height, width], or uint16 or int32 where the file holds more than 8 bits; turned as an EXIF
            orientation says.
        alpha: Uint8 [height, width], opacity; None where no pixel is transparent.
        is_lossy: Whether they went through JPEG.
        picture: In colour or of a palette, turned as they are; None where the file holds grey levels only.
    """

    values: NDArray[Any]
    alpha: NDArray[np.uint8] | None = None
    is_lossy: bool = False
    picture: Image.Image | None = None


def decode_grey(data: bytes, formats: tuple[str, ...] = FORMATS) -> Grey:
    """Decode a file's grey values as stored.

    Args:
        data: The whole file.
        formats: Pillow's names of those that may be tried.

    Raises:
        ImageError: The file is truncated, damaged, too large, of several pages or of an unsupported pixel format.
    """
    if "PNG" in formats and (plain := decode_plain_png(data)) is not None:
        return Grey(plain)
    with _one_line_errors(formats), Image.open(io.BytesIO(data), formats=formats) as image:
        refuse_large(*image.size)
        refuse_large_tiles(image)
        _refuse_unsupported(image)
        is_lossy = image.format in ("JPEG", _MULTI_PICTURE) or holds_jpeg(image)
        _refuse_pages(image, len(data))
        image.load()  # refuses truncated files, which OpenCV would fill with grey
        refuse_wrapped(image)
        ImageOps.exif_transpose(image, in_place=True)
        picture = None if image.mode in _GREY_ONLY else image
        return Grey(_to_grey(image), _find_alpha(image), is_lossy, picture)


@contextmanager
def _one_line_errors(formats: tuple[str, ...]) -> Iterator[None]:
    """Turn whatever a decoder raises into ImageError."""
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
    """Raise ImageError where Pillow would hand over other pixels than the file's author meant."""
    if image.mode not in (*_DEEP_GREY, *_EIGHT_BIT):
        raise ImageError(f"has the pixel format '{image.mode}', which is not supported: save it as 8- or 16-bit grey")
    if image.mode in _EIGHT_BIT:
        # Pillow drops the lower 8 bits of deep colour, which may be all that a detector filled.
        # Tiles of a PNG name the depth; those of a planar TIFF do not.
        is_deep = any(";16" in str(tile.args) for tile in image.tile)  # type: ignore[attr-defined]
        if is_deep or has_deep_samples(image):
            raise ImageError("has 16 bits a channel in colour or with transparency: save it as 16-bit grey")
    elif is_white_zero(image):
        raise ImageError("is a 16-bit TIFF in which 0 is white: save it with 0 as black")


def _refuse_pages(image: Image.Image, length: int) -> None:
    """Raise ImageError where a file of so many bytes holds several pictures; smaller copies of the first are none."""
    pages = 1 if image.format == _MULTI_PICTURE else getattr(image, "n_frames", 1)
    pictures, pixels = count_planes(image, length), image.width * image.height
    for page in range(1, pages):
        image.seek(page)
        if not is_smaller_copy(image, pixels):
            pictures = max(pictures, pages)
            break
    if pictures > 1:
        raise ImageError(f"holds {pictures} pictures: save each as a file of its own")
    if pages > 1:
        image.seek(0)


def _find_alpha(image: Image.Image) -> NDArray[np.uint8] | None:
    if not image.has_transparency_data:
        return None
    alpha = np.asarray(image.convert("RGBA").getchannel("A"), np.uint8)
    return None if (alpha == alpha.max()).all() else alpha


def _to_grey(image: Image.Image) -> NDArray[Any]:
    if image.mode in _DEEP_GREY:
        return _to_array(image, _DEEP_GREY[image.mode])
    if image.mode == "P":  # with a transparent entry, Pillow warns about any other way
        image = image.convert("RGBA")
    return _to_array(image if image.mode == "L" else image.convert("L"), np.dtype(np.uint8))


def _to_array(image: Image.Image, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Copy the pixels, those of a large image in bands: NumPy's own way holds them three times over."""
    width, height = image.size
    rows = max(1, _BAND // width)
    if height <= rows:
        return np.array(image, dtype)
    grey = np.empty((height, width), dtype)
    for top in range(0, height, rows):
        grey[top : top + rows] = np.asarray(image.crop((0, top, width, min(top + rows, height))))
    return grey
