"""What the estimator learns from cues whose meaning is known, and that it lives in the graph as it does outside."""

import keras
import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.stats import spearmanr

from modules.quality import estimator
from modules.quality.cues import NAMES, OF_A_SIDE, OF_THE_MASK, cues, cues_of_sides, reduce, reduced_side
from modules.quality.estimator import Atlases, Judged, QualityEstimator, fit_estimator

SIZE = 64


def atlases() -> Atlases:
    side = reduced_side(SIZE)
    return Atlases(np.zeros((side, side), np.float32), np.ones((side, side), np.float32))


def judged(random: np.random.Generator, images: int, centre: float) -> Judged:
    """The first cue tells the Dice, the second that of a side; the others are noise. Half of the sides have no lung."""
    values = random.normal(0, 1, (images, len(NAMES))).astype(np.float32)
    values[:, 0] += centre
    of_sides = random.normal(centre, 1, (images, 2, OF_A_SIDE)).astype(np.float32)
    dice, dice_of_sides = (1 / (1 + np.exp(-of.astype(np.float64))) for of in (values[:, 0], of_sides[..., 1]))
    dice_of_sides[::2, 1], dice_of_sides[1::2, 0] = np.nan, np.nan
    return Judged(values, dice, of_sides, dice_of_sides)


def margins(fitted: QualityEstimator, values: np.ndarray, name: str) -> np.ndarray:
    columns = values.shape[-1]
    scaled = (values - np.asarray(fitted.mean)[:columns]) / np.asarray(fitted.deviation)[:columns]
    return np.asarray(estimator._expand(scaled, np)) @ np.asarray(getattr(fitted, name))


def test_it_finds_what_tells_the_dice_and_what_tells_the_kind() -> None:
    random = np.random.default_rng(1)
    originals, stressed = judged(random, 60, 2.5), judged(random, 240, 0.0)
    likely, unlikely = (judged(random, 100, 0.0).cues for _ in range(2))
    unlikely[:, -1] += 5
    fitted = fit_estimator(SIZE, atlases(), originals, stressed, likely, unlikely)

    unseen = judged(random, 200, 1.0)
    expected = 1 / (1 + np.exp(-margins(fitted, unseen.cues[:, :OF_THE_MASK], "dice_weights")))
    assert spearmanr(expected, unseen.dice).statistic > 0.95
    assert np.abs(expected - unseen.dice).mean() < 0.05
    of_sides = 1 / (1 + np.exp(-margins(fitted, unseen.cues_of_sides, "side_weights")))
    assert np.nanmean(np.abs(of_sides - unseen.dice_of_sides)) < 0.05
    fresh, strange = (judged(random, 200, 0.0).cues for _ in range(2))
    strange[:, -1] += 5
    assert (margins(fitted, fresh, "kind_weights") >= -1).mean() > 0.95
    assert (margins(fitted, strange, "kind_weights") < -1).mean() > 0.95


def test_the_regression_is_at_its_minimum() -> None:
    random = np.random.default_rng(2)
    terms = np.concatenate([np.ones((50, 1)), random.normal(size=(50, 3))], 1)
    truth, weights = random.random(50), random.random(50)

    def loss(parameters: np.ndarray) -> float:
        share = 1 / (1 + np.exp(-(terms @ parameters)))
        entropy = -(truth * np.log(share) + (1 - truth) * np.log(1 - share))
        return float((weights / weights.sum()) @ entropy + estimator._PENALTY * (parameters[1:] ** 2).sum())

    found = estimator._fit_logistic(terms, truth, weights)
    for step in np.vstack([np.eye(4), -np.eye(4)]) * 0.05:
        assert loss(found) < loss(found + step)
    assert check_grad(loss, lambda _: np.zeros(4), found) < 1e-3


def test_one_that_knows_nothing_finds_nothing_wrong() -> None:
    random = np.random.default_rng(3)
    images, lung = (random.random((4, SIZE, SIZE, 1), np.float32) for _ in range(2))
    dice, of_sides, is_known = QualityEstimator(SIZE)(images, lung)
    assert np.asarray(dice).tolist() == [0.5] * 4
    assert np.asarray(of_sides).tolist() == [[0.5, 0.5]] * 4
    assert np.asarray(is_known).all()


@pytest.mark.parametrize("size", [16, 32, 48, 100, 512])
def test_sizes(size: int) -> None:
    pixels = np.random.default_rng(4).random((2, size, size), np.float32)
    reduced = np.asarray(reduce(pixels))
    assert reduced.shape == (2, reduced_side(size), reduced_side(size))
    assert reduced_side(size) < 64
    dice, _, _ = QualityEstimator(size)(pixels[..., None], pixels[..., None])
    assert dice.shape == (2,)


def chest(shift: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two dark lungs on a bright body, narrower at the top; normalised grey values and the mask."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    width = 4 + 8 * (rows - 12) / 40
    lungs = (rows > 12) & (rows < 52) & ((abs(columns - 18 - shift) < width) | (abs(columns - 46 - shift) < width))
    image = np.where(lungs, -1.0, 1.0) + 0.05 * np.random.default_rng(5).normal(size=(SIZE, SIZE))
    return image.astype(np.float32), lungs.astype(np.float32)


def named(image: np.ndarray, lung: np.ndarray) -> dict[str, float]:
    ordinary, mask = chest()
    values = cues(
        image[None, ..., None],
        lung[None, ..., None],
        np.asarray(reduce(ordinary[None]))[0],
        np.asarray(reduce(mask[None]))[0],
    )
    return dict(zip(NAMES, np.asarray(values)[0].tolist(), strict=True))


def test_cues_of_a_side_are_those_of_a_mask_without_the_other() -> None:
    _, mask = chest()
    sure = np.clip(mask, 0.01, 0.99)
    unsure_at_right = sure.copy()
    unsure_at_right[:, 32:] = np.clip(mask[:, 32:], 0.01, 0.6)
    found = np.asarray(cues_of_sides(unsure_at_right[None, ..., None]))[0]
    for side, kept in enumerate((np.s_[:, :33], np.s_[:, 33:])):
        alone = np.zeros_like(mask)
        alone[kept] = unsure_at_right[kept]
        expected = named(np.zeros_like(mask), alone)
        assert found[side] == pytest.approx([expected["soft_dice"], expected["doubt"]], abs=1e-3)
    assert found[0, 0] > found[1, 0]
    assert found[0, 1] < found[1, 1]
    assert np.isfinite(np.asarray(cues_of_sides(np.zeros((1, SIZE, SIZE, 1), np.float32)))).all()


def test_what_the_cues_tell() -> None:
    image, mask = chest()
    sure = np.clip(mask, 0.01, 0.99)
    ordinary = named(image, sure)
    assert ordinary["area"] == pytest.approx(mask.mean())
    assert ordinary["image_atlas"] == pytest.approx(1, abs=1e-3)
    assert ordinary["darkness"] == pytest.approx(2, abs=0.1)

    assert named(image, np.clip(mask, 0.4, 0.6))["soft_dice"] < ordinary["soft_dice"]
    assert named(image, np.clip(mask, 0.4, 0.6))["doubt"] > ordinary["doubt"]
    assert named(-image, sure)["image_atlas"] == pytest.approx(-1, abs=1e-3)
    assert named(-image, sure)["darkness"] < 0
    upside_down = named(image[::-1].copy(), sure[::-1].copy())
    assert upside_down["image_atlas"] < upside_down["image_atlas_upside_down"]
    assert upside_down["taper"] == pytest.approx(-ordinary["taper"], abs=1e-3)
    assert upside_down["lung_atlas"] < ordinary["lung_atlas"]
    moved = named(*chest(shift=10))
    assert moved["centre_x"] > ordinary["centre_x"] + 0.2
    assert moved["balance"] > ordinary["balance"]
    assert named(keras.ops.convert_to_numpy(keras.ops.transpose(image)), sure)["symmetry"] < ordinary["symmetry"]
    noise = np.random.default_rng(6).normal(size=image.shape).astype(np.float32)
    assert named(noise, sure)["sharpness"] > ordinary["sharpness"]


def test_an_empty_mask_has_finite_cues() -> None:
    nothing = np.zeros((SIZE, SIZE), np.float32)
    assert np.isfinite(list(named(chest()[0], nothing).values())).all()
    assert np.isfinite(list(named(nothing, nothing).values())).all()
