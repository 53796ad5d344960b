"""Arms against the first one: by hand, against SciPy and a plain bootstrap, and on studies whose truth is known."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from modules.evaluation.arms import OUTCOMES, POWER, SIZES, compare_arms, needed
from modules.evaluation.bootstrap import Floats
from modules.evaluation.measures import COLUMNS
from schema.reports.estimate import Estimate
from schema.reports.study import ArmDifference, ArmSlice, Variances

DICE = COLUMNS.index("dice")


def tables(dice: Any) -> Floats:
    """Figures of images by their Dice, [arms, seeds, images] or with models before the images; the others are 0.5."""
    dice = np.asarray(dice, float)
    dice = dice[:, :, np.newaxis] if dice.ndim == 3 else dice
    values = np.full((*dice.shape, len(COLUMNS)), 0.5)
    values[..., DICE] = dice
    return values


def compare(dice: Any, patients: Any = None, resamples: int = 1000, confidence: float = 0.95) -> list[ArmSlice]:
    """Compares arms `0`, `1` and so on; each image is of a patient of its own where nothing else is said."""
    values = tables(dice)
    of_images = np.arange(values.shape[-2]) if patients is None else np.asarray(patients)
    return compare_arms([str(arm) for arm in range(len(values))], values, of_images, resamples, confidence)


def mean_dice(dice: Any, **options: Any) -> list[ArmDifference]:
    """The differences of the mean Dice of all arms but the first."""
    return [arm.differences["dice_mean"] for arm in compare(dice, **options)[1:]]


def study(
    random: np.random.Generator, seeds: int, shift: float = 0.0, arms: int = 2, patients: int = 40,
    of_patient: float = 0.03, of_arm: float = 0.01, of_seed: float = 0.003, rest: float = 0.01,
) -> Floats:  # fmt: skip
    """Artificial Dice of arms that are alike but for a shift of the last one, from components of variance.

    The standard deviations are those of a patient, of a patient in an arm, of a seed, and of a patient with a seed.
    """
    dice = 0.9 + of_patient * random.normal(size=patients)
    dice = dice + of_arm * random.normal(size=(arms, 1, patients)) + of_seed * random.normal(size=(arms, seeds, 1))
    dice = dice + rest * random.normal(size=(arms, seeds, patients))
    dice[-1] += shift
    return np.asarray(dice)


def half(difference: ArmDifference) -> float:
    interval = difference.estimate.interval
    assert interval is not None
    return (interval[1] - interval[0]) / 2


def test_by_hand() -> None:
    reference, other = compare([[[0.8, 0.9], [0.7, 0.8]], [[0.9, 0.9], [0.9, 1.0]]])
    assert reference.differences == {}
    assert reference.metrics["dice_mean"].value == pytest.approx(0.8)
    assert reference.by_seed["dice_mean"] == pytest.approx([0.85, 0.75])
    assert other.by_seed["dice_mean"] == pytest.approx([0.9, 0.95])
    assert other.by_seed["dice_p5"] == pytest.approx([0.9, 0.905])
    difference = other.differences["dice_mean"]
    assert difference.estimate.value == pytest.approx(0.125)
    assert set(other.differences) == set(other.metrics) == set(other.by_seed) == set(OUTCOMES)
    assert other.differences["brier"].estimate.value == 0
    assert other.differences["brier"].effect == "no difference can be told"


def test_figures_of_arms_have_intervals_over_patients_alone() -> None:
    dice = np.broadcast_to([[[0.8]], [[0.9]]], (2, 2, 20)) + np.array([[[0.0], [0.1]]])
    for arm, value in zip(compare(dice), (0.85, 0.95), strict=True):
        mean = arm.metrics["dice_mean"]
        assert (mean.value, mean.low, mean.high) == pytest.approx((value, value, value)), "all patients are alike"


def test_what_is_worse_of_a_measure_that_should_be_low() -> None:
    values = tables(np.full((2, 1, 20), 0.9))
    values[1, ..., COLUMNS.index("hd95")] = 0.6
    _, other = compare_arms(("a", "b"), values, np.arange(20), 200, 0.95)
    assert other.differences["hd95"].effect == "worse"
    assert other.differences["dice_mean"].effect == "no difference can be told"


def test_with_one_seed_the_interval_is_that_of_students_t() -> None:
    """Of patients, as SciPy gives it; of seeds nothing is known."""
    dice = study(np.random.default_rng(0), seeds=1, patients=12)
    (difference,) = mean_dice(dice, resamples=20000)
    expected = stats.ttest_1samp(dice[1, 0] - dice[0, 0], 0).confidence_interval(0.95)
    assert half(difference) == pytest.approx((expected.high - expected.low) / 2, rel=0.05)
    assert difference.variances is not None
    assert difference.variances.patient == pytest.approx((dice[1, 0] - dice[0, 0]).var(ddof=1), rel=0.05)
    assert (difference.variances.seed, difference.variances.both) == (None, None)
    assert [way.seeds for way in difference.needed] == [None] * len(SIZES)


def test_where_patients_are_alike_the_interval_is_that_of_seeds() -> None:
    """Of Student's t for two groups, as SciPy gives it."""
    seeds = np.random.default_rng(2).normal(0.9, 0.01, (2, 3))
    (difference,) = mean_dice(np.repeat(seeds[:, :, np.newaxis], 30, axis=2), resamples=20000)
    expected = stats.ttest_ind(seeds[1], seeds[0]).confidence_interval(0.95)
    assert half(difference) == pytest.approx((expected.high - expected.low) / 2, rel=0.1)
    assert difference.variances is not None
    assert difference.variances.seed == pytest.approx(seeds.var(axis=1, ddof=1).sum())
    assert (difference.variances.patient, difference.variances.both) == pytest.approx((0, 0))


def test_the_variances_are_those_of_the_analysis_of_variance() -> None:
    """Two-way in each arm, from its residuals; the difference of patients from their means over seeds."""
    dice = study(np.random.default_rng(1), seeds=5, patients=50, of_arm=0.02, of_seed=0.01, rest=0.02)
    of_patients, of_seeds = dice.mean(axis=1, keepdims=True), dice.mean(axis=2, keepdims=True)
    residuals = dice - of_patients - of_seeds + dice.mean(axis=(1, 2), keepdims=True)
    both = (residuals**2).sum() / (4 * 49)
    seed = of_seeds.var(axis=1, ddof=1).sum() - both / 50
    patient = (of_patients[1] - of_patients[0]).var(ddof=1) - both / 5
    (difference,) = mean_dice(dice, resamples=10000)
    assert difference.variances is not None
    assert difference.variances.model_dump() == pytest.approx(
        {"patient": patient, "seed": seed, "both": both}, rel=0.05
    )


def test_a_plain_bootstrap_of_both_agrees() -> None:
    """With many seeds and patients nothing has to be widened, and drawing both one by one gives the same error."""
    dice = study(np.random.default_rng(3), seeds=12, patients=60, of_seed=0.004)
    random = np.random.default_rng(4)
    drawn = []
    for _ in range(2000):
        patients = random.integers(0, 60, 60)
        means = [of_arm[random.integers(0, 12, 12)][:, patients].mean() for of_arm in dice]
        drawn.append(means[1] - means[0])
    (difference,) = mean_dice(dice, resamples=4000)
    low, high = np.quantile(drawn, (0.025, 0.975))
    assert half(difference) == pytest.approx((high - low) / 2, rel=0.12)


def test_images_of_a_patient_stay_together() -> None:
    """Ten images of each of eight patients tell as much as one."""
    dice = study(np.random.default_rng(5), seeds=2, patients=8)
    (once,), (often,) = mean_dice(dice), mean_dice(np.repeat(dice, 10, axis=2), patients=np.repeat(np.arange(8), 10))
    assert half(often) == pytest.approx(half(once))


def test_models_of_folds_count_as_one_seed() -> None:
    """On an external set each fold's model measures all images; a seed's figure is their mean."""
    dice = study(np.random.default_rng(6), seeds=2)
    around = np.stack([dice - 0.02, dice + 0.02], axis=2)
    (apart,), (joined,) = mean_dice(around), mean_dice(dice)
    assert apart.estimate.value == pytest.approx(joined.estimate.value)
    assert half(apart) == pytest.approx(half(joined))


def test_several_arms_widen_the_intervals_as_dunnett_has_it() -> None:
    dice = study(np.random.default_rng(7), seeds=1, arms=5, patients=150, of_patient=0.0)
    differences = mean_dice(dice, resamples=5000)
    reference, *arms = dice[:, 0]
    expected = stats.dunnett(*arms, control=reference).confidence_interval(0.95)
    assert np.mean([half(of_arm) for of_arm in differences]) == pytest.approx(
        np.mean(expected.high - expected.low) / 2, rel=0.08
    )
    (alone,) = mean_dice(dice[:2], resamples=5000)
    assert half(differences[0]) > 1.15 * half(alone)


@pytest.mark.parametrize(("seeds", "arms"), [(2, 2), (3, 2), (3, 4)])
def test_the_interval_leaves_out_zero_seldom_where_arms_are_alike(seeds: int, arms: int) -> None:
    """Over all arms at once."""
    random = np.random.default_rng(seeds)
    wrong = sum(
        any(
            difference.effect != "no difference can be told"
            for difference in mean_dice(study(random, seeds, arms=arms), resamples=300)
        )
        for _ in range(100)
    )
    assert wrong <= 9


def test_a_difference_that_is_there_is_found() -> None:
    random = np.random.default_rng(8)
    found = [mean_dice(study(random, seeds=3, shift=-0.02), resamples=300)[0].effect for _ in range(40)]
    assert found.count("worse") >= 36


def test_equal_arms_do_not_differ() -> None:
    dice = np.repeat(study(np.random.default_rng(9), seeds=2)[:1], 3, axis=0)
    for difference in mean_dice(dice):
        assert difference.estimate.value == 0
        assert difference.effect == "no difference can be told"


def test_one_patient_tells_nothing() -> None:
    (difference,) = mean_dice([[[0.8, 0.9]], [[0.9, 0.9]]], patients=[0, 0])
    assert difference.estimate.value == pytest.approx(0.05)
    assert difference.estimate.interval is None
    assert difference.effect == "not known"
    assert difference.needed == []


def test_what_is_not_measured_tells_nothing() -> None:
    """The Brier score of a part of the images is not known."""
    values = tables([[[0.8, 0.9], [0.7, 0.8]], [[0.9, 0.9], [0.9, 1.0]]])
    values[..., COLUMNS.index("brier")] = np.nan
    _, other = compare_arms(["0", "1"], values, np.arange(2), 100, 0.95)
    assert other.differences["brier"] == ArmDifference(
        estimate=Estimate(), effect="not known", variances=None, needed=[]
    )
    assert other.by_seed["brier"] == [None, None]
    assert ArmSlice.model_validate_json(other.model_dump_json()) == other


def test_the_same_figures_give_the_same_answer() -> None:
    dice = study(np.random.default_rng(10), seeds=2)
    assert compare(dice) == compare(dice)


VARIANCES = Variances(patient=4e-4, seed=2e-5, both=3e-4)


def test_what_is_needed_gives_the_power() -> None:
    """One patient less, and a difference would be told less often."""
    ways = needed(0.01, 40, 3, VARIANCES, critical=2.0)
    assert ways.patients is not None
    assert ways.seeds is not None

    def power(patients: int, seeds: int) -> float:
        return float(stats.norm.sf(2.0 - 0.01 / np.sqrt(4e-4 / patients + 2e-5 / seeds + 3e-4 / patients / seeds)))

    assert power(ways.patients - 1, 3) < POWER <= power(ways.patients, 3)
    assert power(40, ways.seeds - 1) < POWER <= power(40, ways.seeds)


def test_where_no_number_would_do() -> None:
    ways = needed(0.001, 40, 3, VARIANCES, critical=2.0)
    assert (ways.patients, ways.seeds) == (None, None)
