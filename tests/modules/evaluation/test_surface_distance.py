"""Distances between outlines: by hand, against brute force over all pairs of pixels, and against scikit-image."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist
from skimage.metrics import hausdorff_distance

from modules.evaluation import surface_distance as boundary
from modules.evaluation.surface_distance import average_surface_distance, hausdorff_95, surface_dice, surface_distances

Mask = NDArray[np.uint8]

EMPTY = [[0, 0], [0, 0]]
FULL = [[1, 1], [1, 1]]
DIAGONAL = math.sqrt(8)
# Truth, prediction; distances from the true outline and from the predicted one.
BY_HAND: dict[str, tuple[list[list[int]], list[list[int]], list[float], list[float]]] = {
    "both empty": (EMPTY, EMPTY, [0], [0]),
    "equal": ([[1, 0], [0, 0]], [[1, 0], [0, 0]], [0], [0]),
    "missed": (FULL, EMPTY, [DIAGONAL], [DIAGONAL]),
    "invented": (EMPTY, FULL, [DIAGONAL], [DIAGONAL]),
    "one pixel too many": ([[1, 0], [0, 0]], [[1, 1], [0, 0]], [0], [0, 1]),
    "beside": ([[1, 0, 0, 0]], [[0, 0, 0, 1]], [3], [3]),
    "across": ([[1, 0], [0, 0]], [[0, 0], [0, 1]], [math.sqrt(2)], [math.sqrt(2)]),
    # The middle of a 3 x 3 square is no part of its outline, and the border of the image is outside.
    "a square and its middle": (
        [[1] * 3] * 3,
        [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
        [1, 1, 1, 1, *[math.sqrt(2)] * 4],
        [1],
    ),
}


def mask(rows: list[list[int]]) -> Mask:
    return np.array(rows, np.uint8) * 255


@pytest.mark.parametrize(("truth", "prediction", "there", "back"), BY_HAND.values(), ids=BY_HAND)
def test_by_hand(truth: list[list[int]], prediction: list[list[int]], there: list[float], back: list[float]) -> None:
    distances = surface_distances(mask(truth), mask(prediction))
    assert sorted(distances.from_truth.tolist()) == pytest.approx(sorted(there))
    assert sorted(distances.from_prediction.tolist()) == pytest.approx(sorted(back))


def test_figures_by_hand() -> None:
    # 20 pixels in a row against 20 a row below, and one of them a further 4 pixels away: distances 1, and one of 5.
    truth, prediction = np.zeros((2, 9, 20), np.uint8)
    truth[1] = prediction[2] = 1
    prediction[2, 0], prediction[6, 0] = 0, 1
    distances = surface_distances(truth, prediction)
    assert sorted(distances.from_prediction.tolist()) == pytest.approx([1] * 19 + [5])
    assert sorted(distances.from_truth.tolist()) == pytest.approx([1] * 19 + [math.sqrt(2)])
    # The 95th percentile of 20 values lies a twentieth of the way from the 19th to the 20th.
    assert hausdorff_95(distances) == pytest.approx(1 + 0.05 * 4)
    assert average_surface_distance(distances) == pytest.approx((38 + 5 + math.sqrt(2)) / 40)
    assert surface_dice(distances, tolerance=1) == pytest.approx(38 / 40)
    assert surface_dice(distances, tolerance=1.5) == pytest.approx(39 / 40)
    assert surface_dice(distances, tolerance=5) == 1


@pytest.mark.parametrize(("truth", "prediction", "distance", "dice"), [
    (EMPTY, EMPTY, 0, 1), (FULL, EMPTY, DIAGONAL, 0), (EMPTY, FULL, DIAGONAL, 0),
])  # fmt: skip
def test_empty_masks(truth: list[list[int]], prediction: list[list[int]], distance: float, dice: float) -> None:
    distances = surface_distances(mask(truth), mask(prediction))
    assert hausdorff_95(distances) == average_surface_distance(distances) == pytest.approx(distance)
    assert surface_dice(distances, tolerance=1) == dice


@st.composite
def mask_pairs(draw: st.DrawFn) -> tuple[Mask, Mask]:
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))
    masks = hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 255])).filter(np.any)
    return draw(masks), draw(masks)


def outline(of: Mask) -> NDArray[np.bool_]:
    inside = of > 0
    return inside & ~ndimage.binary_erosion(inside)


@settings(max_examples=100, deadline=None)
@given(pair=mask_pairs())
def test_equals_brute_force(pair: tuple[Mask, Mask]) -> None:
    apart = cdist(*[np.argwhere(outline(mask_)) for mask_ in pair])
    there, back = apart.min(axis=1), apart.min(axis=0)
    distances = surface_distances(*pair)
    assert distances.from_truth == pytest.approx(there, abs=1e-4)
    assert distances.from_prediction == pytest.approx(back, abs=1e-4)
    both = np.concatenate([there, back])
    assert hausdorff_95(distances) == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), abs=1e-4)
    assert average_surface_distance(distances) == pytest.approx(both.mean(), abs=1e-4)
    assert surface_dice(distances, 2.5) == pytest.approx((both <= 2.5).mean())


@settings(max_examples=50, deadline=None)
@given(pair=mask_pairs())
def test_the_largest_distance_is_that_of_scikit_image(pair: tuple[Mask, Mask]) -> None:
    distances = surface_distances(*pair)
    largest = max(values.max() for values in distances)
    assert largest == pytest.approx(hausdorff_distance(*[outline(mask_) for mask_ in pair]), abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(pair=mask_pairs())
def test_laws(pair: tuple[Mask, Mask]) -> None:
    there, back = surface_distances(*pair), surface_distances(*pair[::-1])
    assert hausdorff_95(there) == hausdorff_95(back)
    assert average_surface_distance(there) >= 0
    assert surface_dice(there, 100) == 1
    assert hausdorff_95(surface_distances(pair[0], pair[0])) == 0


def test_real_sizes_agree_with_scipy() -> None:
    y, x = np.mgrid[:512, :512]
    truth = ((np.hypot(y - 250, x - 150) < 110) | (np.hypot(y - 250, x - 370) < 100)).astype(np.uint8)
    prediction = ((np.hypot(y - 255, x - 150) < 112) | (np.hypot(y - 250, x - 372) < 95)).astype(np.uint8)
    edges = [outline(mask_) for mask_ in (truth, prediction)]
    there, back = (ndimage.distance_transform_edt(~to)[of] for of, to in ((edges[0], edges[1]), (edges[1], edges[0])))
    distances = surface_distances(truth, prediction)
    assert hausdorff_95(distances) == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), abs=1e-3)
    assert average_surface_distance(distances) == pytest.approx(np.concatenate([there, back]).mean(), abs=1e-3)


def test_the_box_leaves_nothing_out() -> None:
    truth, prediction = np.zeros((2, 40, 50), np.uint8)
    truth[0, 0] = prediction[39, 49] = 255
    assert boundary._window(truth | prediction) == (slice(0, 40), slice(0, 50))
    assert hausdorff_95(surface_distances(truth, prediction)) == pytest.approx(math.hypot(39, 49))
