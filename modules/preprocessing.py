"""From the stored record to what the network sees; the same graph serves training, evaluation and serving.

`preprocessing_fn` is what Transform runs. It writes pixels as serialized tensors, a fifth of the size of
float lists; `parse_pixels` reads them back.
"""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from schema import features
from schema.settings import Settings

_MIN_DEVIATION = 2.0**-6
_STEP = 2.0**-12
"""To which mean and deviation are rounded, a sixteenth of a grey level: the last digits of Beam's sums depend on how it
groups them, and would let the same data train another model."""


class PreprocessingSettings(Settings):
    """What Transform is given in its `custom_config`."""

    image_size: int
    """Side of the square output, pixels."""
    code_version: str = ""
    """Identifies the code that transforms, so that the cache does not outlive it."""


def preprocessing_fn(inputs: dict[str, tf.Tensor], custom_config: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Resizes and normalises images, resizes masks.

    Mean and variance are learned from original images alone, so that the number of augmented copies
    does not move them.

    Args:
        inputs: a batch of records, each feature a tensor [batch].
        custom_config: Holds `PreprocessingSettings`.

    Returns:
        `image`: string [batch], serialized float16 [size, size, 1], zero mean and unit variance.
        `mask`: string [batch], serialized uint8 [size, size, 1], the share of each pixel that is lung, 0-255:
            what a smaller mask can still know of the outline.
        `is_augmented`: int64 [batch].
    """
    size = PreprocessingSettings.model_validate(custom_config).image_size
    image = _decode_to_square(inputs[features.IMAGE], size)
    original = tf.boolean_mask(image, tf.equal(inputs[features.IS_AUGMENTED], 0))
    mean, deviation = _rounded(tft.mean(original)), _rounded(tf.sqrt(tft.var(original)))
    normalised = (image - mean) / tf.maximum(deviation, _MIN_DEVIATION)
    lung = _decode_to_square(inputs[features.MASK], size)
    return {
        features.IMAGE: _serialize(tf.cast(normalised, tf.float16)),
        features.MASK: _serialize(tf.cast(tf.round(lung * 255), tf.uint8)),
        features.IS_AUGMENTED: inputs[features.IS_AUGMENTED],
    }


def _rounded(value: tf.Tensor) -> tf.Tensor:
    return tf.round(value / _STEP) * _STEP


def parse_pixels(serialized: tf.Tensor, dtype: tf.DType, size: int) -> tf.Tensor:
    """Reads one `image` (tf.float16) or `mask` (tf.uint8) that `preprocessing_fn` wrote, [size, size, 1]."""
    return tf.ensure_shape(tf.io.parse_tensor(serialized, dtype), [size, size, 1])


def decode_grey(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes one PNG or JPEG file.

    Colour becomes luminance. A 16-bit PNG is stretched from its own minimum and maximum, as at ingest:
    12-bit detectors use a sixteenth of the range that such a file offers.

    Args:
        encoded: string scalar, the file's bytes.

    Returns:
        Grey values 0-1, float32 [height, width, 1].
    """

    def from_8_bit() -> tf.Tensor:
        pixels = tf.io.decode_image(encoded, channels=1, expand_animations=False)
        return tf.cast(pixels, tf.float32) / 255

    def from_16_bit() -> tf.Tensor:
        pixels = tf.cast(tf.io.decode_png(encoded, channels=1, dtype=tf.uint16), tf.float32)
        low, high = tf.reduce_min(pixels), tf.reduce_max(pixels)
        return tf.math.divide_no_nan(pixels - low, high - low)

    bit_depth = tf.strings.substr(encoded, 24, 1)
    is_16_bit = tf.logical_and(_is_png(encoded), tf.equal(bit_depth, b"\x10"))
    return tf.ensure_shape(tf.cond(is_16_bit, from_16_bit, from_8_bit), [None, None, 1])


def encoded_size(encoded: tf.Tensor) -> tf.Tensor:
    """Height and width of one PNG or JPEG file from its header, int32 [2]."""

    def from_png() -> tf.Tensor:
        return tf.io.decode_raw(tf.strings.substr(encoded, 16, 8), tf.int32, little_endian=False)[::-1]

    def from_jpeg() -> tf.Tensor:
        return tf.image.extract_jpeg_shape(encoded)[:2]

    return tf.ensure_shape(tf.cond(_is_png(encoded), from_png, from_jpeg), [2])


def _is_png(encoded: tf.Tensor) -> tf.Tensor:
    return tf.equal(tf.strings.substr(encoded, 0, 4), b"\x89PNG")


def _decode_to_square(encoded: tf.Tensor, size: int) -> tf.Tensor:
    """Decodes files [batch] of any sizes to float32 [batch, size, size, 1], 0-1; the aspect ratio is not kept."""
    return tf.map_fn(
        lambda one: tf.image.resize(decode_grey(one), [size, size], antialias=True),
        encoded,
        fn_output_signature=tf.TensorSpec([size, size, 1], tf.float32),
    )


def _serialize(pixels: tf.Tensor) -> tf.Tensor:
    return tf.map_fn(tf.io.serialize_tensor, pixels, fn_output_signature=tf.string)
