"""Overlap metrics against truth tables worked out by hand and an implementation of other make."""

from collections.abc import Callable
from fractions import Fraction

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import DTypeLike, NDArray

from modules.evaluation import overlap as metrics

Mask = NDArray[np.uint8]
Pixels = set[tuple[int, int]]

# Truth and prediction as [[a, b], [c, d]]; counts TP, FP, FN, TN; Dice, IoU, accuracy, precision, recall, area error.
BY_HAND = {
    "both empty": ([[0, 0], [0, 0]], [[0, 0], [0, 0]], (0, 0, 0, 4), (1, 1, 1, 1, 1, 0)),
    "both full": ([[1, 1], [1, 1]], [[1, 1], [1, 1]], (4, 0, 0, 0), (1, 1, 1, 1, 1, 0)),
    "perfect": ([[1, 0], [0, 1]], [[1, 0], [0, 1]], (2, 0, 0, 2), (1, 1, 1, 1, 1, 0)),
    "inverted": ([[1, 0], [0, 1]], [[0, 1], [1, 0]], (0, 2, 2, 0), (0, 0, 0, 0, 0, 0)),
    "all missed": ([[1, 1], [1, 1]], [[0, 0], [0, 0]], (0, 0, 4, 0), (0, 0, 0, 1, 0, 1)),
    "all invented": ([[0, 0], [0, 0]], [[1, 1], [1, 1]], (0, 4, 0, 0), (0, 0, 0, 0, 1, 1)),
    "one missed": ([[1, 1], [0, 0]], [[1, 0], [0, 0]], (1, 0, 1, 2), (2 / 3, 1 / 2, 3 / 4, 1, 1 / 2, 1 / 2)),
    "one invented": ([[1, 0], [0, 0]], [[1, 1], [0, 0]], (1, 1, 0, 2), (2 / 3, 1 / 2, 3 / 4, 1 / 2, 1, 1 / 2)),
    "one each": ([[1, 1], [0, 0]], [[1, 0], [1, 0]], (1, 1, 1, 1), (1 / 2, 1 / 3, 1 / 2, 1 / 2, 1 / 2, 0)),
    "too large": ([[1, 0], [0, 0]], [[1, 1], [1, 1]], (1, 3, 0, 0), (2 / 5, 1 / 4, 1 / 4, 1 / 4, 1, 3 / 4)),
    "too small": ([[1, 1], [1, 1]], [[1, 0], [0, 0]], (1, 0, 3, 0), (2 / 5, 1 / 4, 1 / 4, 1, 1 / 4, 3 / 4)),
}
NAMES = ("dice", "iou", "pixel_accuracy", "precision", "recall", "lung_area_error")


def batch(*masks: Mask | list[list[int]]) -> Mask:
    return np.array(masks, np.uint8)[..., np.newaxis]


def numbers(counts: metrics.Counts) -> list[tuple[float, ...]]:
    """One tuple of counts an image."""
    return list(zip(*[np.asarray(pixels).tolist() for pixels in counts], strict=True))


def all_metrics(truth: Mask, prediction: Mask) -> dict[str, list[float]]:
    counts = metrics.count(truth, prediction)
    return {name: np.asarray(metric(counts)).tolist() for name, metric in metrics.OVERLAP.items()}


@pytest.mark.parametrize(("truth", "prediction", "counts", "values"), BY_HAND.values(), ids=BY_HAND)
def test_truth_table(
    truth: list[list[int]], prediction: list[list[int]], counts: tuple[int, ...], values: tuple[float, ...]
) -> None:
    assert numbers(metrics.count(batch(truth), batch(prediction))) == [counts]
    assert all_metrics(batch(truth), batch(prediction)) == {
        name: [pytest.approx(value)] for name, value in zip(NAMES, values, strict=True)
    }


def test_images_of_a_batch_are_counted_apart() -> None:
    rows = list(BY_HAND.values())
    truth, prediction = batch(*[row[0] for row in rows]), batch(*[row[1] for row in rows])
    assert numbers(metrics.count(truth, prediction)) == [row[2] for row in rows]
    assert all_metrics(truth, prediction)["dice"] == pytest.approx([row[3][0] for row in rows])


def test_counts_are_float32() -> None:
    assert {keras.backend.standardize_dtype(pixels.dtype) for pixels in metrics.count(batch([[1]]), batch([[1]]))} == {
        "float32"
    }


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16])
def test_any_numeric_type_is_counted(dtype: DTypeLike) -> None:
    truth, prediction = batch([[1, 1], [0, 0]]).astype(dtype), batch([[1, 0], [1, 0]]).astype(dtype)
    assert numbers(metrics.count(truth, prediction)) == [(1, 1, 1, 1)]


def test_counts_stay_exact_at_the_largest_size() -> None:
    # 2048 x 2048 pixels: float16 would overflow, and float32 holds every integer up to 2^24.
    truth = np.ones((1, 2048, 2048, 1), bool)
    truth[0, 0, 0] = False
    assert numbers(metrics.count(truth, truth)) == [(2**22 - 1, 0, 0, 1)]


@st.composite
def mask_pairs(draw: st.DrawFn) -> tuple[Mask, Mask]:
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=6))
    masks = hnp.arrays(np.uint8, shape, elements=st.integers(0, 1))
    return draw(masks), draw(masks)


def inside(mask: Mask) -> Pixels:
    return {(int(y), int(x)) for y, x in np.argwhere(mask)}


def share(part: Pixels, whole: Pixels) -> Fraction:
    return Fraction(len(part), len(whole)) if whole else Fraction(1)


def dice_of_sets(a: Pixels, b: Pixels) -> Fraction:
    return Fraction(2 * len(a & b), len(a) + len(b)) if a or b else Fraction(1)


REFERENCE: dict[str, Callable[[Pixels, Pixels, Pixels], Fraction]] = {
    "dice": lambda truth, prediction, _: dice_of_sets(truth, prediction),
    "iou": lambda truth, prediction, _: share(truth & prediction, truth | prediction),
    "pixel_accuracy": lambda truth, prediction, image: share(image - (truth ^ prediction), image),
    "precision": lambda truth, prediction, _: share(truth & prediction, prediction),
    "recall": lambda truth, prediction, _: share(truth & prediction, truth),
    "lung_area_error": lambda truth, prediction, _: Fraction(
        abs(len(truth) - len(prediction)), max(len(truth), len(prediction), 1)
    ),
}


@pytest.mark.parametrize("name", REFERENCE)
@settings(max_examples=30, deadline=None)
@given(pair=mask_pairs())
def test_equals_set_arithmetic(name: str, pair: tuple[Mask, Mask]) -> None:
    truth, prediction = pair
    expected = REFERENCE[name](inside(truth), inside(prediction), inside(np.ones_like(truth)))
    assert all_metrics(batch(truth), batch(prediction))[name] == [pytest.approx(float(expected), abs=1e-6)]


@settings(max_examples=30, deadline=None)
@given(pair=mask_pairs())
def test_laws(pair: tuple[Mask, Mask]) -> None:
    there, back = all_metrics(batch(pair[0]), batch(pair[1])), all_metrics(batch(pair[1]), batch(pair[0]))
    (dice,), (iou,) = there["dice"], there["iou"]
    assert dice == pytest.approx(2 * iou / (1 + iou), abs=1e-6)
    assert there["precision"] == back["recall"]
    assert all(there[name] == back[name] for name in ("dice", "iou", "pixel_accuracy"))
    assert sum(numbers(metrics.count(batch(pair[0]), batch(pair[1])))[0]) == pair[0].size


def test_equals_scikit_learn() -> None:
    skm = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(5)
    truth, prediction = draw.integers(0, 2, (2, 4, 16, 16)).astype(np.uint8)
    for name, reference in {
        "dice": skm.f1_score,
        "iou": skm.jaccard_score,
        "pixel_accuracy": skm.accuracy_score,
        "precision": skm.precision_score,
        "recall": skm.recall_score,
    }.items():
        expected = [reference(a.ravel(), b.ravel()) for a, b in zip(truth, prediction, strict=True)]
        assert all_metrics(batch(*truth), batch(*prediction))[name] == pytest.approx(expected)


def test_plain_numbers_are_taken_too() -> None:
    counts = metrics.Counts(true_positives=2, false_positives=1, false_negatives=1, true_negatives=0)
    assert float(metrics.dice(counts)) == pytest.approx(2 / 3)


def test_the_metrics_of_an_image() -> None:
    assert tuple(metrics.OVERLAP) == NAMES
