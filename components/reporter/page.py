"""Renders the page and the model card from what the report says."""

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import jinja2

from components.reporter import charts, figures
from components.reporter.cases import Case
from components.reporter.charts import ACCENT, CURVES, Chart, Curve, Row
from components.reporter.pictures import Pictures
from components.reporter.slices import DICE
from schema.features import IS_AUGMENTED
from schema.reports.blessing import RuleResult
from schema.reports.estimate import Estimate
from schema.reports.evaluation import TEST_SET
from schema.reports.run_report import Comparison, DescribedSlice, RunReport
from schema.reports.statistics import DISTANCE_NAMES
from schema.reports.training import TrainingHistory

TABLE: Final = (DICE, "dice_median", "dice_p5", "dice_worst", "iou_mean", "hd95", "hd95_px", "asd", "nsd", "precision",
                "recall", "pixel_accuracy", "lung_area_error", "brier", "expected_dice", "review")  # fmt: skip
"""Statistics of the full table of slices."""

_ROWS_A_BLOCK: Final = 10


class Shown(NamedTuple):
    """A case with its pictures, and those of the original beside it."""

    case: Case
    pictures: Pictures
    original: Pictures | None


class _Block(NamedTuple):
    """Slices of a chart that stand below one heading."""

    heading: str
    slices: Sequence[DescribedSlice]


def render(
    report: RunReport, shown: Sequence[Shown], quarantined: Sequence[bytes] = (), expectations: Chart | None = None
) -> str:
    """Render the page: HTML that needs no other file and no script.

    Args:
        report: What it says.
        shown: Images with the model's predictions.
        quarantined: Pictures of records that were refused, PNG.
        expectations: What the model expects of its masks, drawn against what they are.
    """
    groups: dict[str, list[Shown]] = {}
    for member in shown:
        groups.setdefault(member.case.group, []).append(member)
    return (
        make_environment()
        .get_template("index.html.j2")
        .render(
            report=report,
            charts=_charts(report) | ({"expectations": expectations} if expectations else {}),
            groups=groups,
            sheets=[f"data:image/png;base64,{base64.b64encode(sheet).decode()}" for sheet in quarantined],
            distances=DISTANCE_NAMES,
            table=TABLE,
            test_set=TEST_SET,
            dice=DICE,
        )
    )


def render_card(report: RunReport) -> str:
    """Render the model card, Markdown, after Mitchell et al. (2019), arXiv 1810.03993."""
    return make_environment().get_template("model_card.md.j2").render(report=report, test_set=TEST_SET, dice=DICE)


def make_environment(*folders: Path) -> jinja2.Environment:
    """Make the environment that pages are rendered in.

    Args:
        folders: That templates are looked for in, beside the reporter's own.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([Path(__file__).with_name("templates"), *folders]),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": lambda value, statistic, signed=False: figures.write(statistic, value, signed=signed),
        "estimate": lambda value, statistic, signed=False: figures.write_estimate(statistic, value, signed=signed),
        "interval": lambda value, statistic, signed=False: figures.write_interval(statistic, value, signed=signed),
        "value": _value,
        "label": figures.label,
        "bound": _bound,
        "cell": _cell,
        "duration": _duration,
    }
    return environment


def _charts(report: RunReport) -> dict[str, Chart]:
    reference = report.slices.reference.value
    drawn = {
        "curves": _curves(report.training.history),
        "slices": charts.forest(DICE, slice_rows(report), axis="Mean Dice", reference=reference),
    }
    if report.robustness:
        rows = [_row(slice_, slice_.metrics.get("dice_drop")) for slice_ in report.robustness]
        axis = "Loss of Dice from original to copy"
        drawn["robustness"] = charts.forest("dice_drop", rows, axis=axis, reference=0, signed=True)
    if report.external:
        drawn["external"] = charts.forest(DICE, _external_rows(report), axis="Mean Dice", reference=reference)
    if comparison := report.comparison:
        axis = f"Dice, this model minus {comparison.baseline}"
        rows = _difference_rows(comparison)
        drawn["comparison"] = charts.forest(DICE, rows, axis=axis, reference=0, signed=True)
    if report.data.drift and report.data.drift.features:
        drawn["drift"] = charts.distributions(report.data.drift)
    return drawn


def _curves(history: TrainingHistory) -> Chart:
    """Draw the curves of the training, dashed on training and solid on validation images."""
    drawn = [
        Curve("training", history, ACCENT, validation=False, dashed=True),
        Curve("validation", history, ACCENT, validation=True),
    ]
    return charts.curves(drawn, _tell_curves(history))


def _tell_curves(history: TrainingHistory) -> str:
    described = []
    for name in (f"{prefix}{figure}" for figure in CURVES for prefix in ("", "val_")):
        known = [value for value in history.figures.get(name, []) if value is not None]
        if known:
            curve = f"validation {name[4:]}" if name.startswith("val_") else f"training {name}"
            described.append(f"{curve} from {known[0]:.3f} to {known[-1]:.3f}")
    end = f"; best epoch {history.best_epoch}" if history.best_epoch else ""
    return "Curves over the epochs: " + "; ".join(described) + end


def slice_rows(report: RunReport) -> list[Row]:
    """Return the lines of the chart of slices: the whole test split and its subgroups."""
    blocks = [_Block("Test split", _test_populations(report)), *_by_group(report.slices.subgroups)]
    return _rows(blocks, lambda slice_: slice_.metrics)


def _external_rows(report: RunReport) -> list[Row]:
    external = [_Block(f"External set {external.set}", external.slices) for external in report.external]
    return _rows([_Block("Test split", _test_populations(report)), *external], lambda slice_: slice_.metrics)


def _test_populations(report: RunReport) -> list[DescribedSlice]:
    """Return all images, originals and copies."""
    return [slice_ for slice_ in report.slices.rows if slice_.set == TEST_SET and slice_.keys.keys() <= {IS_AUGMENTED}]


def _difference_rows(comparison: Comparison) -> list[Row]:
    by_set: dict[str, list[DescribedSlice]] = {}
    for slice_ in comparison.populations:
        by_set.setdefault("Test split" if slice_.set == TEST_SET else f"External set {slice_.set}", []).append(slice_)
    blocks = [_Block(heading, slices) for heading, slices in by_set.items()]
    return _rows([*blocks, *_by_group(comparison.subgroups)], lambda slice_: slice_.difference or {})


def _by_group(slices: Sequence[DescribedSlice]) -> list[_Block]:
    groups: dict[str, list[DescribedSlice]] = {}
    for slice_ in slices:
        groups.setdefault(slice_.group, []).append(slice_)
    return [_Block(heading, members) for heading, members in groups.items()]


def _rows(blocks: Sequence[_Block], metrics: Callable[[DescribedSlice], Mapping[str, Estimate]]) -> list[Row]:
    """Return lines with headings; of blocks with many members those with the lowest Dice."""
    rows = []
    for heading, slices in blocks:
        dice = {slice_.slice: metrics(slice_).get(DICE, Estimate()) for slice_ in slices}
        known = {name: estimate.value for name, estimate in dice.items() if estimate.value is not None}
        lowest = sorted(known, key=lambda name: known[name])[:_ROWS_A_BLOCK]
        shown = [slice_ for slice_ in slices if slice_.slice in lowest]
        title = f"{heading} (the {_ROWS_A_BLOCK} lowest of {len(known)})" if len(known) > len(shown) else heading
        rows += [_row(slice_, dice[slice_.slice], "" if number else title) for number, slice_ in enumerate(shown)]
    return rows


def _row(slice_: DescribedSlice, estimate: Estimate | None, heading: str = "") -> Row:
    return Row(
        # The group stands above.
        label=slice_.label.removeprefix(f"{slice_.group} ") if slice_.keys else slice_.label,
        estimate=estimate or Estimate(),
        note=f"({slice_.patients})" if slice_.enough else f"({slice_.patients}) too few",
        heading=heading,
        judged=slice_.enough,
    )


def _value(metrics: Mapping[str, Estimate] | None, statistic: str) -> float | None:
    """Return the value of a statistic, None where it is not known."""
    return (metrics or {}).get(statistic, Estimate()).value


def _bound(rule: RuleResult) -> str:
    """Write the bound of a rule as its statistic is written."""
    signed = rule.kind in ("max_drop", "max_regression")
    return figures.write(rule.metric, rule.bound, signed=signed).removeprefix("+")


def _cell(text: object) -> str:
    """Return text that cannot break out of a cell of a Markdown table."""
    return " ".join(str(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").split())


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return figures.MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
