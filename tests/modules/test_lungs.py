"""Right and left lung, and what is measured of them, against counts by hand."""

import numpy as np
import pytest

from modules.lungs import LEFT, RIGHT, split_lungs
from pipeline.prediction.measurements import Scale, doubts, measure


def blocks(*boxes: tuple[slice, slice], slices: int = 1) -> np.ndarray:
    mask = np.zeros((slices, 40, 60), np.bool_)
    for rows, columns in boxes:
        mask[:, rows, columns] = True
    return mask


LARGE = (slice(5, 35), slice(5, 20))
SMALL = (slice(10, 30), slice(40, 50))
STRAY = (slice(0, 2), slice(57, 60))


@pytest.mark.parametrize("slices", [1, 3])
def test_two_lungs(slices: int) -> None:
    lungs = split_lungs(blocks(LARGE, SMALL, STRAY, slices=slices))
    assert lungs.are_told_apart
    assert np.array_equal(lungs.labels == RIGHT, blocks(LARGE, slices=slices))
    assert np.array_equal(lungs.labels == LEFT, blocks(SMALL, STRAY, slices=slices))


def test_lungs_that_touch_at_a_corner() -> None:
    lungs = split_lungs(blocks((slice(5, 20), slice(5, 30)), (slice(20, 30), slice(30, 55))))
    assert lungs.are_told_apart


def test_seen_from_behind() -> None:
    lungs = split_lungs(blocks(LARGE, SMALL), right_at_left=False)
    assert np.array_equal(lungs.labels == LEFT, blocks(LARGE))


@pytest.mark.parametrize(
    "boxes",
    [
        (),
        (LARGE,),
        (LARGE, STRAY),
        ((slice(2, 15), slice(10, 50)), (slice(20, 35), slice(10, 50))),  # one above the other
    ],
)
def test_lungs_that_cannot_be_told_apart(boxes: tuple[tuple[slice, slice], ...]) -> None:
    lungs = split_lungs(blocks(*boxes))
    assert not lungs.are_told_apart
    assert np.array_equal(lungs.labels, blocks(*boxes))


def test_no_side_is_known() -> None:
    assert not split_lungs(blocks(LARGE, SMALL), right_at_left=None).are_told_apart


def test_measures_of_an_image() -> None:
    measured = measure(split_lungs(blocks(LARGE, SMALL)), Scale(row_mm=0.5, column_mm=0.2, at="detector"))
    expected = {
        "lung_px": 650, "lung_mm2": 65.0, "right_px": 450, "right_mm2": 45.0, "left_px": 200, "left_mm2": 20.0,
        "box_x": 5, "box_y": 5, "box_width": 45, "box_height": 30, "slices": None, "row_spacing_mm": 0.5,
        "column_spacing_mm": 0.2, "slice_spacing_mm": None, "spacing_at": "detector", "lung_fraction": 650 / 2400,
        "width": 60, "height": 40,
    }  # fmt: skip
    assert measured == pytest.approx(expected)


def test_measures_of_a_volume() -> None:
    mask = blocks(LARGE, SMALL, slices=6)
    mask[[0, 1, 5]] = False
    scale = Scale(row_mm=0.5, column_mm=0.2, slice_mm=4, voxel_mm3=0.4, at="patient")
    measured = measure(split_lungs(mask), scale)
    assert (measured["lung_px"], measured["right_px"], measured["left_px"]) == (1950, 1350, 600)
    assert measured["lung_mm2"] == pytest.approx(195)
    assert (measured["lung_ml"], measured["right_ml"]) == pytest.approx((0.78, 0.54))
    assert (measured["slices"], measured["box_z"], measured["box_depth"]) == (6, 2, 3)


def test_an_unknown_scale_and_no_lung() -> None:
    measured = measure(split_lungs(blocks()), Scale())
    assert measured["lung_px"] == 0
    assert {"lung_mm2", "right_px", "box_x", "box_width"} & set(measured) == set()


def test_doubts() -> None:
    assert list(doubts(0.0, is_volume=False)) == list(doubts(0.0, is_volume=True)) != []
    assert list(doubts(0.01, is_volume=True)) == list(doubts(0.3, is_volume=False)) == []
    [doubt] = doubts(0.01, is_volume=False)
    assert doubt == "has a mask of 1.0% of the image, where lungs cover 2% to 65%: look at its overlay"
