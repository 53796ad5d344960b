"""The estimator as it is fitted after a training: on bright discs, which the network finds by their brightness."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from modules.preprocessing.settings import Normalization
from modules.quality.cues import sides
from modules.quality.estimator import QualityEstimator
from modules.quality.grey_scale import CommonScale, find_grey_scale
from modules.quality.learn import learn_quality
from modules.training.dataset import draw_examples
from schema.record import Record

SIZE = 16
SCALE = CommonScale(black=-2.0, white=4.0)


def network(images: tf.Tensor) -> tf.Tensor:
    return tf.sigmoid(4 * (images - 1))


@pytest.fixture(scope="module")
def files(write_examples: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    folder = tmp_path_factory.mktemp("discs")
    train, evaluation, unseen = (write_examples(folder / f"{seed}.gz", 30, seed=seed) for seed in range(3))
    return train, evaluation, unseen


def learn(files: tuple[str, str, str]) -> QualityEstimator:
    train, evaluation, _ = files
    return learn_quality(network, SIZE, [train], [evaluation], SCALE)


def ask(estimator: QualityEstimator, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    images = images.astype(np.float32)
    expected = estimator(tf.constant(images), network(tf.constant(images)))
    return np.asarray(expected.dice), np.asarray(expected.is_known)


def test_what_it_expects_of_sides(files: tuple[str, str, str]) -> None:
    pairs = list(draw_examples([files[2]], SIZE, 30).as_numpy_iterator())
    images = np.stack([image for image, _ in pairs]).astype(np.float32)
    truth, lung = np.stack([share for _, share in pairs]) > 127, network(tf.constant(images))
    mask = lung.numpy() > 0.5
    dice = []
    for side in sides(tf.constant(mask[..., 0])):
        of_side = np.asarray(side)[..., np.newaxis] > 0
        both = (truth & mask & of_side).sum((1, 2, 3))
        dice.append(2 * both / ((truth & of_side).sum((1, 2, 3)) + (mask & of_side).sum((1, 2, 3))))
    expected = np.asarray(learn(files)(tf.constant(images), lung).dice_of_sides)
    assert np.abs(expected.mean(0) - np.mean(dice, 1)).max() < 0.1


def test_it_tells_good_from_bad_and_known_from_strange(files: tuple[str, str, str]) -> None:
    estimator = learn(files)
    pairs = list(draw_examples([files[2]], SIZE, 20).as_numpy_iterator())
    images = np.stack([image for image, _ in pairs]).astype(np.float32)
    truth = np.stack([share for _, share in pairs]) > 127
    found = network(images).numpy() > 0.5
    dice = 2 * (truth & found).sum((1, 2, 3)) / (truth.sum((1, 2, 3)) + found.sum((1, 2, 3)))

    expected, is_known = ask(estimator, images)
    assert is_known.mean() > 0.9
    assert abs(expected.mean() - dice.mean()) < 0.1
    noisy, _ = ask(estimator, images + np.random.default_rng(1).normal(0, 1.5, images.shape))
    assert noisy.mean() < expected.mean() - 0.1
    _, of_inverted = ask(estimator, 2 - images)
    _, of_noise = ask(estimator, np.random.default_rng(2).normal(1, 1.5, images.shape))
    assert of_inverted.mean() < 0.2
    assert of_noise.mean() < 0.2


def test_it_is_the_same_again(files: tuple[str, str, str]) -> None:
    weights = [[weight.tobytes() for weight in learn(files).get_weights()] for _ in range(2)]
    assert weights[0] == weights[1]


def test_the_grey_scale_of_a_transform(
    transform_graph: Path, normalise: Callable[[Record], np.ndarray], scene: Callable[..., Record]
) -> None:
    scale = find_grey_scale(str(transform_graph / "transform_fn"), "dataset")
    assert isinstance(scale, CommonScale)
    record = scene(3)
    normalised = normalise(record)[..., 0]
    assert scale.black < normalised.min()
    assert scale.normalise(scale.restore(normalised)) == pytest.approx(normalised, abs=1e-3)
    assert scale.restore(normalised).mean() == pytest.approx(record.image.mean() / 255, abs=0.02)


@pytest.mark.parametrize("normalization", ["image", "percentile"])
def test_the_grey_scale_of_each_image(transform_graph: Path, normalization: Normalization) -> None:
    scale = find_grey_scale(str(transform_graph / "transform_fn"), normalization)
    image = np.random.default_rng(0).uniform(0.1, 0.8, (SIZE, SIZE)).astype(np.float32)
    normalised = scale.normalise(image)
    assert abs(normalised.mean()) < 0.2
    restored = scale.restore(normalised)
    assert (restored.min(), restored.max()) == (0, 1)
    assert scale.normalise(restored) == pytest.approx(normalised, abs=5e-3)
    even = np.zeros_like(image)
    assert not scale.normalise(scale.restore(even)).any()
