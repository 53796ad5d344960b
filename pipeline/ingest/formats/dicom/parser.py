"""Reads those elements of a DICOM file that the ingest needs.

>>> dataset, syntax = parse(read_file("a.dcm"))
>>> dataset.Rows, syntax.is_compressed
(2048, False)

Of a header only the elements in `_ELEMENTS` are read at all, but where a new file has to tell of the same patient
(`parse_header`); and no message quotes a header.
"""

import io
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pydicom import Dataset, config, uid
from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from pipeline.ingest.formats.base import ImageError
from schema.record import MAX_PIXELS

_PREAMBLE: Final = 128
_MAGIC: Final = b"DICM"
_META_GROUP: Final = 2
_META_START: Final = b"\2\0\0\0UL"
_FIRST_GROUP: Final = b"\x08\0"
_ELEMENT_HEAD: Final = 8  # bytes of tag, type and length
_LONGEST_FIRST: Final = 2**10  # bytes of a first element, which is a length, a character set or an image type
_MAX_INFLATED: Final = 4 * MAX_PIXELS
"""Bytes of a deflated file once inflated: 16 bits a pixel, and as much for the header."""

_FORMAT: Final = (
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "PixelData",
)  # fmt: skip
_LEVELS: Final = (
    "ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence", "VOILUTFunction", "WindowCenter",
    "WindowWidth", "PixelPaddingValue", "PixelPaddingRangeLimit",
)  # fmt: skip
_METADATA: Final = (
    "PatientID", "SOPInstanceUID", "PatientAge", "PatientSex", "ViewPosition", "PixelSpacing", "ImagerPixelSpacing",
    "BurnedInAnnotation",
)  # fmt: skip
_GEOMETRY: Final = ("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient")
_ELEMENTS: Final = tuple(BaseTag(tag_for_keyword(name) or 0) for name in (*_FORMAT, *_LEVELS, *_METADATA, *_GEOMETRY))
_PIXEL_DATA: Final = tag_for_keyword("PixelData")
_LAST_OF_HEADER: Final = 0x7FDFFFFF  # what is behind are pixels, whatever the type of their numbers

# What pydicom notes about odd values quotes them, and so would carry names into logs.
config.settings.reading_validation_mode = config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)


def is_dicom(data: bytes) -> bool:
    """Tell whether a file begins as PS3.10 says, with 128 bytes of anything and "DICM", or with what follows them."""
    return _find_start(data) is not None


@contextmanager
def hide_values() -> Iterator[None]:
    """Turn whatever pydicom and the decoders raise into ImageError, without the values that their messages quote."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"is truncated or damaged DICOM ({type(error).__name__})") from None


def parse(data: bytes, *, with_pixels: bool = True) -> tuple[Dataset, uid.UID]:
    """Read the elements, or those before the pixels, and the transfer syntax.

    Raises:
        ImageError: The file is no DICOM file, has an unknown transfer syntax, or is too large once inflated.
        Exception: Whatever pydicom raises for a damaged file; see `hide_values`.
    """
    source, syntax = _open(data)
    dataset = read_dataset(
        source,
        syntax.is_implicit_VR,
        syntax.is_little_endian,
        stop_when=None if with_pixels else lambda tag, *_: tag >= _PIXEL_DATA,
        specific_tags=list(_ELEMENTS),
    )
    return dataset, syntax


def parse_header(data: bytes, last: int = _LAST_OF_HEADER) -> Dataset:
    """Read all elements before the pixels, or up to one of them; their values name the patient.

    Args:
        data: A file, or as much of it as holds these elements.
        last: Tag of the last element that is read.

    Raises:
        ImageError: As `parse`.
        Exception: Likewise.
    """
    source, syntax = _open(data)
    return read_dataset(source, syntax.is_implicit_VR, syntax.is_little_endian, stop_when=lambda tag, *_: tag > last)


def get_text(dataset: Dataset, keyword: str) -> str:
    """Return the text of an element; "" where it is absent."""
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip("\0 ")


def _open(data: bytes) -> tuple[io.BytesIO, uid.UID]:
    """Return a file at its first element behind the group 0002, and the transfer syntax."""
    start = _find_start(data)
    if start is None:
        raise ImageError("is no DICOM file: it lacks the letters DICM after 128 bytes")
    source = io.BytesIO(data)
    source.seek(start)
    meta = read_dataset(
        source, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group != _META_GROUP
    )
    named = uid.UID(get_text(meta, "TransferSyntaxUID"))
    syntax = named or _guess_syntax(data[source.tell() :][:_ELEMENT_HEAD])
    if syntax is None or not syntax.is_transfer_syntax or syntax.is_private:
        raise ImageError("has no known transfer syntax")
    if syntax.is_deflated:
        source = io.BytesIO(_inflate(source.read()))
    return source, syntax


def _find_start(data: bytes) -> int | None:
    """Find the first element; some archives cut off the preamble, or all before the data set itself."""
    if data[_PREAMBLE : _PREAMBLE + len(_MAGIC)] == _MAGIC:
        return _PREAMBLE + len(_MAGIC)
    if data.startswith(_MAGIC):
        return len(_MAGIC)
    return 0 if data.startswith(_META_START) or _guess_syntax(data[:_ELEMENT_HEAD]) else None


def _guess_syntax(head: bytes) -> uid.UID | None:
    """Tell by the first element of a data set, which is of the group 0008, how elements are written."""
    names_type = head[4:6].isalpha() and head[4:6].isupper()
    if head.startswith(_FIRST_GROUP[::-1]):
        return uid.ExplicitVRBigEndian if names_type else None
    if not head.startswith(_FIRST_GROUP) or len(head) < _ELEMENT_HEAD:
        return None
    if names_type:
        return uid.ExplicitVRLittleEndian
    return uid.ImplicitVRLittleEndian if int.from_bytes(head[4:8], "little") < _LONGEST_FIRST else None


def _inflate(data: bytes) -> bytes:
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = decompressor.decompress(data, _MAX_INFLATED)
    if decompressor.unconsumed_tail:
        raise ImageError(f"is too large: inflated, it has more than {_MAX_INFLATED} bytes")
    return inflated
