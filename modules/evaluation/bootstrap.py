"""Statistics of a slice's images with intervals, as an accumulator that Beam merges in any order and grouping.

    >>> accumulator = BootstrapAccumulator().add("patient", "image", values).merge(others)
    >>> accumulator.estimate(resamples=1000, confidence=0.95)["candidate"]["dice_mean"]
    Estimate(value=0.957, low=0.951, high=0.963)

Intervals are those of the percentile bootstrap (Efron, 1979) over patients: images of one patient resemble each other,
so patients are drawn, each with all images. Two models, or an image and its copy, are compared on the same draws.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modules.evaluation.measures import COLUMNS, POOLED, STATISTICS, Statistic
from schema.reports.estimate import Effect, Estimate

Floats = NDArray[np.float64]

CANDIDATE: Final = "candidate"
BASELINE: Final = "baseline"
DIFFERENCE: Final = "difference"

_AT_A_TIME = 1 << 17
"""Weights of draws; bounds the memory."""
_FIRST = 16
"""Images that there is room for at first."""
_SEED = 20


Estimates = dict[str, dict[str, Estimate]]
"""By `CANDIDATE`, `BASELINE` (where there is one) and `DIFFERENCE`, candidate minus baseline; then by statistic."""


class BootstrapAccumulator:
    """What was measured on some images; to merge is to put together. Holds 160 bytes an image, with a baseline 304."""

    def __init__(self) -> None:
        """Begin without images."""
        self._keys = np.empty((0, 2), np.uint64)
        self._values = np.empty((0, 2, len(COLUMNS)), np.float32)
        self._count = 0

    def add(self, patient: str, image: str, values: Floats) -> "BootstrapAccumulator":
        """Add one image, in place.

        Args:
            patient: Whom it shows.
            image: Its name, unique.
            values: float64 [2 or 4, len(COLUMNS)]: of the candidate and, of all images or of none, the baseline; then
                by how much each is worse than on the original, NaN where there is none. Kept in single precision.
        """
        if self._count == len(self._keys):
            room = 2 * self._count or _FIRST
            self._keys = _resized(self._keys, room)
            self._values = _resized(self._values.reshape(-1, *values.shape), room)
        self._keys[self._count] = _hash(patient), _hash(image)
        self._values[self._count] = values
        self._count += 1
        return self

    def merge(self, *others: "BootstrapAccumulator") -> "BootstrapAccumulator":
        """Add the images of others, in place."""
        parts = [part.compact() for part in (self, *others) if len(part)]
        if parts:
            self._keys = np.concatenate([part._keys for part in parts])
            self._values = np.concatenate([part._values for part in parts])
            self._count = len(self._keys)
        return self

    def compact(self) -> "BootstrapAccumulator":
        """Give back, in place, the room that is kept for more images."""
        self._keys, self._values = _resized(self._keys, self._count), _resized(self._values, self._count)
        return self

    def __len__(self) -> int:
        """Return the number of images."""
        return self._count

    @property
    def patients(self) -> int:
        """The number of patients."""
        return len(np.unique(self._keys[: self._count, 0]))

    def estimate(self, resamples: int, confidence: float) -> Estimates:
        """Estimate all statistics; the order in which images came does not matter.

        Args:
            resamples: How many times patients are drawn.
            confidence: Of the intervals, such as 0.95.
        """
        keys = self._keys[: self._count]
        order = np.lexsort(keys.T[::-1])
        values = self._values[order].astype(np.float64)
        _, patients = np.unique(keys[order, 0], return_inverse=True)
        point = _compare(values, np.ones((1, len(values))))
        drawn = [
            _compare(values, weights) for weights in draw_patients(patients, resamples if self.patients > 1 else 0)
        ]
        tail = (1 - confidence) / 2
        return {
            model: {
                name: make_estimate(value[0], [draw[model][name] for draw in drawn], tail)
                for name, value in of_model.items()
            }
            for model, of_model in point.items()
        }


def _resized(array: NDArray[Any], length: int) -> NDArray[Any]:
    resized = np.empty((length, *array.shape[1:]), array.dtype)
    kept = min(length, len(array))
    resized[:kept] = array[:kept]
    return resized


def _hash(name: str) -> int:
    """Hash to 64 bits: two of a million names collide with a chance of 3 in 100 million."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def make_estimate(value: float, drawn: Sequence[Floats], tail: float) -> Estimate:
    """Return a statistic with the interval that draws of patients give it.

    Args:
        value: Of all images; NaN where it has none.
        drawn: Of the draws, in any number of pieces; NaN where a draw has none.
        tail: Share of the draws that lies beyond either end.
    """
    values = np.concatenate(drawn) if drawn else np.empty(0)
    values = values[~np.isnan(values)]  # draws without a single copy know no drop
    if np.isnan(value):
        return Estimate(value=None)
    if not values.size:
        return Estimate(value=float(value))
    low, high = np.quantile(values, (tail, 1 - tail))
    return Estimate(value=float(value), low=float(low), high=float(high))


def draw_patients(patients: NDArray[np.intp], resamples: int) -> Iterable[Floats]:
    """Draw patients with replacement, each with all images.

    Args:
        patients: Number of each image's patient, from 0.
        resamples: How many draws.

    Yields:
        How often each image is in each of some draws, float64 [draws, images]; the same for the same arguments.
    """
    random = np.random.default_rng(_SEED)
    count = patients.max(initial=-1) + 1
    at_a_time = max(1, _AT_A_TIME // max(1, len(patients)))
    for start in range(0, resamples, at_a_time):
        draws = min(at_a_time, resamples - start)
        drawn = random.integers(0, count, (draws, count)) + count * np.arange(draws)[:, np.newaxis]
        yield np.bincount(drawn.ravel(), minlength=draws * count).reshape(draws, count)[:, patients].astype(float)


def tell_effect(statistic: str, difference: Estimate | None) -> Effect:
    """Tell what a difference, one model minus another, means for the first.

    Args:
        statistic: Its name in `STATISTICS`.
        difference: With its interval; None where nothing was compared.
    """
    if difference is None or difference.value is None or difference.interval is None:
        return "not known"
    low, high = difference.interval
    if low <= 0 <= high:
        return "no difference can be told"
    return "worse" if (difference.value > 0) == STATISTICS[statistic].lower_is_better else "better"


def _compare(values: Floats, weights: Floats) -> dict[str, dict[str, Floats]]:
    models = values.shape[1] // 2
    candidate, *baselines = [
        take_statistics(STATISTICS, values[:, row], weights, drops=values[:, models + row]) for row in range(models)
    ]
    if not baselines:
        return {CANDIDATE: candidate}
    (baseline,) = baselines
    difference = {name: value - baseline[name] for name, value in candidate.items()}
    return {CANDIDATE: candidate, BASELINE: baseline, DIFFERENCE: difference}


def take_statistics(
    names: Iterable[str], values: Floats, weights: Floats, *, drops: Floats | None = None
) -> dict[str, Floats]:
    """Take statistics of images, each of which counts as often as its weight says.

    Args:
        names: In `STATISTICS`.
        values: float64 [images, len(COLUMNS)].
        weights: float64 [draws, images], whole numbers.
        drops: By how much each image is worse than its original, as `values`; needed for drops alone.

    Returns:
        float64 [draws] by name.
    """
    means = _means(values, weights)
    mean_drops = None if drops is None else _means(drops, weights)
    named: dict[str, Floats] = {}
    for name in names:
        statistic = STATISTICS[name]
        column = COLUMNS.index(statistic.measure)
        if statistic.kind == "mean":
            named[name] = means[:, column]
        elif statistic.kind == "quantile":
            named[name] = _quantile(values[:, column], weights, statistic)
        elif statistic.kind == "pooled":
            positives, *wrong = (means[:, COLUMNS.index(pixels)] for pixels in POOLED)
            outside = sum(wrong)
            named[name] = np.where(positives + outside == 0, 1, _divide(2 * positives, 2 * positives + outside))
        elif mean_drops is None:
            raise ValueError(f"{name} needs drops")
        else:
            named[name] = mean_drops[:, column]
    return named


def _means(values: Floats, weights: Floats) -> Floats:
    known = ~np.isnan(values)
    return _divide(weights @ np.where(known, values, 0), weights @ known)


def _quantile(values: Floats, weights: Floats, statistic: Statistic) -> Floats:
    """Return what `np.quantile` would give for the values, each repeated as often as its weight says."""
    if not values.size:
        return np.full(len(weights), np.nan)
    order = np.argsort(values)
    up_to = weights[:, order].cumsum(axis=1)
    place = statistic.quantile * (up_to[:, -1] - 1)
    below, above = (
        values[order][np.argmax(up_to > edge[:, np.newaxis], axis=1)] for edge in (np.floor(place), np.ceil(place))
    )
    return np.asarray(below + (above - below) * (place - np.floor(place)))


def _divide(dividend: Any, divisor: Any) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.divide(dividend, divisor), np.float64)
