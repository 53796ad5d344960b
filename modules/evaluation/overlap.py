"""Overlap metrics from pixel counts, written once for training (Keras) and evaluation (TFMA).

    >>> float(dice(Counts(true_positives=2, false_positives=1, false_negatives=1, true_negatives=0)))
    0.6666667

An image whose mask and prediction are both empty is perfectly right: every ratio of 0 / 0 counts as 1.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from keras import ops


class Counts(NamedTuple):
    """Pixels of an image, or tensors [batch] of them, by truth and prediction; floats, so that sums stay exact."""

    true_positives: Any
    false_positives: Any
    false_negatives: Any
    true_negatives: Any


def count(truth: Any, prediction: Any) -> Counts:
    """Count the pixels of each image.

    Args:
        truth: 1 inside the lungs, else 0; [batch, height, width, 1], any numeric type.
        prediction: the same of the model.

    Returns:
        Four float32 tensors [batch].
    """
    truth, prediction = ops.cast(truth, "float32"), ops.cast(prediction, "float32")

    def pixels(inside: Any) -> Any:
        return ops.sum(inside, axis=(1, 2, 3))

    return Counts(
        true_positives=pixels(truth * prediction),
        false_positives=pixels((1 - truth) * prediction),
        false_negatives=pixels(truth * (1 - prediction)),
        true_negatives=pixels((1 - truth) * (1 - prediction)),
    )


def dice(counts: Counts) -> Any:
    """Return 2 TP / (2 TP + FP + FN); Dice (1945)."""
    return _share(2 * counts.true_positives, counts.false_positives + counts.false_negatives)


def iou(counts: Counts) -> Any:
    """Return TP / (TP + FP + FN); Jaccard (1912)."""
    return _share(counts.true_positives, counts.false_positives + counts.false_negatives)


def pixel_accuracy(counts: Counts) -> Any:
    """Return (TP + TN) / all pixels."""
    return _share(counts.true_positives + counts.true_negatives, counts.false_positives + counts.false_negatives)


def precision(counts: Counts) -> Any:
    """Return TP / (TP + FP)."""
    return _share(counts.true_positives, counts.false_positives)


def recall(counts: Counts) -> Any:
    """Return TP / (TP + FN)."""
    return _share(counts.true_positives, counts.false_negatives)


def lung_area_error(counts: Counts) -> Any:
    """Return |predicted area - true area| / (the larger of them): 0-1, and 0 where both are empty."""
    truth = counts.true_positives + counts.false_negatives
    prediction = counts.true_positives + counts.false_positives
    return 1 - _share(ops.minimum(truth, prediction), ops.abs(truth - prediction))


OVERLAP: Final[dict[str, Callable[[Counts], Any]]] = {
    "dice": dice,
    "iou": iou,
    "pixel_accuracy": pixel_accuracy,
    "precision": precision,
    "recall": recall,
    "lung_area_error": lung_area_error,
}
"""What the counts of one image give."""


def _share(right: Any, wrong: Any) -> Any:
    """Return right / (right + wrong), and 1 where both are 0."""
    total = right + wrong
    return ops.where(total > 0, right / ops.maximum(total, 1), 1)
