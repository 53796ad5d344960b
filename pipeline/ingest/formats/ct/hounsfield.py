"""Tells whether a CT volume is in Hounsfield units, by the air in it.

>>> check_hounsfield(volume, lungs)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.regions import outermost
from pipeline.ingest.formats.volume import Volume

# Scanners clip at -1024; what is lower pads a scan. Soft tissue begins at -150 (fat), lung ends at about -500.
_LOWEST: Final = -1024
_HIGHEST_OF_AIR: Final = -300
# Noise and sharp kernels go below -1024, but not half of a lung; all of it does with the intercept subtracted twice.
_BELOW_AIR: Final = -1100
# Lungs are 1 % of a scan from head to foot, and a sixth of one of the chest. Stray voxels are a few in a million.
_LEAST_IN_SCAN: Final = 1e-3
# Even of lungs that are filled or collapsed, more than this holds air; where no unit fits, none does.
_LEAST_IN_LUNG: Final = 1e-2
# Of the outermost voxels of the slices. Lungs reach them where a scan shows a part of the chest alone.
_MOST_OF_BORDER: Final = 0.2


@dataclass
class _Count:
    """Voxels, counted slice by slice.

    Attributes:
        scanned: Not padding.
        air: With values that lung has.
        below: Air and anything lower, such as padding.
        lung: In the mask.
        lung_air: In the mask with values that lung has.
        lung_below: In the mask with values too low for lung.
        border: Outermost of their slice.
        lung_border: In the mask and outermost.
        low: The lowest value.
        high: The highest.
    """

    scanned: int = 0
    air: int = 0
    below: int = 0
    lung: int = 0
    lung_air: int = 0
    lung_below: int = 0
    border: int = 0
    lung_border: int = 0
    low: float = np.inf
    high: float = -np.inf

    def add(self, values: NDArray[Any], inside: NDArray[np.bool_]) -> None:
        """Count those of a slice."""
        finite = np.isfinite(values)
        if finite.any():
            numbers = values if finite.all() else values[finite]
            self.low, self.high = min(self.low, float(numbers.min())), max(self.high, float(numbers.max()))
        air = (values > _LOWEST) & (values < _HIGHEST_OF_AIR)
        self.scanned += int(np.count_nonzero(finite & (values >= _LOWEST)))
        self.air += int(np.count_nonzero(air))
        self.below += int(np.count_nonzero(finite & (values < _HIGHEST_OF_AIR)))
        self.lung += int(np.count_nonzero(inside))
        self.lung_air += int(np.count_nonzero(air & inside))
        self.lung_below += int(np.count_nonzero(finite & inside & (values < _BELOW_AIR)))
        border = outermost(inside)
        self.border += border.size
        self.lung_border += int(np.count_nonzero(border))


def check_hounsfield(volume: Volume, lungs: Iterable[NDArray[np.bool_]]) -> None:
    """Make sure that a volume has the values of air where lung must have some, and a mask of what is inside the body.

    Args:
        volume: Of any unit.
        lungs: Where lung is, slice by slice.

    Raises:
        ImageError: It is not in Hounsfield units, or the mask holds no air, or that around the body.
    """
    count = _Count()
    for index, inside in enumerate(lungs):
        count.add(volume.slice(index), inside)
    if count.low > count.high:
        raise ImageError("holds no numbers")
    if problem := _find_problem(count):
        span = f"its values run from {count.low:.6g} to {count.high:.6g}"
        raise ImageError(f"is not in Hounsfield units: {span}, and {problem}")
    if count.lung_air < _LEAST_IN_LUNG * count.lung:
        raise ImageError(
            f"holds air ({_LOWEST} to {_HIGHEST_OF_AIR} HU) in {_share(count.lung_air, count.lung)} of what its mask "
            "names lung: the mask is not of these lungs, or the values are not in Hounsfield units"
        )
    if count.lung_border > _MOST_OF_BORDER * count.border:
        raise ImageError(
            f"has a mask that covers {count.lung_border / count.border:.0%} of its slices' border, which lungs do not: "
            "the mask is inverted, or of what is around the body"
        )


def _find_problem(count: _Count) -> str | None:
    """Say what shows that the values are of another unit; None where nothing does."""
    if not count.below:
        return f"none is below {_HIGHEST_OF_AIR}"
    if count.air < _LEAST_IN_SCAN * count.scanned or not count.air:
        between = f"between {_LOWEST} and {_HIGHEST_OF_AIR}, as lung has"
        return f"{_share(count.air, count.scanned)} of the voxels have one {between}"
    if count.lung_below > count.lung / 2:
        return f"more than half of its lung is below {_BELOW_AIR}"
    return None


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2g} %" if part else "none"
