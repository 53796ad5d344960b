"""The contract of the network: shapes, precision, one step that helps, save and reload."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from modules.network.settings import ModelSettings
from modules.network.unet import copy_weights, unet
from modules.training.losses import DiceCrossEntropy

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


def test_a_residual_block_adds_its_input() -> None:
    settings = SMALL.model_copy(update={"architecture": "resunet"})
    model = unet(settings)
    plain = {layer.name for layer in unet(SMALL).layers}
    added = {layer.name for layer in model.layers} - plain
    blocks = ["down0", "down1", "bottom", "up1", "up0"]
    assert added == {f"{name}_{part}" for name in blocks for part in ("add", "shortcut")}
    for name in blocks:  # without its own convolutions, a block passes its input on
        for number in (1, 2):
            norm = model.get_layer(f"{name}_norm{number}")
            norm.set_weights([np.zeros_like(weight) for weight in norm.get_weights()])
    seen = keras.Model(model.input, [model.get_layer("down0_shortcut").output, model.get_layer("down0_relu2").output])
    shortcut, output = seen(images(2))
    assert np.allclose(output, np.maximum(shortcut, 0))


def test_groups_of_eight_channels() -> None:
    def groups(filters: int) -> list[int]:
        model = unet(ModelSettings(image_size=16, filters=filters, levels=1, normalization="group"))
        return [layer.groups for layer in model.layers if isinstance(layer, keras.layers.GroupNormalization)]

    assert set(groups(8)) == {1, 2}
    assert set(groups(16)) == {2, 4}
    assert set(groups(3)) == {1}


def test_coarser_heads_and_the_network_without_them() -> None:
    settings = ModelSettings(image_size=32, filters=4, levels=4)
    supervised, plain = unet(settings, coarser_heads=True), unet(settings)
    assert [shape[1] for shape in supervised.output_shape] == [32, 16, 8]
    copy_weights(supervised, plain)
    assert np.array_equal(supervised(images(2, 32))[0], plain(images(2, 32)))
    shallow = unet(ModelSettings(image_size=32, filters=4, levels=1), coarser_heads=True)
    assert shallow.output_shape == (None, 32, 32, 1), "there is no coarser level"


def test_dropout_is_for_training_alone() -> None:
    model = unet(SMALL.model_copy(update={"dropout": 0.5}))
    assert np.array_equal(model(images(2)), model(images(2)))
    bottom = keras.Model(model.input, model.get_layer("bottom_dropout").output)
    dropped = np.asarray(bottom(images(8), training=True))
    whole = (dropped == 0).all(axis=(1, 2))
    assert 0 < whole.mean() < 1


def test_skips_carry_the_outline() -> None:
    model = unet(ModelSettings(image_size=16, filters=2, levels=2))
    joined = [layer for layer in model.layers if isinstance(layer, keras.layers.Concatenate)]
    assert [layer.output.shape[1:] for layer in joined] == [(8, 8, 8), (16, 16, 4)]


OPTIONS = [
    {},
    {"architecture": "resunet"},
    {"normalization": "group", "filters": 8},
    {"normalization": "batch"},
    {"dropout": 0.2},
    {"architecture": "resunet", "normalization": "group", "dropout": 0.2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_one_step_lowers_the_loss(options: dict[str, Any]) -> None:
    keras.utils.set_random_seed(1)
    model = unet(SMALL.model_copy(update=options))
    # Two steps take less time than the tracing of a graph.
    model.compile(optimizer=keras.optimizers.Adam(1e-2), loss=DiceCrossEntropy(), run_eagerly=True)
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
