"""Tells which voxels of a CT mask are lung.

>>> lung = find_lung(mask, labels=None)
>>> lung.inside(mask.slice(0))  # bool [height, width]
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.labels import OUTSIDE, Labels, choose_labels, is_any_of
from pipeline.ingest.formats.volume import Volume

_WHOLE: Final = 1e-3  # from a whole number, as far as floating point and scaling move a label
_LARGEST: Final = 2**31
_MOST_VALUES: Final = 2**16

# A soft mask of one structure has an inside at one level, a thin edge, and nothing outside. Of a ball of 9 voxels'
# radius, blurred by sigma 1, 58 % more lies at the upper level than in the edge. Maps of distance rise all the way.
_BINS: Final = 1024
_MODE: Final = 33  # bins in which the upper level is looked for
_NEAR: Final = 1 / 8  # of the upper level
_EDGE: Final = (1 / 4, 3 / 4)  # of the upper level
_OVERSHOOT: Final = 1 / 2  # of splines and Lanczos, of the highest value
_LEAST_AT_LEVEL: Final = 1 / 200  # of what is above 0: a stray voxel makes no level
# Edges change from voxel to voxel: where a part stays between or above the levels, it has a label of its own.
_EVEN: Final = 1 / 1000
_FAINTEST: Final = 1 / 16
_REGION_SHARE: Final = 2e-5
_FEWEST_OF_SOFT: Final = 16  # whole numbers; label maps of so many differ in their regions
_WINDOW: Final = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class LungValues:
    """The values of a mask that are lung.

    Attributes:
        labels: Whole numbers; empty where a threshold decides.
        threshold: Above which lung is.
    """

    labels: tuple[int, ...] = ()
    threshold: float = 0.0

    def inside(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell where lung is."""
        return is_any_of(values, self.labels) if self.labels else np.asarray(values > self.threshold)


@dataclass(frozen=True)
class _Survey:
    """What values a mask has: their range, one that is no whole number, and how many there are of each otherwise."""

    low: float
    high: float
    fraction: float | None
    counts: Counter[int]


def find_lung(mask: Volume, labels: Labels | None) -> LungValues:
    """Find out which values are lung: chosen labels, the one label, 1 and 2, or a soft mask's upper half.

    Args:
        mask: Label map or soft mask.
        labels: Those chosen; None where none are.

    Raises:
        ImageError: Values are no mask's, or the choice among the labels is left open.
    """
    survey = _survey(mask)
    if survey.low < -_OVERSHOOT * max(survey.high, 0):
        raise ImageError(f"has values below 0, down to {survey.low:.6g}: outside the lungs, a mask must be 0")
    if labels is None and _may_be_soft(survey):
        threshold = _find_middle(mask, survey.high)
        if threshold is not None:
            return LungValues(threshold=threshold)
        if survey.fraction is not None:
            raise ImageError(
                f"is no mask: its values run from {survey.low:.4g} to {survey.high:.4g} "
                "and do not gather at 0 and one other level"
            )
    if survey.fraction is not None:
        raise ImageError(f"is no label map, of which --labels could choose: it has the value {survey.fraction:.4g}")
    return LungValues(choose_labels(survey.counts, labels, "volume"))


def _survey(mask: Volume) -> _Survey:
    low, high, fraction = np.inf, -np.inf, None
    counts: Counter[int] = Counter()
    for values in _slices(mask):
        if not np.isfinite(values).all():
            raise ImageError("has voxels that are no numbers (NaN or infinite): outside the lungs, a mask must be 0")
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        if max(-low, high) >= _LARGEST:
            raise ImageError(f"is no mask: it has the value {low if -low > high else high:.4g}")
        whole = np.rint(values)
        if fraction is None and values.dtype.kind == "f":
            fraction = next(iter(values[np.abs(values - whole) > _WHOLE].tolist()), None)
        if fraction is None:
            counts.update(_count(whole.astype(np.int64)))
            if len(counts) > _MOST_VALUES:
                raise ImageError(f"is no mask: it has more than {_MOST_VALUES} values")
    if fraction is None and 0 < high < 0.5:  # all of it would be rounded off
        fraction = high
    return _Survey(low, high, fraction, counts)


def _slices(mask: Volume) -> Iterator[NDArray[Any]]:
    return (mask.slice(index) for index in range(mask.slice_count))


def _count(values: NDArray[np.int64]) -> dict[int, int]:
    low, high = int(values.min()), int(values.max())
    if high - low < _MOST_VALUES:
        numbers = np.bincount((values - low).ravel())
        return {low + int(index): int(numbers[index]) for index in np.flatnonzero(numbers)}
    distinct, numbers = np.unique(values, return_counts=True)
    return dict(zip(distinct.tolist(), numbers.tolist(), strict=True))


def _may_be_soft(survey: _Survey) -> bool:
    return survey.fraction is not None or len(survey.counts) > _FEWEST_OF_SOFT


def _find_middle(mask: Volume, highest: float) -> float | None:
    """Return half of the upper level of a soft mask of one structure; None where it is none."""
    histogram, positive = np.zeros(_BINS), 0
    for values in _slices(mask):
        histogram += np.histogram((values / highest).clip(0, 1), _BINS, (0, 1))[0]
        positive += int(np.count_nonzero(values > OUTSIDE))
    centers = (np.arange(_BINS) + 0.5) / _BINS
    upper = np.where(centers > 0.5, histogram, 0)
    window = np.abs(np.arange(_BINS) - np.convolve(upper, np.ones(_MODE), "same").argmax()) <= _MODE // 2
    level = float(np.average(centers[window], weights=upper[window]))
    faint, solid = (share * level for share in _EDGE)
    outside, inside = histogram[centers <= faint].sum(), histogram[centers >= solid].sum()
    if not outside:
        raise ImageError("covers the whole volume")
    at_level = histogram[np.abs(centers - level) <= _NEAR * level].sum()
    edge = histogram.sum() - inside - outside
    if inside <= edge or at_level < inside / 2 or inside < _LEAST_AT_LEVEL * positive:
        return None
    is_of_regions = _count_even(mask, level * highest) > _REGION_SHARE * histogram.sum()
    return None if is_of_regions else level * highest / 2


def _count_even(mask: Volume, level: float) -> int:
    """Count the voxels that equal their neighbours, in their slice and the one before, away from the levels."""
    number = 0
    before: NDArray[Any] | None = None
    for values in _slices(mask):
        plane = np.ascontiguousarray(values / level, np.float32)
        if before is not None:
            even = cv2.dilate(plane, _WINDOW) - cv2.erode(plane, _WINDOW) < _EVEN
            even &= np.abs(plane - before) < _EVEN
            even &= (plane > _FAINTEST) & (np.abs(plane - 1) > 1 - _EDGE[1])
            number += int(np.count_nonzero(even))
        before = plane
    return number
