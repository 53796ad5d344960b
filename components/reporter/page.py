"""Renders the page and the model card from what the report says."""

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jinja2

from components.reporter import charts, figures
from components.reporter.cases import Case
from components.reporter.charts import Chart, Row
from components.reporter.contents import Section
from components.reporter.pictures import Pictures
from components.reporter.verdict import DICE
from schema.features import IS_AUGMENTED
from schema.reports.evaluation import TEST_SET
from schema.reports.statistics import DISTANCE_NAMES, DriftReport

TABLE: Final = (DICE, "dice_median", "dice_p5", "dice_worst", "iou_mean", "hd95", "hd95_px", "asd", "nsd", "precision",
                "recall", "pixel_accuracy", "lung_area_error", "brier")  # fmt: skip
"""Statistics of the full table of slices."""

_ROWS_A_BLOCK: Final = 10

Shown = tuple[Case, Pictures, Pictures | None]
"""A case with its pictures, and those of the original beside it."""


def render(report: Section, shown: Sequence[Shown], quarantined: Sequence[bytes] = ()) -> str:
    """The page: HTML that needs no other file and no script.

    Args:
        report: what it says.
        shown: images with the model's predictions.
        quarantined: pictures of records that were refused, PNG.
    """
    groups: dict[str, list[Shown]] = {}
    for one in shown:
        groups.setdefault(one[0].group, []).append(one)
    return (
        _environment()
        .get_template("index.html.j2")
        .render(
            report=report,
            charts=_charts(report),
            groups=groups,
            sheets=[f"data:image/png;base64,{base64.b64encode(sheet).decode()}" for sheet in quarantined],
            distances=DISTANCE_NAMES,
            table=TABLE,
            test_set=TEST_SET,
            dice=DICE,
        )
    )


def render_card(report: Section) -> str:
    """The model card, Markdown, after Mitchell et al. (2019), arXiv 1810.03993."""
    return _environment().get_template("model_card.md.j2").render(report=report, test_set=TEST_SET, dice=DICE)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": lambda value, statistic, signed=False: figures.write(statistic, value, signed=signed),
        "estimate": lambda value, statistic, signed=False: figures.write_estimate(statistic, value, signed=signed),
        "interval": lambda value, statistic, signed=False: figures.write_interval(statistic, value, signed=signed),
        "label": figures.label,
        "bound": _bound,
        "cell": _cell,
        "duration": _duration,
    }
    return environment


def _charts(report: Section) -> dict[str, Chart]:
    training = report["training"]
    drawn = {
        "curves": charts.curves(
            training["history"], training["other_history"], training["best_epoch"], training["other_best_epoch"]
        ),
        "slices": charts.forest(
            DICE, slice_rows(report), axis="Mean Dice", reference=report["slices"]["reference"]["value"]
        ),
    }
    if rows := [_row(one, "dice_drop") for one in report["robustness"]]:
        drawn["robustness"] = charts.forest(
            "dice_drop", rows, axis="Loss of Dice from original to copy", reference=0, signed=True
        )
    if report["external"]:
        drawn["external"] = charts.forest(
            DICE, _external_rows(report), axis="Mean Dice", reference=report["slices"]["reference"]["value"]
        )
    if comparison := report["comparison"]:
        drawn["comparison"] = charts.forest(
            DICE, _difference_rows(comparison), axis=f"Dice, this model minus {comparison['with']}", reference=0,
            signed=True,
        )  # fmt: skip
    drift = report["data"]["drift"]
    if drift and drift["features"]:
        drawn["drift"] = charts.distributions(DriftReport.model_validate(drift))
    return drawn


def slice_rows(report: Section) -> list[Row]:
    """The lines of the chart of slices: the whole test split and its subgroups."""
    blocks = {"Test split": _test_populations(report)}
    for one in report["slices"]["subgroups"]:
        blocks.setdefault(one["group"], []).append(one)
    return _blocks(list(blocks.items()), lambda one: one["metrics"])


def _external_rows(report: Section) -> list[Row]:
    blocks = [("Test split", _test_populations(report))]
    blocks += [(f"External set {one['set']}", one["slices"]) for one in report["external"]]
    return _blocks(blocks, lambda one: one["metrics"])


def _test_populations(report: Section) -> list[Section]:
    """All images, originals and copies."""
    return [one for one in report["slices"]["rows"] if one["set"] == TEST_SET and not set(one["keys"]) - {IS_AUGMENTED}]


def _difference_rows(comparison: Section) -> list[Row]:
    blocks: dict[str, list[Section]] = {}
    for one in comparison["populations"]:
        name = "Test split" if one["set"] == TEST_SET else f"External set {one['set']}"
        blocks.setdefault(name, []).append(one)
    for one in comparison["subgroups"]:
        blocks.setdefault(one["group"], []).append(one)
    return _blocks(list(blocks.items()), lambda one: one["difference"])


def _blocks(blocks: Sequence[tuple[str, Sequence[Section]]], of: Callable[[Section], Mapping[str, Any]]) -> list[Row]:
    """Rows with headings; of blocks with many members those with the lowest value."""
    rows = []
    for heading, members in blocks:
        known = [one for one in members if of(one).get(DICE, {}).get("value") is not None]
        lowest = sorted(known, key=lambda one: of(one)[DICE]["value"])[:_ROWS_A_BLOCK]
        few = f"{heading} (the {_ROWS_A_BLOCK} lowest of {len(known)})"
        shown = [one for one in known if one in lowest]
        title = few if len(known) > _ROWS_A_BLOCK else heading
        rows += [_row(one, DICE, title if not number else "", of(one)) for number, one in enumerate(shown)]
    return rows


def _row(of: Section, statistic: str, heading: str = "", metrics: Mapping[str, Any] | None = None) -> Row:
    missing = figures.as_numbers(None)
    return Row(
        # The group stands above.
        label=of["label"].removeprefix(f"{of['group']} ") if of["keys"] else of["label"],
        estimate=(of["metrics"] if metrics is None else metrics).get(statistic, missing),
        note=f"({of['patients']})" if of["enough"] else f"({of['patients']}) too few",
        heading=heading,
        judged=of["enough"],
    )


def _bound(rule: Section) -> str:
    """The bound of a rule, written as its statistic is."""
    signed = rule["kind"].startswith("max_")
    return figures.write(rule["metric"], rule["bound"], signed=signed).removeprefix("+")


def _cell(text: object) -> str:
    """Text that cannot break out of a cell of a Markdown table."""
    return " ".join(str(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").split())


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return figures.MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
