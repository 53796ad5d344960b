"""Finds what covers regions in a mask, as opposed to what lies along edges only, and what lies along its border.

An antialiased edge changes from pixel to pixel, so that a pixel equal to its eight neighbours lies in a region.
"""

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

# A level is a region of its own where more than this share of the pixels lie inside it, away from any edge.
# Of 643 hand-drawn masks none has one such pixel between its two ends; resampled (256 to 2048 pixels) or blurred
# (sigma up to 4 pixels) at most 1.4e-5 of them. At 512 x 512 a label of 5 x 5 pixels is above it.
_REGION_SHARE: Final = 2e-5
# And more than this share of its own pixels: of edges that were enlarged in blocks, few touch no other level.
_INNER_SHARE: Final = 0.1
_WINDOW: Final = np.ones((3, 3), np.uint8)
_BIN: Final = 8  # levels of a channel that count as one colour
_COLOUR_SHARE: Final = 1e-3  # larger than that of grey levels, for JPEG keeps colours less well
_ONE_LEVEL: Final = 12  # of luminance, at most between colours that are one as grey; bins are off by half of that
_OTHER_COLOUR: Final = 64  # in one channel, at least between colours of two labels
_LUMINANCE: Final = (0.299, 0.587, 0.114)  # ITU-R 601


def region_levels(levels: NDArray[Any]) -> list[int]:
    """Return the levels of uint8 or uint16 [height, width] that cover regions, ascending."""
    depth = np.iinfo(levels.dtype).max + 1
    inside, everywhere = (cv2.calcHist([levels], [0], of, [depth], [0, depth]).ravel() for of in (_inner(levels), None))
    return np.flatnonzero((inside > _REGION_SHARE * levels.size) & (inside > _INNER_SHARE * everywhere)).tolist()


def merged_colours(rgb: NDArray[np.uint8]) -> tuple[list[int], list[int]] | None:
    """Return two colours that cover regions and are told apart by no grey level, up to 4 in each channel; None if none.

    Args:
        rgb: [height, width, 3].
    """
    inner = _inner(rgb).min(axis=2)
    bins = 256 // _BIN
    counts = cv2.calcHist([rgb], [0, 1, 2], inner, [bins] * 3, [0, 256] * 3)
    colours = np.argwhere(counts > _COLOUR_SHARE * inner.size) * _BIN + _BIN // 2
    for index, colour in enumerate(colours):
        others = colours[:index]
        alike = np.abs((others - colour) @ _LUMINANCE) <= _ONE_LEVEL
        apart = np.abs(others - colour).max(axis=1, initial=0) >= _OTHER_COLOUR
        if len(merged := others[alike & apart]):
            return merged[0].tolist(), colour.tolist()
    return None


def outermost(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return the pixels along the border of [height, width], those in the corners twice."""
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])


def _inner(levels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return 255 where a pixel equals its eight neighbours, channel by channel, and 0 elsewhere."""
    return np.asarray(cv2.compare(cv2.erode(levels, _WINDOW), cv2.dilate(levels, _WINDOW), cv2.CMP_EQ), np.uint8)
