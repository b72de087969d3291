"""A trial that runs: what it reports, whether it is stopped early, its result."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace

from launcher.jobfile.study import StudySpec
from launcher.local import local
from launcher.report import report, runs
from launcher.study.curves import Curves, below_median, reports
from launcher.study.search import Trial

_pages = threading.Lock()  # matplotlib draws for one thread at a time


class Running:
    """A trial that runs, in a thread of its own."""

    def __init__(self, trial: Trial, run: local.Run, objective: StudySpec, curves: Curves):
        self.trial, self.run, self.objective, self.curves = trial, run, objective, curves
        curve = curves.of(trial.id)
        self.before = curve[-1][2] if curve else 0.0  # seconds that it ran before it was stopped
        self.began, self.ended = time.time(), math.nan
        self.early = ""  # why it was stopped early
        self.others: set[str] = set()  # what it reported beside the metric

    def start(self, threads: Executor) -> None:
        self.future = threads.submit(self._run)

    def _run(self) -> local.Outcome:
        try:
            outcome = self.run.run()
        except OSError as error:  # a full disk, a directory that cannot be written
            outcome = local.Outcome("failed", 1, str(error))
        self.ended = time.time()
        if outcome.state != "stopped" or self.early:
            try:
                with _pages:
                    report.write(self.run.run_dir)
            except (runs.RunError, OSError):  # a module of the owner's need not keep a record
                pass
        return outcome

    def measure(self) -> None:
        """Add what it has reported to the curves."""
        values, self.others = reports(self.run.metric_file, self.objective.metric)
        for step, (value, when) in values.items():
            seconds = self.before + max(0.0, when - self.began)
            self.curves.add(self.trial.id, step, value, seconds)

    def stop_early(self, trials: Sequence[Trial]) -> None:
        """Stop it if it is below the median.

        Args:
            trials: all of the study.
        """
        over = [trial for trial in trials if trial.counts]
        if self.early or not over:
            return
        curve = self._find_curve(self.trial)
        if curve and below_median(curve, [self._find_curve(trial) for trial in over]):
            self.early = "below the median"
            self.run.stop()

    def _find_curve(self, trial: Trial) -> list[tuple[float, float]]:
        """[(step or seconds, value)], the higher the better."""
        x, sign = 2 if self.objective.by_time else 0, 1 if self.objective.maximize else -1
        curve = self.curves.of(trial.id)
        return [(point[x], sign * point[1]) for point in curve if math.isfinite(point[1])]

    def result(self) -> Trial:
        """The trial with its result; it stays unfinished where it was stopped with the study."""
        outcome: local.Outcome = self.future.result()
        if outcome.state == "stopped" and not self.early:
            return self.trial
        trial = replace(self.trial, seconds=round(self.before + self.ended - self.began, 3))
        if outcome.state in ("failed", "timeout"):
            last = outcome.tail.strip().splitlines()[1:][-1:]  # the first one is a heading
            why = ": ".join([f"exit code {outcome.code}", *last])
            if outcome.state == "timeout":
                why = "ran out of time"
            elif outcome.code > 128:  # what it printed last says nothing of that
                why = f"killed by signal {outcome.code - 128}"
            return replace(trial, state="failed", why=why)
        early, metric = outcome.state == "stopped", self.objective.metric
        best = early or self.objective.takes_best
        chosen = self.curves.chosen(trial.id, best, self.objective.maximize)
        if chosen and math.isfinite(chosen[1]):
            trial = replace(trial, value=chosen[1], step=chosen[0], state="succeeded")
            return replace(trial, state="stopped early", why=self.early) if early else trial
        if self.curves.of(trial.id):
            why = f"{metric} was not a finite number"
        else:
            why = f"it never reported {metric}"
            why += f", only {', '.join(sorted(self.others))}" if self.others else ""
        return replace(trial, state="infeasible", why=why)
