"""The report's charts as SVG, each in two widths: for a desk and for a phone.

They carry no fonts, so that they are set in those of the page's reader.
"""

import base64
import functools
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.drift_chart import draw
from components.reporter.figures import write_estimate
from schema.reports.estimate import Estimate
from schema.reports.statistics import DriftReport
from schema.reports.training import TrainingHistory

INK: Final = "#1b2430"
MUTED: Final = "#5a6472"
LINE: Final = "#d5dbe3"
ACCENT: Final = "#0a5c8f"
OTHER: Final = "#a84b00"
"""The later data."""

CURVES: Final = {"loss": "Loss", "accuracy": "Pixel accuracy", "dice": "Dice"}
"""The figures that are drawn over the epochs, with their titles."""
_PIXELS_AN_INCH = 72
_WIDE, _NARROW = 976, 350
_LABELS = 280
"""Pixels for the labels beside the marks of a wide forest plot."""
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.prop_cycle": cycler(color=[ACCENT, OTHER]),
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
}


@dataclass(frozen=True)
class Chart:
    """A chart as `data:` addresses.

    Attributes:
        wide: For a desk and for paper.
        narrow: For a phone.
        text: What it shows, for those who do not see it.
    """

    wide: str
    narrow: str
    text: str


@dataclass(frozen=True)
class Row:
    """A line of a forest plot.

    Attributes:
        label: At its left.
        estimate: Its mark and its interval.
        note: Behind the label, such as how many patients there are.
        heading: Above it, where a group begins.
        judged: Whether there are patients enough; drawn hollow and grey otherwise.
    """

    label: str
    estimate: Estimate
    note: str = ""
    heading: str = ""
    judged: bool = True


class Curve(NamedTuple):
    """How the figures of a training are drawn.

    Attributes:
        name: In the legend; not named there where empty.
        history: Of the training.
        colour: Of the line.
        validation: Whether the figures are those on validation images, of which the best epoch is marked.
        dashed: Whether the line is.
    """

    name: str
    history: TrainingHistory
    colour: str
    validation: bool
    dashed: bool = False


def render(make: Callable[[int], Figure], text: str) -> Chart:
    """Render a figure in both widths.

    Args:
        make: Draws it in a width, pixels.
        text: What it shows.
    """
    return Chart(_render(make, _WIDE), _render(make, _NARROW), text)


def new_figure(width: int, height: int) -> Figure:
    """Make a figure of a size in pixels."""
    size = width / _PIXELS_AN_INCH, height / _PIXELS_AN_INCH
    return Figure(figsize=size, dpi=_PIXELS_AN_INCH, layout="constrained")


def forest(statistic: str, rows: Sequence[Row], *, axis: str, reference: float | None, signed: bool = False) -> Chart:
    """Draw estimates with their intervals, one below the other (forest plot).

    Args:
        statistic: Which, for how its numbers are written.
        rows: From top to bottom; those without a value are left out.
        axis: What the horizontal axis shows.
        reference: Where to draw a vertical line.
        signed: Whether the numbers are differences.
    """
    drawn = [row for row in rows if row.estimate.value is not None]
    values = [write_estimate(statistic, row.estimate, signed=signed) for row in drawn]
    few = ["" if row.judged else ", too few patients to judge" for row in drawn]
    described = [f"{row.label} {value}{note}" for row, value, note in zip(drawn, values, few, strict=True)]
    make = functools.partial(_forest, drawn, values, axis, reference)
    return render(make, f"{axis}: {'; '.join(described)}")


def curves(drawn: Sequence[Curve], text: str) -> Chart:
    """Draw loss, accuracy and Dice over the epochs, as far as the histories have them.

    Args:
        drawn: In the order of the legend.
        text: What they show.
    """
    return render(functools.partial(_curves, drawn), text)


def distributions(drift: DriftReport) -> Chart:
    """Draw each feature before and now, a panel each."""
    distances = [
        f"{feature.feature} {feature.distance:.2f}{' drifted' if feature.drifted else ''}" for feature in drift.features
    ]

    def make(width: int) -> Figure:
        return draw(drift, width, columns=1 if width == _NARROW else 3)

    return render(make, f"Distances: {'; '.join(distances)}")


def _forest(rows: Sequence[Row], values: Sequence[str], axis: str, reference: float | None, width: int) -> Figure:
    """Draw estimates with their intervals; labels stand above their marks in the narrow form, else beside them."""
    narrow = width == _NARROW
    step = 40 if narrow else 27
    tops = [step * number + 30 * sum(bool(row.heading) for row in rows[: number + 1]) for number in range(len(rows))]
    figure, axes = _forest_axes(width, (tops[-1] if tops else 0) + step, _range(rows, reference))
    axes.set_xlabel(axis, loc="left" if narrow else "center")
    if reference is not None:
        axes.axvline(reference, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    for row, value, top in zip(rows, values, tops, strict=True):
        colour = INK if row.judged else MUTED
        beside = top + (11 if narrow else step / 2)
        room = (width - 7 * len(value) if narrow else _LABELS - 20) // 7
        label = _shorten(row.label, max(6, room - len(row.note) - 1))
        _draw_row(axes, row, top + (29 if narrow else step / 2))
        _write(axes, 0, beside, f"{label} {row.note}", color=colour)
        _write(axes, 1, beside, value, color=colour, ha="right")
        if row.heading:
            _write(axes, 0, top - 10, row.heading, weight="bold", color=INK)
    return figure


def _forest_axes(width: int, rows_height: int, limits: tuple[float, float]) -> tuple[Figure, Axes]:
    """Make axes of which a unit is a pixel from top to bottom, with room for text at the sides and the axis below."""
    narrow = width == _NARROW
    left, right, below = (8, 8, 50) if narrow else (_LABELS, 250, 50)
    height = rows_height + below
    figure = Figure(figsize=(width / _PIXELS_AN_INCH, height / _PIXELS_AN_INCH), dpi=_PIXELS_AN_INCH)
    axes = figure.add_axes((left / width, below / height, (width - left - right) / width, rows_height / height))
    axes.set_ylim(rows_height, 0)
    axes.set_xlim(*limits)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 6))
    return figure, axes


def _draw_row(axes: Axes, row: Row, y: float) -> None:
    colour, line = (ACCENT, 2.4) if row.judged else (MUTED, 1.4)
    low, value, high = (_height(end) for end in (row.estimate.low, row.estimate.value, row.estimate.high))
    axes.plot([low, high], [y, y], color=colour, linewidth=line, solid_capstyle="butt")
    axes.plot([low, high], [y, y], color=colour, marker="|", markersize=7, markeredgewidth=1.4, linestyle="")
    axes.plot(
        [value], [y], marker="o" if row.judged else "D", markersize=7 if row.judged else 6, color=colour,
        markerfacecolor=colour if row.judged else "white", clip_on=False, linestyle="",
    )  # fmt: skip


def _write(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Write at `x`, a share of the figure's width, and at `y` of the data."""
    frame = axes.get_position()
    axes.text(
        (x - frame.x0) / frame.width, y, text, transform=axes.get_yaxis_transform(), va="center", zorder=4,
        # Names are no formulas, and the lines behind them must not cross them out.
        parse_math=False, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1}, **style,
    )  # fmt: skip


def _range(rows: Sequence[Row], reference: float | None) -> tuple[float, float]:
    ends = [end for row in rows for end in (row.estimate.low, row.estimate.value, row.estimate.high)]
    known = [end for end in [*ends, reference] if end is not None]
    lowest, highest = (min(known), max(known)) if known else (0.0, 1.0)
    margin = max(0.04 * (highest - lowest), 5e-4)
    return lowest - margin, highest + margin


def _curves(drawn: Sequence[Curve], width: int) -> Figure:
    narrow = width == _NARROW
    names = [name for name in CURVES if any(_key(name, curve) in curve.history.figures for curve in drawn)]
    figure = new_figure(width, 200 * len(names) + 60 if narrow else 320)
    for number, name in enumerate(names, 1):
        axes = figure.add_subplot(*((len(names), 1) if narrow else (1, len(names))), number)
        axes.set_title(CURVES[name])
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        if number == len(names) or not narrow:
            axes.set_xlabel("Epoch")
        for curve in drawn:
            _draw_curve(axes, name, curve)
    if names:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        columns = 2 if narrow or len(labels) < 3 else 4
        figure.legend(handles, labels, loc="outside lower left", ncols=columns, frameon=False, handlelength=2.6)
    return figure


def _key(name: str, curve: Curve) -> str:
    return f"val_{name}" if curve.validation else name


def _draw_curve(axes: Axes, name: str, curve: Curve) -> None:
    values = curve.history.figures.get(_key(name, curve))
    if not values:
        return
    heights = [_height(value) for value in values]
    epochs = range(1, len(values) + 1)
    # A training of one epoch has no line to draw.
    marker = "." if len(values) == 1 else ""
    style: Any = (0, (3, 2)) if curve.dashed else "-"
    label = curve.name or "_"  # which matplotlib leaves out of the legend
    axes.plot(epochs, heights, label=label, color=curve.colour, linestyle=style, linewidth=1.8, marker=marker)
    best = curve.history.best_epoch
    if curve.validation and best is not None and best <= len(values):
        axes.plot([best], [heights[best - 1]], marker="o", markersize=7, color=curve.colour, mfc="white", mew=2)


def _height(value: float | None) -> float:
    """Return the number as matplotlib takes it: gaps are NaN."""
    return float("nan") if value is None else value


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _render(make: Callable[[int], Figure], width: int) -> str:
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # Names in other scripts are laid out with DejaVu Sans but shown in the reader's fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        make(width).savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue().replace("'DejaVu Sans'", _FONTS)
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
