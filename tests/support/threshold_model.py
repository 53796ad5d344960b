"""A model whose masks can be told by hand: lung is what is brighter than half, and it always expects a Dice of 0.75.

>>> import threshold_model
>>> threshold_model.save(folder)
"""

from pathlib import Path

import tensorflow as tf


class Threshold(tf.Module):
    """Has the signature of an exported model, and a variable that a loaded one must keep alive."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = tf.Variable(127)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        def segment(png: tf.Tensor) -> tf.Tensor:
            bright = tf.cast(tf.io.decode_png(png, channels=1), tf.int32) > self.threshold
            return tf.io.encode_png(tf.cast(bright, tf.uint8) * 255)

        total = tf.shape(image_bytes)
        return {
            "mask_png": tf.map_fn(segment, image_bytes),
            "expected_dice": tf.fill(total, 0.75),
            "review_reason": tf.fill(total, ""),
        }


def save(folder: Path) -> Path:
    """Saves it as a SavedModel."""
    module = Threshold()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return folder
