"""Decodes radiographs and CT slices from DICOM files.

>>> decoded = decode_dicom(read_file("a.dcm"))
>>> decoded.pixels.dtype, decoded.metadata.view
(dtype('uint8'), 'PA')

Text burned into the pixels is not looked for: files that declare it (BurnedInAnnotation) are refused.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from pipeline.ingest.formats.base import Decoded, DicomMetadata, ImageError
from pipeline.ingest.formats.dicom.levels import look_up, to_levels, to_modality
from pipeline.ingest.formats.dicom.metadata import read_metadata
from pipeline.ingest.formats.dicom.parser import get_text, hide_values, parse
from pipeline.ingest.formats.dicom.pixels import PixelFormat, decode_codes, read_code, read_format


class DicomSlice(NamedTuple):
    """A slice of a CT series.

    Attributes:
        hounsfield: Int16 [rows, columns], Hounsfield units.
        metadata: What the header tells.
        series_uid: As in the header, so to be turned into a pseudonym.
        position: Of the middle of the first pixel, mm, LPS, float64 [3].
        orientation: Unit vectors along rows and columns, LPS, float64 [2, 3].
        spacing: Between rows and between columns, mm, float64 [2].
    """

    hounsfield: NDArray[np.int16]
    metadata: DicomMetadata
    series_uid: str
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing: NDArray[np.float64]


def decode_dicom(data: bytes) -> Decoded:
    """Decode a radiograph, as its header wants it displayed (see `levels.to_levels`).

    Raises:
        ImageError: The file is no DICOM image, truncated, damaged, constant or too large, has several frames, colour,
            an unknown transfer syntax, or text burned in.
    """
    with hide_values():
        dataset, syntax = parse(data)
        pixels = _check(dataset)
        codes = decode_codes(dataset, syntax, pixels)
        levels = to_levels(codes, pixels, dataset, little_endian=syntax.is_little_endian)
        return Decoded(levels, read_metadata(dataset))


def decode_slice(data: bytes) -> DicomSlice:
    """Decode a slice of a CT series in Hounsfield units.

    Raises:
        ImageError: As `decode_dicom`, or the header does not say where the slice lies.
    """
    with hide_values():
        dataset, syntax = parse(data)
        pixels = _check(dataset)
        hounsfield = to_modality(pixels.values(), dataset, little_endian=syntax.is_little_endian)
        table = np.rint(hounsfield.clip(-(2**15), 2**15 - 1)).astype(np.int16)
        return DicomSlice(
            hounsfield=look_up(decode_codes(dataset, syntax, pixels), table),
            metadata=read_metadata(dataset),
            series_uid=get_text(dataset, "SeriesInstanceUID"),
            position=_read_vector(dataset, "ImagePositionPatient", 3),
            orientation=_read_vector(dataset, "ImageOrientationPatient", 6).reshape(2, 3),
            spacing=_read_vector(dataset, "PixelSpacing", 2),
        )


def count_pixels(data: bytes) -> int:
    """Tell from the header how many pixels an image has; what follows the header may be missing.

    Raises:
        ImageError: As `decode_dicom`, as far as the header tells.
    """
    with hide_values():
        dataset, _ = parse(data, with_pixels=False)
        pixels = read_format(dataset)
        return pixels.rows * pixels.columns


def _check(dataset: Dataset) -> PixelFormat:
    if read_code(dataset, "BurnedInAnnotation") == "YES":
        raise ImageError("has text burned into its pixels (BurnedInAnnotation is YES), which may name the patient")
    return read_format(dataset)


def _read_vector(dataset: Dataset, keyword: str, length: int) -> NDArray[np.float64]:
    vector = np.asarray(dataset.get(keyword) or (), np.float64)
    if vector.shape != (length,) or not np.isfinite(vector).all():
        raise ImageError(f"has no {keyword} of {length} numbers")
    return vector
