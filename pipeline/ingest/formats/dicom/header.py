"""Reads radiographs and CT slices from DICOM files, without whom they show.

>>> image = read_dicom(Path("a.dcm").read_bytes())
>>> image.pixels.dtype, image.facts.view
(dtype('uint8'), 'PA')

Of a header only the elements in `_ELEMENTS` are read at all. Age, sex, view and pixel spacing go on as they are, in
fixed forms; identifiers must be turned into pseudonyms (`identity`) before they go anywhere; no message quotes a
header. Text burned into the pixels is not looked for: files that declare it (BurnedInAnnotation) are refused.
"""

import io
import logging
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, config, uid
from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from pipeline.ingest.formats.dicom.levels import look_up, to_levels, to_modality
from pipeline.ingest.formats.dicom.pixels import PixelFormat, decode_codes, read_format
from pipeline.ingest.formats.raster import MAX_PIXELS, ImageError, Pixels
from schema import features

_PREAMBLE: Final = 128
_MAGIC: Final = b"DICM"
_META_GROUP: Final = 2
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
_FACTS: Final = (
    "PatientID", "SOPInstanceUID", "PatientAge", "PatientSex", "ViewPosition", "PixelSpacing", "ImagerPixelSpacing",
    "BurnedInAnnotation",
)  # fmt: skip
_GEOMETRY: Final = ("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient")
_ELEMENTS: Final = tuple(BaseTag(tag_for_keyword(name) or 0) for name in (*_FORMAT, *_LEVELS, *_FACTS, *_GEOMETRY))
_PIXEL_DATA: Final = tag_for_keyword("PixelData")

_YEARS: Final = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_OLDEST: Final = 130
_SEXES: Final = {"F": "female", "M": "male", "O": "other"}
_VIEWS: Final = ("AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO")  # PS3.3 C.8.1.3.1.1 and C.8.7.1
_LARGEST_SPACING: Final = 100  # mm
_SQUARE: Final = 0.01  # share by which the sides of a pixel may differ

# What pydicom notes about odd values quotes them, and so would carry names into logs.
config.settings.reading_validation_mode = config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class DicomFacts:
    """What a header tells of an image.

    Attributes:
        patient_id: as in the header, so it names a person: to be turned into a pseudonym; "" where there is none.
        instance_uid: the same of the image.
        age: years, -1 where not known.
        sex: "female", "male", "other" or "unknown".
        view: ViewPosition (PA, AP ...), or "unknown".
        pixel_spacing: mm, -1 where not known or where pixels are not square.
    """

    patient_id: str
    instance_uid: str
    age: float
    sex: str
    view: str
    pixel_spacing: float


class DicomImage(NamedTuple):
    """A radiograph: uint8 [height, width], 0 black and 255 white, and what its header tells."""

    pixels: Pixels
    facts: DicomFacts


class DicomSlice(NamedTuple):
    """A slice of a CT series.

    Attributes:
        hounsfield: int16 [rows, columns], Hounsfield units.
        facts: what the header tells.
        series_uid: as in the header, so to be turned into a pseudonym.
        position: of the middle of the first pixel, mm, LPS, float64 [3].
        orientation: unit vectors along rows and columns, LPS, float64 [2, 3].
        spacing: between rows and between columns, mm, float64 [2].
    """

    hounsfield: NDArray[np.int16]
    facts: DicomFacts
    series_uid: str
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing: NDArray[np.float64]


def is_dicom(data: bytes) -> bool:
    """Tells whether a file begins as PS3.10 says: 128 bytes of anything, then "DICM"."""
    return data[_PREAMBLE : _PREAMBLE + len(_MAGIC)] == _MAGIC


def read_dicom(data: bytes) -> DicomImage:
    """Reads a radiograph, as its header wants it displayed (see `dicom_levels.to_levels`).

    Raises:
        ImageError: the file is no DICOM image, truncated, damaged, constant or too large, has several frames, colour,
            an unknown transfer syntax, or text burned in.
    """
    with _silent_errors():
        dataset, syntax = _parse(data)
        pixels = _check(dataset)
        codes = decode_codes(dataset, syntax, pixels)
        levels = to_levels(codes, pixels, dataset, little_endian=syntax.is_little_endian)
        return DicomImage(levels, _facts(dataset))


def read_slice(data: bytes) -> DicomSlice:
    """Reads a slice of a CT series in Hounsfield units.

    Raises:
        ImageError: as `read_dicom`, or the header does not say where the slice lies.
    """
    with _silent_errors():
        dataset, syntax = _parse(data)
        pixels = _check(dataset)
        hounsfield = to_modality(pixels.values(), dataset, little_endian=syntax.is_little_endian)
        table = np.rint(hounsfield.clip(-(2**15), 2**15 - 1)).astype(np.int16)
        return DicomSlice(
            hounsfield=look_up(decode_codes(dataset, syntax, pixels), table),
            facts=_facts(dataset),
            series_uid=_text(dataset, "SeriesInstanceUID"),
            position=_vector(dataset, "ImagePositionPatient", 3),
            orientation=_vector(dataset, "ImageOrientationPatient", 6).reshape(2, 3),
            spacing=_vector(dataset, "PixelSpacing", 2),
        )


def count_pixels(data: bytes) -> int:
    """Tells from the header how many pixels an image has; what follows the header may be missing.

    Raises:
        ImageError: as `read_dicom`, as far as the header tells.
    """
    with _silent_errors():
        pixels = read_format(_parse(data, with_pixels=False)[0])
        return pixels.rows * pixels.columns


def square_spacing(rows: float, columns: float) -> float:
    """One number of the distances between rows and between columns, mm: -1 where pixels are not square, or absurd."""
    square = 0 < rows <= _LARGEST_SPACING and abs(rows - columns) <= _SQUARE * rows
    return (rows + columns) / 2 if square else features.UNKNOWN_SPACING


@contextmanager
def _silent_errors() -> Iterator[None]:
    """Turns whatever pydicom and the decoders raise into ImageError, without the values that their messages quote."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"is truncated or damaged DICOM ({type(error).__name__})") from None


def _parse(data: bytes, *, with_pixels: bool = True) -> tuple[Dataset, uid.UID]:
    """Reads `_ELEMENTS`, or those before the pixels, and the transfer syntax."""
    if not is_dicom(data):
        raise ImageError("is no DICOM file: it lacks the letters DICM after 128 bytes")
    source = io.BytesIO(data)
    source.seek(_PREAMBLE + len(_MAGIC))
    meta = read_dataset(
        source, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group != _META_GROUP
    )
    syntax = uid.UID(_text(meta, "TransferSyntaxUID"))
    if not syntax.is_transfer_syntax or syntax.is_private:
        raise ImageError("has no known transfer syntax")
    if syntax.is_deflated:
        source = io.BytesIO(_inflate(source.read()))
    dataset = read_dataset(
        source,
        syntax.is_implicit_VR,
        syntax.is_little_endian,
        stop_when=None if with_pixels else lambda tag, *_: tag >= _PIXEL_DATA,
        specific_tags=list(_ELEMENTS),
    )
    return dataset, syntax


def _inflate(data: bytes) -> bytes:
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = decompressor.decompress(data, _MAX_INFLATED)
    if decompressor.unconsumed_tail:
        raise ImageError(f"is too large: inflated, it has more than {_MAX_INFLATED} bytes")
    return inflated


def _check(dataset: Dataset) -> PixelFormat:
    if dataset.get("BurnedInAnnotation") == "YES":
        raise ImageError("has text burned into its pixels (BurnedInAnnotation is YES), which may name the patient")
    return read_format(dataset)


def _facts(dataset: Dataset) -> DicomFacts:
    view = _text(dataset, "ViewPosition").upper()
    return DicomFacts(
        patient_id=_text(dataset, "PatientID"),
        instance_uid=_text(dataset, "SOPInstanceUID"),
        age=_age(_text(dataset, "PatientAge")),
        sex=_SEXES.get(_text(dataset, "PatientSex").upper(), features.UNKNOWN),
        view=view if view in _VIEWS else features.UNKNOWN,
        pixel_spacing=_spacing(dataset.get("PixelSpacing") or dataset.get("ImagerPixelSpacing")),
    )


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip("\0 ")


def _age(text: str) -> float:
    match = re.fullmatch(r"(\d{1,3})([DWMY])", text)
    age = int(match[1]) * _YEARS[match[2]] if match else features.UNKNOWN_AGE
    return age if age <= _OLDEST else features.UNKNOWN_AGE


def _spacing(element: Sequence[Any] | None) -> float:
    """One number of the distances between rows and between columns."""
    try:
        rows, columns = (float(number) for number in element or ())
    except (TypeError, ValueError):
        return features.UNKNOWN_SPACING
    return square_spacing(rows, columns)


def _vector(dataset: Dataset, keyword: str, length: int) -> NDArray[np.float64]:
    vector = np.asarray(dataset.get(keyword) or (), np.float64)
    if vector.shape != (length,) or not np.isfinite(vector).all():
        raise ImageError(f"has no {keyword} of {length} numbers")
    return vector
