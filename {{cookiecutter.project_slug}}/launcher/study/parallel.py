"""Parallel coordinates: each trial as a line through its parameters and its value.

The page draws them itself, since names of a job file stand in them; see `report.charts`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from launcher.jobfile.study import Parameter, Value
from launcher.report.charts import is_wide
from launcher.report.numbers import figures
from launcher.study import results, search
from launcher.study.search import Trial

PAGE, NEAR, HEIGHT, TOP, SIDE = 940, 130, 240, 46, 70  # pixels
FOOT = TOP + HEIGHT
MISSING = FOOT + 28  # below the axis: the trial has no such parameter
TICKS = 8  # words at an axis


def draw(
    parameters: Sequence[Parameter], metric: str, trials: Sequence[Trial]
) -> dict[str, Any] | None:
    """Axes and lines in pixels; None where there is nothing to compare.

    Args:
        trials: with a value, the best first.
    """
    ids = results.columns(trials)
    if len(trials) < 2 or not ids:
        return None
    axes = []
    for id in ids:  # an id may stand in several branches
        of_id = [parameter for parameter in search.everything(parameters) if parameter.id == id]
        axes.append(_parameter_axis(id, of_id, [trial.parameters.get(id) for trial in trials]))
    values = [trial.value for trial in trials]
    scale = "log" if is_wide(values) else "linear"
    axes.append(_number_axis(metric, values, min(values), max(values), scale))
    apart = max(NEAR, (PAGE - 2 * SIDE) // (len(axes) - 1))
    for i, axis in enumerate(axes):
        axis["x"] = SIDE + i * apart
    lines = []
    for rank, trial in enumerate(trials):
        chosen = ", ".join(
            f"{id} {search.shorten(value)}" for id, value in trial.parameters.items()
        )
        lines.append(
            {
                "points": " ".join(f"{axis['x']},{axis['at'][rank]:.1f}" for axis in axes),
                "title": f"trial {trial.id}: {metric} {figures(trial.value)}; {chosen}",
                "strength": f"{1 - 0.85 * rank / (len(trials) - 1):.2f}",
                "best": rank == 0,
            }
        )
    lowest = max(FOOT, *(y for axis in axes for y in axis["at"]))
    size = {"width": axes[-1]["x"] + SIDE, "height": lowest + 16, "top": TOP, "foot": FOOT}
    return {"axes": axes, "lines": lines[::-1], **size}  # the best is drawn last, on top


def _parameter_axis(
    id: str, parameters: Sequence[Parameter], values: Sequence[Value | None]
) -> dict[str, Any]:
    """Words, or numbers on the scale on which they are searched."""
    kinds, scales = {p.kind for p in parameters}, {p.scale for p in parameters}
    words = [value for p in parameters for value in p.values]
    bounds = [value for p in parameters for value in p.values or (p.low, p.high)]
    if "categorical" in kinds:
        words += sorted({value for value in values if value is not None}.difference(words), key=str)
    elif kinds == {"discrete"}:
        words.sort()
    elif kinds == {"integer"} and scales == {"linear"} and max(bounds) - min(bounds) < TICKS:
        words = list(range(min(bounds), max(bounds) + 1))
    else:
        scale = scales.pop() if len(scales) == 1 else "linear"
        return _number_axis(id, values, min(bounds), max(bounds), scale)
    words = list(dict.fromkeys(words))
    shares = {word: i / max(1, len(words) - 1) for i, word in enumerate(words)}
    ticks = words if len(words) <= TICKS else (words[0], words[-1])
    return _build_axis(id, values, shares.get, ticks)


def _number_axis(
    name: str, values: Sequence[float | None], low: float, high: float, scale: str
) -> dict[str, Any]:
    """The scale is linear, log, or reverse log: as wide at its top as log is at its bottom."""

    def share(value: float) -> float:
        if high == low:
            return 0.5
        if scale == "reverse log":
            return 1 - math.log((low + high - value) / low) / math.log(high / low)
        return math.log(value / low, high / low) if scale == "log" else (value - low) / (high - low)

    middle = math.sqrt(low * high) if "log" in scale else (low + high) / 2
    if scale == "reverse log":
        middle = low + high - middle
    return _build_axis(name, values, share, (low, middle, high))


def _build_axis(
    name: str, values: Sequence, share: Callable[[Any], float], ticks: Sequence
) -> dict[str, Any]:
    """Where the values and ticks lie, by their share of the axis: 0 at its foot, 1 at its top."""
    at = [MISSING if value is None else FOOT - HEIGHT * share(value) for value in values]
    texts = (tick if isinstance(tick, str) else figures(tick) for tick in ticks)
    marks = {text: FOOT - HEIGHT * share(tick) for text, tick in zip(texts, ticks, strict=True)}
    if None in values:
        marks["not there"] = MISSING
    return {"name": name, "at": at, "ticks": marks}
