"""Tells from cues how good a mask is expected to be, and whether the network was made for images of that kind.

Both are logistic regressions on cues and their squares, for which few images suffice and which have one solution: a
fractional one of the Dice (Papke and Wooldridge, 1996), and an ordinary one.

>>> estimator = fit_estimator(128, atlases, originals, stressed, likely, unlikely)
>>> expected_dice, is_known = estimator(images, lung)
"""

from typing import Any, Final, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from modules.quality.cues import NAMES, OF_THE_MASK, cues, reduced_side

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_FURTHEST: Final = 4.0
"""Deviations from the mean beyond which a cue is no further away."""
_LEAST_DEVIATION: Final = 1e-3
_PENALTY: Final = 1e-3
"""Of the squared weights, beside the mean cross-entropy."""
_LEAST_ODDS: Final = -1.0
"""Logarithm of the odds, both kinds being equally frequent, below which an image is of another kind. Radiographs of a
hospital that was not trained on lie about here; what is no upright chest lies far below."""


class Atlases(NamedTuple):
    """What training images look like on average, float32 [side, side] each, as `reduce` gives them."""

    image: Floats
    lung: Floats


class Judged(NamedTuple):
    """Cues of images, float32 [images, cues], and the Dice of their masks, float64 [images]."""

    cues: Floats
    dice: Doubles


class QualityEstimator(keras.layers.Layer):
    """The estimator as a layer, so that it is exported with the network."""

    def __init__(self, image_size: int) -> None:
        """Make one for images of a size, pixels, that knows nothing yet and finds nothing wrong with any of them."""
        super().__init__(name="quality", trainable=False, dtype="float32")
        side = reduced_side(image_size)
        shapes = {
            "image_atlas": (side, side),
            "lung_atlas": (side, side),
            "mean": (len(NAMES),),
            "deviation": (len(NAMES),),
            "dice_weights": (1 + 2 * OF_THE_MASK,),
            "kind_weights": (1 + 2 * len(NAMES),),
        }
        for name, shape in shapes.items():
            initializer = "ones" if name == "deviation" else "zeros"
            setattr(self, name, self.add_weight(name=name, shape=shape, initializer=initializer))
        self.built = True

    def call(self, images: Any, lung: Any) -> tuple[Any, Any]:
        """Estimate.

        Args:
            images: Normalised, float32 [N, size, size, 1].
            lung: Probabilities that the network gives for them, of the same shape.

        Returns:
            Expected Dice of the masks, 0-1, float32 [N]; whether images are of the kind that was trained on, bool [N].
        """
        found = (cues(images, lung, self.image_atlas, self.lung_atlas) - self.mean) / self.deviation
        dice = ops.sigmoid(ops.sum(_expand(found[:, :OF_THE_MASK], ops) * self.dice_weights, 1))
        return dice, ops.sum(_expand(found, ops) * self.kind_weights, 1) >= _LEAST_ODDS


def fit_estimator(
    image_size: int, atlases: Atlases, originals: Judged, stressed: Judged, likely: Floats, unlikely: Floats
) -> QualityEstimator:
    """Fit.

    Args:
        image_size: Of the network, pixels.
        atlases: Of the training images.
        originals: Images as they come, with the Dice of their masks.
        stressed: Copies of them that something has happened to; all together count as much as the originals.
        likely: Cues of images that are of the kind that was trained on.
        unlikely: Cues of images that are not; likewise.
    """
    everything = np.concatenate([originals.cues, stressed.cues, likely]).astype(np.float64)
    mean, deviation = everything.mean(0), everything.std(0) + _LEAST_DEVIATION

    def fit(first: Floats, second: Floats, truth: Doubles, columns: int) -> Doubles:
        scaled = (np.concatenate([first, second]) - mean) / deviation
        sizes = [len(first), len(second)]
        return _fit_logistic(np.asarray(_expand(scaled[:, :columns], np)), truth, 0.5 / np.repeat(sizes, sizes))

    dice = np.concatenate([originals.dice, stressed.dice])
    known = np.repeat([1.0, 0.0], [len(likely), len(unlikely)])
    dice_weights = fit(originals.cues, stressed.cues, dice, OF_THE_MASK)
    kind_weights = fit(likely, unlikely, known, len(NAMES))
    estimator = QualityEstimator(image_size)
    values = (*atlases, mean, deviation, dice_weights, kind_weights)
    estimator.set_weights([np.asarray(value, np.float32) for value in values])
    return estimator


def _expand(scaled: Any, xp: Any) -> Any:
    """Return the terms of the regressions: 1, the cues, their squares; [N, 1 + 2 * cues]."""
    scaled = xp.clip(scaled, -_FURTHEST, _FURTHEST)
    return xp.concatenate([xp.ones_like(scaled[:, :1]), scaled, scaled**2], 1)


def _fit_logistic(terms: Doubles, truth: Doubles, weights: Doubles) -> Doubles:
    """Minimise the weighted cross-entropy of [images, terms] with [images], 0-1, and a penalty on all but the first."""
    penalty = np.full(terms.shape[1], _PENALTY)
    penalty[0] = 0

    def loss(parameters: Doubles) -> tuple[float, Doubles]:
        odds = terms @ parameters
        entropy = -(truth * log_expit(odds) + (1 - truth) * log_expit(-odds))
        gradient = terms.T @ (weights * (expit(odds) - truth)) + 2 * penalty * parameters
        return float(weights @ entropy + penalty @ parameters**2), gradient

    return np.asarray(minimize(loss, np.zeros(terms.shape[1]), jac=True, method="L-BFGS-B").x)
