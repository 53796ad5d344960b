"""Compares served masks with those of the network as it was trained, rebuilt from its settings and weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.serving_probe.probe import MAX_DIFFERENCE
from modules.lungs import find_parts
from modules.network.settings import ModelSettings
from modules.network.unet import unet
from modules.network.weights import read_settings, read_weights
from modules.preprocessing.transform import parse_pixels


def compare(model_dir: Path, images: Sequence[bytes], masks: Sequence[bytes]) -> tuple[bool, str]:
    """Say whether the served masks are those of the training graph, and what was found.

    Args:
        model_dir: the SavedModel, with weights beside it.
        images: what its `transform_features` makes of some records: serialized float16 [size, size, 1].
        masks: what it answers to the same images: PNGs of any sizes.

    Raises:
        ValueError: the weights do not fit the network, or the images do not.
    """
    settings = read_settings(model_dir)
    if settings is None:
        return False, "no weights lie beside the model (assets.extra/weights.npz) to compare it with"
    if not images or len(images) != len(masks):
        return False, f"{len(masks)} masks and {len(images)} transformed images came back, so nothing can be compared"
    served = [tf.io.decode_png(mask, channels=1)[..., 0].numpy() == 255 for mask in masks]
    expected = _predict(settings, model_dir, images, [lung.shape for lung in served])
    total = sum(lung.size for lung in served)
    differing = sum(int(np.count_nonzero(lung != trained)) for lung, trained in zip(served, expected, strict=True))
    return differing <= MAX_DIFFERENCE * total, f"{differing} of {total} pixels differ"


def _predict(
    settings: ModelSettings, model_dir: Path, images: Sequence[bytes], sizes: Sequence[tuple[int, int]]
) -> list[NDArray[np.bool_]]:
    """Predict bool masks of the given sizes [height, width]."""
    # As the probe does: a GPU rounds otherwise.
    with tf.device("CPU"):
        network = unet(settings)
        read_weights(network, settings, model_dir)
        masks = []
        for serialized, size in zip(images, sizes, strict=True):
            image = tf.cast(parse_pixels(serialized, tf.float16, settings.image_size), tf.float32)[tf.newaxis]
            lung = tf.sigmoid(network(image, training=False))
            if settings.average_mirrored:
                mirrored = tf.sigmoid(network(image[:, :, ::-1], training=False))
                lung = (lung + mirrored[:, :, ::-1]) / 2
            other = settings.threshold / (1 - settings.threshold) * (1 - lung)
            kept = _drop_stray_parts((lung / (lung + other))[0].numpy(), settings.largest_parts)
            masks.append((tf.image.resize(kept, size)[..., 0] > 0.5).numpy())
    return masks


def _drop_stray_parts(lung: NDArray[np.float32], number: int | Literal["auto"]) -> NDArray[np.float32]:
    """Do outside of the graph what the exported model does within; `auto` stands beside models that do not do it."""
    if not number or number == "auto":
        return lung
    [parts], areas, _ = find_parts(lung[np.newaxis, ..., 0] > 0.5)
    # Of two of one size, that stays which ends first.
    ends = [np.flatnonzero(parts == part)[-1] for part in range(1, len(areas) + 1)]
    largest = np.lexsort((ends, -areas))[:number] + 1
    return np.where((parts == 0) | np.isin(parts, largest), lung[..., 0], 0)[..., np.newaxis]
