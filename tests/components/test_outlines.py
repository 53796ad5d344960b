"""Outlines of masks are drawn over grey images, and nothing but those."""

import cv2
import numpy as np

from components.outlines import Outline, draw_outlines

YELLOW, PINK = (0, 220, 255), (110, 0, 214)


def test_the_edge_of_a_mask_is_drawn_and_nothing_else() -> None:
    image, mask = np.full((50, 60), 90, np.uint8), np.zeros((50, 60), np.uint8)
    mask[10:20, 10:30] = mask[30:40, 40:50] = 255
    drawn = draw_outlines(image, Outline(mask, YELLOW, smooth=False))
    assert drawn.shape == (50, 60, 3)
    assert drawn.dtype == np.uint8
    edge = (mask > 0) & (cv2.erode(mask, np.ones((3, 3))) == 0)
    assert np.array_equal((drawn != 90).any(axis=2), edge)
    assert np.unique(drawn[edge], axis=0).tolist() == [list(YELLOW)]
    assert (image == 90).all()


def test_a_smooth_line_is_blended_at_its_sides() -> None:
    image, mask = np.full((50, 60), 90, np.uint8), np.zeros((50, 60), np.uint8)
    cv2.circle(mask, (30, 25), 15, 1, -1)
    smooth, sharp = (draw_outlines(image, Outline(mask, YELLOW, smooth=smooth)) for smooth in (True, False))
    assert len(np.unique(sharp.reshape(-1, 3), axis=0)) == 2
    assert len(np.unique(smooth.reshape(-1, 3), axis=0)) > 2
    inside = cv2.erode(mask, np.ones((7, 7))) > 0
    assert (smooth[inside] == 90).all()


def test_holes_have_an_outline() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[5:35, 5:35] = 1
    mask[15:25, 15:25] = 0
    drawn = draw_outlines(np.zeros((40, 40), np.uint8), Outline(mask, YELLOW, smooth=False))
    assert drawn[14, 20].tolist() == list(YELLOW)
    assert not drawn[20, 20].any()


def test_the_last_outline_lies_above_the_wider_ones() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 255
    outlines = [Outline(mask, YELLOW, thickness=5, smooth=False), Outline(mask, PINK, smooth=False)]
    drawn = draw_outlines(np.zeros((40, 40), np.uint8), *outlines)
    assert drawn[20, 10].tolist() == list(PINK)
    assert drawn[20, 12].tolist() == drawn[20, 8].tolist() == list(YELLOW)


def test_an_empty_mask_leaves_the_image() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(draw_outlines(image, Outline(image * 0, YELLOW)), np.dstack([image] * 3))
