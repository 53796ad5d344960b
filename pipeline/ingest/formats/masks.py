"""Decodes lung masks, whatever two levels they were saved with."""

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.raster import FORMATS, decode_grey
from schema.record import Pixels

# A level is a region of its own where more than this share of the pixels lie inside it, away from any edge.
# Of 643 hand-drawn masks none has one such pixel between its two ends; resampled (256 to 2048 pixels) or blurred
# (sigma up to 4 pixels) at most 1.4e-5 of them. At 512 x 512 a label of 5 x 5 pixels is above it.
_REGION_SHARE: Final = 2e-5
# JPEG rings around edges: at quality 30 to 95 flat parts stray by less than 8 of 255. Twice that.
_RINGING: Final = 1 / 16
_NAMED_LEVELS: Final = 6
_WINDOW: Final = np.ones((3, 3), np.uint8)
_FORMATS: Final = (*FORMATS, "GIF")
_SIXTEEN_BITS: Final = 2**16


def decode_mask(data: bytes) -> Pixels:
    """Decode a mask of two levels from a PNG, JPEG, TIFF or GIF: the lower is outside, the higher is lung.

    Any two levels do (0 and 1, 0 and 255, 1 and 2); levels between them are antialiased edges and are cut half-way.

    Returns:
        uint8 [height, width], 255 inside the lungs and 0 outside, with pixels of both.

    Raises:
        ImageError: The file cannot be decoded, holds no lung or nothing but lung, or is a map of several labels.
    """
    grey, lossy = decode_grey(data, _FORMATS)
    low, high = int(grey.min()), int(grey.max())
    if low == high:
        raise ImageError("covers the whole image" if high else "is empty")
    levels, offset = _narrow(grey, low, high)
    if lossy:
        levels = _fold_ringing(levels)
    regions = [level + offset for level in _region_levels(levels)]
    if len(regions) > 2:
        raise ImageError(f"is a label map of {len(regions)} levels: {_enumerate(regions)}")
    if len(regions) == 2:
        low, high = regions  # a stray pixel outside them does not move the threshold
    return binarize(levels, (low + high) / 2 - offset)


def binarize(levels: NDArray[Any], threshold: float) -> Pixels:
    """Return 255 above a threshold and 0 elsewhere; np.where takes ten times as long."""
    return np.asarray(cv2.threshold(levels, threshold, 255, cv2.THRESH_BINARY)[1], np.uint8)


def _narrow(grey: NDArray[Any], low: int, high: int) -> tuple[NDArray[Any], int]:
    """Bring levels to uint8 or uint16, which OpenCV's filters know; return what was subtracted as well."""
    if grey.dtype != np.int32:
        return grey, 0
    if high - low >= _SIXTEEN_BITS:
        raise ImageError(f"has levels from {low} to {high}: save it as 8-bit grey")
    return (grey - low).astype(np.uint16), low


def _fold_ringing(grey: NDArray[Any]) -> NDArray[Any]:
    """Bring what lies close to the lowest or highest level to it."""
    low, high = grey.min(), grey.max()
    reach = (float(high) - float(low)) * _RINGING
    return np.where(grey <= low + reach, low, np.where(grey >= high - reach, high, grey))


def _region_levels(levels: NDArray[Any]) -> list[int]:
    """Return the levels that cover regions, ascending; where there are two levels, both, whatever they cover.

    An antialiased edge changes from pixel to pixel, so that a pixel equal to its eight neighbours lies in a region.
    """
    low, high = levels.min(), levels.max()
    if ((levels == low) | (levels == high)).all():
        return [int(low), int(high)]
    settled = cv2.compare(cv2.erode(levels, _WINDOW), cv2.dilate(levels, _WINDOW), cv2.CMP_EQ)
    depth = np.iinfo(levels.dtype).max + 1
    counts = cv2.calcHist([levels], [0], settled, [depth], [0, depth]).ravel()
    return np.flatnonzero(counts > _REGION_SHARE * levels.size).tolist()


def _enumerate(levels: list[int]) -> str:
    named = ", ".join(str(level) for level in levels[:_NAMED_LEVELS])
    return named if len(levels) <= _NAMED_LEVELS else f"{named}, ..."
