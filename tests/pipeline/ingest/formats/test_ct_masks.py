"""CT masks: which of their values are lung, as labels or as soft edges, and which masks are refused."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, zoom

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.ct.masks import find_lung
from pipeline.ingest.formats.volume import Volume

Array = NDArray[Any]
SHAPE = (64, 64, 24)  # of x, y and z
LOBES = frozenset({10, 11, 12, 13, 14})


def ball(x: float, y: float, radius: float, height: float = 9) -> Array:
    at = np.indices(SHAPE)
    middle = (x, y, 12)
    reach = (radius, radius * 1.4, height)
    return sum(((axis - m) / r) ** 2 for axis, m, r in zip(at, middle, reach, strict=True)) <= 1


LEFT, RIGHT, HEART = ball(16, 32, 10), ball(48, 32, 11), ball(32, 20, 5)
BOTH = LEFT | RIGHT


def labelled(*parts: tuple[Array, int]) -> Array:
    mask = np.zeros(SHAPE, np.uint8)
    for part, label in parts:
        mask[part] = label
    return mask


def total_segmentator() -> Array:
    """Blocks of 104 labels, of which 10 to 14 make up the lungs."""
    x, y, z = np.indices(SHAPE)
    mask = np.where(y < 8, x // 4 + 16 * (z // 3) + 1, 0).astype(np.uint8)
    mask[np.isin(mask, list(LOBES)) | (mask > 104)] = 0
    mask[LEFT & (z < 12)], mask[LEFT & (z >= 12)] = 10, 11
    for index, label in enumerate((12, 13, 14)):
        mask[RIGHT & (z // 8 == index)] = label
    return mask


def lung(mask: Array, labels: frozenset[int] | None = None) -> Array:
    volume = Volume(mask, np.diag([1.0, 1, 2, 1]))
    values = find_lung(volume, labels)
    return np.stack([values.inside(volume.slice(index))[::-1, ::-1].T for index in range(SHAPE[2])], axis=2)


def dice(one: Array, other: Array) -> float:
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def resampled(mask: Array, order: int) -> Array:
    return zoom(zoom(mask.astype(float), (0.5, 0.5, 1), order=order), (2, 2, 1), order=order)


@pytest.mark.parametrize("value", [1, 2, 7, 20, 255])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_the_only_label_is_lung(value: int, dtype: Any) -> None:
    assert np.array_equal(lung(labelled((BOTH, value)).astype(dtype)), BOTH)


@pytest.mark.parametrize("value", [1 / 255, 1e-4, 0.5, 1.0000001, 0.9996, 2.5])
def test_the_only_value_of_a_float_is_lung(value: float) -> None:
    assert np.array_equal(lung(BOTH * value), BOTH)


@pytest.mark.parametrize("noise", [0, 5e-4])
def test_two_lungs(noise: float) -> None:
    mask = labelled((LEFT, 1), (RIGHT, 2)) + noise * np.random.default_rng(0).uniform(-1, 1, SHAPE)
    assert np.array_equal(lung(mask), BOTH)


SOFT = {
    **{f"blurred by {sigma}": gaussian_filter(BOTH.astype(float), sigma) for sigma in (0.5, 1, 1.5)},
    "resampled linearly": resampled(BOTH, 1),
    "resampled by splines": resampled(BOTH, 3),
}


@pytest.mark.parametrize("name", SOFT)
@pytest.mark.parametrize("top", [1, 0.01, 255, 1000])
def test_a_soft_mask_is_cut_half_way(name: str, top: float) -> None:
    found = lung((SOFT[name] * top).astype(np.float32))
    assert np.count_nonzero(found ^ (SOFT[name] > 0.5)) < 0.02 * np.count_nonzero(BOTH)
    assert dice(found, BOTH) > 0.95


@pytest.mark.parametrize("name", SOFT)
def test_a_soft_mask_in_bytes_is_cut_half_way(name: str) -> None:
    found = lung(np.rint(SOFT[name].clip(0, 1) * 255).astype(np.uint8))
    assert dice(found, SOFT[name] > 0.5) > 0.99


@pytest.mark.parametrize(
    ("mask", "labels", "expected"),
    [
        (total_segmentator(), LOBES, BOTH),
        (total_segmentator().astype(np.float32), LOBES, BOTH),
        (total_segmentator(), {10, 11}, LEFT),
        (labelled((LEFT, 1), (RIGHT, 2)), {2}, RIGHT),
        (labelled((BOTH, 255), (HEART, 3)), {255}, BOTH & ~HEART),
    ],
)
def test_chosen_labels(mask: Array, labels: set[int], expected: Array) -> None:
    assert np.array_equal(lung(mask, frozenset(labels)), expected)


NAMES = "name those that are lung with --labels"


@pytest.mark.parametrize(
    ("mask", "labels", "reason"),
    [
        (total_segmentator(), None,
         f"is a label map of 104 labels (1, 2, 3, 4, 5, 6, ...): {NAMES} 10,11,12,13,14"),
        (labelled((LEFT, 1), (RIGHT, 2), (HEART, 3)), None,
         f"is a label map of 3 labels (1, 2, 3): {NAMES} N,N"),
        (labelled((BOTH, 2), (HEART, 5)), None, f"is a label map of 2 labels (2, 5): {NAMES} N,N"),
        (labelled((BOTH, 1), (HEART, 7)).astype(float), None, f"is a label map of 2 labels (1, 7): {NAMES} N,N"),
        (total_segmentator(), {10, 200, 201},
         "has no label 200, 201, which --labels names: it has 104 labels (1, 2, 3, 4, 5, 6, ...)"),
        (labelled((BOTH, 1)), {10}, "has no label 10, which --labels names: it has 1 label (1)"),
        (SOFT["blurred by 1"], {1}, "is no label map, of which --labels could choose: it has the value "),
        (labelled(), None, "is empty"),
        (labelled(), {1}, "is empty"),
        (labelled().astype(float), None, "is empty"),
        (1 + labelled((BOTH, 1)), None, "covers the whole volume"),
        (1 + labelled((BOTH, 1)), {1, 2}, "covers the whole volume"),
        (np.full(SHAPE, 0.7), None, "covers the whole volume"),
        (np.where(BOTH, 1, -1024), None, "has values below 0, down to -1024: outside the lungs, a mask must be 0"),
        (labelled((BOTH, 1)).astype(int) - 1, None,
         "has values below 0, down to -1: outside the lungs, a mask must be 0"),
        (-labelled((BOTH, 1)).astype(float) / 2, None,
         "has values below 0, down to -0.5: outside the lungs, a mask must be 0"),
        (np.where(BOTH, 1, np.nan), None,
         "has voxels that are no numbers (NaN or infinite): outside the lungs, a mask must be 0"),
        (np.where(BOTH, 1, 1e30), None, "is no mask: it has the value 1e+30"),
        (distance_transform_edt(BOTH), None, "is no mask: its values run from 0 to "),
        (np.random.default_rng(0).uniform(0, 1, SHAPE), None, "is no mask: its values run from "),
        (np.where(LEFT, 1, 0) + np.where(RIGHT, 0.5, 0), None, "is no mask: its values run from 0 to 1 "),
        (SOFT["blurred by 1"] + 100 * (np.arange(np.prod(SHAPE)) == 7).reshape(SHAPE), None,
         "is no mask: its values run from 0 to 100 and do not gather at 0 and one other level"),
        (resampled(total_segmentator(), 1), None, "is no mask: its values run from 0 to "),
    ],
)  # fmt: skip
def test_masks_that_are_refused(mask: Array, labels: set[int] | None, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        lung(mask, None if labels is None else frozenset(labels))
    assert "\n" not in str(caught.value)
    if reason.endswith(" "):
        assert str(caught.value).startswith(reason)
    else:
        assert str(caught.value) == reason
