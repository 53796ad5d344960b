"""What normalisation makes of grey values, and back.

>>> find_grey_scale("transform_graph/transform_fn", "dataset").normalise(np.ones((128, 128), np.float32)).max()
1.52
"""

from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow_transform.saved.saved_transform_io_v2 import SavedModelLoader

from modules.preprocessing.normalization import OwnNormalization, crop_to_content, find_levels, normalise
from modules.preprocessing.settings import Normalization
from schema import features

Floats = NDArray[np.float32]


class GreyScale(Protocol):
    """Takes normalised images back to grey values, and what has been done to those to normalised images again."""

    def restore(self, image: Floats) -> Floats:
        """Return the grey values, 0-1, of a normalised image [size, size]."""

    def normalise(self, image: Floats) -> Floats:
        """Normalise grey values, 0-1, [size, size]."""


class CommonScale(NamedTuple):
    """Of images that are all normalised alike: what black and white are once they are."""

    black: float
    white: float

    def restore(self, image: Floats) -> Floats:
        """Return the grey values that there were."""
        return np.clip((image - self.black) / (self.white - self.black), 0, 1)

    def normalise(self, image: Floats) -> Floats:
        """Normalise as Transform does."""
        return image * (self.white - self.black) + self.black


class OwnScale(NamedTuple):
    """Of images that are normalised each by itself."""

    normalization: OwnNormalization

    def restore(self, image: Floats) -> Floats:
        """Return grey values from black to white; those that there were are not known, nor do they matter."""
        return np.asarray((image - image.min()) / max(np.ptp(image), np.finfo(np.float32).eps), np.float32)

    def normalise(self, image: Floats) -> Floats:
        """Normalise as Transform does, but find the content at the size of the network."""
        pixels = tf.constant(image[..., np.newaxis])
        return np.asarray(normalise(pixels, find_levels(crop_to_content(pixels), self.normalization))[..., 0])


def find_grey_scale(transform_graph_dir: str, normalization: Normalization) -> GreyScale:
    """Find out what a Transform does to grey values.

    Args:
        transform_graph_dir: The SavedModel that it wrote.
        normalization: As it was told.
    """
    return _ask(transform_graph_dir) if normalization == "dataset" else OwnScale(normalization)


def _ask(transform_graph_dir: str) -> CommonScale:
    transform = SavedModelLoader(transform_graph_dir).apply_transform_model

    @tf.function(autograph=False)  # of which only what the image needs is run
    def transformed(encoded: tf.Tensor) -> tf.Tensor:
        return transform({features.IMAGE: encoded})[features.IMAGE]

    files = [tf.io.encode_png(tf.fill([1, 1, 1], tf.constant(level, tf.uint8))) for level in (0, 255)]
    images = [tf.io.parse_tensor(serialized, tf.float16) for serialized in transformed(tf.stack(files))]
    return CommonScale(*(float(tf.reduce_mean(tf.cast(image, tf.float32))) for image in images))
