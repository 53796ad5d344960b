"""Units of CT volumes: Hounsfield units are taken however they are cropped and padded, other units are refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.ct.hounsfield import check_hounsfield
from pipeline.ingest.formats.volume import Volume

Array = NDArray[Any]
SHAPE = (48, 48, 16)
_X, _Y, _ = np.indices(SHAPE)
BODY = ((_X - 24) / 20) ** 2 + ((_Y - 24) / 16) ** 2 <= 1
LUNGS = np.minimum(np.hypot(_X - 15, _Y - 24), np.hypot(_X - 33, _Y - 24)) <= 6
OUTSIDE_CIRCLE = np.hypot(_X - 24, _Y - 24) > 23
RNG = np.random.default_rng(0)


def chest() -> Array:
    """Room, soft tissue, lungs with vessels, and the spine; Hounsfield units with noise."""
    hounsfield = np.where(LUNGS, -800.0, np.where(BODY, 40.0, -1000.0)) + RNG.normal(0, 20, SHAPE)
    hounsfield[LUNGS & (RNG.random(SHAPE) < 0.05)] = 60
    hounsfield[22:26, 10:14] = 700
    return hounsfield.clip(-1024, 3071).round()


def padded(values: Array, padding: float) -> Array:
    return np.where(OUTSIDE_CIRCLE, padding, values)


def with_stray(values: Array, stray: float) -> Array:
    changed = values.copy()
    changed[20, 40, 3] = stray
    return changed


def smooth_padding(values: Array, padding: float) -> Array:
    """Padded, then resampled so that values at the circle's edge lie between."""
    edge = np.abs(np.hypot(_X - 24, _Y - 24) - 23) < 0.5
    return np.where(edge, (padding + values) / 2, padded(values, padding))


def check(values: Array, lungs: Array = LUNGS) -> None:
    volume, mask = (Volume(voxels, np.diag([0.8, 0.8, 2, 1])) for voxels in (values, lungs))
    check_hounsfield(volume, (mask.slice(index) for index in range(mask.slice_count)))


GOOD: dict[str, Callable[[], Array]] = {
    "whole": chest,
    "integers": lambda: chest().astype(np.int16),
    "padded with -2048": lambda: padded(chest(), -2048),
    "padded with -3024": lambda: padded(chest(), -3024),
    "padded with NaN": lambda: padded(chest(), np.nan),
    "lungs alone in 0": lambda: np.where(LUNGS, chest(), 0),
    "lungs alone in -3024": lambda: np.where(LUNGS, chest(), -3024),
    "clipped to the window": lambda: chest().clip(-1000, 400),
    "metal": lambda: with_stray(chest(), 30000),
    "hardly aerated": lambda: np.where(LUNGS & (RNG.random(SHAPE) < 0.9), 30, chest()),
}


@pytest.mark.parametrize("name", GOOD)
def test_hounsfield_units_are_taken(name: str) -> None:
    check(GOOD[name]())


def test_a_volume_cropped_to_the_lungs_is_taken() -> None:
    part = slice(9, 40), slice(18, 31)
    check(chest()[part], LUNGS[part])


@pytest.mark.parametrize("mask", [~LUNGS, ~BODY], ids=["inverted", "around the body"])
def test_a_mask_of_what_is_outside_is_refused(mask: Array) -> None:
    with pytest.raises(ImageError, match=r"^has a mask that covers 100% of its slices' border, which lungs do not: "):
        check(chest(), mask)


def test_a_whole_body_is_taken() -> None:
    """Lungs are one voxel in 400."""
    values, lungs = np.full((48, 48, 400), 40.0), np.zeros((48, 48, 400), bool)
    values[:12, :12, :16] = -800
    lungs[:12, :12, :16] = True
    check(values, lungs)


SHIFTED = "is not in Hounsfield units: its values run from {} to {}, and none is below -300"
BAD: dict[str, tuple[Callable[[], Array], str]] = {
    "shifted by 1024": (lambda: (chest() + 1024).astype(np.uint16), SHIFTED.format("0", "1.*")),
    "12 bits": (lambda: (chest() + 1024).clip(0, 4095), SHIFTED.format("0", "1.*")),
    "bytes": (lambda: ((chest() + 1024) / 8).clip(0, 255).astype(np.uint8), SHIFTED.format("0", "2.*")),
    "shares": (lambda: (chest() + 1024) / 4095, SHIFTED.format("0", r"0\..*")),
    "standardised": (lambda: (chest() - chest().mean()) / chest().std(), SHIFTED.format(r"-0\..*", r"2\..*")),
    "shifted with one stray voxel": (
        lambda: with_stray(chest() + 1024, -800),
        r"is not in Hounsfield units: its values run from -800 to 1.*, and 0\.0027 % of the voxels have one between "
        r"-1024 and -300, as lung has",
    ),
    "shifted and padded": (
        lambda: padded(chest() + 1024, -2000),
        "is not in Hounsfield units: its values run from -2000 to 1.*, and none of the voxels have one between -1024 "
        "and -300, as lung has",
    ),
    "shifted, padding as well": (lambda: padded(chest(), -2048) + 1024, "is not in Hounsfield units: .*-1024 to 1.*"),
    "shifted, padding resampled": (
        lambda: smooth_padding(chest() + 1024, -2048),
        r"holds air \(-1024 to -300 HU\) in none of what its mask names lung: the mask is not of these lungs, or the "
        "values are not in Hounsfield units",
    ),
    "shifted twice": (
        lambda: chest() - 1024,
        "is not in Hounsfield units: its values run from -2048 to -.*, and more than half of its lung is below -1100",
    ),
    "no numbers": (lambda: np.full(SHAPE, np.nan), "holds no numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_other_units_are_refused(name: str) -> None:
    make, reason = BAD[name]
    with pytest.raises(ImageError, match=f"^{reason}$"):
        check(make())


def test_a_mask_of_something_else_is_refused() -> None:
    with pytest.raises(ImageError, match=r"^holds air .* in none of what its mask names lung: the mask is not of "):
        check(chest(), np.roll(LUNGS, 14, axis=1) & BODY & ~LUNGS)
