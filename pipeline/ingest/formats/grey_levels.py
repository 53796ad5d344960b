"""Brings grey values of any depth to 8 bits."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.formats.base import ImageError
from schema.record import Pixels


def find_range(values: NDArray[Any]) -> tuple[int, int]:
    """Return the lowest and the highest grey value.

    Raises:
        ImageError: They are equal.
    """
    low, high = int(values.min()), int(values.max())
    if low == high:
        raise ImageError(f"is constant: every pixel is {low}")
    return low, high


def stretch(values: NDArray[Any], black: float, white: float) -> Pixels:
    """Map grey values linearly, so that `black` becomes 0 and `white`, which may be the lower one, 255.

    Args:
        values: Uint16 or int32 [height, width].
        black: Value of what is black.
        white: Value of what is white.

    Returns:
        uint8 [height, width]; values outside are clipped.
    """

    def to_levels(some: NDArray[Any]) -> Pixels:
        return np.rint((some.astype(np.float64) - black) * (255 / (white - black))).clip(0, 255).astype(np.uint8)

    if values.dtype == np.uint16:
        return np.asarray(cv2.LUT(values, to_levels(np.arange(2**16))), np.uint8)
    # Row by row, for 64-bit numbers of a whole image would take eight times its memory.
    return np.stack([to_levels(row) for row in values])
