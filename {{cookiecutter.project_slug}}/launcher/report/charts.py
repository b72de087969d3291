"""Figures, each as a data URI for an `img`.

They hold numbers and words of our own only: a name from a run could need a font or an escape that
a figure has not. Only matplotlib's objects are used, so nothing of a caller's pyplot changes. It
leaves a gap where a value is not finite.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# From Okabe and Ito's palette, which colour-blind people can tell apart.
TRAIN, EVAL, DARK, PHASE = "#0072B2", "#D55E00", "#333333", "#666666"
COLOURS = (TRAIN, EVAL, "#009E73", "#CC79A7", "#E69F00", DARK)
STYLE = {
    "svg.hashsalt": "report",  # the same run gives the same bytes
    "font.family": "DejaVu Sans",  # it comes with matplotlib
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


@matplotlib.rc_context(STYLE)
def lines(
    x: Sequence[float],
    lines: Iterable[Sequence[float]],
    height: float = 3.0,
    bottom: float | None = None,
    counted: str = "",
    mark: tuple[float | None, float | None] = (None, None),
    phases: Iterable[float] = (),
) -> str:
    """Lines over the same x, in the order of COLOURS.

    Args:
        height: of the figure, in inches.
        bottom: the lower end of the y axis, where the values do not decide it.
        counted: what x counts, such as "epoch": its ticks are whole numbers, and y is logarithmic
            where the values are far apart.
        mark: a point (x, y) to mark by a dot.
        phases: the x with which the second phase begins, the third, …
    """
    axes, lines = new_axes(height, counted), list(lines)
    if counted:
        fit_scale(axes, [value for values in lines for value in values])
    style = {
        "marker": "." if counted and len(x) <= 30 else "",  # one epoch alone makes no line
        "linewidth": 0.8 if len(x) > 300 else 1.6,
        "rasterized": len(x) > 2000,  # drawn as vectors it would be megabytes
    }
    for values, colour in zip(lines, COLOURS, strict=False):
        axes.plot(x, values, color=colour, **style)
    for number, first in enumerate(phases, 2):
        axes.axvline(first - 0.5, color=PHASE, linewidth=1)
        top = {"transform": axes.get_xaxis_transform(), "va": "top", "rotation": 90}
        axes.text(first - 0.5, 0.98, f"phase {number}", color=PHASE, fontsize=8, **top)
    if None not in mark:
        axes.axvline(mark[0], color=DARK, linewidth=0.8, linestyle=":")
        axes.plot(*mark, "o", color=DARK, zorder=3)
    axes.set_ylim(bottom=bottom)
    return to_uri(axes)


@matplotlib.rc_context(STYLE)
def scatter(x: np.ndarray, y: np.ndarray, equal: bool) -> str:
    """Points; with `equal` also the line on which y is x, else x is logarithmic where it is far apart."""
    axes = new_axes(4.0)
    if equal:
        ends = [min(x.min(), y.min()), max(x.max(), y.max())]
        axes.plot(ends, ends, color=DARK, linewidth=1, linestyle="--")
    if not equal and is_wide(x):  # such as learning rates
        axes.set_xscale("log")
    else:
        axes.locator_params(axis="x", nbins=5)
    size = 16 if len(x) <= 300 else 6
    axes.scatter(x, y, size, TRAIN, alpha=0.5, linewidths=0, rasterized=True)
    return to_uri(axes)


@matplotlib.rc_context(STYLE)
def histogram(values: np.ndarray) -> str:
    """How many of the values lie where, with a line at zero."""
    axes = new_axes(4.0)
    axes.hist(values, bins=min(40, max(5, round(math.sqrt(len(values))))), color=TRAIN)
    axes.axvline(0, color=DARK, linewidth=1, linestyle="--")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return to_uri(axes)


def new_axes(height: float, counted: str = "") -> Axes:
    """Axes in a figure of their own.

    Args:
        height: of the figure, in inches.
        counted: what x counts, such as "epoch": its ticks are whole numbers.
    """
    figure = Figure(figsize=(4.6, height))
    # Fixed margins, in inches: to fit them to the labels takes as long as to draw.
    left, right, bottom, top = 0.65, 0.08, 0.46, 0.12
    axes = figure.add_axes(
        (left / 4.6, bottom / height, 1 - (left + right) / 4.6, 1 - (bottom + top) / height)
    )
    if counted:
        axes.set_xlabel(counted)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    return axes


def fit_scale(axes: Axes, values: Iterable[float]) -> None:
    """A value that is far off, such as the first loss, would press the rest of a linear figure flat."""
    if is_wide(values):
        axes.set_yscale("log", nonpositive="mask")


def is_wide(values: Iterable[float]) -> bool:
    known = [value for value in values if math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) > 50 * min(known)


def to_uri(axes: Axes) -> str:
    """As an image of its own, a figure's ids cannot clash with another's on the page."""
    file = io.BytesIO()
    axes.figure.savefig(file, format="svg", dpi=200, metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()
