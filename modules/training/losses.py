"""What the network is trained to make small, and the Dice that is watched meanwhile; Keras 3 operations only."""

from typing import Any

import keras
from keras import ops

from modules.evaluation import overlap

_SMOOTH = 1.0


@keras.saving.register_keras_serializable("lungseg")
class DiceCrossEntropy(keras.losses.Loss):
    """Weighted sum of soft Dice loss (Milletari et al., 2016, arXiv 1606.04797) and binary cross-entropy.

    Dice answers for the overlap of the lungs however small they are, cross-entropy for every pixel's
    gradient. Takes logits, and a truth that may be a share: with squares in its denominator, as in the paper,
    the Dice loss is least where the probability equals it.
    """

    def __init__(self, dice_weight: float = 0.5, name: str = "dice_cross_entropy", **kwargs: Any) -> None:
        """Take the share of the Dice loss, 0-1; the rest is cross-entropy."""
        super().__init__(name=name, **kwargs)
        self.dice_weight = dice_weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image, [batch], from truth 0-1 and logits, both [batch, height, width, 1]."""
        truth = ops.cast(y_true, "float32")
        logits = ops.cast(y_pred, "float32")
        probability = ops.sigmoid(logits)
        intersection = ops.sum(truth * probability, axis=(1, 2, 3))
        areas = ops.sum(truth * truth + probability * probability, axis=(1, 2, 3))
        dice_loss = 1 - (2 * intersection + _SMOOTH) / (areas + _SMOOTH)
        cross_entropy = ops.mean(ops.binary_crossentropy(truth, logits, from_logits=True), axis=(1, 2, 3))
        return self.dice_weight * dice_loss + (1 - self.dice_weight) * cross_entropy

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this loss."""
        return {**super().get_config(), "dice_weight": self.dice_weight}


def supervised(loss: keras.losses.Loss, truth: Any, outputs: list[Any]) -> Any:
    """Return the loss of each image, [batch], over the network's outputs from the finest to the coarsest.

    Deep supervision (Lee et al., 2015, arXiv 1409.5185): each output is judged by the truth at its own size, and counts
    half as much as the finer one before it; the weights add up to one.

    Args:
        loss: with a `call` that gives the loss of each image.
        truth: share of lung, 0-1, [batch, height, width, 1].
        outputs: logits; the first of the truth's shape, each further one of half the size.
    """
    total, weights = 0.0, 0.0
    for level, logits in enumerate(outputs):
        if level:
            truth = ops.average_pool(truth, 2, strides=2)
        total, weights = total + 0.5**level * loss.call(truth, logits), weights + 0.5**level
    return total / weights


def dice(y_true: Any, y_pred: Any) -> Any:
    """Return the Dice of each image, [batch], from truth 0-1 and logits, both thresholded at one half."""
    return overlap.dice(_count(y_true, y_pred))


def accuracy(y_true: Any, y_pred: Any) -> Any:
    """Return the share of pixels that are right in each image, [batch]; arguments as for `dice`."""
    return overlap.pixel_accuracy(_count(y_true, y_pred))


def _count(truth: Any, logits: Any) -> overlap.Counts:
    return overlap.count(truth >= 0.5, logits > 0)
