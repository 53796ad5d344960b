"""Where each image is normalised by itself: by what is within its border, beside NumPy."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from modules.preprocessing.normalization import OwnNormalization, crop_to_content, find_content, find_levels, normalise

HEIGHT, WIDTH = 60, 50

Floats = NDArray[np.float32]

both = pytest.mark.parametrize("normalization", ["image", "percentile"])


@pytest.fixture
def picture() -> Floats:
    """Greys from 0.1 to 0.9 that are neither black nor white at the rim: black is another value than a border's."""
    draw = np.random.default_rng(1)
    across, along = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))
    greys = 0.75 - 0.5 * np.exp(-3 * (across**2 + along**2)) + draw.normal(0, 0.03, (HEIGHT, WIDTH))
    return np.asarray(greys.clip(0.1, 0.9), np.float32)


def normalised(pixels: NDArray[Any], normalization: OwnNormalization) -> Floats:
    tensor = tf.constant(pixels[..., np.newaxis], tf.float32)
    return np.asarray(normalise(tensor, find_levels(crop_to_content(tensor), normalization)))[..., 0]


def content(pixels: NDArray[Any]) -> list[int]:
    return list(find_content(tf.constant(pixels[..., np.newaxis], tf.float32)).numpy())


def test_mean_and_deviation(picture: Floats) -> None:
    expected = (picture - picture.mean(dtype=np.float64)) / picture.std(dtype=np.float64)
    assert normalised(picture, "image") == pytest.approx(expected, abs=5e-3)


def test_percentiles(picture: Floats) -> None:
    low, high = np.percentile(picture, [1, 99], method="inverted_cdf")
    expected = (picture - (low + high) / 2) / ((high - low) / 2)
    assert normalised(picture, "percentile") == pytest.approx(expected, abs=5e-3)


BORDERS = {
    "around": ((20, 20), (20, 20)),
    "beside": ((0, 0), (30, 10)),
    "below": ((0, 45), (0, 0)),
    "far wider": ((200, 200), (200, 200)),
}


@both
@pytest.mark.parametrize("level", [0.0, 1.0], ids=["black", "white"])
@pytest.mark.parametrize("border", BORDERS.values(), ids=BORDERS)
def test_a_border_changes_no_grey_value(
    picture: Floats, normalization: OwnNormalization, level: float, border: tuple[tuple[int, int], ...]
) -> None:
    bordered = np.pad(picture, border, constant_values=level)
    (top, _), (left, _) = border
    within = np.s_[top : top + HEIGHT, left : left + WIDTH]
    assert normalised(bordered, normalization)[within] == pytest.approx(normalised(picture, normalization), abs=1e-5)


@both
def test_neither_does_a_border_in_a_border(picture: Floats, normalization: OwnNormalization) -> None:
    page = np.pad(np.pad(picture, 9), 7, constant_values=1.0)
    assert normalised(page, normalization)[16:-16, 16:-16] == pytest.approx(
        normalised(picture, normalization), abs=1e-5
    )


def test_where_the_content_is(picture: Floats) -> None:
    assert content(picture) == [0, 0, HEIGHT, WIDTH]
    framed = np.pad(picture, ((3, 8), (20, 5)))
    assert content(framed) == [3, 20, 3 + HEIGHT, 20 + WIDTH]
    framed[:2, :4] = 0.5
    assert content(framed) == [3, 20, 3 + HEIGHT, 20 + WIDTH], "a marker in the border is no content"
    noise = np.random.default_rng(0).uniform(0, 0.03, framed.shape)
    assert content(np.maximum(framed, noise) * (framed != 0.5)) == [3, 20, 3 + HEIGHT, 20 + WIDTH], "nor is noise"


@both
@pytest.mark.parametrize(("factor", "offset"), [(0.5, 0.0), (0.5, 0.4), (0.2, 0.1), (1.0, 0.1)])
@pytest.mark.parametrize("border", [0, 15])
def test_a_linear_change_of_tone_changes_nothing(
    picture: Floats, normalization: OwnNormalization, factor: float, offset: float, border: int
) -> None:
    image = np.pad(picture, border)
    assert normalised(factor * image + offset, normalization) == pytest.approx(
        normalised(image, normalization), abs=0.03
    )


@both
@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_an_even_image_becomes_nothing(normalization: OwnNormalization, level: float) -> None:
    assert np.abs(normalised(np.full((8, 9), level), normalization)).max() < 0.01


@both
def test_black_and_white_alone(normalization: OwnNormalization) -> None:
    image = np.kron([[0.0, 1.0], [1.0, 0.0]], np.ones((5, 6)))
    assert content(image) == [0, 0, 10, 12]
    assert normalised(image, normalization) == pytest.approx(2 * image - 1, abs=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
@both
def test_images_of_one_line(normalization: OwnNormalization, shape: tuple[int, int]) -> None:
    image = np.linspace(0.2, 0.8, np.prod(shape)).reshape(shape)
    assert np.isfinite(normalised(image, normalization)).all()
