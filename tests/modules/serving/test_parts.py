"""The connected parts of masks: how many there are, and which are kept."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from scipy import ndimage

from modules.serving.parts import keep_largest_parts, usual_number_of_parts

Floats = NDArray[np.float32]

SIDE = 64


def keep_by_scipy(lung: Floats, number: int) -> Floats:
    mask = lung[..., 0] > 0.5
    parts, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, parts, range(1, count + 1))
    last_pixels = [np.flatnonzero(parts == part)[-1] for part in range(1, count + 1)]
    kept = sorted(range(count), key=lambda part: (-sizes[part], last_pixels[part]))[:number]
    dropped = mask & ~np.isin(parts, np.array(kept, int) + 1)
    return np.where(dropped[..., np.newaxis], np.float32(0), lung)


def clouds(smoothness: float) -> Floats:
    """Draw probabilities whose masks have from hundreds of parts to a few, by their smoothness."""
    noise = ndimage.gaussian_filter(np.random.default_rng(3).random((3, SIDE, SIDE)), (0, smoothness, smoothness))
    return ((noise - noise.mean()) / noise.std() * 0.2 + 0.5).astype(np.float32)[..., np.newaxis]


@pytest.mark.parametrize("number", [1, 2, 7])
@pytest.mark.parametrize("smoothness", [0, 0.7, 1.5, 4])
def test_the_largest_parts_are_kept(smoothness: float, number: int) -> None:
    lung = clouds(smoothness)
    expected = np.stack([keep_by_scipy(image, number) for image in lung])
    assert np.any(expected != lung), "there is something to drop"
    assert np.array_equal(keep_largest_parts(tf.constant(lung), number), expected)


def test_a_part_may_be_long_and_winding() -> None:
    lung = np.zeros((1, SIDE, SIDE, 1), np.float32)
    for row in range(0, SIDE, 2):
        lung[0, row] = 1
        lung[0, row + 1, SIDE - 1 if row % 4 == 0 else 0] = 1
    alone = lung.copy()
    lung[0, 1, 5] = 0.5  # not above the threshold, so that it is none of the mask
    assert np.array_equal(keep_largest_parts(tf.constant(lung), 1), lung)
    # Cut in two, of which the longer one stays.
    alone[0, 20] = 0
    kept = keep_largest_parts(tf.constant(alone), 1).numpy()
    assert not kept[0, :20].any()
    assert np.array_equal(kept[0, 21:], alone[0, 21:])


@pytest.mark.parametrize("images", [0, 2])
def test_empty_masks_stay_empty(images: int) -> None:
    lung = np.full((images, SIDE, SIDE, 1), 0.4, np.float32)
    assert np.array_equal(keep_largest_parts(tf.constant(lung), 2), lung)


def mask_of(*boxes: tuple[slice, slice]) -> NDArray[np.bool_]:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    for box in boxes:
        mask[box] = True
    return mask


RIGHT, LEFT = np.s_[8:56, 8:28], np.s_[8:56, 36:56]
SPECK, PIECE = np.s_[60:62, 60:62], np.s_[58:63, 2:12]


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        pytest.param([], 0, id="none"),
        pytest.param([mask_of()] * 3, 0, id="empty"),
        pytest.param([mask_of(RIGHT)] * 60 + [mask_of(RIGHT, LEFT)] * 40, 2, id="some lungs touch"),
        pytest.param([mask_of(RIGHT, LEFT, SPECK)] * 100, 2, id="a speck is no part"),
        pytest.param([mask_of(RIGHT, LEFT)] * 199 + [mask_of(RIGHT, LEFT, PIECE)], 2, id="one drawn carelessly"),
        pytest.param([mask_of(RIGHT, LEFT)] * 90 + [mask_of(RIGHT, LEFT, PIECE)] * 10, 3, id="a third part is usual"),
    ],
)
def test_the_usual_number_of_parts(masks: list[Any], expected: int) -> None:
    assert usual_number_of_parts(iter(masks)) == expected
