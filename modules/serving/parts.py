"""The connected parts of a mask: lungs are two, and what lies apart from them is none.

A network judges each pixel by what it sees around it, and finds lung in a dark bowel or beside an arm, too. Parts are
pixels that share sides, at the network's resolution.

>>> usual_number_of_parts(masks)
2
>>> keep_largest_parts(lung, 2)
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from modules.lungs import find_parts
from modules.quality.cues import THRESHOLD

_MOST_MASKS: Final = 0.99
"""Share of the masks that have as many parts or fewer; the others may have been drawn carelessly."""
_LEAST_SHARE: Final = 0.01
"""Of a mask that a part has at least: a slip of the hand is smaller, and so is what resampling cuts off."""


def usual_number_of_parts(masks: Iterable[NDArray[np.bool_]]) -> int:
    """Find how many parts nearly all masks have at most: two for radiographs, more for slices through a chest.

    Args:
        masks: Bool [height, width] each.

    Returns:
        Their number; 0 where all masks are empty or there are none.
    """
    numbers = []
    for mask in masks:
        _, areas, _ = find_parts(mask[np.newaxis])
        numbers.append(np.count_nonzero(areas >= _LEAST_SHARE * areas.sum()))
    return int(np.quantile(numbers, _MOST_MASKS, method="higher")) if numbers else 0


def keep_largest_parts(lung: tf.Tensor, number: int) -> tf.Tensor:
    """Set the probabilities of all but the largest parts of each mask to 0.

    Every pixel of a mask takes the highest number in its run, along its row and then along its column, and that of the
    pixel that has the number that it has taken, so that numbers travel in leaps (as in Shiloach and Vishkin, 1982,
    J. Algorithms 3(1), 57-67). Lungs take three or four rounds.

    Args:
        lung: Probabilities, float32 [N, height, width, 1], fewer than 2**24 pixels an image.
        number: How many parts are kept of each; of two of one size, that which ends in the upper row comes first.
    """
    pixels = lung.shape[1] * lung.shape[2]
    mask = (lung > THRESHOLD)[..., 0]
    # Floats, since many operations on integers are the CPU's alone.
    first = tf.where(mask, tf.reshape(tf.range(1.0, pixels + 1), [1, *mask.shape[1:]]), 0.0)
    rows, columns = _number_runs(mask), _number_runs(_transpose(mask))

    def spread(labels: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        along_rows = tf.where(mask, _highest(labels, rows), 0.0)
        along_both = tf.where(mask, _transpose(_highest(_transpose(along_rows), columns)), 0.0)
        flat = tf.reshape(along_both, [-1, pixels])
        numbered = tf.pad(flat, [[0, 0], [1, 0]])  # pixels are counted from 1; 0 is outside
        leapt = tf.reshape(tf.gather(numbered, tf.cast(flat, tf.int32), batch_dims=1), tf.shape(labels))
        return leapt, tf.reduce_any(leapt != labels)

    labels, _ = tf.while_loop(lambda _, goes_on: goes_on, spread, (first, tf.constant(True)))
    flat = tf.cast(tf.reshape(labels, [-1, pixels]), tf.int32)
    sizes = tf.math.bincount(flat, minlength=pixels + 1, maxlength=pixels + 1, axis=-1)[:, 1:]
    largest = tf.math.top_k(sizes, number).indices + 1
    is_kept = tf.reduce_any(flat[:, :, tf.newaxis] == largest[:, tf.newaxis], -1)
    return tf.where((mask & ~tf.reshape(is_kept, tf.shape(mask)))[..., tf.newaxis], 0.0, lung)


def _number_runs(mask: tf.Tensor) -> tf.Tensor:
    """Give the runs of a mask's rows rising numbers, int32 of the mask's shape; what lies behind a run has its own."""
    starts = mask & ~tf.pad(mask, [[0, 0], [0, 0], [1, 0]])[..., :-1]
    return tf.reshape(tf.cumsum(tf.reshape(tf.cast(starts, tf.int32), [-1])), tf.shape(mask))


def _highest(labels: tf.Tensor, runs: tf.Tensor) -> tf.Tensor:
    """Give each pixel the highest label of its run."""
    of_runs = tf.math.segment_max(tf.reshape(labels, [-1]), tf.reshape(runs, [-1]))
    return tf.gather(of_runs, runs)


def _transpose(images: tf.Tensor) -> tf.Tensor:
    return tf.transpose(images, [0, 2, 1])
