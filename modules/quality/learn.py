"""Fits the quality estimator of a trained network, on validation images and on copies of them under stress.

>>> learn_quality(network, 128, train_files, eval_files, CommonScale(black=-2.1, white=2.3))
<QualityEstimator name=quality, built=True>
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np
import tensorflow as tf

from modules.evaluation import overlap
from modules.quality.cues import THRESHOLD, cues, cues_of_sides, reduce, sides
from modules.quality.estimator import Atlases, Judged, QualityEstimator, fit_estimator
from modules.quality.grey_scale import GreyScale
from modules.quality.stress import Floats, draw_stress
from modules.training.dataset import HALF, draw_examples

_MOST_KNOWN: Final = 120
"""Training images, copies among them, that tell what images look like."""
_MOST_ORIGINALS: Final = 60
"""Validation images that copies under stress are made of."""
_MOST_STRESSED: Final = 240
"""Copies under stress, about; each original has as many as the others."""
_MOST_OF_EACH: Final = 12
_BATCH: Final = 16
_SEED: Final = 11

_LOG = logging.getLogger("lungseg.trainer")

_Pair = tuple[Floats, Floats]
"""A normalised image and its mask, [size, size] each."""

Network = Callable[[tf.Tensor], tf.Tensor]
"""From normalised images to probabilities of lung, float32 [N, size, size, 1] both."""


def learn_quality(
    network: Network, size: int, train_files: Sequence[str], eval_files: Sequence[str], scale: GreyScale
) -> QualityEstimator:
    """Fit the estimator.

    Args:
        network: What the exported model asks.
        size: Side of its images, pixels.
        train_files: What the network has learned from: it tells what images look like, but not how good masks are.
        eval_files: What it has not learned from.
        scale: Of the images.
    """
    # To draw is to look through all files, so once; the pixels are read anew each time, since they are many.
    known = draw_examples(train_files, size, _MOST_KNOWN)
    originals = draw_examples(eval_files, size, _MOST_ORIGINALS, originals=True)
    atlases = _draw_atlases(_read(known))
    judge = _make_judge(network, size, atlases)
    of_known, of_originals = judge(_read(known)), judge(_read(originals))
    total = len(of_originals.dice)
    copies = min(_MOST_OF_EACH, math.ceil(_MOST_STRESSED / total))
    shows_lungs, is_other = [], []

    def stressed() -> Iterator[_Pair]:
        random = np.random.default_rng(_SEED)
        for image, mask in _read(originals):
            for _ in range(copies):
                copy = draw_stress(scale.restore(image), mask, random)
                shows_lungs.append(bool(copy.mask.any()))
                is_other.append(copy.is_chest is False)
                yield scale.normalise(copy.image), copy.mask

    of_stressed = judge(stressed())
    _LOG.info("quality: fitted on %d originals and %d copies of them under stress", total, len(is_other))
    return fit_estimator(
        size,
        atlases,
        of_originals,
        # What shows no lungs has no mask that could be better or worse.
        of_stressed.of(shows_lungs),
        likely=np.concatenate([of_known.cues, of_originals.cues]),
        unlikely=of_stressed.cues[is_other],
    )


def _read(examples: tf.data.Dataset) -> Iterator[_Pair]:
    for image, share in examples.as_numpy_iterator():
        yield image[..., 0].astype(np.float32), (share[..., 0] > HALF).astype(np.float32)


def _draw_atlases(pairs: Iterator[_Pair]) -> Atlases:
    reduced = [[np.asarray(reduce(pixels[np.newaxis]))[0] for pixels in pair] for pair in pairs]
    mean = np.asarray(np.mean(reduced, axis=0, dtype=np.float64), np.float32)
    return Atlases(image=mean[0], lung=mean[1])


def _make_judge(network: Network, size: int, atlases: Atlases) -> Callable[[Iterator[_Pair]], Judged]:
    """Make the function that lets the network answer, and finds the cues and the Dice of its masks."""
    pixels = tf.TensorSpec([None, size, size, 1], tf.float32)

    @tf.function(input_signature=[pixels, pixels], autograph=False)  # a graph takes longer to build than to run
    def ask(images: tf.Tensor, truth: tf.Tensor) -> tuple[tf.Tensor, ...]:
        lung = network(images)
        mask = lung > THRESHOLD
        found = cues(images, lung, tf.constant(atlases.image), tf.constant(atlases.lung))
        of_sides = []
        for side in sides(mask[..., 0]):
            side_truth, side_mask = (tf.cast(pixels, tf.float32) * side[..., tf.newaxis] for pixels in (truth, mask))
            dice = overlap.dice(overlap.count(side_truth, side_mask))
            of_sides.append(tf.where(tf.reduce_any(side_truth > 0, (1, 2, 3)), dice, np.nan))
        return found, overlap.dice(overlap.count(truth, mask)), cues_of_sides(lung), tf.stack(of_sides, 1)

    def judge(pairs: Iterator[_Pair]) -> Judged:
        answers = []
        while batch := list(islice(pairs, _BATCH)):
            images, masks = (np.stack(pixels)[..., np.newaxis] for pixels in zip(*batch, strict=True))
            answers.append([answer.numpy() for answer in ask(tf.constant(images), tf.constant(masks))])
        found, dice, found_of_sides, dice_of_sides = (np.concatenate(parts) for parts in zip(*answers, strict=True))
        return Judged(found, dice.astype(np.float64), found_of_sides, dice_of_sides.astype(np.float64))

    return judge
