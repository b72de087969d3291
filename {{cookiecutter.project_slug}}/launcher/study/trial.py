"""One trial on its way: what it reports, whether it is stopped early, what comes of it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from launcher.jobfile.spec import Fault, Job, SpecError
from launcher.local import local
from launcher.report import report, runs
from launcher.study import stopping
from launcher.study.curves import Curves, reports
from launcher.study.search import Trial

MEDIAN = "medianAutomatedStoppingSpec"
# Vertex AI fits Gaussian processes and regressions to the curves, in ways that are not published.
NOT_HERE = ("decayCurveStoppingSpec", "convexAutomatedStoppingSpec")
_pages = threading.Lock()  # matplotlib draws for one thread at a time


@dataclass(frozen=True)
class Objective:
    """What a study looks for, and when it does not look further."""

    metric: str
    maximize: bool
    takes_best: bool  # of a trial's measurements; else the last
    stops: bool = False  # trials below the median
    by_time: bool = False  # they are compared at equal run times; else at equal steps

    @staticmethod
    def read(job: Job) -> Objective:
        """The objective of a study.

        Raises:
            SpecError: several metrics, or a rule of early stopping that only Vertex AI has.
        """
        study_spec = job.message["studySpec"]
        metrics = study_spec["metrics"]
        if len(metrics) != 1:
            place = "studySpec.metrics[1]"
            what = "here a study has one metric: by several, no trial is the best"
            instead = "keep the one that decides, or run the study on Vertex AI"
            raise SpecError(Fault(job.path, job.line(place), place, what, instead))
        for rule in NOT_HERE:
            if rule in study_spec:
                place = f"studySpec.{rule}"
                what = (
                    "only Vertex AI can predict where a learning curve ends, by a model of its own"
                )
                instead = f"write {MEDIAN}, or run the study there"
                raise SpecError(Fault(job.path, job.line(place), place, what, instead))
        return Objective(
            metric=metrics[0]["metricId"],
            maximize=metrics[0].get("goal") == "MAXIMIZE",
            takes_best=study_spec.get("measurementSelectionType") == "BEST_MEASUREMENT",
            stops=MEDIAN in study_spec,
            by_time=bool(study_spec.get(MEDIAN, {}).get("useElapsedDuration")),
        )


class Running:
    """A trial that runs, in a thread of its own."""

    def __init__(self, trial: Trial, run: local.Run, objective: Objective, curves: Curves):
        self.trial, self.run, self.objective, self.curves = trial, run, objective, curves
        curve = curves.of(trial.id)
        self.before = curve[-1][2] if curve else 0.0  # seconds that it ran when it was last left
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
            except (runs.RunError, OSError):  # a module of your own need not keep a record
                pass
        return outcome

    def measure(self) -> None:
        """Takes over what it has reported."""
        found, self.others = reports(self.run.metric_file, self.objective.metric)
        for step, (value, when) in found.items():
            seconds = self.before + max(0.0, when - self.began)
            self.curves.add(self.trial.id, step, value, seconds)

    def stop_early(self, trials: Sequence[Trial]) -> None:
        """Stop it where the study stops trials below the median and it is one.

        Args:
            trials: of the study, those that are over among them.
        """
        over = [trial for trial in trials if trial.counts]
        if self.early or not over or not self.objective.stops:
            return
        mine = self._turned(self.trial)
        if mine and stopping.below_median(mine, [self._turned(trial) for trial in over]):
            self.early = "below the median"
            self.run.stop()

    def _turned(self, trial: Trial) -> list[tuple[float, float]]:
        """Its curve, as the rules take it."""
        x, sign = 2 if self.objective.by_time else 0, 1 if self.objective.maximize else -1
        curve = self.curves.of(trial.id)
        return [(each[x], sign * each[1]) for each in curve if math.isfinite(each[1])]

    def result(self) -> Trial:
        """What came of it; it stays unfinished where it was stopped with the study."""
        outcome: local.Outcome = self.future.result()
        if outcome.state == "stopped" and not self.early:
            return self.trial
        trial = replace(self.trial, seconds=round(self.before + self.ended - self.began, 3))
        if outcome.state in ("failed", "timeout"):
            late = outcome.state == "timeout"
            why = "ran out of time" if late else f"exit code {outcome.code}"
            last = outcome.tail.strip().splitlines()[1:][-1:]  # the first one is a heading
            return replace(trial, state="failed", why=": ".join([why, *last]))
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
