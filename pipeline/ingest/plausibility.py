"""Which ages and pixel spacings are plausible; others are mistakes, whoever states them."""

import re
from typing import Final

from schema import features

MAX_AGE: Final = 130
"""Years."""
MAX_PIXEL_SPACING: Final = 100
"""Millimetres."""

_YEARS: Final = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_SQUARE: Final = 0.01  # share by which the sides of a pixel may differ


def is_plausible_age(years: float) -> bool:
    """Tell whether a patient may be of an age."""
    return 0 <= years <= MAX_AGE


def parse_age_string(text: str) -> float | None:
    """Return the years of an age in the form of DICOM's age strings, as "058Y", "018M"; None where it has another."""
    match = re.fullmatch(r"(\d{1,3})([DWMY])", text)
    return int(match[1]) * _YEARS[match[2]] if match else None


def is_plausible_spacing(millimetres: float) -> bool:
    """Tell whether the pixels of an image may be so far apart."""
    return 0 < millimetres <= MAX_PIXEL_SPACING


def square_spacing(rows: float, columns: float) -> float:
    """Return one number, mm, for the distances between rows and between columns.

    Returns:
        Their mean; -1 where pixels are not square, or the distance is not plausible.
    """
    is_square = abs(rows - columns) <= _SQUARE * rows
    return (rows + columns) / 2 if is_square and is_plausible_spacing(rows) else features.UNKNOWN_SPACING
