"""Draws the distributions of features before and now, over each other.

Colours, fonts and lines are those of matplotlib's settings where `draw` is called: the first colour of their cycle
is for the earlier examples, the second for the later ones.
"""

import io
import warnings
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from numpy.typing import NDArray

from schema.reports.statistics import Distribution, DriftReport, FeatureDrift

Floats = NDArray[np.float64]

_BEFORE, _NOW = "C0", "C1"
_POINTS_AN_INCH = 72
_PANEL_HEIGHT, _LEGEND_HEIGHT = 180, 40
_CATEGORIES = 4
"""Of a feature, that have bars of their own."""
_LABEL = 32
"""Letters of a category."""
_PNG: dict[Any, Any] = {
    "axes.prop_cycle": cycler(color=["#0a5c8f", "#a84b00"]),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 10,
}


def to_png(drift: DriftReport) -> bytes:
    """Draw all features, three a row, as PNG."""
    buffer = io.BytesIO()
    with mpl.rc_context(_PNG), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        draw(drift, width=900, columns=3).savefig(buffer, format="png", dpi=2 * _POINTS_AN_INCH)
    return buffer.getvalue()


def draw(drift: DriftReport, width: int, columns: int) -> Figure:
    """Draw a panel a feature, in the order of the report.

    Args:
        drift: of one feature at least.
        width: of the figure, points.
        columns: panels side by side.
    """
    rows = -(-len(drift.features) // columns)
    size = (width / _POINTS_AN_INCH, (rows * _PANEL_HEIGHT + _LEGEND_HEIGHT) / _POINTS_AN_INCH)
    figure = Figure(figsize=size, dpi=_POINTS_AN_INCH, layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.08))
    for number, feature in enumerate(drift.features, 1):
        _draw_panel(figure.add_subplot(rows, columns, number), feature)
    handles = [
        Patch(facecolor=_BEFORE, label=f"version {drift.baseline} ({drift.baseline_examples} images)"),
        Patch(facecolor=_NOW, label=f"now ({drift.new_examples} images)"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=2, frameon=False)
    return figure


def _draw_panel(axes: Axes, feature: FeatureDrift) -> None:
    caption = f"{'drifted: ' if feature.drifted else ''}{feature.distance:.2f}, may be {feature.threshold:.2f}"
    # Above a line of text.
    axes.set_title(feature.feature.replace("_", " "), pad=1.4 * mpl.rcParams["font.size"] + 6)
    axes.annotate(caption, (0, 1), (0, 4), xycoords="axes fraction", textcoords="offset points", va="bottom",
                  color=_NOW if feature.drifted else None, weight="bold" if feature.drifted else "normal")  # fmt: skip
    if feature.new.values or feature.baseline.values:
        _draw_bars(axes, feature)
    else:
        _draw_histogram(axes, feature)


def _draw_histogram(axes: Axes, feature: FeatureDrift) -> None:
    ends = [
        edge
        for distribution in (feature.baseline, feature.new)
        for edge in (distribution.edges[0], distribution.edges[-1])
    ]
    low, high = min(ends), max(ends)
    if low == high:
        low, high = low - 1, high + 1
    reach = high - low
    axes.stairs(*_density(feature.baseline, reach), color=_BEFORE, fill=True, alpha=0.35)
    axes.stairs(*_density(feature.new, reach), color=_NOW, linewidth=1.8)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlim(low - 0.03 * reach, high + 0.03 * reach)
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="x", nbins=4)


def _density(distribution: Distribution, reach: float) -> tuple[Floats, Floats]:
    """Return heights and edges of a histogram of area 1; a single value gets a width that can be seen."""
    edges = np.asarray(distribution.edges)
    if edges[0] == edges[-1]:
        edges = np.linspace(edges[0] - 0.01 * reach, edges[-1] + 0.01 * reach, len(edges))
    return np.asarray(distribution.shares) / np.diff(edges), edges


def _draw_bars(axes: Axes, feature: FeatureDrift) -> None:
    """Draw two bars a category, below its name."""
    before, now = (
        dict(zip(distribution.values, distribution.shares, strict=True))
        for distribution in (feature.baseline, feature.new)
    )
    ranked = sorted({*before, *now}, key=lambda value: (-max(before.get(value, 0), now.get(value, 0)), value))
    rows = {value: [value] for value in ranked[:_CATEGORIES]}
    if rest := ranked[_CATEGORIES:]:
        rows[f"{len(rest)} others"] = rest
    for top, (name, values) in enumerate(rows.items()):
        label = name if len(name) <= _LABEL else name[: _LABEL - 1] + "…"
        axes.text(0, top + 0.4, label, va="bottom", parse_math=False, fontsize="small", clip_on=True, in_layout=False)
        for shares, colour, place in ((before, _BEFORE, 0.52), (now, _NOW, 0.76)):
            axes.barh(top + place, sum(shares.get(value, 0.0) for value in values), 0.24, color=colour)
    axes.set_ylim(_CATEGORIES + 1, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.locator_params(axis="x", nbins=4)
