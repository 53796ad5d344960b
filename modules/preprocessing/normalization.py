"""How grey values are shifted and scaled, where each image is normalised by itself.

What surrounds the picture says nothing of it: collimation, the bars beside a picture that was brought to a square, the
page that it was scanned from. So statistics are those of the content, which begins at the first row and column that are
not black or white throughout:

1. A pixel is black or white if it is less than `_MARGIN` of the range of all values away from its ends.
2. Rows and columns are content if they have at least `_LEAST_CONTENT` as many other pixels as the one that has most: a
   marker in the border does not make it content, and neither does a wider border make content border.
3. All this once more within, where black may be another value than that of the border.

Nothing of it depends on the size of the border, or on a linear change of all values. The border of an image that was
brought to another size blends with its content: crop first, then resize.

>>> normalise(pixels, find_levels(crop_to_content(pixels), "image"))
"""

from typing import Final, Literal, NamedTuple

import tensorflow as tf
import tensorflow.experimental.numpy as tnp

from modules.grey_range import inner_levels

OwnNormalization = Literal["image", "percentile"]
"""Those of `Normalization` that look at one image alone."""

_MARGIN: Final = 0.04
_LEAST_CONTENT: Final = 0.1
_PASSES: Final = 2

_OUTER: Final = (1, 100)
_LEVELS: Final = 255 * 16
"""Whole numbers that grey values are counted by; each of the 256 grey levels is one."""

_STEP: Final = 2.0**-12
"""To which levels are rounded, a sixteenth of a grey level: the last digits of sums depend on how Beam groups them and
on the number of cores, and would let the same data train another model."""
_LEAST_REACH: Final = 2.0**-6


class Levels(NamedTuple):
    """What becomes 0, and how far from it what becomes 1 is; grey values, float32 scalars."""

    middle: tf.Tensor
    reach: tf.Tensor


def normalise(pixels: tf.Tensor, levels: Levels) -> tf.Tensor:
    """Shift and scale grey values, float32 of any shape; what hardly differs is not torn apart."""
    middle, reach = (tf.round(level / _STEP) * _STEP for level in levels)
    return (pixels - middle) / tf.maximum(reach, _LEAST_REACH)


def find_levels(content: tf.Tensor, normalization: OwnNormalization) -> Levels:
    """Find the levels of one image.

    Args:
        content: Grey values 0-1, float32 [height, width, 1].
        normalization: `image`: mean and standard deviation; `percentile`: the middle between the 1st and the 99th
            percentile, and half of what lies between them.
    """
    if normalization == "image":
        return Levels(tf.reduce_mean(content), tf.math.reduce_std(content))
    counted = tf.cast(tf.round(tf.reshape(content, [-1]) * _LEVELS), tf.int32)
    counts = tf.math.bincount(counted, minlength=_LEVELS + 1, maxlength=_LEVELS + 1, dtype=tf.int64)
    low, high = (tf.cast(level, tf.float32) / _LEVELS for level in inner_levels(counts, _OUTER, tnp))
    return Levels((high + low) / 2, (high - low) / 2)


def crop_to_content(pixels: tf.Tensor) -> tf.Tensor:
    """Crop grey values, float32 [height, width, 1], to what is within the border."""
    top, left, bottom, right = tf.unstack(find_content(pixels))
    return pixels[top:bottom, left:right]


def find_content(pixels: tf.Tensor) -> tf.Tensor:
    """Find what is within the border.

    Args:
        pixels: Grey values, float32 [height, width, 1].

    Returns:
        Top, left, bottom and right, the latter two exclusive; int32 [4]. All of an image that is black and white only.
    """
    content = tf.concat([[0, 0], tf.shape(pixels)[:2]], 0)
    for _ in range(_PASSES):
        top, left, bottom, right = tf.unstack(content)
        within = pixels[top:bottom, left:right, 0]
        low, high = tf.reduce_min(within), tf.reduce_max(within)
        margin = _MARGIN * (high - low)
        is_grey = tf.cast((within > low + margin) & (within < high - margin), tf.int32)
        rows, columns = (_find_ends(tf.reduce_sum(is_grey, axis)) for axis in (1, 0))
        content = tf.stack([top + rows[0], left + columns[0], top + rows[1], left + columns[1]])
    return content


def _find_ends(greys: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the first line that is content, and the one after the last, from the grey pixels of each, int32 [lines]."""
    is_content = tf.cast(greys, tf.float32) >= _LEAST_CONTENT * tf.cast(tf.reduce_max(greys), tf.float32)
    lines = tf.cast(tf.where(is_content), tf.int32)[:, 0]
    return lines[0], lines[-1] + 1
