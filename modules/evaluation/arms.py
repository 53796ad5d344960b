"""Compares the arms of a study with the first one, on images that the models of all seeds were measured on.

    >>> reference, wide = compare_arms(("chest", "wide"), values, patients, resamples=1000, confidence=0.95)
    >>> wide.differences["dice_mean"].effect
    'better'

A difference may be due to the patients that happen to be in the test set, or to the seeds that the arms happened to be
trained with. The two are crossed, since each seed's model measures all patients. So they are drawn with replacement
independently of each other, patients the same for all arms, seeds for each arm by itself (a bootstrap over two crossed
factors: Owen, 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1; for data in levels Davison and Hinkley,
1997, "Bootstrap methods and their application", section 3.8), and the deviations that both make are added.

Two or three seeds are the rule, and so few drawn with replacement scatter too little. Deviations are stretched by
sqrt(n / (n - 1)) therefore, and by sqrt(f / chi2(f)), drawn anew each time, which gives an interval of few seeds the
tails of Student's t with f degrees of freedom.

Intervals hold for all arms at once: their half width is the standard error times a critical value, the quantile of the
largest studentized deviation of any arm (single-step max-T: Westfall and Young, 1993, "Resampling-based multiple
testing"; for arms with one reference Dunnett, 1955, JASA 50). Outcomes and slices are not corrected for.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modules.evaluation.bootstrap import Floats, draw_patients, make_estimate, take_statistics, tell_effect
from schema.reports.estimate import Estimate
from schema.reports.study import ArmDifference, ArmSlice, Needed, Variances

OUTCOMES: Final = ("dice_mean", "dice_p5", "hd95", "nsd", "lung_area_error", "brier")
"""The statistics that arms are compared by."""
SIZES: Final = (0.002, 0.005, 0.01)
"""Differences of mean Dice for which it is said what it would take to tell them."""
POWER: Final = 0.8
"""How often a difference of that size would then be told."""

_SEED: Final = 21


class _Spread(NamedTuple):
    """How far chance moves the differences of the arms to the reference.

    Attributes:
        variances: Of each difference.
        error: Standard errors, float64 [arms - 1].
        critical: How many standard errors the intervals reach to either side.
    """

    variances: list[Variances]
    error: Floats
    critical: float


def compare_arms(
    arms: Sequence[str], values: Floats, patients: NDArray[np.intp], resamples: int, confidence: float
) -> list[ArmSlice]:
    """Compare arms on the images of a slice.

    Args:
        arms: Their names, the reference first.
        values: float64 [arms, seeds, models, images, len(COLUMNS)]; a seed has several models where each fold's
            measures all images, and its statistic is then their mean. Pooled pixels need not be known, nor what is not
            measured on a part of an image; of a statistic that an arm lacks, no difference is.
        patients: Number of each image's patient, from 0.
        resamples: How many times patients and seeds are drawn.
        confidence: Of the intervals, such as 0.95: of differences over patients and seeds, for all arms at once; of the
            arms' own figures over patients alone.
    """
    point = _of_seeds(values, np.ones((1, len(patients))))
    count = int(patients.max(initial=-1)) + 1
    drawn = [_of_seeds(values, weights) for weights in draw_patients(patients, resamples if count > 1 else 0)]
    slices = [ArmSlice(arm=arm, metrics={}, by_seed={}, differences={}) for arm in arms]
    for name in OUTCOMES:
        by_seed = point[name][..., 0]
        draws = np.concatenate([draw[name] for draw in drawn], axis=-1) if drawn else np.empty((*by_seed.shape, 0))
        for arm, slice_ in enumerate(slices):
            slice_.metrics[name] = make_estimate(by_seed[arm].mean(), [draws[arm].mean(axis=0)], (1 - confidence) / 2)
            slice_.by_seed[name] = [None if math.isnan(value) else value for value in by_seed[arm].tolist()]
        for slice_, difference in zip(slices[1:], _differences(name, by_seed, draws, count, confidence), strict=True):
            slice_.differences[name] = difference
    return slices


def needed(size: float, patients: int, seeds: int, variances: Variances, critical: float) -> Needed:
    """Say what it would take to tell a difference of a mean.

    The variance of a difference is patient / patients + seed / seeds + both / (patients * seeds), as of crossed random
    effects (Searle, Casella and McCulloch, 1992, "Variance components"). It must not be more than
    (size / (critical + z(power)))^2 (Chow, Shao, Wang and Lokhnygina, 2017, "Sample size calculations in clinical
    research", chapter 3).

    Args:
        size: Above 0, in the unit of the statistic.
        patients: How many there are.
        seeds: How many each arm was trained with.
        variances: Of the difference.
        critical: How many standard errors the interval reaches to either side; of few seeds it is wide, so that fewer
            than are said may do.
    """
    bearable = (size / (critical + NormalDist().inv_cdf(POWER))) ** 2

    def enough(variance: float, other: float) -> int | None:
        return max(1, math.ceil(variance / (bearable - other))) if bearable > other else None

    of_patient, of_seed, of_both = variances.patient, variances.seed or 0.0, variances.both or 0.0
    return Needed(
        difference=size,
        patients=enough(of_patient + of_both / seeds, of_seed / seeds),
        seeds=None if variances.seed is None else enough(of_seed + of_both / patients, of_patient / patients),
    )


def _of_seeds(values: Floats, weights: Floats) -> dict[str, Floats]:
    """Take each outcome, [arms, seeds, draws], of values as `compare_arms` has them."""
    tables = values.reshape(-1, *values.shape[-2:])
    taken = [take_statistics(OUTCOMES, table, weights) for table in tables]
    return {
        name: np.stack([of_table[name] for of_table in taken]).reshape(*values.shape[:3], -1).mean(axis=2)
        for name in OUTCOMES
    }


def _differences(name: str, by_seed: Floats, drawn: Floats, patients: int, confidence: float) -> list[ArmDifference]:
    """Set the arms against the first one.

    Args:
        name: Of the statistic.
        by_seed: float64 [arms, seeds]: of all patients.
        drawn: float64 [arms, seeds, draws]: of draws of patients; no draws with one patient.
        patients: How many there are.
        confidence: Of the intervals.
    """
    means = by_seed.mean(axis=1)
    values = (means[1:] - means[0]).tolist()
    if patients < 2 or np.isnan(by_seed).any():
        known = [None if math.isnan(value) else value for value in values]
        return [
            ArmDifference(estimate=Estimate(value=value), effect="not known", variances=None, needed=[])
            for value in known
        ]
    spread = _spread(by_seed, drawn, patients, confidence)
    sizes = SIZES if name == "dice_mean" else ()
    differences = []
    for value, error, variances in zip(values, spread.error.tolist(), spread.variances, strict=True):
        half = spread.critical * error
        estimate = Estimate(value=value, low=value - half, high=value + half)
        difference = ArmDifference(
            estimate=estimate,
            effect=tell_effect(name, estimate),
            variances=variances,
            needed=[needed(size, patients, by_seed.shape[1], variances, spread.critical) for size in sizes],
        )
        differences.append(difference)
    return differences


def _spread(by_seed: Floats, drawn: Floats, patients: int, confidence: float) -> _Spread:
    """Tell how far drawing patients and seeds moves the differences; arguments as of `_differences`."""
    _, seeds, draws = drawn.shape
    random = np.random.default_rng(_SEED)
    moved = _to_reference(drawn.mean(axis=1) - by_seed.mean(axis=1, keepdims=True))
    moved *= math.sqrt(patients / (patients - 1))
    variance = moved.var(axis=1)
    moved *= _tails(random, patients - 1, draws)
    if seeds == 1:
        variances = [Variances(patient=of_patient, seed=None, both=None) for of_patient in variance * patients]
        return _Spread(variances, np.sqrt(variance), _critical(moved, np.sqrt(variance), confidence))
    of_seeds = _of_difference(by_seed.var(axis=1, ddof=1)) / seeds
    apart = (drawn - by_seed[..., np.newaxis]).var(axis=1, ddof=1).mean(axis=1)
    of_both = _of_difference(apart) * patients / (patients - 1) / seeds
    # What a seed makes of a patient is in the variance of both, and counts once.
    of_patients = np.maximum(variance - of_both, 0)
    moved *= np.sqrt(np.divide(of_patients, variance, out=np.zeros_like(variance), where=variance > 0))[:, np.newaxis]
    moved += _draw_seeds(random, by_seed, draws) * _tails(random, 2 * (seeds - 1), draws)
    error = np.sqrt(of_patients + of_seeds)
    of_each = zip(
        of_patients * patients, np.maximum(of_seeds - of_both, 0) * seeds, of_both * patients * seeds, strict=True
    )
    variances = [Variances(patient=patient, seed=seed, both=both) for patient, seed, both in of_each]
    return _Spread(variances, error, _critical(moved, error, confidence))


def _draw_seeds(random: np.random.Generator, by_seed: Floats, draws: int) -> Floats:
    """Draw seeds of each arm with replacement; return how far that moves the differences, [arms - 1, draws]."""
    arms, seeds = by_seed.shape
    around = by_seed - by_seed.mean(axis=1, keepdims=True)
    chosen = random.integers(0, seeds, (arms, draws, seeds))
    moved = np.take_along_axis(around[:, np.newaxis], chosen, axis=2).mean(axis=2)
    return _to_reference(moved) * math.sqrt(seeds / (seeds - 1))


def _critical(moved: Floats, error: Floats, confidence: float) -> float:
    """Return how many standard errors the largest deviation of an arm seldom exceeds."""
    studentized = np.abs(moved[error > 0]) / error[error > 0, np.newaxis]
    return float(np.quantile(studentized.max(axis=0), confidence)) if studentized.size else 0.0


def _of_difference(of_arms: Floats) -> Floats:
    """Return the variances of the differences to the first arm, [arms - 1], of those of the arms."""
    return np.asarray(of_arms[1:] + of_arms[0])


def _to_reference(of_arms: Floats) -> Floats:
    """Return arms minus the first one, [arms - 1, ...]."""
    return of_arms[1:] - of_arms[0]


def _tails(random: np.random.Generator, freedom: int, draws: int) -> Floats:
    """Draw what turns a normal deviation into one of Student's t."""
    return np.sqrt(freedom / random.chisquare(freedom, draws))
