"""Plain grey PNGs, which most data sets are made of, by a decoder that takes one call without the GIL."""

import struct
from typing import Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from schema.record import MAX_PIXELS

_START: Final = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"  # width and height follow
_PLAIN: Final = (b"\x08\0\0\0\0", b"IDAT")  # 8 bits, grey, not interlaced; nothing before the pixels
_FIRST_CHUNK: Final = 33  # behind the header
_AROUND_CHUNK: Final = 12  # bytes of length, name and checksum


def is_png(data: bytes) -> bool:
    """Tell whether a file begins as a PNG."""
    return data.startswith(_START)


def count_pixels(data: bytes) -> int:
    """Tell from the header how many pixels a PNG has, sooner than Pillow would."""
    width, height = struct.unpack_from(">II", data, len(_START))
    return int(width * height)


def decode_plain_png(data: bytes) -> NDArray[np.uint8] | None:
    """Decode a plain grey PNG by libspng, which is as strict as Pillow; Pillow makes a call for each 8 kB of the file.

    Returns:
        uint8 [height, width]; None for any other file, and for a damaged one, of which Pillow tells more.
    """
    if not is_png(data) or (data[24:29], data[37:41]) != _PLAIN or count_pixels(data) > MAX_PIXELS:
        return None
    try:
        if not _ends_with_pixels(data):
            return None
        return np.asarray(imagecodecs.spng_decode(data))
    except Exception:  # Pillow says what is wrong
        return None


def _ends_with_pixels(data: bytes) -> bool:
    """Tell whether nothing follows the pixels: what does may say that they have to be turned."""
    position, kind = _FIRST_CHUNK, b"IDAT"
    while kind == b"IDAT":
        length, kind = struct.unpack_from(">I4s", data, position)
        position += length + _AROUND_CHUNK
    return kind == b"IEND"
