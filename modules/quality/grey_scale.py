"""What normalisation makes of grey values, and back.

>>> find_grey_scale("transform_graph/transform_fn").normalise(np.float32(1))
1.52
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow_transform.saved.saved_transform_io_v2 import SavedModelLoader

from schema import features


class GreyScale(NamedTuple):
    """What black and white are once they are normalised."""

    black: float
    white: float

    def restore(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the grey values, 0-1, of a normalised image."""
        return np.clip((image - self.black) / (self.white - self.black), 0, 1)

    def normalise(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalise grey values, 0-1."""
        return image * (self.white - self.black) + self.black


def find_grey_scale(transform_graph_dir: str) -> GreyScale:
    """Ask the SavedModel that Transform wrote."""
    transform = SavedModelLoader(transform_graph_dir).apply_transform_model

    @tf.function(autograph=False)  # of which only what the image needs is run
    def normalise(encoded: tf.Tensor) -> tf.Tensor:
        return transform({features.IMAGE: encoded})[features.IMAGE]

    files = [tf.io.encode_png(tf.fill([1, 1, 1], tf.constant(level, tf.uint8))) for level in (0, 255)]
    images = [tf.io.parse_tensor(serialized, tf.float16) for serialized in normalise(tf.stack(files))]
    return GreyScale(*(float(tf.reduce_mean(tf.cast(image, tf.float32))) for image in images))
