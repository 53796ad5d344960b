"""Brings grey values of any depth to 8 bits, by the rule of `modules/grey_range.py`."""

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from modules.grey_range import MIN_RANGE, grey_range
from pipeline.ingest.formats.base import ImageError
from schema.record import Pixels

_DEPTHS: Final = {np.dtype(np.uint8): 2**8, np.dtype(np.uint16): 2**16}


def to_8_bits(values: NDArray[Any]) -> Pixels:
    """Stretch grey values to 8 bits; those of 8 bits stay as they are, unless they span hardly any of them.

    Args:
        values: Uint8, uint16 or int32 [height, width].

    Returns:
        uint8 [height, width] of more than one value.

    Raises:
        ImageError: All pixels have one value, but perhaps for a few stray ones.
    """
    black, white = grey_range(*_count_levels(values))
    if black == white:
        strays = int(np.count_nonzero(values != black))
        raise ImageError(f"is constant: every pixel is {black}" + (f" but for {strays} stray ones" if strays else ""))
    if values.dtype == np.uint8 and white - black >= MIN_RANGE:
        return values
    return _stretch(values, int(black), int(white))


def _count_levels(values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    depth = _DEPTHS.get(values.dtype)
    if depth is None:
        levels, counts = np.unique(values, return_counts=True)
        return levels.astype(np.int64), counts.astype(np.int64)
    histogram = cv2.calcHist([values], [0], None, [depth], [0, depth])
    return np.arange(depth, dtype=np.int64), histogram.ravel().astype(np.int64)


def _stretch(values: NDArray[Any], black: int, white: int) -> Pixels:
    """Map grey values linearly, `black` to 0 and `white` to 255; those outside are clipped."""

    def to_levels(some: NDArray[Any]) -> Pixels:
        return np.rint((some.astype(np.float64) - black) * (255 / (white - black))).clip(0, 255).astype(np.uint8)

    if values.dtype in _DEPTHS:
        table = to_levels(np.arange(_DEPTHS[values.dtype]))
        return np.asarray(cv2.LUT(values, table), np.uint8)
    # Row by row, for 64-bit numbers of a whole image would take eight times its memory.
    return np.stack([to_levels(row) for row in values])
