"""Statistics of images: by hand, against NumPy, and that order and grouping do not matter."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.evaluation import overlap as metrics
from modules.evaluation.bootstrap import BASELINE, CANDIDATE, DIFFERENCE, BootstrapAccumulator, _quantile, tell_effect
from modules.evaluation.measures import COLUMNS, LOWER_IS_BETTER, MEASURES, POOLED, SAID, STATISTICS, Statistic
from schema.reports.estimate import Estimate


def values_of(dice: float, baseline: float | None = None, drop: float | None = None, **others: float) -> Any:
    """The values of an image of which nothing but the Dice and what is named is of interest."""
    models = 1 if baseline is None else 2
    values = np.full((2 * models, len(COLUMNS)), np.nan)
    values[:models] = 0.5
    values[0, COLUMNS.index("dice")] = dice
    for name, value in others.items():
        values[0, COLUMNS.index(name)] = value
    if baseline is not None:
        values[1, COLUMNS.index("dice")] = baseline
    if drop is not None:
        values[models, : len(MEASURES)] = drop
    return values


def images_of(*rows: Any) -> BootstrapAccumulator:
    """Each row a patient, an image and its values."""
    images = BootstrapAccumulator()
    for patient, image, values in rows:
        images.add(patient, image, values)
    return images


def test_the_names_are_those_that_are_measured() -> None:
    outlines = {"hd95", "hd95_px", "asd", "asd_px", "nsd"}
    assert set(MEASURES) == set(metrics.OVERLAP) | outlines | {"brier", *SAID}
    assert set(POOLED) < set(metrics.Counts._fields)
    assert set(MEASURES) >= LOWER_IS_BETTER
    assert {f"dice_{end}" for end in ("mean", "median", "p5", "worst", "pooled", "drop")} < set(STATISTICS)
    assert {"hd95", "hd95_drop", "iou_mean", "iou_worst", "pixel_accuracy", "brier"} < set(STATISTICS)


@pytest.mark.parametrize(("name", "lower"), [
    ("dice_mean", False), ("dice_worst", False), ("hd95", True), ("brier", True), ("dice_drop", True), ("nsd", False),
])  # fmt: skip
def test_what_is_better(name: str, lower: bool) -> None:
    assert STATISTICS[name].lower_is_better is lower


def test_by_hand() -> None:
    counts = dict(zip(POOLED, (6, 1, 1), strict=True)), dict(zip(POOLED, (2, 0, 6), strict=True))
    images = images_of(
        ("p", "a", values_of(0.9, **counts[0])),
        ("p", "b", values_of(0.6, drop=0.3, **counts[1])),
        ("q", "c", values_of(0.8, drop=0.1, **counts[1])),
    )
    estimates = images.estimate(resamples=200, confidence=0.95)
    assert set(estimates) == {CANDIDATE}
    value = {name: estimate.value for name, estimate in estimates[CANDIDATE].items()}
    assert value["dice_mean"] == pytest.approx(2.3 / 3)
    assert value["dice_median"] == pytest.approx(0.8)
    assert value["dice_p5"] == pytest.approx(0.62)
    assert value["dice_worst"] == pytest.approx(0.6)
    assert value["dice_pooled"] == pytest.approx(20 / (20 + 14)), "of all pixels together"
    assert value["dice_drop"] == pytest.approx(0.2), "of copies alone"
    assert images.patients == 2


def test_the_interval_is_over_patients() -> None:
    """Two patients, one of Dice 1 with a hundred images and one of 0 with one: a draw has one, the other, or both."""
    images = images_of(*[("p", f"a{index}", values_of(1.0)) for index in range(100)], ("q", "b", values_of(0.0)))
    mean = images.estimate(resamples=1000, confidence=0.8)[CANDIDATE]["dice_mean"]
    assert mean.value == pytest.approx(100 / 101)
    assert (mean.low, mean.high) == (0, 1)
    single = images_of(*[(f"p{index}", "a", values_of(1.0)) for index in range(100)], ("q", "b", values_of(0.0)))
    low = single.estimate(resamples=1000, confidence=0.8)[CANDIDATE]["dice_mean"].low
    assert low is not None
    assert low > 0.95, "as patients of one image each, the bad one hardly counts"


def test_the_interval_covers_the_truth() -> None:
    """Of intervals of 90 % that are drawn from a known distribution, about 90 % hold its mean."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        drawn = random.normal(0.9, 0.02, 40)
        images = images_of(*[(f"p{index}", "a", values_of(value)) for index, value in enumerate(drawn)])
        mean = images.estimate(resamples=300, confidence=0.9)[CANDIDATE]["dice_mean"]
        assert mean.interval is not None
        held += mean.interval[0] <= 0.9 <= mean.interval[1]
    assert 0.83 <= held / 200 <= 0.96


def test_two_models_are_compared_image_by_image() -> None:
    """Images differ much and the models by a constant: the difference is sure, though the means are not."""
    dice = np.linspace(0.5, 0.97, 30)
    images = images_of(
        *[(f"p{index}", "a", values_of(value, baseline=value - 0.02)) for index, value in enumerate(dice)]
    )
    estimates = images.estimate(resamples=500, confidence=0.95)
    sure = estimates[DIFFERENCE]["dice_mean"]
    assert (sure.value, sure.low, sure.high) == pytest.approx((0.02, 0.02, 0.02))
    mean = estimates[CANDIDATE]["dice_mean"].interval
    assert mean is not None
    assert mean[1] - mean[0] > 0.05
    assert estimates[DIFFERENCE]["dice_worst"].value == pytest.approx(0.02)
    assert estimates[BASELINE]["dice_mean"].value == pytest.approx(dice.mean() - 0.02)


def test_order_and_grouping_do_not_matter() -> None:
    random = np.random.default_rng(1)
    rows = [(f"p{index // 2}", f"i{index}", values_of(*random.uniform(0.5, 1, 2))) for index in range(8)]
    whole = images_of(*rows).estimate(300, 0.95)
    left = images_of(*rows[:3]).merge(images_of(*rows[3:5]), images_of(*rows[5:]))
    right = images_of(*rows[6:]).merge(images_of(*rows[:2]).merge(images_of(*rows[2:6])), BootstrapAccumulator())
    for other in (left, right):
        assert other.estimate(300, 0.95) == whole


def test_one_patient_has_no_interval() -> None:
    images = images_of(("p", "a", values_of(0.9)), ("p", "b", values_of(0.8)))
    mean = images.estimate(200, 0.95)[CANDIDATE]["dice_mean"]
    assert mean.value == pytest.approx(0.85)
    assert mean.interval is None


def test_originals_have_no_drop() -> None:
    images = images_of(("p", "a", values_of(0.9)), ("q", "b", values_of(0.8)))
    assert images.estimate(200, 0.95)[CANDIDATE]["dice_drop"] == Estimate(value=None)


def test_nothing_there_and_nothing_found_is_right() -> None:
    nothing = dict.fromkeys(POOLED, 0)
    images = images_of(("p", "a", values_of(1, **nothing)), ("q", "b", values_of(1, **nothing)))
    assert images.estimate(200, 0.95)[CANDIDATE]["dice_pooled"].value == 1


@settings(max_examples=50, deadline=None)
@given(
    repeated=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3)), min_size=1).filter(
        lambda rows: any(count for _, count in rows)
    ),
    quantile=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
)
def test_weighted_quantiles_are_those_of_repeated_values(repeated: list[tuple[float, int]], quantile: float) -> None:
    values, weights = (np.array(column, float) for column in zip(*repeated, strict=True))
    everything = list(itertools.chain(*[[value] * count for value, count in repeated]))
    result = _quantile(values, weights[np.newaxis], Statistic("dice", "quantile", quantile))
    assert result == pytest.approx([np.quantile(everything, quantile)])


@pytest.mark.parametrize(
    ("statistic", "ends", "words"),
    [
        ("dice_mean", (0.01, 0.001, 0.02), "better"),
        ("dice_mean", (-0.01, -0.02, -0.001), "worse"),
        ("hd95", (0.01, 0.001, 0.02), "worse"),
        ("hd95", (-0.01, -0.02, -0.001), "better"),
        ("dice_mean", (0.01, -0.001, 0.02), "no difference can be told"),
        ("dice_mean", (0.01, 0.0, 0.02), "no difference can be told"),
        ("dice_mean", (0.01, None, None), "not known"),
        ("dice_mean", (None, None, None), "not known"),
    ],
)
def test_what_a_difference_tells(statistic: str, ends: tuple[Any, Any, Any], words: str) -> None:
    assert tell_effect(statistic, Estimate(value=ends[0], low=ends[1], high=ends[2])) == words
