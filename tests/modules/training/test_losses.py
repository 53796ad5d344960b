"""The loss: hand-made values, an independent NumPy version, gradients that stay finite; the Dice watched meanwhile."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.training import losses
from modules.training.losses import DiceCrossEntropy, supervised

TRUTH = np.array([[[1, 1], [0, 0]]], np.uint8)[..., np.newaxis]
SURE = 60.0
"""A logit whose sigmoid is 0 or 1 in float32."""


def logits(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, 2, 2, 1)


def loss_of(truth: np.ndarray, prediction: np.ndarray, dice_weight: float = 0.5) -> float:
    return float(DiceCrossEntropy(dice_weight)(truth, prediction))


@pytest.mark.parametrize("dice_weight", [0.0, 0.3, 1.0])
def test_a_perfect_prediction_costs_nothing(dice_weight: float) -> None:
    assert loss_of(TRUTH, logits(SURE, SURE, -SURE, -SURE), dice_weight) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("dice_weight", "expected"),
    [
        # No overlap; squares 2 + 2: Dice loss 1 - 1 / (4 + 1). Cross-entropy of a sure error: its logit.
        (1.0, 0.8),
        (0.0, SURE),
        (0.25, 0.25 * 0.8 + 0.75 * SURE),
    ],
)
def test_an_inverted_prediction(dice_weight: float, expected: float) -> None:
    assert loss_of(TRUTH, logits(-SURE, -SURE, SURE, SURE), dice_weight) == pytest.approx(expected)


def test_no_opinion() -> None:
    # Probability 1/2 everywhere: overlap 1, squares 2 + 4 / 4, Dice loss 1 - 3 / 4; cross-entropy ln 2.
    assert loss_of(TRUTH, logits(0, 0, 0, 0), 1.0) == pytest.approx(0.25)
    assert loss_of(TRUTH, logits(0, 0, 0, 0), 0.0) == pytest.approx(np.log(2))


def test_an_empty_mask_found_empty_costs_nothing() -> None:
    assert loss_of(np.zeros_like(TRUTH), logits(-SURE, -SURE, -SURE, -SURE)) == pytest.approx(0, abs=1e-6)


def test_each_image_has_its_own_loss() -> None:
    truth = np.concatenate([TRUTH, 1 - TRUTH])
    prediction = np.concatenate([logits(SURE, SURE, -SURE, -SURE)] * 2)
    each = np.asarray(DiceCrossEntropy(1.0).call(truth, prediction))
    assert each == pytest.approx([0, 0.8], abs=1e-6)
    assert loss_of(truth, prediction, 1.0) == pytest.approx(0.4)


def reference(truth: np.ndarray, prediction: np.ndarray, dice_weight: float) -> float:
    """In float64 and by the definitions, one image after the other."""
    per_image = []
    for y, z in zip(truth.astype(float), prediction.astype(float), strict=True):
        p = 1 / (1 + np.exp(-z))
        dice = (2 * y.ravel() @ p.ravel() + 1) / (np.linalg.norm(y) ** 2 + np.linalg.norm(p) ** 2 + 1)
        cross_entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
        per_image.append(dice_weight * (1 - dice) + (1 - dice_weight) * cross_entropy)
    return float(np.mean(per_image))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_equals_the_definition(seed: int, dice_weight: float) -> None:
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 256, (3, 4, 5, 1)) / 255
    prediction = draw.normal(0, 4, (3, 4, 5, 1)).astype(np.float32)
    assert loss_of(truth, prediction, dice_weight) == pytest.approx(reference(truth, prediction, dice_weight), rel=1e-4)


@pytest.mark.parametrize("extreme", [1e4, -1e4, 3e38, -3e38, 0.0])
@pytest.mark.parametrize("truth", [np.zeros_like(TRUTH), TRUTH, np.ones_like(TRUTH)], ids=["empty", "half", "full"])
def test_gradients_are_finite(truth: np.ndarray, extreme: float) -> None:
    variable = tf.Variable(logits(extreme, -extreme, extreme, -extreme))
    with tf.GradientTape() as tape:
        loss = DiceCrossEntropy(0.5)(truth, variable)
    assert np.isfinite(tape.gradient(loss, variable)).all()


@pytest.mark.parametrize("dice_weight", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_the_loss_is_least_where_the_probability_is_the_share_of_lung(share: float, dice_weight: float) -> None:
    truth = np.full((1, 2, 2, 1), share)

    def at(probability: float) -> float:
        return loss_of(truth, logits(*[float(np.log(probability / (1 - probability)))] * 4), dice_weight)

    assert at(share) < min(at(share - 0.05), at(share + 0.05))
    if dice_weight == 1:
        assert at(share) == pytest.approx(0, abs=1e-6)


def test_half_precision_logits_are_summed_in_single() -> None:
    truth = np.ones((1, 512, 512, 1), np.uint8)
    prediction = np.full(truth.shape, 20, np.float16)  # 2^18 pixels: their sum is no float16
    assert loss_of(truth, prediction) == pytest.approx(0, abs=1e-6)


def test_config_round_trip() -> None:
    loss = DiceCrossEntropy(0.25, name="mine", reduction="sum")
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert isinstance(restored, DiceCrossEntropy)
    assert (restored.dice_weight, restored.name, restored.reduction) == (0.25, "mine", "sum")
    assert restored.get_config() == loss.get_config()
    assert keras.saving.get_registered_name(DiceCrossEntropy) == "lungseg>DiceCrossEntropy"


def test_defaults() -> None:
    assert (DiceCrossEntropy().dice_weight, DiceCrossEntropy().name) == (0.5, "dice_cross_entropy")


@pytest.mark.parametrize(
    ("logit", "expected"),
    # Two of four pixels are lung. At a probability of exactly one half, a pixel is not lung.
    [(1e-6, 2 / 3), (0.0, 0.0), (-1e-6, 0.0)],
)
def test_dice_thresholds_at_one_half(logit: float, expected: float) -> None:
    assert np.asarray(losses.dice(TRUTH, logits(*[logit] * 4))) == pytest.approx([expected])


@pytest.mark.parametrize(("share", "expected"), [(127 / 255, 0.0), (0.5, 1.0), (128 / 255, 1.0)])
def test_a_pixel_that_is_lung_by_half_counts_as_lung(share: float, expected: float) -> None:
    truth = np.full((1, 2, 2, 1), share)
    assert np.asarray(losses.dice(truth, logits(1, 1, 1, 1))) == pytest.approx([expected])
    assert np.asarray(losses.accuracy(truth, logits(1, 1, 1, 1))) == pytest.approx([expected])


def test_watched_metrics_of_each_image() -> None:
    truth = np.concatenate([TRUTH, TRUTH])
    prediction = np.concatenate([logits(1, -1, -1, -1), logits(-1, -1, 1, 1)])
    assert np.asarray(losses.dice(truth, prediction)) == pytest.approx([2 / 3, 0])
    assert np.asarray(losses.accuracy(truth, prediction)) == pytest.approx([0.75, 0])


def test_one_output_is_supervised_as_it_is() -> None:
    loss = DiceCrossEntropy()
    truth, logits = np.ones((2, 4, 4, 1), np.float32), np.full((2, 4, 4, 1), 0.3, np.float32)
    assert np.array_equal(supervised(loss, truth, [logits]), loss.call(truth, logits))


def test_coarser_outputs_count_half_of_the_finer_ones() -> None:
    """One pixel of four is lung: at half the size, the only pixel is a quarter lung."""
    loss = DiceCrossEntropy(0.0)  # cross-entropy alone
    truth = np.array([1, 0, 0, 0], np.float32).reshape(1, 2, 2, 1)
    fine, coarse = np.zeros((1, 2, 2, 1), np.float32), np.full((1, 1, 1, 1), np.log(1 / 3), np.float32)
    expected_fine = np.log(2)
    expected_coarse = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    losses = supervised(loss, truth, [fine, coarse])
    assert np.asarray(losses) == pytest.approx([(expected_fine + expected_coarse / 2) / 1.5], abs=1e-5)
