"""The half of an image with the right lung, by hand."""

import numpy as np
import pytest

from modules.evaluation.region import columns_of_right_lung

HEIGHT, WIDTH = 30, 60

Box = tuple[slice, slice]


def mask(*boxes: Box) -> np.ndarray:
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    for box in boxes:
        drawn[box] = 255
    return drawn


RIGHT, LEFT = np.s_[5:25, 4:14], np.s_[5:25, 20:30]


def test_it_ends_between_the_lungs() -> None:
    # The lungs' middles are 9 and 25, and 17 between them.
    assert columns_of_right_lung(mask(RIGHT, LEFT), right_at_left=True) == slice(0, 17)
    assert columns_of_right_lung(mask(RIGHT, LEFT), right_at_left=False) == slice(17, WIDTH)


@pytest.mark.parametrize(
    "boxes",
    [(), (RIGHT,), (np.s_[5:25, 4:30],), (RIGHT, np.s_[0:2, 50:52])],
    ids=["no lung", "one", "grown together", "one and a stray part"],
)
def test_without_two_lungs_it_ends_in_the_middle(boxes: tuple[Box, ...]) -> None:
    assert columns_of_right_lung(mask(*boxes), right_at_left=True) == slice(0, WIDTH // 2)
