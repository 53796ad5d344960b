"""What is told of the model's expectations, against figures of other libraries and of one's own hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu, spearmanr

from components.reporter.quality import GOOD, _auroc, _rank_correlation, draw_estimates, judge_estimates
from schema.reports.run_report import QualityEstimate


def images_of(count: int = 60, noise: float = 0.02, seed: int = 1) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    dice = random.uniform(0.8, 1, count)
    expected = np.clip(dice + random.normal(0, noise, count), 0, 1)
    return pd.DataFrame(
        {
            "set": "test",
            "is_augmented": np.arange(count) % 2,
            "source": "s",
            "patient_id": [str(number // 2) for number in range(count)],
            "dice": dice,
            "expected_dice": expected,
            "review": (expected < 0.85).astype(float),
        }
    )


def judged(images: pd.DataFrame) -> QualityEstimate:
    return judge_estimates(images, 0.95)[0]


@pytest.mark.parametrize("digits", [2, 9], ids=["with ties", "without"])
def test_figures_are_those_of_other_libraries(digits: int) -> None:
    images = images_of(noise=0.05).round({"dice": digits, "expected_dice": digits})
    originals, copies = judge_estimates(images, 0.95)
    assert (originals.set, originals.copies, copies.copies) == ("test", False, True)
    rows = images[images["is_augmented"] == 0]
    bad = rows["dice"] < 0.9
    u = mannwhitneyu(rows["expected_dice"][~bad], rows["expected_dice"][bad]).statistic
    assert originals.auroc.value == pytest.approx(u / (bad.sum() * (~bad).sum()))
    assert originals.rank_correlation.value == pytest.approx(spearmanr(rows["expected_dice"], rows["dice"]).statistic)
    assert originals.auroc.interval is not None
    low, high = originals.auroc.interval
    assert low < u / (bad.sum() * (~bad).sum()) <= high <= 1
    assert originals.bad == bad.sum()
    assert originals.error == pytest.approx((rows["expected_dice"] - rows["dice"]).abs().mean())
    assert originals.reviewed == rows["review"].sum()
    assert originals.dice_of_reviewed == pytest.approx(rows["dice"][rows["review"] == 1].mean())
    assert originals.dice_of_others == pytest.approx(rows["dice"][rows["review"] == 0].mean())


def test_an_image_drawn_twice_ranks_twice() -> None:
    images = images_of(40).round(2)
    expected, dice = images["expected_dice"].to_numpy(), images["dice"].to_numpy()
    counts = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40), 20).astype(float)
    correlations, areas = _rank_correlation(expected, dice, counts), _auroc(expected, dice, counts)
    for count, correlation, area in zip(counts, correlations, areas, strict=True):
        drawn = np.repeat(np.arange(40), count.astype(int))
        bad = dice[drawn] < GOOD
        u = mannwhitneyu(expected[drawn][~bad], expected[drawn][bad]).statistic
        assert area == pytest.approx(u / (bad.sum() * (~bad).sum()))
        assert correlation == pytest.approx(spearmanr(expected[drawn], dice[drawn]).statistic)


def test_calibration_holds_each_image_once_and_rises() -> None:
    calibration = judged(images_of()).calibration
    assert [part.images for part in calibration] == [6] * 5
    expected = [part.expected for part in calibration]
    assert expected == sorted(expected)


def test_sets_stand_apart_and_the_test_split_comes_first() -> None:
    images = pd.concat([images_of().assign(set="another"), images_of()])
    found = [(row.set, row.copies) for row in judge_estimates(images, 0.95)]
    assert found == [("test", False), ("test", True), ("another", False), ("another", True)]


def test_chance_is_in_the_interval_where_nothing_is_known() -> None:
    images = images_of(400)
    images["expected_dice"] = np.random.default_rng(3).permutation(images["expected_dice"].to_numpy())
    estimate = judged(images).auroc
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.low < 0.5 < estimate.high


def test_what_cannot_be_told_is_left_open() -> None:
    good = images_of().assign(dice=0.95, expected_dice=0.9, review=0.0)
    row = judged(good)
    assert (row.auroc.value, row.rank_correlation.value, row.dice_of_reviewed) == (None, None, None)
    silent = images_of().assign(expected_dice=np.nan)
    assert judge_estimates(silent, 0.95) == []
    assert draw_estimates(silent) is None


def test_the_chart_is_the_same_again() -> None:
    drawn = [draw_estimates(images_of(3000)) for _ in range(2)]
    assert drawn[0] is not None
    assert drawn[0] == drawn[1]
    assert drawn[0].text.startswith("2000 images; ")
