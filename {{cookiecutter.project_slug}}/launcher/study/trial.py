"""A trial that runs: what it reports, kept in `measurements.csv`; whether it is stopped early, its result."""

from __future__ import annotations

import contextlib
import json
import math
import statistics
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from launcher.jobfile.study import StudySpec
from launcher.local import local
from launcher.report import report, runs
from launcher.study.search import Trial, cut_partial_line

_pages = threading.Lock()  # matplotlib draws for one thread at a time
Curve = Sequence[tuple[float, float]]
ENOUGH = 3  # trials that must be over before a median means anything


class Running:
    """A trial that runs, in a thread of its own."""

    def __init__(self, trial: Trial, run: local.Run, objective: StudySpec, curves: Curves):
        self.trial, self.run, self.objective, self.curves = trial, run, objective, curves
        curve = curves.of(trial.id)
        self.before = curve[-1][2] if curve else 0.0  # seconds that it ran before it was stopped
        self.began, self.ended = time.time(), math.nan
        self.early = False  # stopped, being below the median

    def start(self, threads: Executor) -> None:
        self.future = threads.submit(self._run)

    def _run(self) -> local.Outcome:
        try:
            outcome = self.run.run()
        finally:
            self.ended = time.time()
        if outcome.state != "stopped" or self.early:
            # A module of the owner's need not keep a record.
            with _pages, contextlib.suppress(runs.RunError, OSError):
                report.write(self.run.run_dir)
        return outcome

    def measure(self) -> None:
        """Add what it has reported to the curves."""
        values = read_reports(self.run.metric_file, self.objective.metric)
        for step, (value, when) in values.items():
            seconds = self.before + max(0.0, when - self.began)
            self.curves.add(self.trial.id, step, value, seconds)

    def stop_early(self, trials: Sequence[Trial]) -> None:
        """Stop it if it is below the median of the study's trials."""
        if self.early or not (curve := self._find_curve(self.trial)):
            return
        if below_median(curve, [self._find_curve(trial) for trial in trials if trial.counts]):
            self.early = True
            self.run.stop()

    def _find_curve(self, trial: Trial) -> list[tuple[float, float]]:
        """[(step or seconds, value)], the higher the better."""
        x, sign = 2 if self.objective.by_time else 0, 1 if self.objective.maximize else -1
        curve = self.curves.of(trial.id)
        return [(point[x], sign * point[1]) for point in curve if math.isfinite(point[1])]

    def result(self) -> Trial:
        """The trial with its result; it stays unfinished where it was stopped with the study."""
        trial = replace(self.trial, seconds=round(self.before + self.ended - self.began, 3))
        try:
            outcome: local.Outcome = self.future.result()
        except OSError as error:  # a full disk, a directory that cannot be written
            return replace(trial, state="failed", why=str(error))
        if outcome.state == "stopped" and not self.early:
            return self.trial
        if outcome.state == "timeout":
            return replace(trial, state="failed", why="ran out of time")
        if outcome.state == "failed":
            last = outcome.tail.strip().splitlines()[1:][-1:]  # the first one is a heading
            why = ": ".join([f"exit code {outcome.code}", *last])
            if outcome.code > 128:  # what it printed last says nothing of that
                why = f"killed by signal {outcome.code - 128}"
            return replace(trial, state="failed", why=why)
        early, metric = outcome.state == "stopped", self.objective.metric
        best = early or self.objective.takes_best
        chosen = self.curves.chosen(trial.id, best, self.objective.maximize)
        if chosen and math.isfinite(chosen[1]):
            state, why = ("stopped early", "below the median") if early else ("succeeded", "")
            return replace(trial, state=state, value=chosen[1], step=chosen[0], why=why)
        known = self.curves.of(trial.id)
        why = f"{metric} was not a finite number" if known else f"it never reported {metric}"
        return replace(trial, state="infeasible", why=why)


def read_reports(path: Path, metric: str) -> dict[float, tuple[float, float]]:
    """Read hypertune's file: {step: (value of the metric, timestamp)}.

    The file is written whole at each report, not always in one go: lines that make no sense are
    left for the next time. Of a step that stands twice, the later line counts.
    """
    values = {}
    with contextlib.suppress(OSError):  # not there yet, or just being replaced
        for line in path.read_bytes().decode("utf-8", "replace").split("\n"):
            with contextlib.suppress(ValueError, TypeError, LookupError, AttributeError):
                report = json.loads(line)
                step, when = (float(report.get(key) or 0) for key in ("global_step", "timestamp"))
                values[step] = float(report[metric]), when
    return values


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
