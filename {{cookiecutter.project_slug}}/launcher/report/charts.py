"""The figures of a report, each as a data URI for an `img`.

They hold numbers and words of our own only: a name from a run could need a font or an escape that
a figure has not. Only matplotlib's objects are used, so nothing of a caller's pyplot changes.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# From Okabe and Ito's palette, which colour-blind people can tell apart; dashes tell in print.
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


def curves(
    epochs: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    marks: Mapping[str, tuple[int, float]],
    phases: Sequence[int] = (),
) -> str:
    """Training and evaluation by epoch; values that are not finite are gaps.

    Args:
        lines: {"training": values, "evaluation": values}, or one of them.
        marks: {word: (epoch, value)} of points to mark, such as the exported epoch.
        phases: the first epoch of the second phase of the training, of the third, …
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(3.0)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
        known = [value for values in lines.values() for value in values if math.isfinite(value)]
        # A first epoch that is far off would press the rest of a linear curve flat.
        if min(known) > 0 and max(known) > 50 * min(known):
            axes.set_yscale("log")
        few, many = len(epochs) <= 30, len(epochs) > 300
        for word, values in lines.items():
            axes.plot(
                epochs,
                [value if math.isfinite(value) else math.nan for value in values],
                color=TRAIN if word == "training" else EVAL,
                linestyle="--" if word == "training" and not many else "-",
                linewidth=0.8 if many else 1.6,
                marker="." if few else "",  # one epoch alone makes no line
                label=word,
                rasterized=len(epochs) > 2000,  # drawn as vectors it would be megabytes
            )
        for number, first in enumerate(phases, 2):
            if not epochs[0] < first <= epochs[-1]:
                continue
            spot = {"xy": (first - 0.5, 1), "xycoords": ("data", "axes fraction")}
            axes.axvline(first - 0.5, color=PHASE, linewidth=1)
            axes.annotate(
                f"phase {number}", **spot, xytext=(3, -2), textcoords="offset points",
                rotation=90, ha="left", va="top", color=PHASE, fontsize=8,
            )  # fmt: skip
        for (word, (epoch, value)), fill in zip(marks.items(), (EVAL, "white"), strict=False):
            axes.axvline(epoch, color=DARK, linewidth=0.8, linestyle=":")
            label = f"{word}: epoch {epoch}"
            axes.plot(epoch, value, "o:", color=DARK, markerfacecolor=fill, zorder=3, label=label)
        if len(lines) > 1:
            axes.legend()
        return data_uri(figure)


def shares(seconds: Sequence[float], lines: Mapping[str, Sequence[float]], unit: str) -> str:
    """How much of a machine was used, over the time of a run."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(2.2)
        for (word, values), color in zip(lines.items(), (TRAIN, EVAL), strict=False):
            axes.plot(seconds, values, color=color, linewidth=1.2, label=word)
        axes.set(xlabel="seconds", ylabel=unit)
        axes.set_ylim(bottom=0)
        if len(lines) > 1:
            axes.legend()
        return data_uri(figure)


def scatter(x: np.ndarray, y: np.ndarray, equal: bool) -> str:
    """Points; with `equal` also the line on which y is x."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(4.0)
        if equal:
            ends = [min(x.min(), y.min()), max(x.max(), y.max())]
            axes.plot(ends, ends, color=DARK, linewidth=1, linestyle="--")
        size = 16 if len(x) <= 300 else 6
        axes.scatter(x, y, size, TRAIN, alpha=0.5, linewidths=0, rasterized=True)
        return data_uri(figure)


def histogram(values: np.ndarray) -> str:
    """How many of the values lie where, with a line at zero."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(4.0)
        axes.hist(values, bins=min(40, max(5, round(math.sqrt(len(values))))), color=TRAIN)
        axes.axvline(0, color=DARK, linewidth=1, linestyle="--")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        return data_uri(figure)


def lines(x: Sequence[float], lines: Sequence[Sequence[float]]) -> str:
    """Lines over the same x, in the order of COLOURS; values that are not finite are gaps."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(3.0)
        for values, colour in zip(lines, COLOURS, strict=False):
            known = [value if math.isfinite(value) else math.nan for value in values]
            axes.plot(x, known, color=colour, linewidth=1.6, rasterized=len(x) > 2000)
        return data_uri(figure)


def _figure(height: float):
    """A figure and its axes. Fixed margins: to fit them to the labels takes as long as to draw."""
    figure = Figure(figsize=(4.6, height))
    left, right, bottom, top = 0.65, 0.08, 0.46, 0.12  # inches
    axes = figure.add_axes(
        (left / 4.6, bottom / height, 1 - (left + right) / 4.6, 1 - (bottom + top) / height)
    )
    return figure, axes


def data_uri(figure: Figure) -> str:
    """As an image of its own, a figure's ids cannot clash with another's on the page."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", dpi=200, metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()
