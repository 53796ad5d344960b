"""What `bench_gpu.py` trains: the networks of two presets, and the U-Net that NVIDIA publishes figures for."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from modules.network.settings import ModelSettings

PRESETS: Final = Path(__file__).parents[3] / "pipeline" / "presets"
NAMES: Final = ("nvidia", "gpu", "best")
DISTINCT: Final = 32
"""Different images; a training goes through them again and again."""
PASSES: Final = 3
"""Of a training step over the network: forward, backward to the inputs, and backward to the weights."""


@dataclass(frozen=True)
class Network:
    """A network and how it is trained.

    Attributes:
        size: side of its images, pixels.
        batch: images a step on each device.
        filters: channels of the first level.
        levels: how often the image is halved.
        padded: whether its convolutions are padded, and followed by a normalisation.
        settings: of the product's network; of another, those that say how replicas meet: not within a step.
        build: makes it, in the dtype policy that is set, for so many replicas.
    """

    size: int
    batch: int
    filters: int
    levels: int
    padded: bool
    settings: ModelSettings
    build: Callable[[int], Any]


def network(name: str, *, tiny: bool) -> Network:
    """Return the network of a name, or a tiny one of its shape."""
    if name == "nvidia":
        size, batch, filters, levels = (60, 4, 4, 2) if tiny else (572, 8, 64, 4)
        apart = ModelSettings(normalization="group")
        return Network(size, batch, filters, levels, False, apart, lambda _: unpadded_unet(size, filters, levels))
    preset = yaml.safe_load((PRESETS / f"{name}.yaml").read_text())
    changes = {"image_size": 32, "filters": 4, "levels": 1} if tiny else {}
    settings = ModelSettings.model_validate(preset["model"] | changes)
    batch = 4 if tiny else preset["train"]["batch_size"]
    build = partial(_build, settings)
    return Network(settings.image_size, batch, settings.filters, settings.levels, True, settings, build)


def _build(settings: ModelSettings, replicas: int) -> Any:
    from modules.network.unet import unet

    return unet(settings, synchronized=replicas > 1, coarser_heads=settings.deep_supervision)


def unpadded_unet(size: int, filters: int, levels: int) -> Any:
    """Build the U-Net as published (Ronneberger et al., 2015), which NVIDIA measures: 572 pixels in, 388 out.

    Its convolutions have no padding and no normalisation, and what skips is cropped. The logits are padded with zeros
    to the images' size, for the loss; that costs nothing.
    """
    import keras
    from keras import layers

    def block(x: Any, width: int) -> Any:
        for _ in range(2):
            x = layers.Conv2D(width, 3, activation="relu", kernel_initializer="he_normal")(x)
        return x

    image = keras.Input((size, size, 1))
    x, skips = image, []
    for level in range(levels):
        skips.append(block(x, filters * 2**level))
        x = layers.MaxPooling2D()(skips[-1])
    x = layers.Dropout(0.5)(block(x, filters * 2**levels))
    for level in reversed(range(levels)):
        up = layers.Conv2DTranspose(filters * 2**level, 3, strides=2, padding="same", activation="relu")(x)
        cropped = layers.Cropping2D((skips[level].shape[1] - up.shape[1]) // 2)(skips[level])
        x = block(layers.Concatenate()([cropped, up]), filters * 2**level)
    logits = layers.Conv2D(1, 1, dtype="float32")(x)
    return keras.Model(image, layers.ZeroPadding2D((size - logits.shape[1]) // 2, dtype="float32")(logits))


def forward_flops(model: Any) -> int:
    """Return the floating-point operations of one image on its way forward: two for each product of a convolution."""
    from keras import layers

    total = 0
    for layer in model.layers:
        # A kernel is applied once for each pixel: of the output, or where it goes the other way, of the input.
        if isinstance(layer, layers.Conv2DTranspose):
            _, height, width, _ = layer.input.shape
        elif isinstance(layer, layers.Conv2D):
            _, height, width, _ = layer.output.shape
        else:
            continue
        total += 2 * height * width * math.prod(layer.kernel.shape)
    return total


def pictures(size: int) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    """Draw two bright discs into noise: normalised images and masks 0/255, [DISTINCT, size, size, 1]."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[0:size, 0:size] / size
    masks = np.zeros((DISTINCT, size, size, 1), np.uint8)
    for mask in masks:
        for center in (0.3, 0.7):
            (x, y), radius = rng.uniform(-0.05, 0.05, 2), rng.uniform(0.12, 0.22)
            mask[(rows - 0.5 - y) ** 2 + (columns - center - x) ** 2 < radius**2] = 255
    images = masks / 255 + rng.normal(0, 0.5, masks.shape)
    return ((images - images.mean()) / images.std()).astype(np.float16), masks
