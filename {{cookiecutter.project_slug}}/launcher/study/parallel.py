"""Parallel coordinates: each trial as a line through its parameters and its value.

The page draws them itself, since names of a job file stand in them; see `report.charts`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from launcher.jobfile.study import Value
from launcher.report.charts import is_wide
from launcher.report.numbers import figures
from launcher.study import results, search
from launcher.study.search import Trial

PAGE, NEAR, HEIGHT, TOP, SIDE = 940, 130, 240, 46, 70  # pixels
FOOT = TOP + HEIGHT
MISSING = FOOT + 28  # below the axis: the trial has no such parameter
APART = 24  # pixels from one tick to the next


def draw(metric: str, trials: Sequence[Trial]) -> dict[str, Any] | None:
    """Axes and lines in pixels; None where there is nothing to compare.

    Args:
        trials: with a value, the best first.
    """
    ids = results.columns(trials)
    if len(trials) < 2 or not ids:
        return None
    axes = [_build_axis(id, [trial.parameters.get(id) for trial in trials]) for id in ids]
    axes.append(_build_axis(metric, [trial.value for trial in trials]))
    apart = max(NEAR, (PAGE - 2 * SIDE) // (len(axes) - 1))
    for i, axis in enumerate(axes):
        axis["x"] = SIDE + i * apart
    lines = [
        {
            "points": " ".join(f"{axis['x']},{axis['at'][rank]:.1f}" for axis in axes),
            "title": f"trial {trial.id}: {metric} {figures(trial.value)}; {search.describe(trial.parameters)}",
            "strength": f"{1 - 0.85 * rank / (len(trials) - 1):.2f}",
            "best": rank == 0,
        }
        for rank, trial in enumerate(trials)
    ]
    lowest = max(FOOT, *(y for axis in axes for y in axis["at"]))
    size = {"width": axes[-1]["x"] + SIDE, "height": lowest + 16, "top": TOP, "foot": FOOT}
    return {"axes": axes, "lines": lines[::-1], **size}  # the best is drawn last, on top


def _build_axis(name: str, values: Sequence[Value | None]) -> dict[str, Any]:
    """Where the values and ticks of an axis lie: numbers by their size, words by the alphabet."""
    there = {value for value in values if value is not None}
    has_words = any(isinstance(value, str) for value in there)
    ordered = sorted(there, key=str if has_words else None)
    position = ordered.index if has_words else math.log if is_wide(there) else float
    low, high = position(ordered[0]), position(ordered[-1])
    heights = {v: FOOT - HEIGHT * (position(v) - low) / ((high - low) or 1) for v in ordered}
    ticks, free = {}, math.inf
    for value in ordered:  # upwards, and none too near to the one below
        if heights[value] <= free:
            ticks[value if isinstance(value, str) else figures(value)] = heights[value]
            free = heights[value] - APART
    if None in values:
        ticks["not there"] = MISSING
    return {"name": name, "at": [heights.get(value, MISSING) for value in values], "ticks": ticks}
