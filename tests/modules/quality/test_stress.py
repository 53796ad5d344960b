"""Copies under stress: what becomes of image and mask, and that they follow from the state of the generator."""

import numpy as np
import pytest

from modules.quality.stress import KINDS, draw_stress

SIZE = 48


def chest() -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    mask = ((rows > 10) & (rows < 36) & (abs(abs(columns - 24) - 11) < 6)).astype(np.float32)
    return (0.8 - 0.5 * mask + 0.002 * rows).astype(np.float32), mask


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_what_holds_for_all(kind: str, seed: int) -> None:
    image, mask = chest()
    stressed, again = (draw_stress(image, mask, np.random.default_rng(seed), kind) for _ in range(2))
    assert stressed.kind == kind
    assert stressed.image.shape == stressed.mask.shape == (SIZE, SIZE)
    assert stressed.image.dtype == stressed.mask.dtype == np.float32
    assert stressed.image.min() >= 0
    assert stressed.image.max() <= 1
    assert set(np.unique(stressed.mask)) <= {0.0, 1.0}
    assert np.array_equal(stressed.image, again.image)
    assert not np.array_equal(stressed.image, image)


def test_masks_follow_their_images() -> None:
    image, mask = chest()
    for kind in ("turned left", "turned round", "upside down", "inverted"):
        stressed = draw_stress(image, mask, np.random.default_rng(0), kind)
        dark = stressed.image > 0.5 if kind == "inverted" else stressed.image < 0.5
        assert np.array_equal(dark, stressed.mask > 0), kind
        assert stressed.is_chest is False
    noisy = draw_stress(image, mask, np.random.default_rng(0), "noise")
    assert np.array_equal(noisy.mask, mask)
    assert noisy.is_chest is None
    assert not draw_stress(image, mask, np.random.default_rng(0), "clouds").mask.any()


def test_all_kinds_are_drawn() -> None:
    random = np.random.default_rng(7)
    assert {draw_stress(*chest(), random).kind for _ in range(300)} == set(KINDS)
