"""A study as one page, `report.html`: what was tried, what it gave, and what decided it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib

from launcher.common.files import write_file
from launcher.common.times import format_span
from launcher.report import report
from launcher.report.charts import DARK, EVAL, STYLE, TRAIN, fit_scale, new_axes, to_uri
from launcher.report.numbers import measured
from launcher.study import parallel, results, search
from launcher.study.results import StudyRecord
from launcher.study.search import UNFINISHED, Trial
from launcher.study.trial import Curves

LINES = 60  # trials whose curves, or lines, can be distinguished at all: the best ones


def write(study: StudyRecord) -> Path:
    """Write the page into the study's directory and return its path."""
    path = study.path / "report.html"
    template = Path(__file__).with_name("study.html")
    page = report.render(template, _describe(study), short=search.shorten)
    write_file(path, page)
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
        "parallel": parallel.draw(spec.metric, with_value[:LINES]),
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
