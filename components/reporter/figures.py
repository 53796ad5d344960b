"""How numbers are written, and what each of them means.

>>> write("dice_mean", 0.95678)
'0.957'
>>> write_estimate("dice_drop", {"value": 0.0021, "low": 0.0004, "high": 0.003}, signed=True)
'+0.0021 (+0.0004 to +0.0030)'
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from modules.evaluation.measures import STATISTICS

MISSING: Final = "\N{EN DASH}"

Numbers = Mapping[str, float | None]
"""`value`, `low` and `high`."""


class _Form(NamedTuple):
    factor: float
    decimals: int
    decimals_of_difference: int
    unit: str = ""
    unit_of_difference: str = ""


_SCORE = _Form(1, 3, 4)
_FORMS = {
    "hd95": _Form(100, 2, 2, "%", "pp"),
    "asd": _Form(100, 2, 2, "%", "pp"),
    "lung_area_error": _Form(100, 1, 2, "%", "pp"),
    "hd95_px": _Form(1, 1, 1, "px", "px"),
    "asd_px": _Form(1, 2, 2, "px", "px"),
    "brier": _Form(1, 4, 4),
}
_QUANTILES = {0.5: "median", 0.05: "5th percentile", 0.0: "worst image"}
_LABELS = {
    "dice": "Dice",
    "iou": "IoU",
    "pixel_accuracy": "Pixel accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "hd95": "HD95 (share of width)",
    "hd95_px": "HD95 (pixels)",
    "asd": "ASD (share of width)",
    "asd_px": "ASD (pixels)",
    "nsd": "Surface Dice",
    "lung_area_error": "Lung area error",
    "brier": "Brier score",
}


def write(statistic: str, value: float | None, *, signed: bool = False) -> str:
    """One number with its unit, a dash where there is none; `signed` for differences."""
    form = _form(statistic)
    if value is None:
        return MISSING
    return _join(_digits(value, form, signed), form, signed)


def write_estimate(statistic: str, estimate: Numbers | None, *, signed: bool = False) -> str:
    """A number with its interval, where there is one, and its unit; a dash where there is none."""
    form = _form(statistic)
    if not estimate or estimate["value"] is None:
        return MISSING
    written = _digits(estimate["value"], form, signed)
    interval = write_interval(statistic, estimate, signed=signed)
    return _join(f"{written} ({interval})" if interval else written, form, signed)


def write_interval(statistic: str, estimate: Numbers, *, signed: bool = False) -> str:
    """The interval without unit, such as `+0.0004 to +0.0030`; empty where there is none."""
    low, high = estimate.get("low"), estimate.get("high")
    if low is None or high is None:
        return ""
    form = _form(statistic)
    between = " to " if signed or low < 0 else "\N{EN DASH}"
    return _digits(low, form, signed) + between + _digits(high, form, signed)


def label(statistic: str) -> str:
    """Name of a statistic for people, such as `Dice, 5th percentile`."""
    known = STATISTICS.get(statistic)
    if known is None:
        return statistic
    name = _LABELS[known.measure]
    if known.kind == "quantile":
        return f"{name}, {_QUANTILES[known.quantile]}"
    if known.kind == "mean":
        return f"Mean {name}" if known.measure in ("dice", "iou") else name
    return f"{name}, {known.kind}"


def lower_is_better(statistic: str) -> bool:
    """Whether a smaller value is the better one."""
    return STATISTICS[statistic].lower_is_better


def glossary(tolerance: float) -> dict[str, str]:
    """What each measure means.

    Args:
        tolerance: of the surface Dice, a share of the image's width.
    """
    return {
        "Dice": "Overlap of predicted and true lung: twice the shared area over the sum of both areas. 1 is perfect, 0 "
        "is none (Dice, 1945). Mean, median, 5th percentile and worst are over images; the pooled Dice takes all "
        "pixels of a slice together.",
        "IoU": "Shared area over the area covered by either (Jaccard, 1912). Always at or below Dice.",
        "Pixel accuracy": "Share of pixels that are labelled rightly. High even for poor masks where lungs are small.",
        "Precision, recall": "Share of the predicted lung that is lung; share of the true lung that was found.",
        "HD95": "95 % Hausdorff distance: 95 % of either outline lies within it of the other. Given as a share of the "
        "image's width, and in pixels. Shows what Dice hides: a piece of outline far off.",
        "ASD": "Average distance between the two outlines, likewise.",
        "Surface Dice": f"Share of both outlines that lies within {100 * tolerance:g} % of the image's width of the "
        "other (Nikolov et al., 2018).",
        "Lung area error": "Difference of predicted and true area over the larger of the two.",
        "Brier score": "Mean squared error of the lung probabilities over pixels: 0 is perfect (Brier, 1950).",
        "Drop": "By how much a copy is worse than the original it was made from, the mean over pairs. Above 0: worse.",
        "Difference": "This model minus the one it is compared with, image by image.",
        "pp": "Percentage points: the difference of two percentages.",
        "Interval": "Range that bootstrap samples of the patients give (percentile bootstrap; Efron, 1979). Images of "
        "one patient stay together, so many images of few patients do not feign certainty.",
    }


def _form(statistic: str) -> _Form:
    known = STATISTICS.get(statistic)
    return _FORMS.get(known.measure, _SCORE) if known else _SCORE


def _digits(value: float, form: _Form, signed: bool) -> str:
    sign, decimals = ("+", form.decimals_of_difference) if signed else ("", form.decimals)
    written = f"{value * form.factor:{sign}.{decimals}f}"
    if not float(written):  # no sign for what rounds to zero
        written = written.lstrip("+-")
    return written.replace("-", "\N{MINUS SIGN}")


def _join(written: str, form: _Form, signed: bool) -> str:
    unit = form.unit_of_difference if signed else form.unit
    return f"{written}\N{NO-BREAK SPACE}{unit}" if unit else written


def as_numbers(estimate: Any) -> dict[str, float | None]:
    """A `modules.evaluation.bootstrap.Estimate`, or None, as it stands in `report.json`."""
    if estimate is None:
        return {"value": None, "low": None, "high": None}
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}
