"""Bringing images and masks to one size."""

import numpy as np
import pytest

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.resize import resize_image, resize_mask


@pytest.mark.parametrize("shape", [(40, 48), (700, 32), (2000, 2000), (16, 16)])
def test_resize_gives_the_size_and_keeps_the_mean(shape: tuple[int, int]) -> None:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    smooth = (255 * (rows / shape[0] + columns / shape[1]) / 2).astype(np.uint8)
    resized = resize_image(smooth, 64)
    assert resized.shape == (64, 64)
    assert resized.dtype == np.uint8
    assert resized.mean() == pytest.approx(smooth.mean(), abs=1)


def test_shrinking_averages_over_areas() -> None:
    lines = np.zeros((256, 256), np.uint8)
    lines[:, ::4] = 255
    assert (resize_image(lines, 64) == 64).all()


@pytest.mark.parametrize("shape", [(100, 100), (40, 48), (33, 257)])
def test_a_mask_keeps_two_levels_and_the_area(shape: tuple[int, int]) -> None:
    rows, columns = np.indices(shape)
    ellipse = (rows / shape[0] - 0.5) ** 2 + (columns / shape[1] - 0.5) ** 2 < 0.1
    resized = resize_mask(np.where(ellipse, np.uint8(255), np.uint8(0)), 64)
    assert resized.shape == (64, 64)
    assert set(np.unique(resized)) == {0, 255}
    assert (resized > 0).mean() == pytest.approx(ellipse.mean(), abs=0.02)


def test_a_mask_of_which_nothing_is_left() -> None:
    speck = np.zeros((640, 640), np.uint8)
    speck[3, 3] = 255
    with pytest.raises(ImageError, match=r"^is empty at 64 x 64$"):
        resize_mask(speck, 64)
