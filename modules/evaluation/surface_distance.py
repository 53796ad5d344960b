"""Distances between the outlines of two masks, in pixels, and what is made of them.

    >>> distances = surface_distances(truth, prediction)
    >>> hausdorff_95(distances), average_surface_distance(distances), surface_dice(distances, tolerance=2)

An outline is made of the mask's pixels that touch a pixel outside it by a side; the border of the image is outside.
If both masks are empty, no outline is wrong: distances are 0 and the surface Dice is 1. If only one is, nothing of it
can be matched: distances are the diagonal of the image, which no real distance exceeds, and the surface Dice is 0. So
no image drops out of a mean, and a missed lung costs more than a bad one.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from schema.record import Pixels

_SIDES = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))

Distances = NDArray[np.float32]


class SurfaceDistances(NamedTuple):
    """For each pixel of one outline the distance to the nearest of the other, float32 [pixels], both ways."""

    from_truth: Distances
    from_prediction: Distances


def surface_distances(truth: Pixels, prediction: Pixels) -> SurfaceDistances:
    """Measure from outline to outline.

    Args:
        truth: uint8 [height, width], not 0 inside.
        prediction: of the same shape.

    Returns:
        Euclidean distances in pixels; with one value, 0 or the image's diagonal, where a mask is empty.
    """
    if not truth.any() or not prediction.any():
        missed = 0.0 if truth.any() == prediction.any() else math.hypot(*truth.shape)
        only = np.array([missed], np.float32)
        return SurfaceDistances(only, only)
    window = _window(truth | prediction)
    true_outline, predicted_outline = _outline(truth[window]), _outline(prediction[window])
    return SurfaceDistances(
        from_truth=_distance_to(predicted_outline)[true_outline > 0],
        from_prediction=_distance_to(true_outline)[predicted_outline > 0],
    )


def hausdorff_95(distances: SurfaceDistances) -> float:
    """Return the larger of the two 95th percentiles, pixels; Huttenlocher et al. (1993) made robust, as in MONAI."""
    return float(max(np.percentile(one_way, 95) for one_way in distances))


def average_surface_distance(distances: SurfaceDistances) -> float:
    """Return the mean over the pixels of both outlines, pixels; the symmetric distance of Heimann et al. (2009)."""
    return float(np.concatenate(distances).mean())


def surface_dice(distances: SurfaceDistances, tolerance: float) -> float:
    """Return the share of the pixels of both outlines that lie within `tolerance` pixels of the other outline.

    Each pixel counts once: the normalised surface Dice as MONAI computes it without sub-voxels. Nikolov et al. (2018),
    arXiv 1809.04430, who defined it, weigh each piece of a surface by its area.
    """
    return float((np.concatenate(distances) <= tolerance).mean())


def _window(mask: Pixels) -> tuple[slice, slice]:
    """Return the box around a mask that is not empty: no distance depends on what lies outside of it."""
    x, y, width, height = cv2.boundingRect(mask)
    return slice(y, y + height), slice(x, x + width)


def _outline(mask: Pixels) -> Pixels:
    inside = (mask > 0).astype(np.uint8)
    eroded = cv2.erode(inside, _SIDES, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(inside - eroded, np.uint8)


def _distance_to(outline: Pixels) -> Distances:
    distances = cv2.distanceTransform(1 - outline, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Their last bits depend on where the array lies in memory; their squares are whole numbers, which float32 still
    # tells apart at 2,000 pixels.
    return np.sqrt(np.rint(np.square(distances, dtype=np.float64))).astype(np.float32)
