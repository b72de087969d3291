"""The figures of a study's page. As in `charts`, they hold numbers and words of our own only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from launcher.report.charts import DARK, EVAL, STYLE, TRAIN, data_uri

Points = Sequence[tuple[float, float]]


def objective(succeeded: Points, stopped: Points, best: Points, lost: Sequence[int]) -> str:
    """The value of each trial, and the best so far.

    Args:
        succeeded, stopped: (trial, value), of whole trials and of those that were stopped early.
        best: (trial, best value up to it).
        lost: trials without a value.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.2), layout="constrained")
        axes = figure.subplots()
        _scale(axes, [value for _, value in (*succeeded, *stopped)])
        if best:
            axes.step(*zip(*best, strict=True), where="post", color=EVAL, label="best so far")
        for points, face, word in (
            (succeeded, TRAIN, "trial"),
            (stopped, "white", "stopped early"),
        ):
            if points:
                x, y = zip(*points, strict=True)
                axes.plot(x, y, "o", color=TRAIN, markerfacecolor=face, markersize=5, label=word)
        if lost:
            foot = axes.get_xaxis_transform()  # on the axis, whatever the values are
            axes.plot(
                lost, [0.02] * len(lost), "x", color=DARK, label="without a value", transform=foot
            )
        axes.set(xlabel="trial", ylabel="value")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
        axes.legend(fontsize=8)
        return data_uri(figure)


def learning_curves(curves: Mapping[int, Points], best: int | None, stopped: set[int]) -> str:
    """What each trial measured, by step.

    Args:
        curves: {trial: (step, value), …}.
        best: the trial to stand out.
        stopped: trials that were stopped early.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.2), layout="constrained")
        axes = figure.subplots()
        _scale(axes, [value for points in curves.values() for _, value in points])
        said = set()
        for trial, points in sorted(curves.items(), key=lambda item: item[0] == best):
            early = trial in stopped
            word = "best" if trial == best else "stopped early" if early else "trial"
            axes.plot(
                *zip(*[(x, y if math.isfinite(y) else math.nan) for x, y in points], strict=True),
                color=EVAL if trial == best else TRAIN,
                linestyle=":" if early else "-",
                linewidth=2.0 if trial == best else 0.9,
                alpha=1.0 if trial == best else 0.55,
                marker="." if len(points) == 1 else "",
                label=None if word in said else word,
            )
            said.add(word)
        axes.set(xlabel="step", ylabel="value")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
        axes.legend(fontsize=8)
        return data_uri(figure)


def _scale(axes, values: Sequence[float]) -> None:
    """A few values that are far off would press the rest of a linear figure flat."""
    known = [value for value in values if math.isfinite(value)]
    if known and min(known) > 0 and max(known) > 50 * min(known):
        axes.set_yscale("log")
