"""A study as one page, `report.html`: what was tried, what it gave, and what decided it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.common.files import write_file
from launcher.jobfile.job import Job
from launcher.jobfile.study import Parameter
from launcher.report import report
from launcher.report.report import figures
from launcher.study import charts, results, space
from launcher.study.curves import Curves
from launcher.study.results import Spread
from launcher.study.search import UNFINISHED, Trial

ROWS = 200  # trials on the page; the rest stands in study.csv
LINES = 60  # trials whose curves, or lines, can be told apart at all: the best ones
PAGE, NEAR, HEIGHT, TOP, SIDE = 940, 130, 240, 46, 70  # parallel coordinates, in pixels
TICKS = 8  # words at an axis


@dataclass(frozen=True)
class StudyRecord:
    """A study that ran here or on Vertex AI."""

    path: Path
    job: Job
    flags: Sequence[str]  # of the trainer, for all trials
    started: str  # ISO 8601, UTC
    state: str
    failure: str  # why it failed; "" where it did not
    method: str
    count: int  # trials that are wanted in all
    importance: Mapping[str, float]  # the share of each parameter in how good a trial is
    curves: Curves


def write(study: StudyRecord, trials: Sequence[Trial], spread: Spread) -> Path:
    """Writes the page into the study's directory and returns its path.

    Args:
        trials: ranked, at least one.
    """
    path = study.path / "report.html"
    template = Path(__file__).with_name("study.html")
    page = report.render(template, _content(study, trials, spread), short=space.short)
    write_file(path, page)
    return path


def _content(study: StudyRecord, trials: Sequence[Trial], spread: Spread) -> dict[str, Any]:
    """Everything that the page shows; sections that have nothing to show are None or empty."""
    with_value = [trial for trial in trials if trial.counts]
    best = with_value[0] if with_value else None
    goal = "the highest" if study.job.study.maximize else "the lowest"
    return {
        "name": study.path.name,
        "state": study.state,
        "failure": study.failure,
        "job": study.job.path.name,
        "flags": study.flags,
        "started": study.started.replace("T", " ").replace("+00:00", " UTC"),
        "metric": study.job.study.metric,
        "goal": goal,
        "method": study.method,
        "best": best,
        "spread": spread,
        "trials": trials[:ROWS],
        "rest": max(0, len(trials) - ROWS),
        "ids": results.columns(trials),
        "pages": {t.id: _page(study.path, t.id) for t in trials[:ROWS]},
        "counts": _counts(trials),
        "of": study.count,
        "seconds": sum(trial.seconds for trial in trials),
        "objective": _objective(study, trials) if best else None,
        "curves": _curves(study, with_value),
        "parallel": parallel_coordinates(
            study.job.study.parameters, study.job.study.metric, with_value[:LINES]
        ),
        "importance": study.importance,
    }


def _page(path: Path, trial: int) -> str:
    """Where a trial is told of: its report, its log, or its directory; relative to the page."""
    for name in ("report.html", "chief-0.log", ""):
        if (path / str(trial) / name).exists():
            return f"{trial}/{name}"
    return ""


def _counts(trials: Sequence[Trial]) -> str:
    """ "10 succeeded, 2 failed" """
    states = [trial.state for trial in trials]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def _objective(study: StudyRecord, trials: Sequence[Trial]) -> str:
    points: dict[str, list] = {"succeeded": [], "stopped early": []}
    best, lost = [], []
    for trial in sorted(trials, key=lambda trial: trial.id):
        if trial.counts:
            points[trial.state].append((trial.id, trial.value))
            record = max if study.job.study.maximize else min
            best.append((trial.id, record(trial.value, best[-1][1] if best else trial.value)))
        elif trial.state != UNFINISHED:
            lost.append(trial.id)
    return charts.objective(*points.values(), best, lost)


def _curves(study: StudyRecord, trials: Sequence[Trial]) -> str | None:
    curves = {t.id: [each[:2] for each in study.curves.of(t.id)] for t in trials[:LINES]}
    if not any(len(points) > 1 for points in curves.values()):
        return None
    stopped = {trial.id for trial in trials if trial.state == "stopped early"}
    return charts.learning_curves(curves, trials[0].id, stopped)


# --- Parallel coordinates: drawn by the page itself, since names of a job file stand in it


def parallel_coordinates(
    parameters: Sequence[Parameter], metric: str, trials: Sequence[Trial]
) -> dict[str, Any] | None:
    """Axes and lines in pixels; None where there is nothing to compare.

    A parameter that a trial does not have lies below its axis, on a place of its own.
    """
    ids = results.columns(trials)
    if len(trials) < 2 or not ids:
        return None
    by_id: dict[str, list[Parameter]] = {}
    for parameter in space.everything(parameters):
        by_id.setdefault(parameter.id, []).append(parameter)
    values = [trial.value for trial in trials]
    axes = [_axis(id, by_id[id], [t.parameters.get(id) for t in trials]) for id in ids]
    axes.append(_numbers(metric, min(values), max(values), _is_wide(values), values))
    apart = max(NEAR, (PAGE - 2 * SIDE) // (len(axes) - 1))
    for i, axis in enumerate(axes):
        axis["x"] = SIDE + i * apart
    lines = []
    for place, trial in enumerate(trials):
        points = " ".join(f"{axis['x']},{axis['at'][place]:.1f}" for axis in axes)
        told = ", ".join(f"{id} {space.short(value)}" for id, value in trial.parameters.items())
        lines.append(
            {
                "points": points,
                "title": f"trial {trial.id}: {metric} {figures(trial.value)}; {told}",
                "strength": f"{1 - 0.85 * place / (len(trials) - 1):.2f}",
                "best": place == 0,
            }
        )
    width = 2 * SIDE + (len(axes) - 1) * apart
    foot = TOP + HEIGHT
    lowest = max(max(axis["at"]) for axis in axes)
    size = {"width": width, "height": max(foot, lowest) + 16, "top": TOP, "foot": foot}
    return {"axes": axes, "lines": lines[::-1], **size}  # the best is drawn last, on top


def _axis(id: str, parameters: Sequence[Parameter], values: list) -> dict[str, Any]:
    """The axis of a parameter; of one id in several branches, by whatever they share."""
    words = any(parameter.kind == "categorical" for parameter in parameters)
    if words or all(parameter.kind == "discrete" for parameter in parameters):
        known = list(dict.fromkeys(value for p in parameters for value in p.values))
        if not words:
            known.sort()
        rest = {value for value in values if value is not None} - set(known)
        return _words(id, [*known, *sorted(rest, key=str)], values)
    low = min(parameter.outer(parameter.low) for parameter in parameters)
    low = min(low, *(parameter.outer(parameter.high) for parameter in parameters))
    high = max(parameter.outer(parameter.high) for parameter in parameters)
    high = max(high, *(parameter.outer(parameter.low) for parameter in parameters))
    scales = {parameter.scale for parameter in parameters}
    whole = all(parameter.kind == "integer" for parameter in parameters)
    if whole and scales == {"linear"} and high - low < TICKS:
        return _words(id, list(range(low, high + 1)), values)
    return _numbers(id, low, high, scales == {"log"}, values, scales == {"reverse log"})


def _words(name: str, known: list, values: list) -> dict[str, Any]:
    step = HEIGHT / max(1, len(known) - 1)
    at = {value: TOP + HEIGHT - i * step for i, value in enumerate(known)}
    shown = known if len(known) <= TICKS else [known[0], known[-1]]
    ticks = [{"y": f"{at[v]:.1f}", "text": space.short(v)} for v in shown]
    return _with_gaps(name, [at.get(value) for value in values], ticks)


def _numbers(
    name: str, low: float, high: float, log: bool, values: list, reverse: bool = False
) -> dict[str, Any]:
    def share(value: float) -> float:
        if high == low:
            return 0.5
        if log:
            return math.log(value / low) / math.log(high / low)
        if reverse:  # as wide at its top as a logarithmic scale is at its bottom
            return 1 - math.log((low + high - value) / low) / math.log(high / low)
        return (value - low) / (high - low)

    at = [None if v is None else TOP + HEIGHT * (1 - share(v)) for v in values]
    if log:
        middle = math.sqrt(low * high)
    elif reverse:
        middle = low + high - math.sqrt(low * high)
    else:
        middle = (low + high) / 2
    marks = [low] if high == low else [low, middle, high]
    ticks = [
        {"y": f"{TOP + HEIGHT * (1 - share(mark)):.1f}", "text": figures(mark)} for mark in marks
    ]
    return _with_gaps(name, at, ticks)


def _with_gaps(name: str, at: list, ticks: list) -> dict[str, Any]:
    missing = TOP + HEIGHT + 28
    if None in at:
        ticks = [*ticks, {"y": str(missing), "text": "not there"}]
    return {"name": name, "at": [missing if y is None else y for y in at], "ticks": ticks}


def _is_wide(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) > 50 * min(values)
