"""Decodes lung masks, whatever two levels they were saved with."""

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.ingest.formats.base import EmptyMaskError, ImageError
from pipeline.ingest.formats.labels import Labels, decode_labels, enumerate_labels
from pipeline.ingest.formats.raster import FORMATS, decode_grey
from pipeline.ingest.formats.regions import merged_colours, outermost, region_levels
from schema.record import Pixels

# What JPEG, blurring and resampling leave between the two levels of a mask are edges. A radiograph lies between them
# nearly everywhere; one that was cut out along the lungs does in most of the lungs.
_MOST_BETWEEN: Final = 0.2
_LEAST_SETTLED: Final = 0.5
_NEAR: Final = 1 / 8
# JPEG rings around edges: at quality 30 to 95 flat parts stray by less than 8 of 255. Twice that.
_RINGING: Final = 1 / 16
_LEAST_SPAN: Final = 16  # of levels; at quality 50 JPEG makes one of 1 and 2
_BINS: Final = 64
_LEAST_FILLED: Final = 1 / 8
_MOST_OF_EDGES: Final = 1 / 3
_HALF_OPAQUE: Final = 127
_MOST_DIFFERENT: Final = 0.01
# Of 643 hand-drawn masks none touches more than 16 % of the border, and no lung more than 38 % of the border of its
# bounding box. Inverted and framed in black, all are white along at least 78 % of theirs, and black in at least 8 %.
_MOST_OF_BORDER: Final = 0.5
_MOST_FILLED: Final = 0.95  # a block, which is white along its border as well, has no black in it
_SHAPE_SIDE: Final = 512  # pixels that are enough to tell shapes by
_FORMATS: Final = (*FORMATS, "GIF")
_SIXTEEN_BITS: Final = 2**16


def decode_mask(data: bytes, labels: Labels | None = None) -> Pixels:
    """Decode a mask of two levels from a PNG, JPEG, TIFF or GIF: the lower is outside, the higher is lung.

    Any two levels do (0 and 1, 0 and 255, 1 and 2); levels between them are antialiased edges and are cut half-way.

    Args:
        data: The whole file.
        labels: Levels or palette entries that are lung, in a map of labels; None for a mask of two levels.

    Returns:
        uint8 [height, width], 255 inside the lungs and 0 outside, with pixels of both.

    Raises:
        ImageError: The file cannot be decoded, holds no lung or nothing but lung, or is a map of several labels.
    """
    grey = decode_grey(data, _FORMATS)
    if labels is not None:
        return decode_labels(grey, labels)
    low, high = int(grey.values.min()), int(grey.values.max())
    if low == high and grey.alpha is not None:
        raise ImageError("has nothing but transparency to tell lungs by: save them as grey levels without alpha")
    if low == high:
        raise ImageError("covers the whole image") if high else EmptyMaskError("is empty")
    if grey.is_lossy and high - low < _LEAST_SPAN:
        raise ImageError(f"has levels from {low} to {high}, which JPEG does not keep apart: save the original as PNG")
    if grey.picture is not None:
        _refuse_colours(grey.picture)
    levels, offset = _narrow(grey.values, low, high)
    if grey.is_lossy:
        levels = _fold_ringing(levels)
    lowest, highest = low - offset, high - offset
    if cv2.countNonZero(cv2.inRange(levels, lowest + 1, highest - 1)):  # NumPy takes eight times as long
        lowest, highest = _find_two_levels(levels, offset)
    mask = binarize(levels, (lowest + highest) / 2)
    _refuse_ambiguous(mask, grey.alpha)
    return mask


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


def _refuse_colours(picture: Image.Image) -> None:
    """Raise ImageError where labels are told apart by their colours only, which grey levels would join."""
    rgb = np.asarray(picture.convert("RGBA").convert("RGB"))  # the way that Pillow does not warn about
    if merged := merged_colours(rgb):
        named = " and ".join(str(tuple(colour)) for colour in merged)
        raise ImageError(
            f"is a label map of colours that are alike as grey levels (about {named}): save it as grey levels, "
            "and name those that are lung with --labels"
        )


def _find_two_levels(levels: NDArray[Any], offset: int) -> tuple[int, int]:
    """Return the level outside the lungs and that inside, of a mask that has others between them.

    Args:
        levels: Levels, less `offset`.
        offset: What to add where levels are named.

    Raises:
        ImageError: It is a map of several labels, or no mask at all.
    """
    regions = region_levels(levels)
    if len(regions) > 2 and not _has_soft_edges(levels):
        named = enumerate_labels([level + offset for level in regions])
        raise ImageError(f"is a label map of {len(regions)} levels ({named}): name those that are lung with --labels")
    # A stray pixel outside the regions does not move the threshold.
    low, high = (regions[0], regions[-1]) if len(regions) >= 2 else (int(levels.min()), int(levels.max()))
    _refuse_picture(levels, low, high, offset)
    return low, high


def _has_soft_edges(levels: NDArray[Any]) -> bool:
    """Tell whether what lies between the lowest and the highest level is edges, however wide, and no further label.

    Edges run through all levels alike; labels are a few.
    """
    counts, _ = np.histogram(levels, _BINS)
    between = counts[1:-1]
    if np.count_nonzero(between) < len(between) * _LEAST_FILLED:
        return False
    middle = between[len(between) // 8 : -(len(between) // 8)]  # blurred edges have most pixels near their ends
    return bool(middle.max() < _MOST_OF_EDGES * middle.sum())


def _refuse_picture(levels: NDArray[Any], low: int, high: int, offset: int) -> None:
    """Raise ImageError where more pixels lie between the two levels than edges have."""
    reach = (high - low) * _NEAR
    settled_low, settled_high = _share_near(levels, low, reach), _share_near(levels, high, reach)
    between = 1 - settled_low - settled_high
    low, high = low + offset, high + offset
    if between > _MOST_BETWEEN:
        raise ImageError(f"is no mask: {between:.0%} of its pixels are near neither of two levels ({low} and {high})")
    if settled_high < _LEAST_SETTLED * (1 - settled_low):
        raise ImageError(
            f"is no mask: of its pixels above {low}, {between / (1 - settled_low):.0%} are not near the highest, {high}"
        )


def _share_near(levels: NDArray[Any], level: int, reach: float) -> float:
    return cv2.countNonZero(cv2.inRange(levels, level - reach, level + reach)) / levels.size


def _refuse_ambiguous(mask: Pixels, alpha: NDArray[np.uint8] | None) -> None:
    """Raise ImageError where opacity tells another story than the grey levels, or the lungs are what is black."""
    if alpha is not None and ((alpha > _HALF_OPAQUE) != (mask > 0)).mean() > _MOST_DIFFERENT:
        raise ImageError("is transparent in places, in another shape than its grey levels have: save it without alpha")
    if (share := _share_of_border(mask)) > _MOST_OF_BORDER:
        raise ImageError(f"is white along {share:.0%} of its border, which lungs are not: invert it if they are black")
    framed = _crop_to_largest(mask)
    if (share := _share_of_border(framed)) > _MOST_OF_BORDER and (framed > 0).mean() < _MOST_FILLED:
        raise ImageError(
            f"is white along {share:.0%} of its border within black margins, which lungs are not: "
            "cut the margins off, and invert it if the lungs are black"
        )


def _share_of_border(mask: Pixels) -> float:
    """Return the share of the outermost pixels that are white."""
    return float((outermost(mask) > 0).mean())


def _crop_to_largest(mask: Pixels) -> Pixels:
    """Return the bounding box of the largest white shape, at a size that costs little."""
    step = max(1, max(mask.shape) // _SHAPE_SIDE)
    small = np.ascontiguousarray(mask[::step, ::step])
    _, _, shapes, _ = cv2.connectedComponentsWithStats(small)
    if len(shapes) == 1:  # of nothing but what is thinner than a step
        return mask
    left, top, width, height, _ = max(shapes[1:], key=lambda shape: shape[cv2.CC_STAT_AREA])
    return small[top : top + height, left : left + width]


def _fold_ringing(grey: NDArray[Any]) -> NDArray[Any]:
    """Bring what lies close to the lowest or highest level to it."""
    low, high = grey.min(), grey.max()
    reach = (float(high) - float(low)) * _RINGING
    return np.where(grey <= low + reach, low, np.where(grey >= high - reach, high, grey))
