"""Statistics of a slice's images with intervals, as an accumulator that Beam merges in any order and grouping.

    >>> images = Images.empty().add("patient", "image", values).merge(others)
    >>> images.estimate(resamples=1000, confidence=0.95)["candidate"]["dice_mean"]
    Estimate(value=0.957, low=0.951, high=0.963)

Intervals are those of the percentile bootstrap (Efron, 1979) over patients: images of one patient resemble each other,
so patients are drawn, each with all images. Two models, or an image and its copy, are compared on the same draws.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from modules.measures import COLUMNS, MEASURES, POOLED, STATISTICS, Statistic

Floats = NDArray[np.float64]

CANDIDATE: Final = "candidate"
BASELINE: Final = "baseline"
DIFFERENCE: Final = "difference"

ROWS: Final = 4
"""Of an image's values: what candidate and baseline measure, and by how much each is worse than on its original."""

_AT_A_TIME = 100
"""Draws; bounds the memory."""
_SEED = 20


class Estimate(BaseModel):
    """A statistic and its interval; None where there is nothing to take it of, or only one patient."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends, if there are."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def negated(self) -> "Estimate":
        """Of the statistic with the other sign."""
        value, low, high = (None if one is None else -one for one in (self.value, self.high, self.low))
        return Estimate(value=value, low=low, high=high)


Estimates = dict[str, dict[str, Estimate]]
"""By `CANDIDATE`, `BASELINE` (where there is one) and `DIFFERENCE`, candidate minus baseline; then by statistic."""


class Images(NamedTuple):
    """What was measured on some images; to merge is to put together.

    Attributes:
        names: patient and image, unique.
        values: of each image float64 [ROWS, len(COLUMNS)]: candidate, baseline, the candidate's drop from the original
            and the baseline's; NaN where there is none.
    """

    names: list[tuple[str, str]]
    values: list[Floats]

    @classmethod
    def empty(cls) -> "Images":
        """No images."""
        return cls([], [])

    def add(self, patient: str, image: str, values: Floats) -> "Images":
        """Adds one image, in place."""
        self.names.append((patient, image))
        self.values.append(values)
        return self

    def merge(self, *others: "Images") -> "Images":
        """Adds the images of others, in place."""
        for other in others:
            self.names.extend(other.names)
            self.values.extend(other.values)
        return self

    @property
    def patients(self) -> int:
        """How many there are."""
        return len({patient for patient, _ in self.names})

    def estimate(self, resamples: int, confidence: float) -> Estimates:
        """Takes all statistics; the order in which images came does not matter.

        Args:
            resamples: how many times patients are drawn.
            confidence: of the intervals, such as 0.95.
        """
        order = sorted(range(len(self.names)), key=self.names.__getitem__)
        values = np.stack([self.values[index] for index in order]) if order else np.empty((0, ROWS, len(COLUMNS)))
        _, patients = np.unique([self.names[index][0] for index in order], return_inverse=True)
        point = _compare(values, np.ones((1, len(order))))
        drawn = [_compare(values, weights) for weights in _draws(patients, resamples if self.patients > 1 else 0)]
        tail = (1 - confidence) / 2
        return {
            model: {
                name: _estimate(value[0], [one[model][name] for one in drawn], tail) for name, value in of_model.items()
            }
            for model, of_model in point.items()
        }


def _estimate(value: float, drawn: list[Floats], tail: float) -> Estimate:
    values = np.concatenate(drawn) if drawn else np.empty(0)
    values = values[~np.isnan(values)]  # draws without a single copy know no drop
    if np.isnan(value):
        return Estimate(value=None)
    if not values.size:
        return Estimate(value=float(value))
    low, high = np.quantile(values, (tail, 1 - tail))
    return Estimate(value=float(value), low=float(low), high=float(high))


def _draws(patients: NDArray[np.intp], resamples: int) -> Iterable[Floats]:
    """How often each image is in each draw, float64 [draws, images]."""
    random = np.random.default_rng(_SEED)
    count = patients.max(initial=-1) + 1
    for start in range(0, resamples, _AT_A_TIME):
        draws = min(_AT_A_TIME, resamples - start)
        drawn = random.integers(0, count, (draws, count)) + count * np.arange(draws)[:, np.newaxis]
        yield np.bincount(drawn.ravel(), minlength=draws * count).reshape(draws, count)[:, patients].astype(float)


def _compare(values: Floats, weights: Floats) -> dict[str, dict[str, Floats]]:
    candidate = _statistics(values[:, 0], values[:, 2], weights)
    if np.isnan(values[:, 1]).all():
        return {CANDIDATE: candidate}
    baseline = _statistics(values[:, 1], values[:, 3], weights)
    difference = {name: value - baseline[name] for name, value in candidate.items()}
    return {CANDIDATE: candidate, BASELINE: baseline, DIFFERENCE: difference}


def _statistics(values: Floats, drops: Floats, weights: Floats) -> dict[str, Floats]:
    """Each statistic, [draws], of values and drops [images, columns] and weights [draws, images]."""
    means, mean_drops = _means(values, weights), _means(drops, weights)
    named: dict[str, Floats] = {}
    for name, statistic in STATISTICS.items():
        column = COLUMNS.index(statistic.measure)
        if statistic.kind == "mean":
            named[name] = means[:, column]
        elif statistic.kind == "drop":
            named[name] = mean_drops[:, column]
        elif statistic.kind == "quantile":
            named[name] = _quantile(values[:, column], weights, statistic)
        else:
            positives, *wrong = (means[:, COLUMNS.index(pixels)] for pixels in POOLED)
            outside = sum(wrong)
            named[name] = np.where(positives + outside == 0, 1, _divide(2 * positives, 2 * positives + outside))
    return named


def _means(values: Floats, weights: Floats) -> Floats:
    known = ~np.isnan(values[:, : len(MEASURES)]).any(axis=1)
    weights = weights[:, known]
    return _divide(weights @ values[known], weights.sum(axis=1, keepdims=True))


def _quantile(values: Floats, weights: Floats, statistic: Statistic) -> Floats:
    """What `np.quantile` would give for the values, each repeated as often as its weight says."""
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
