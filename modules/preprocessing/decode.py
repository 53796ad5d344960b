"""Decodes image files and masks inside a graph, as the ingest reads them."""

import tensorflow as tf
import tensorflow.experimental.numpy as tnp

from modules.grey_range import MIN_RANGE, grey_range
from schema.record import MAX_PIXELS


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def decode_grey(encoded: tf.Tensor) -> tf.Tensor:
    """Decode one image file, PNG or JPEG, as the ingest does.

    Colour becomes luminance. Pixels of 16 bits, and those of 8 bits that span fewer than `MIN_RANGE` levels, are
    stretched by the rule of `grey_range`. An EXIF orientation is not applied.

    Args:
        encoded: String scalar, the file's bytes.

    Returns:
        Grey values 0-1, float32 [height, width, 1].
    """

    def from_8_bits() -> tf.Tensor:
        pixels = _decode_8_bits(encoded)
        black, white = _find_range(pixels, 2**8)
        is_narrow = (white - black < MIN_RANGE) & (white > black)
        return tf.cond(is_narrow, lambda: _stretch(pixels, black, white), lambda: tf.cast(pixels, tf.float32) / 255)

    def from_16_bits() -> tf.Tensor:
        pixels = tf.io.decode_png(encoded, channels=1, dtype=tf.uint16)
        return _stretch(pixels, *_find_range(pixels, 2**16))

    bit_depth = tf.strings.substr(encoded, 24, 1)
    is_deep = tf.logical_and(_is_png(encoded), tf.equal(bit_depth, b"\x10"))
    return tf.ensure_shape(tf.cond(is_deep, from_16_bits, from_8_bits), [None, None, 1])


def find_errors(encoded: tf.Tensor) -> tf.Tensor:
    """Find out which image files `decode_grey` cannot read, before one of them fails a whole request.

    Args:
        encoded: String [batch], the files' bytes.

    Returns:
        String [batch]: what is wrong with each, empty for those that can be read.
    """

    def try_file(index: tf.Tensor, file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return index, _find_error(file)

    total = tf.size(encoded, tf.int64)
    files = tf.data.Dataset.from_tensor_slices((tf.range(total), encoded))
    # An operation that fails ends its graph; only a data set can go on with the next element. All of it is taken in one
    # piece, of which there must be something: a loop over it would take 20 ms to set up.
    last = tf.data.Dataset.from_tensors((total, ""))
    tried = files.map(try_file, tf.data.AUTOTUNE).ignore_errors().concatenate(last).batch(total + 1)
    indices, errors = tried.get_single_element()
    undecodable = tf.fill([total + 1], "is damaged or truncated")
    return tf.tensor_scatter_nd_update(undecodable, indices[:, tf.newaxis], errors)[:-1]


def _find_error(encoded: tf.Tensor) -> tf.Tensor:
    """Decode one file, and tell what is wrong with it; what cannot be decoded fails."""

    def from_decoded() -> tf.Tensor:
        # What is decoded has to be used, or nothing is decoded.
        return tf.where(tf.size(_decode_8_bits(encoded)) > 0, "", "holds no pixels")

    def from_size() -> tf.Tensor:
        pixels = tf.reduce_prod(tf.cast(encoded_size(encoded), tf.int64))
        return tf.cond(pixels > MAX_PIXELS, lambda: f"is too large: more than {MAX_PIXELS} pixels", from_decoded)

    def from_no_image() -> tf.Tensor:
        return tf.where(tf.equal(encoded, ""), "is empty", "is neither a PNG nor a JPEG file")

    return tf.cond(_is_png(encoded) | tf.io.is_jpeg(encoded), from_size, from_no_image)


def decode_mask(encoded: tf.Tensor) -> tf.Tensor:
    """Decode the mask of a record, a PNG of 0 and 255: the share of lung, float32 [height, width, 1]."""
    return tf.cast(tf.io.decode_png(encoded, channels=1), tf.float32) / 255


def _decode_8_bits(encoded: tf.Tensor) -> tf.Tensor:
    """Decode a file to uint8 [height, width, 1]; what was printed in four colours goes by way of three."""

    def from_four_colours() -> tf.Tensor:
        colours = tf.cast(tf.io.decode_jpeg(encoded, channels=3), tf.float32)
        return tf.cast(tf.round(tf.image.rgb_to_grayscale(colours)), tf.uint8)

    def from_others() -> tf.Tensor:
        return tf.io.decode_image(encoded, channels=1, expand_animations=False)

    is_jpeg = tf.io.is_jpeg(encoded)
    channels = tf.cond(is_jpeg, lambda: tf.image.extract_jpeg_shape(encoded)[2], lambda: 1)
    return tf.ensure_shape(tf.cond(tf.equal(channels, 4), from_four_colours, from_others), [None, None, 1])


def _find_range(pixels: tf.Tensor, depth: int) -> tuple[tf.Tensor, tf.Tensor]:
    values = tf.cast(tf.reshape(pixels, [-1]), tf.int32)
    counts = tf.math.bincount(values, minlength=depth, maxlength=depth, dtype=tf.int64)
    black, white = grey_range(tf.range(depth, dtype=tf.int64), counts, tnp)
    return black, white


def _stretch(pixels: tf.Tensor, black: tf.Tensor, white: tf.Tensor) -> tf.Tensor:
    """Map `black` to 0 and `white` to 1; what is even becomes black."""
    low, high = tf.cast(black, tf.float32), tf.cast(white, tf.float32)
    return tf.clip_by_value(tf.math.divide_no_nan(tf.cast(pixels, tf.float32) - low, high - low), 0, 1)


def encoded_size(encoded: tf.Tensor) -> tf.Tensor:
    """Read height and width of one PNG or JPEG file from its header; int32 [2]."""

    def from_png() -> tf.Tensor:
        return tf.io.decode_raw(tf.strings.substr(encoded, 16, 8), tf.int32, little_endian=False)[::-1]

    def from_jpeg() -> tf.Tensor:
        return tf.image.extract_jpeg_shape(encoded)[:2]

    return tf.ensure_shape(tf.cond(_is_png(encoded), from_png, from_jpeg), [2])


def _is_png(encoded: tf.Tensor) -> tf.Tensor:
    return tf.equal(tf.strings.substr(encoded, 0, 4), b"\x89PNG")
