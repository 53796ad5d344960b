"""What Transform runs.

`preprocessing_fn` writes pixels as serialized tensors, a fifth of the size of float lists; `parse_pixels` reads them
back.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from modules.preprocessing.decode import decode_grey, decode_mask
from modules.preprocessing.normalization import Levels, OwnNormalization, crop_to_content, find_levels, normalise
from modules.preprocessing.settings import PreprocessingSettings
from schema import features


@tf.autograph.experimental.do_not_convert  # it has no loops or conditions of tensors, and is traced ten times
def preprocessing_fn(inputs: dict[str, tf.Tensor], custom_config: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Resize and normalise images, resize masks.

    What is learned of a data set is learned from original images alone, so that the number of augmented copies does not
    move it.

    Args:
        inputs: a batch of records, each feature a tensor [batch].
        custom_config: Holds `PreprocessingSettings`.

    Returns:
        `image`: string [batch], serialized float16 [size, size, 1], normalised as `TransformSettings` say.
        `mask`: string [batch], serialized uint8 [size, size, 1], the share of each pixel that is lung, 0-255:
            what a smaller mask can still know of the outline.
        `is_augmented`: int64 [batch].
    """
    settings = PreprocessingSettings.model_validate(custom_config)
    size, normalization = settings.image_size, settings.transform.normalization
    encoded, is_augmented = inputs[features.IMAGE], inputs[features.IS_AUGMENTED]
    if normalization == "dataset":
        image = _normalise_by_originals(_decode_to_square(encoded, size, decode_grey), is_augmented)
    else:
        image = _map_files(encoded, size, lambda file: _decode_normalised(file, size, normalization))
    lung = _decode_to_square(inputs[features.MASK], size, decode_mask)
    return {
        features.IMAGE: _serialize(tf.cast(image, tf.float16)),
        features.MASK: _serialize(tf.cast(tf.round(lung * 255), tf.uint8)),
        features.IS_AUGMENTED: is_augmented,
    }


def parse_pixels(serialized: tf.Tensor, dtype: tf.DType, size: int) -> tf.Tensor:
    """Read one `image` (tf.float16) or `mask` (tf.uint8) that `preprocessing_fn` wrote, [size, size, 1]."""
    return tf.ensure_shape(tf.io.parse_tensor(serialized, dtype), [size, size, 1])


def _normalise_by_originals(images: tf.Tensor, is_augmented: tf.Tensor) -> tf.Tensor:
    """Normalise images [batch, size, size, 1] by mean and deviation of all that are originals."""
    import tensorflow_transform as tft

    originals = tf.boolean_mask(images, tf.equal(is_augmented, 0))
    return normalise(images, Levels(tft.mean(originals), tf.sqrt(tft.var(originals))))


def _decode_normalised(file: tf.Tensor, size: int, normalization: OwnNormalization) -> tf.Tensor:
    """Decode a file to [size, size, 1], normalised by its content at that size, or at its own if that is less.

    Where the content ends is found before, since a border that is brought to another size blends with it.
    """
    pixels = decode_grey(file)
    content = crop_to_content(pixels)
    content = tf.image.resize(content, tf.minimum(tf.shape(content)[:2], size), antialias=True)
    return normalise(_to_square(pixels, size), find_levels(content, normalization))


def _decode_to_square(encoded: tf.Tensor, size: int, decode: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Decode files [batch] of any sizes to float32 [batch, size, size, 1], 0-1."""
    return _map_files(encoded, size, lambda file: _to_square(decode(file), size))


def _to_square(pixels: tf.Tensor, size: int) -> tf.Tensor:
    """Resize [height, width, 1] to [size, size, 1]; the aspect ratio is not kept."""
    return tf.image.resize(pixels, [size, size], antialias=True)


def _map_files(encoded: tf.Tensor, size: int, make: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Make images, float32 [batch, size, size, 1], of files [batch] one by one."""
    return tf.map_fn(make, encoded, fn_output_signature=tf.TensorSpec([size, size, 1], tf.float32))


def _serialize(pixels: tf.Tensor) -> tf.Tensor:
    return tf.map_fn(tf.io.serialize_tensor, pixels, fn_output_signature=tf.string)
