"""Which grey values of an image become black and white: one rule for ingest, prediction and the exported model.

Detectors deliver 10 to 14 bits in 16-bit files, so that grey values have to be stretched; but a hot pixel, a lead
marker or what lies outside the field must not decide how far. The rule looks at the values of an image, not at where
they are:

1. Each value counts as often as it occurs, but at most `_CLIP` times the mean of all values that occur: what covers
   an area without being anatomy (padding, collimation, a marker) is one value or a few.
2. The middle of this clipped histogram, without `_TAIL` at either end, tells where the values of the anatomy lie.
   What is further away from them than half of their span is no anatomy.
3. Of the pixels that are left, all but `_STRAY` at either end lie between black and white.

For most images this is the range of all values but the outermost 0.1 %. The arithmetic is in whole numbers, so that
NumPy and TensorFlow agree to the last bit.

>>> grey_range(*np.unique(np.arange(100), return_counts=True))
(0, 99)
"""

from typing import Any, Final

import numpy as np

MIN_RANGE: Final = 64
"""Grey levels of 256. An image of 8 bits whose values span fewer is stretched like a deeper one: it may be of a
detector of 12 bits, whose bits were moved the wrong way."""

_CLIP: Final = 4
_TAIL: Final = (1, 20)
_STRAY: Final = (1, 1000)


def grey_range(levels: Any, counts: Any, xp: Any = np) -> tuple[Any, Any]:
    """Find the grey values that become black and white.

    Args:
        levels: Grey values, rising: int64 (or float64, outside TensorFlow) [levels].
        counts: How many pixels have each, one pixel at least: int64 [levels].
        xp: The library that the arrays are of: `numpy`, or TensorFlow's stand-in `tensorflow.experimental.numpy`.

    Returns:
        Black and white, scalars of `levels`; equal where all pixels but stray ones have one value.
    """
    total, present = xp.sum(counts), xp.sum(xp.where(counts > 0, 1, 0))
    first, last = inner_levels(xp.minimum(counts, _CLIP * total // present + 1), _TAIL, xp)
    lower, upper = xp.take(levels, first), xp.take(levels, last)
    within = (2 * levels >= 3 * lower - upper) & (2 * levels <= 3 * upper - lower)
    anatomy = xp.where(within, counts, 0)
    first, last = inner_levels(anatomy, _STRAY, xp)
    return xp.take(levels, first), xp.take(levels, last)


def inner_levels(counts: Any, share: tuple[int, int], xp: Any) -> tuple[Any, Any]:
    """Find the first level below which no more than a share of the counts lies, and the last above which none does.

    Args:
        counts: Of each level, int64 [levels].
        share: Its numerator and its denominator.
        xp: As for `grey_range`.
    """
    part, of = share
    cumulated = xp.cumsum(counts)
    total = cumulated[-1]
    return xp.argmax(cumulated * of > total * part), xp.argmax(cumulated * of >= total * (of - part))
