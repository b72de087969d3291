"""The learning curves of a study: read from what the trials report, kept in `measurements.csv`."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from launcher.study.search import cut_partial_line

Curve = Sequence[tuple[float, float]]
ENOUGH = 3  # trials that must be over before a median means anything
_FRAME = {"timestamp", "trial", "global_step", "checkpoint_path"}  # of a report; the rest: a metric


def reports(path: Path, metric: str) -> tuple[dict[float, tuple[float, float]], set[str]]:
    """Read hypertune's file: {step: (value, timestamp)} of the metric, and the names of the others.

    The file is written whole at each report, not always in one go: lines that make no sense are
    left for the next time. Of a step that stands twice, the later line counts.
    """
    values, others = {}, set()
    try:
        lines = path.read_bytes().decode("utf-8", "replace").split("\n")
    except OSError:  # not there yet, or just being replaced
        return values, others
    for line in lines:
        try:
            report = json.loads(line)
            others |= set(report) - _FRAME - {metric}
            if metric in report:
                step = float(report.get("global_step") or 0)
                values[step] = (float(report[metric]), float(report.get("timestamp") or 0))
        except (ValueError, TypeError):
            continue
    return values, others


class Curves:
    """All measurements of a study. A trial that is run again reports some of its steps once more."""

    def __init__(self, path: Path):
        """Read what there is."""
        self.path = path
        self._of: dict[int, dict[float, tuple[float, float]]] = {}  # {step: (value, seconds)}
        cut_partial_line(path)
        if not path.exists():
            path.write_text("trial,step,value,seconds\n", encoding="utf-8")
        for line in path.read_text(encoding="utf-8").splitlines()[1:]:
            trial, step, value, seconds = line.split(",")
            self._of.setdefault(int(trial), {})[float(step)] = (float(value), float(seconds))

    def add(self, trial: int, step: float, value: float, seconds: float) -> None:
        """Keep a measurement, unless it is known."""
        curve = self._of.setdefault(trial, {})
        if step in curve and repr(curve[step][0]) == repr(value):  # NaN is itself here
            return
        curve[step] = (value, seconds)
        with open(self.path, "a", encoding="utf-8", newline="\n") as file:
            file.write(f"{trial},{step!r},{value!r},{seconds:.3f}\n")

    def of(self, trial: int) -> list[tuple[float, float, float]]:
        """(step, value, seconds) of a trial's measurements, by step."""
        return [(step, *rest) for step, rest in sorted(self._of.get(trial, {}).items())]

    def chosen(self, trial: int, best: bool, maximize: bool) -> tuple[float, float] | None:
        """The measurement that counts, as (step, value): the last one, or the best that is finite."""
        curve = [(step, value) for step, value, _ in self.of(trial)]
        if not best:
            return curve[-1] if curve else None
        choose = max if maximize else min
        finite = [point for point in curve if math.isfinite(point[1])]
        return choose(finite, key=lambda point: point[1], default=None)  # the earliest of equals


def below_median(mine: Curve, others: Sequence[Curve]) -> bool:
    """medianAutomatedStoppingSpec: whether a trial's best value so far is below the median of what
    the trials that are over did up to the same x, each taken by its mean up to there.

    optuna's MedianPruner compares with values at the very same step, not with means up to there.

    Args:
        mine: of the running trial, not empty: x is a step, or seconds of run time; of y, more is better.
        others: of the trials that are over.
    """
    now = mine[-1][0]
    until_now = [[y for x, y in other if x <= now] for other in others]
    means = [statistics.fmean(values) for values in until_now if values]
    best = max(y for _, y in mine)
    return len(means) >= ENOUGH and best < statistics.median(means)
