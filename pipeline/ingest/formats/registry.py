"""The formats of image files, told apart by content, whatever a file's name claims.

>>> image = decode_image(read_file("a.dcm"))
>>> image.pixels.dtype, image.metadata.view
(dtype('uint8'), 'PA')

Masks are no images: `masks` reads them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pipeline.ingest.formats import png, raster
from pipeline.ingest.formats.base import Decoded
from pipeline.ingest.formats.dicom import image as dicom
from pipeline.ingest.formats.dicom.parser import is_dicom


@dataclass(frozen=True)
class Format:
    """One format of image files.

    Attributes:
        matches: Tells by its first bytes whether a file has this format.
        decode: Decodes a whole file; raises ImageError.
        count_pixels: Tells from the first bytes how many pixels an image has; raises whatever a decoder does.
    """

    matches: Callable[[bytes], bool]
    decode: Callable[[bytes], Decoded]
    count_pixels: Callable[[bytes], int]


FORMATS: Final = (
    Format(is_dicom, dicom.decode_dicom, dicom.count_pixels),
    Format(png.is_png, raster.decode_raster, png.count_pixels),
    Format(lambda _: True, raster.decode_raster, raster.count_pixels),
)
"""Of the formats that match a file, the first is its own; the last tells what is wrong with a file of none."""


def decode_image(data: bytes) -> Decoded:
    """Decode an image file: DICOM, PNG, JPEG or TIFF.

    Raises:
        ImageError: The file is of no such format, truncated, damaged, constant or too large, or its format refuses it.
    """
    return _format_of(data).decode(data)


def count_pixels(data: bytes) -> int:
    """Tell from the first bytes how many pixels an image or a mask has; 0 where they do not tell."""
    try:
        return _format_of(data).count_pixels(data)
    except Exception:  # decoding says what is wrong
        return 0


def _format_of(data: bytes) -> Format:
    return next(format_ for format_ in FORMATS if format_.matches(data))
