"""How numbers and the names of statistics are written.

>>> write("dice_mean", 0.95678)
'0.957'
>>> write_estimate("dice_drop", Estimate(value=0.0021, low=0.0004, high=0.003), signed=True)
'+0.0021 (+0.0004 to +0.0030)'
"""

from typing import Final, NamedTuple

from modules.evaluation.measures import STATISTICS
from schema.reports.estimate import Estimate

MISSING: Final = "\N{EN DASH}"


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
    "review": _Form(100, 1, 2, "%", "pp"),
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
    "expected_dice": "Expected Dice",
    "expected_dice_error": "Error of the expected Dice",
    "review": "To be reviewed",
}


def write(statistic: str, value: float | None, *, signed: bool = False) -> str:
    """Write one number with its unit, a dash where there is none; `signed` for differences."""
    if value is None:
        return MISSING
    form = _form(statistic)
    return _join(_digits(value, form, signed), form, signed)


def write_estimate(statistic: str, estimate: Estimate | None, *, signed: bool = False) -> str:
    """Write a number with its interval, where there is one, and its unit; a dash where there is none."""
    if estimate is None or estimate.value is None:
        return MISSING
    form = _form(statistic)
    written = _digits(estimate.value, form, signed)
    interval = write_interval(statistic, estimate, signed=signed)
    return _join(f"{written} ({interval})" if interval else written, form, signed)


def write_interval(statistic: str, estimate: Estimate, *, signed: bool = False) -> str:
    """Write the interval without unit, such as `+0.0004 to +0.0030`; empty where there is none."""
    if estimate.interval is None:
        return ""
    low, high = estimate.interval
    form = _form(statistic)
    between = " to " if signed or low < 0 else "\N{EN DASH}"
    return _digits(low, form, signed) + between + _digits(high, form, signed)


def label(statistic: str) -> str:
    """Name a statistic for people, such as `Dice, 5th percentile`."""
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
    """Tell whether a smaller value is the better one."""
    return STATISTICS[statistic].lower_is_better


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
