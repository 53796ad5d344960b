"""Tells from cues how good a mask is expected to be, and whether the network was made for images of that kind.

All are logistic regressions on cues and their squares, for which few images suffice and which have one solution:
fractional ones of the Dice, of masks and of their sides (Papke and Wooldridge, 1996), and an ordinary one.

>>> estimator = fit_estimator(128, atlases, originals, stressed, likely, unlikely)
>>> expected_dice, of_sides, is_known = estimator(images, lung)
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from modules.quality.cues import NAMES, OF_A_SIDE, OF_THE_MASK, cues, cues_of_sides, reduced_side

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
    """What is known of images.

    Attributes:
        cues: Of them, float32 [images, cues].
        dice: Of their masks, float64 [images].
        cues_of_sides: As the function of that name gives them, float32 [images, 2, cues].
        dice_of_sides: Of the masks' sides, float64 [images, 2]; NaN where there is no lung.
    """

    cues: Floats
    dice: Doubles
    cues_of_sides: Floats
    dice_of_sides: Doubles

    def of(self, images: Sequence[bool]) -> "Judged":
        """Return what is known of some of the images, given whether each is one of them."""
        return Judged(self.cues[images], self.dice[images], self.cues_of_sides[images], self.dice_of_sides[images])


class Expected(NamedTuple):
    """What is expected of masks.

    Attributes:
        dice: 0-1, float32 [N].
        dice_of_sides: Of what lies at the left and at the right of the image, 0-1, float32 [N, 2].
        is_known: Whether an image is of the kind that was trained on, bool [N].
    """

    dice: Any
    dice_of_sides: Any
    is_known: Any


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
            "side_weights": (1 + 2 * OF_A_SIDE,),
            "kind_weights": (1 + 2 * len(NAMES),),
        }
        for name, shape in shapes.items():
            initializer = "ones" if name == "deviation" else "zeros"
            setattr(self, name, self.add_weight(name=name, shape=shape, initializer=initializer))
        self.built = True

    def call(self, images: Any, lung: Any) -> Expected:
        """Estimate.

        Args:
            images: Normalised, float32 [N, size, size, 1].
            lung: Probabilities that the network gives for them, of the same shape.
        """
        found = (cues(images, lung, self.image_atlas, self.lung_atlas) - self.mean) / self.deviation
        of_sides = (cues_of_sides(lung) - self.mean[:OF_A_SIDE]) / self.deviation[:OF_A_SIDE]
        return Expected(
            dice=ops.sigmoid(ops.sum(_expand(found[:, :OF_THE_MASK], ops) * self.dice_weights, -1)),
            dice_of_sides=ops.sigmoid(ops.sum(_expand(of_sides, ops) * self.side_weights, -1)),
            is_known=ops.sum(_expand(found, ops) * self.kind_weights, -1) >= _LEAST_ODDS,
        )


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

    def fit(first: Floats, second: Floats, of_first: Doubles, of_second: Doubles) -> Doubles:
        columns, sizes = first.shape[1], [len(first), len(second)]
        scaled = (np.concatenate([first, second]) - mean[:columns]) / deviation[:columns]
        terms, truth = np.asarray(_expand(scaled, np)), np.concatenate([of_first, of_second])
        return _fit_logistic(terms, truth, 0.5 / np.repeat(sizes, sizes))

    dice_weights = fit(originals.cues[:, :OF_THE_MASK], stressed.cues[:, :OF_THE_MASK], originals.dice, stressed.dice)
    have_lung, still_have = (np.isfinite(judged.dice_of_sides) for judged in (originals, stressed))
    side_weights = fit(
        originals.cues_of_sides[have_lung],
        stressed.cues_of_sides[still_have],
        originals.dice_of_sides[have_lung],
        stressed.dice_of_sides[still_have],
    )
    kind_weights = fit(likely, unlikely, np.ones(len(likely)), np.zeros(len(unlikely)))
    estimator = QualityEstimator(image_size)
    values = (*atlases, mean, deviation, dice_weights, side_weights, kind_weights)
    estimator.set_weights([np.asarray(value, np.float32) for value in values])
    return estimator


def _expand(scaled: Any, xp: Any) -> Any:
    """Return the terms of the regressions: 1, the cues, their squares; from [..., cues] to [..., 1 + 2 * cues]."""
    scaled = xp.clip(scaled, -_FURTHEST, _FURTHEST)
    return xp.concatenate([xp.ones_like(scaled[..., :1]), scaled, scaled**2], -1)


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
