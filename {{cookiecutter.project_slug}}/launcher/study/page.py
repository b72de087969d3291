"""A study as one page, `report.html`: what was tried, what it gave, and what decided it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib

from launcher.common.files import write_file
from launcher.common.times import format_span
from launcher.jobfile.study import Value
from launcher.report import report
from launcher.report.charts import DARK, EVAL, STYLE, TRAIN, fit_scale, is_wide, new_axes, to_uri
from launcher.report.numbers import figures, measured
from launcher.study import results, search
from launcher.study.results import StudyRecord
from launcher.study.search import UNFINISHED, Trial
from launcher.study.trial import Curves

LINES = 60  # trials whose curves, or lines, can be distinguished at all: the best ones
# Of the parallel coordinates:
PAGE, NEAR, HEIGHT, TOP, SIDE = 940, 130, 240, 46, 70  # pixels
FOOT = TOP + HEIGHT
MISSING = FOOT + 28  # below the axis: the trial has no such parameter
APART = 24  # pixels from one tick to the next


def write(study: StudyRecord) -> Path:
    """Write the page into the study's directory and return its path."""
    path = study.path / "report.html"
    write_file(path, report.render(Path(__file__).with_name("study.html"), _describe(study)))
    return path


def _describe(study: StudyRecord) -> dict[str, Any]:
    """Everything that the page shows; sections that have nothing to show are None or empty."""
    spec, trials = study.job.study, study.trials
    with_value = [trial for trial in trials if trial.counts]
    return {
        "study": study,
        "started": study.started.replace("T", " ").replace("+00:00", " UTC"),
        "metric": spec.metric,
        "goal": "the highest" if spec.maximize else "the lowest",
        "settings": study.settings,
        "numbers": _list_numbers(study),
        "best": with_value[0] if with_value else None,
        "certainty": study.certainty,
        "trials": trials,
        "ids": results.columns(trials),
        "pages": {trial.id: _find_page(study.path, trial.id) for trial in trials},
        "values": draw_values(trials, spec.maximize) if with_value else None,
        "curves": draw_curves(with_value[:LINES], study.curves),
        "parallel": draw_parallel(spec.metric, with_value[:LINES]),
    }


def _list_numbers(study: StudyRecord) -> list[dict[str, Any]]:
    """The numbers that a reader wants first."""
    best, settings = study.trials[0], study.settings
    numbers = [{"label": study.job.study.metric, "main": True}]
    if settings:
        note = f"the best mean over {settings[0].repeats}, of {settings[0].name}"
        numbers[0] |= {"value": settings[0].describe(), "note": note}
    else:
        value, interval = measured(best.value, study.certainty.intervals.get(best.id))
        note = f"{interval}; the best, of trial {best.id}".removeprefix("; ")
        numbers[0] |= {"value": value, "note": note if best.counts else "no trial has a value"}
    states = [trial.state for trial in study.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    seconds = format_span(sum(trial.seconds for trial in study.trials))
    return [
        *numbers,
        {"value": f"{len(states)} of {study.count}", "label": "trials", "note": counts},
        {"value": seconds, "label": "of training", "note": "all trials together"},
    ]


def _find_page(path: Path, trial: int) -> str:
    """What there is to read of a trial: its report, its log, or its directory; relative to the page."""
    for name in ("report.html", "chief-0.log", ""):
        if (path / str(trial) / name).exists():
            return f"{trial}/{name}"
    return ""


@matplotlib.rc_context(STYLE)
def draw_values(trials: Sequence[Trial], maximize: bool) -> str:
    """The value of each trial, and the best so far; see `report.charts`."""
    counted = sorted((trial for trial in trials if trial.counts), key=lambda trial: trial.id)
    ids, values = [trial.id for trial in counted], [trial.value for trial in counted]
    best = list(accumulate(values, max if maximize else min))
    axes = new_axes(3.2, "trial")
    fit_scale(axes, values)
    axes.step(ids, best, where="post", color=EVAL, label="best so far")
    axes.plot(ids, values, "o", color=TRAIN, markersize=5, label="trial")
    if lost := [trial.id for trial in trials if not trial.counts and trial.state != UNFINISHED]:
        style = {"color": DARK, "label": "without a value"}
        style["transform"] = axes.get_xaxis_transform()  # on the axis, whatever the values are
        axes.plot(lost, [0.02] * len(lost), "x", **style)
    axes.set_ylabel("value")
    axes.legend(fontsize=8)
    return to_uri(axes)


@matplotlib.rc_context(STYLE)
def draw_curves(trials: Sequence[Trial], curves: Curves) -> str | None:
    """What each trial measured, by step; None where none measured twice.

    Args:
        trials: the best first, which stands out.
    """
    lines = [(trial, curves.of(trial.id)) for trial in trials]
    if all(len(points) < 2 for _, points in lines):
        return None
    axes = new_axes(3.2, "step")
    fit_scale(axes, [value for _, points in lines for _, value, _ in points])
    for trial, points in reversed(lines):
        best = trial is trials[0]
        axes.plot(
            [step for step, _, _ in points],
            [value for _, value, _ in points],
            color=EVAL if best else TRAIN,
            linewidth=2.0 if best else 0.9,
            alpha=1.0 if best else 0.55,
            marker="." if len(points) == 1 else "",
            label="best" if best else "trial" if trial is trials[-1] else None,
        )
    axes.set_ylabel("value")
    axes.legend(fontsize=8)
    return to_uri(axes)


def draw_parallel(metric: str, trials: Sequence[Trial]) -> dict[str, Any] | None:
    """Parallel coordinates: each trial as a line through its parameters and its value, in pixels.

    The page draws them itself, since names of a job file stand in them; see `report.charts`. None
    where there is nothing to compare.

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
