"""Chooses those labels of a mask that are lung.

>>> choose_labels({0: 900, 1: 40, 2: 60}, None, "volume")
(1, 2)
>>> choose_labels({0: 900, 10: 40, 51: 60}, parse_labels("10"), "volume")
(10,)
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.raster import Grey
from pipeline.ingest.formats.regions import region_levels
from schema.record import Pixels

Labels = frozenset[int]

OUTSIDE: Final = 0
_BOTH_LUNGS: Final = [1, 2]  # as lungmask's R231 has them; what a third label means differs from tool to tool
_LOBES: Final = (10, 11, 12, 13, 14)  # of TotalSegmentator
_MOST_NAMED: Final = 6
# Of 17 hand-drawn masks as maps of three labels (256 to 1024 pixels), interpolation puts 1.6 times height and width in
# pixels between the labels, and JPEG 2 times or more; of exact maps none is.
_MOST_BETWEEN: Final = 0.5
_SIXTEEN_BITS: Final = 2**16


def parse_labels(text: str | None) -> Labels | None:
    """Read labels separated by commas, as in "10,11,12".

    Raises:
        UserError: They are no whole numbers above 0.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    wrong = next((part for part in parts if not (part.isascii() and part.isdigit() and int(part) > OUTSIDE)), None)
    if wrong is not None:
        raise UserError(f"--labels {text}: '{wrong}' is no label: write whole numbers above 0, as in 10,11,12")
    return frozenset(map(int, parts))


def choose_labels(counts: Mapping[int, int], labels: Labels | None, whole: str) -> tuple[int, ...]:
    """Return the labels that are lung, ascending.

    Without a choice these are the only label above 0, or 1 and 2, the two lungs.

    Args:
        counts: Of the voxels or pixels by their value.
        labels: Those chosen; None where none are.
        whole: What the mask is of: "image" or "volume".

    Raises:
        ImageError: There is no lung or nothing else, a chosen label is not there, or the choice is left open.
    """
    present = sorted(value for value in counts if value != OUTSIDE)
    if not present:
        raise ImageError("is empty")
    if present[0] < OUTSIDE:
        raise ImageError(f"has values below 0, down to {present[0]}: outside the lungs, a mask must be 0")
    lung = present if labels is None else sorted(labels)
    if absent := sorted(set(lung) - set(present)):
        raise ImageError(f"has no label {enumerate_labels(absent)}, which --labels names: it has {_describe(present)}")
    if all(value in lung for value in counts):
        raise ImageError(f"covers the whole {whole}")
    if labels is None and len(present) > 1 and present != _BOTH_LUNGS:
        example = ",".join(map(str, _LOBES)) if set(_LOBES) <= set(present) else "N,N"
        raise ImageError(f"is a label map of {_describe(present)}: name those that are lung with --labels {example}")
    return tuple(lung)


def is_any_of(values: NDArray[Any], labels: Sequence[int]) -> NDArray[np.bool_]:
    """Tell which values are one of the labels, floats up to their rounding."""
    whole = values if values.dtype.kind in "iu" else np.rint(values)
    return np.asarray(np.isin(whole, labels))


def decode_labels(grey: Grey, labels: Labels) -> Pixels:
    """Return 255 where one of the labels is, and 0 elsewhere; labels are grey levels, or entries of a palette.

    Raises:
        ImageError: The file keeps no labels, or one of those chosen is not there.
    """
    if grey.is_lossy:
        raise ImageError("is compressed as JPEG, which does not keep labels exactly: save the label map as PNG")
    levels, picture = grey.values, grey.picture
    if picture is not None and picture.mode == "P":
        levels = np.asarray(picture)
    elif picture is not None and np.ptp(np.asarray(picture.convert("RGB")), axis=2).any():
        raise ImageError("is in colour, so that --labels cannot choose: save the label map as grey levels")
    values, counts = np.unique(levels, return_counts=True)
    lung = choose_labels(dict(zip(values.tolist(), counts.tolist(), strict=True)), labels, "image")
    if values[-1] < _SIXTEEN_BITS:
        regions = region_levels(levels if levels.dtype == np.uint8 else levels.astype(np.uint16))
        _refuse_between(levels, counts[~np.isin(values, regions)], len(values))
    return np.where(is_any_of(levels, lung), np.uint8(255), np.uint8(0))


def enumerate_labels(labels: Sequence[int]) -> str:
    """Name labels, or the first of many, such as `1, 2, 3, 4, 5, 6, ...`."""
    named = ", ".join(map(str, labels[:_MOST_NAMED]))
    return named if len(labels) <= _MOST_NAMED else f"{named}, ..."


def _refuse_between(levels: NDArray[Any], without_regions: NDArray[np.int64], total: int) -> None:
    """Raise ImageError where interpolation or JPEG has left levels between the labels.

    These are many, and cover no regions; thin labels cover none either, but are a few.

    Args:
        levels: Of the pixels, [height, width].
        without_regions: How many pixels have each of the levels that cover no regions.
        total: How many levels there are.
    """
    between = int(without_regions.sum())
    if between > _MOST_BETWEEN * sum(levels.shape) and len(without_regions) > total / 2:
        raise ImageError(
            f"is no label map: {between / levels.size:.1%} of its pixels have levels between those of the labels, "
            "as interpolation or JPEG leave: save the original as PNG"
        )


def _describe(labels: Sequence[int]) -> str:
    return f"{len(labels)} label{'s' if len(labels) > 1 else ''} ({enumerate_labels(labels)})"
