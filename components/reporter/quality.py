"""How right the model is about its own masks: what it expects of them against what they are.

>>> judge_estimates(images, confidence=0.95)[0].auroc.value
0.94
"""

import math
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from components.reporter.charts import ACCENT, INK, OTHER, Chart, new_figure, render
from modules.evaluation.bootstrap import Floats, draw_patients, make_estimate
from schema import features
from schema.reports.estimate import Estimate
from schema.reports.evaluation import TEST_SET
from schema.reports.run_report import ExpectedDice, QualityEstimate

GOOD: Final = 0.9
"""Dice of a mask that is good enough."""
_BINS: Final = 5
_RESAMPLES: Final = 400
_MOST_DRAWN: Final = 2000
_SEED: Final = 20


def judge_estimates(images: pd.DataFrame, confidence: float) -> list[QualityEstimate]:
    """Judge what the model expects, on originals and on copies of each set, the test split first.

    Args:
        images: What was measured on each, see `read_images`.
        confidence: Of the intervals, which are those of the percentile bootstrap over patients.
    """
    told = images.dropna(subset=["expected_dice"])
    sets = sorted(told["set"].unique(), key=lambda name: (name != TEST_SET, name))
    groups = [(set_, copies, _select(told, set_, copies)) for set_ in sets for copies in (False, True)]
    return [_judge(set_, copies, rows, confidence) for set_, copies, rows in groups if not rows.empty]


def draw_estimates(images: pd.DataFrame) -> Chart | None:
    """Draw expected against true Dice, a dot an image of the test split; None where nothing is expected."""
    test = images[images["set"] == TEST_SET].dropna(subset=["expected_dice"])
    if test.empty:
        return None
    drawn = test.sample(min(len(test), _MOST_DRAWN), random_state=_SEED)

    def make(width: int) -> Figure:
        figure = new_figure(width, min(width, 420))
        axes = figure.add_subplot()
        for copies, name, colour in ((0, "originals", ACCENT), (1, "copies", OTHER)):
            rows = drawn[drawn[features.IS_AUGMENTED] == copies]
            axes.scatter(rows["expected_dice"], rows["dice"], s=14, alpha=0.6, color=colour, label=name, linewidths=0)
        low = min(drawn["expected_dice"].min(), drawn["dice"].min(), GOOD) - 0.02
        axes.plot([low, 1], [low, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_xlim(low, 1)
        axes.set_ylim(low, 1)
        axes.set_xlabel("Expected Dice")
        axes.set_ylabel("True Dice")
        axes.grid()
        axes.set_axisbelow(True)
        figure.legend(loc="outside lower left", ncols=2, frameon=False)
        return figure

    return render(make, f"{len(drawn)} images; on the dashed line the model is right")


def _select(images: pd.DataFrame, set_: str, copies: bool) -> pd.DataFrame:
    return images[(images["set"] == set_) & (images[features.IS_AUGMENTED] == copies)]


def _judge(set_: str, copies: bool, rows: pd.DataFrame, confidence: float) -> QualityEstimate:
    expected, dice, review = (rows[name].to_numpy(float) for name in ("expected_dice", "dice", "review"))
    _, patients = np.unique(rows["source"] + "/" + rows["patient_id"], return_inverse=True)
    rank_correlation, auroc = _estimate_ranks(expected, dice, patients, confidence)
    return QualityEstimate(
        set=set_,
        copies=copies,
        images=len(rows),
        bad=int((dice < GOOD).sum()),
        rank_correlation=rank_correlation,
        auroc=auroc,
        error=float(np.abs(expected - dice).mean()),
        reviewed=int(review.sum()),
        dice_of_reviewed=_mean(dice[review > 0]),
        dice_of_others=_mean(dice[review == 0]),
        calibration=[
            ExpectedDice(expected=float(expected[part].mean()), dice=float(dice[part].mean()), images=len(part))
            for part in np.array_split(np.argsort(expected, kind="stable"), min(_BINS, len(rows)))
        ],
    )


def _estimate_ranks(
    expected: Floats, dice: Floats, patients: NDArray[np.intp], confidence: float
) -> tuple[Estimate, Estimate]:
    """Estimate rank correlation and AUROC, with intervals over patients."""
    drawn = list(draw_patients(patients, _RESAMPLES if patients.any() else 0))
    tail, once = (1 - confidence) / 2, np.ones((1, len(dice)))
    rank_correlation, auroc = (
        make_estimate(
            float(statistic(expected, dice, once)[0]), [statistic(expected, dice, counts) for counts in drawn], tail
        )
        for statistic in (_rank_correlation, _auroc)
    )
    return rank_correlation, auroc


def _auroc(expected: Floats, dice: Floats, counts: Floats) -> Floats:
    """Return the area under the curve by ranks (Mann and Whitney, 1947); NaN where all masks are good, or none is.

    Args:
        expected: Dice that the model expects, float64 [images].
        dice: As it is, float64 [images].
        counts: How often each image is in each draw, float64 [draws, images].

    Returns:
        Of each draw, float64 [draws].
    """
    bad = dice < GOOD
    of_bad, of_good = counts[:, bad].sum(axis=1), counts[:, ~bad].sum(axis=1)
    ranks = (counts * _ranks(-expected, counts))[:, bad].sum(axis=1)
    return _divide(ranks - of_bad * (of_bad + 1) / 2, of_bad * of_good)


def _rank_correlation(expected: Floats, dice: Floats, counts: Floats) -> Floats:
    """Return Spearman's correlation of each draw, float64 [draws], for what `_auroc` takes; NaN where all are equal."""
    middle = (counts.sum(axis=1, keepdims=True) + 1) / 2
    first, second = (_ranks(values, counts) - middle for values in (expected, dice))
    covariance, *variances = ((counts * a * b).sum(axis=1) for a, b in ((first, second), (first, first), (second,) * 2))
    return _divide(covariance, np.sqrt(np.prod(variances, axis=0)))


def _ranks(values: Floats, counts: Floats) -> Floats:
    """Rank images in each draw, float64 [draws, images]: from 1, equal ones by their mean, each as often as drawn."""
    order = np.argsort(values, kind="stable")
    _, starts, places = np.unique(values[order], return_index=True, return_inverse=True)
    alike = np.add.reduceat(counts[:, order], starts, axis=1)
    ranks = np.empty_like(counts)
    ranks[:, order] = (np.cumsum(alike, axis=1) - (alike - 1) / 2)[:, places]
    return ranks


def _divide(numerators: Floats, denominators: Floats) -> Floats:
    """Divide; NaN by 0."""
    return np.divide(numerators, denominators, out=np.full_like(numerators, math.nan), where=denominators > 0)


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if values.size else None
