"""The contract of the network: shapes, precision, one step that helps, save and reload."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from modules.losses import DiceCrossEntropy
from modules.settings import ModelSettings
from modules.unet import unet

SMALLEST = ModelSettings(image_size=16, filters=1, levels=1)
SMALL = ModelSettings(image_size=16, filters=4, levels=2)


@pytest.fixture
def mixed_float16() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


def images(count: int, size: int = 16) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, size, size, 1)).astype(np.float32)


@pytest.mark.parametrize(("image_size", "levels"), [(16, 1), (16, 4), (24, 3), (64, 2)])
def test_logits_have_the_shape_of_the_image(image_size: int, levels: int) -> None:
    model = unet(ModelSettings(image_size=image_size, filters=2, levels=levels))
    assert model.input_shape == model.output_shape == (None, image_size, image_size, 1)
    assert model(images(2, image_size)).shape == (2, image_size, image_size, 1)


def test_parameters_of_the_smallest_by_hand() -> None:
    def normalised_conv(channels_in: int, channels_out: int) -> int:
        return 9 * channels_in * channels_out + 4 * channels_out  # no bias; scale, offset, mean, variance

    down = normalised_conv(1, 1) + normalised_conv(1, 1)
    bottom = normalised_conv(1, 2) + normalised_conv(2, 2)
    up = (2 * 2 * 2 * 1 + 1) + normalised_conv(1 + 1, 1) + normalised_conv(1, 1)
    head = 1 + 1
    model = unet(SMALLEST)
    assert model.count_params() == down + bottom + up + head == 142
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 142 - 2 * (1 + 1 + 2 + 2 + 1 + 1)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_each_level_halves_the_image_and_doubles_the_channels(levels: int) -> None:
    model = unet(ModelSettings(image_size=16, filters=3, levels=levels))
    convolutions = [layer.output.shape[1:] for layer in model.layers if type(layer) is keras.layers.Conv2D]
    down = [(16 // 2**level, 16 // 2**level, 3 * 2**level) for level in range(levels + 1)]
    expected = [shape for shape in [*down, *reversed(down[:-1])] for _ in range(2)]
    assert convolutions == [*expected, (16, 16, 1)]


def test_skips_carry_the_outline() -> None:
    model = unet(ModelSettings(image_size=16, filters=2, levels=2))
    joined = [layer for layer in model.layers if isinstance(layer, keras.layers.Concatenate)]
    assert [layer.output.shape[1:] for layer in joined] == [(8, 8, 8), (16, 16, 4)]


def test_one_step_lowers_the_loss() -> None:
    keras.utils.set_random_seed(1)
    model = unet(SMALL)
    model.compile(optimizer=keras.optimizers.Adam(1e-2), loss=DiceCrossEntropy())
    image = images(4)
    truth = (image > 0).astype(np.uint8)
    first, second = (float(model.train_on_batch(image, truth)) for _ in range(2))
    assert np.isfinite(first)
    assert second < first


@pytest.mark.usefixtures("mixed_float16")
def test_mixed_precision_keeps_logits_in_single() -> None:
    model = unet(SMALL)
    assert {layer.compute_dtype for layer in model.layers if type(layer) is keras.layers.BatchNormalization} == {
        "float16"
    }
    logits = model(images(2))
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert np.isfinite(logits).all()
    model.compile(optimizer="adam", loss=DiceCrossEntropy())
    assert np.isfinite(model.train_on_batch(images(2), np.ones((2, 16, 16, 1), np.uint8)))


def test_the_policy_is_restored() -> None:
    assert keras.config.dtype_policy().name == "float32"


def test_save_and_reload(tmp_path: Path) -> None:
    model = unet(SMALL)
    model.compile(optimizer="adam", loss=DiceCrossEntropy(0.3))
    model.train_on_batch(images(4), np.ones((4, 16, 16, 1), np.uint8))  # moves the statistics off their defaults
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(model(images(3)), restored(images(3)))
    assert restored.loss.dice_weight == 0.3


def test_images_of_a_batch_do_not_touch_each_other_in_inference() -> None:
    model = unet(SMALL)
    together = np.asarray(model(images(3), training=False))
    alone = np.concatenate([model(images(3)[[index]], training=False) for index in range(3)])
    assert together == pytest.approx(alone, abs=1e-5)
