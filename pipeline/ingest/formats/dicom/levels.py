"""Grey levels of DICOM pixels: from stored values to what a radiologist sees (PS3.3 C.11.1 and C.11.2).

Pixels have at most 16 bits, so everything is worked out once for each code and then looked up.
"""

from decimal import Decimal
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_windowing

from modules.grey_range import MIN_RANGE, grey_range
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.dicom.pixels import DARK_IS_HIGH, Codes, PixelFormat, read_code, read_photometric
from schema.record import Pixels

Values = NDArray[np.float64]
Entry = TypeVar("Entry", bound=np.generic)

_CODES: Final = 2**16
_STEEPEST: Final = 1e9
_LEAST_GREY: Final = 0.25
"""Of the pixels that are neither the darkest nor the brightest, the share that a window leaves as neither."""
_WINDOW_FUNCTIONS: Final = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def to_levels(codes: Codes, pixels: PixelFormat, dataset: Dataset, *, little_endian: bool) -> Pixels:
    """Map codes to grey levels, 0 black and 255 white.

    Modality LUT or rescale; then the first VOI LUT, else the first window; where there is none, or where it leaves
    hardly any grey levels or little but black and white, as one does that belongs to other values, a stretch of the
    image's own values (see `modules/grey_range.py`); then MONOCHROME1 is inverted. Padding is black, and is left out of
    the stretch.

    Args:
        codes: Uint16 [rows, columns], from `decode_codes`.
        pixels: Their format.
        dataset: The header.
        little_endian: Byte order of the header's tables.

    Returns:
        uint8 [rows, columns] of more than one value outside the padding.

    Raises:
        ImageError: All pixels have one level, or a table or window is none.
    """
    stored = pixels.values()
    padding = _padding(stored, dataset)
    counts = cv2.calcHist([codes], [0], None, [len(stored)], [0, len(stored)]).ravel().astype(np.int64)
    present = (counts > 0) & ~padding
    if not present.any():
        raise ImageError("is empty: every pixel is padding")
    values = to_modality(stored, dataset, little_endian=little_endian)
    share = _voi_share(values, dataset, little_endian)
    if share is None or not _shows_anatomy(share[present], values[present], counts[present]):
        share = _stretch(values, present, counts)
    levels = np.rint(255 * share.clip(0, 1)).astype(np.uint8)
    if read_photometric(dataset) == DARK_IS_HIGH:
        levels = 255 - levels
    levels[padding] = 0
    return look_up(codes, levels)


def _stretch(values: Values, present: NDArray[np.bool_], counts: NDArray[np.int64]) -> Values:
    """Map values so that the darkest that occur become 0 and the brightest 1, but for stray ones."""
    black, white = _find_range(values[present], counts[present])
    if black == white:
        strays = int(counts[present & (values != black)].sum())
        raise ImageError(f"is constant: every pixel is {black:g}" + (f" but for {strays} stray ones" if strays else ""))
    return (values - black) / (white - black)


def _shows_anatomy(share: Values, values: Values, counts: NDArray[np.int64]) -> bool:
    """Tell whether a window leaves more than some grey levels, and of what is grey more than black and white."""
    levels = np.rint(255 * share.clip(0, 1))
    black, white = _find_range(levels, counts)
    darkest, brightest = _find_range(values, counts)
    grey = counts[(values > darkest) & (values < brightest)].sum()
    return white - black >= MIN_RANGE and counts[(levels > 0) & (levels < 255)].sum() >= _LEAST_GREY * grey


def _find_range(values: Values, counts: NDArray[np.int64]) -> tuple[float, float]:
    levels, places = np.unique(values, return_inverse=True)
    black, white = grey_range(levels, np.bincount(places, weights=counts).astype(np.int64))
    return float(black), float(white)


def to_modality(stored: NDArray[np.int32], dataset: Dataset, *, little_endian: bool) -> Values:
    """Apply the Modality LUT, or slope and intercept; for CT this gives Hounsfield units.

    Raises:
        ImageError: Slope or intercept is no number, or a table is none.
    """
    if dataset.get("ModalityLUTSequence"):
        return _table(stored.astype(np.float64), dataset.ModalityLUTSequence[0], little_endian)[0]
    slope, intercept = _number(dataset, "RescaleSlope", 1.0), _number(dataset, "RescaleIntercept", 0.0)
    if abs(slope) > _STEEPEST or abs(intercept) > _STEEPEST:
        raise ImageError("has a RescaleSlope or RescaleIntercept beyond all measure")
    return stored.astype(np.float64) * slope + intercept


def look_up(codes: Codes, table: NDArray[Entry]) -> NDArray[Entry]:
    """Replace each code by what the table, of one entry a code, has for it."""
    # OpenCV wants an entry for every number of 16 bits.
    return np.asarray(cv2.LUT(codes, np.resize(table, _CODES)), table.dtype)


def _padding(stored: NDArray[np.int32], dataset: Dataset) -> NDArray[np.bool_]:
    """Tell which stored values stand for padding (PS3.3 C.7.5.1.1.2)."""
    first = dataset.get("PixelPaddingValue")
    if not isinstance(first, int):
        return np.zeros(len(stored), np.bool_)
    last = dataset.get("PixelPaddingRangeLimit")
    # Negative values are found as unsigned as well: a value's lowest bits are its code.
    ends = [int(stored[end % len(stored)]) for end in (first, last if isinstance(last, int) else first)]
    return (stored >= min(ends)) & (stored <= max(ends))


def _voi_share(values: Values, dataset: Dataset, little_endian: bool) -> Values | None:
    """Apply the first VOI LUT or window: 0 black, 1 white; None where there is none."""
    if dataset.get("VOILUTSequence"):
        entries, depth = _table(values, dataset.VOILUTSequence[0], little_endian)
        return entries / (2**depth - 1)
    center, width = _number(dataset, "WindowCenter", 0.0), _number(dataset, "WindowWidth", 0.0)
    function = read_code(dataset, "VOILUTFunction") or "LINEAR"
    if width <= 0 or (function == "LINEAR" and width < 1):
        return None
    return _apply_window(values, center, width, function)


def _apply_window(values: Values, center: float, width: float, function: str) -> Values:
    """Apply a window (PS3.3 C.11.2.1.2 and C.11.2.1.3): 0 below it, 1 above it."""
    if function not in _WINDOW_FUNCTIONS:
        raise ImageError("has a VOI LUT function that is unknown: not LINEAR, LINEAR_EXACT or SIGMOID")
    window = Dataset()
    window.WindowCenter, window.WindowWidth, window.VOILUTFunction = center, width, function
    # pydicom maps to the range of the pixels: of one bit, so that it is 0 to 1.
    window.PhotometricInterpretation, window.PixelRepresentation, window.BitsStored = "MONOCHROME2", 0, 1
    with np.errstate(over="ignore"):  # far below a sigmoid's center
        return np.asarray(apply_windowing(values, window))


def _number(dataset: Dataset, keyword: str, default: float) -> float:
    """Return the first value of an element."""
    value = dataset.get(keyword)
    first = value[0] if isinstance(value, MultiValue) else value
    if first is None or first == "":
        return default
    if not isinstance(first, (int, float, Decimal)) or not np.isfinite(float(first)):
        raise ImageError(f"has a {keyword} that is no number")
    return float(first)


def _table(values: Values, item: Dataset, little_endian: bool) -> tuple[Values, int]:
    """Look values up in a table (PS3.3 C.11.1.1); return the entries, and the bits that they are meant to fill.

    pydicom does so for whole numbers only, counts positions in an 8-bit VOI LUT modulo 256, and refuses entries that
    are packed in bytes or fill an unusual number of bits.
    """
    length, first, depth = (int(number) for number in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):
        width = 2 if len(data) >= 2 * (length or _CODES) else 1
        data = np.frombuffer(data, f"{'<' if little_endian else '>'}u{width}")
    entries = np.asarray(data, np.float64).ravel()[: length or _CODES]
    if not len(entries) or not 1 <= depth <= 16:
        raise ImageError("has a lookup table that is empty or deeper than 16 bits")
    index = np.rint(values - first).clip(0, len(entries) - 1).astype(np.intp)
    filled = int(entries.max()).bit_length()
    # Some devices write entries of 12 bits under a descriptor that says 16, or 8: then the entries are right.
    contradicts = filled > depth or filled < depth - 1
    return entries[index], filled if contradicts and filled else depth
