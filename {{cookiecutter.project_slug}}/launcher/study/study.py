"""Runs a tuning study on this machine, as Vertex AI would run a HyperparameterTuningJob.

    study = Study(spec.load("configs/tuning.yaml"), flags)
    code = study.run()

Each trial is a job of its own (`local.Run`) in a directory of its own. The rules of the service:

- `maxTrialCount` trials, `parallelTrialCount` at a time. A trial that fails counts, and the study
  goes on.
- `maxFailedTrialCount` failed trials end it. Where that is not set the service decides, and does
  not say how; here the study ends when the first five trials have failed, all of them: a mistake
  that they share. A trial without a finite value of the metric has failed, too.
- The value of a trial is its last measurement, or its best where `measurementSelectionType` says
  so; that of a trial that was stopped early is its best in any case.
- A grid takes integer, discrete and categorical parameters, and ends when it is through.
- One metric only: by several, no trial is the best.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

from launcher.common.document import SpecError
from launcher.jobfile.job import Job
from launcher.jobfile.study import MEDIAN
from launcher.local import local, run_dirs
from launcher.project.settings import ROOT
from launcher.report.numbers import duration, figures
from launcher.study import directory, results, space
from launcher.study import page as study_page
from launcher.study.curves import Curves
from launcher.study.search import UNFINISHED, Search, Trial, compute_importance
from launcher.study.trial import Running

FIRST_FAILURES = 5
LOOK = 0.1  # seconds between looks at what the trials report: hypertune keeps only 100 reports


def show(text: str) -> None:
    print(text, flush=True)  # at once, through a pipe too: a study takes long


class Study:
    """One study. `stop` may be called from a signal handler, or from any thread."""

    def __init__(
        self,
        job: Job,
        flags: Sequence[str] = (),
        path: Path | None = None,
        *,
        top: int = 1,
        new: bool = False,
        say: Callable[[str], None] = show,
        options: Mapping | None = None,
        is_ready: Callable[[], bool] = lambda: True,
        runs_dir: Path = run_dirs.RUNS,
        configs: Path = ROOT / "configs",
    ):
        """Finds the study that is to go on, or makes a new one; starts nothing.

        Args:
            flags: of the trainer, for all trials.
            path: the study's directory. Without it, the newest unfinished study of this file and
                these flags goes on, or a new one is made below `runs_dir`.
            top: how many of the best trials get a job file in `configs`.
            new: no older study goes on.
            options: for each `local.Run`, such as `place`.
            is_ready: whether trials can start.

        Raises:
            SpecError: a study that cannot be run here, or a directory that cannot be its own.
        """
        self.job, self.flags, self.top, self.say = job, list(flags), top, say
        self.options, self.configs, self.is_ready = dict(options or {}), configs, is_ready
        self.objective, self.space = job.study, job.study.parameters
        self._refuse_what_only_vertex_has()
        self._refuse_tuned_flags()
        self.dir = directory.take(job, self.flags, path, new, runs_dir)
        self.path = self.dir.path
        self.curves = Curves(self.path / "measurements.csv")
        self.search = Search(
            self.path / "study.journal",
            self.space,
            self.objective.algorithm,
            self.objective.maximize,
            job.trials,
        )
        self.running: list[Running] = []
        self.stopping = self.firmly = False
        self.failure = self._failure()  # why no more trials are begun

    def stop(self, firmly: bool = False) -> None:
        """Ends the study: its trials write checkpoints, and go on when it is run again."""
        self.firmly = self.firmly or firmly
        self.stopping = True

    def run(self) -> int:
        """Runs the trials that are left, then writes the results.

        Returns: 0; 1 where the study failed; 75 where it was stopped and can go on.
        """
        try:
            self._announce()
            with ThreadPoolExecutor(self.job.parallel) as threads:
                try:
                    self._all_trials(threads)
                finally:  # whatever happened, no trial is left behind
                    for each in self.running:
                        each.run.stop(firmly=True)
            return self._finish()
        finally:
            self.dir.close()

    def _refuse_what_only_vertex_has(self) -> None:
        if len(self.objective.metrics) > 1:
            what = "here a study has one metric: by several, no trial is the best"
            instead = "keep the one that decides, or run the study on Vertex AI"
            raise SpecError(self.job.fault("studySpec.metrics[1]", what, instead))
        if self.objective.cloud_only:
            what = "only Vertex AI can predict where a learning curve ends, by a model of its own"
            instead = f"write {MEDIAN}, or run the study there"
            raise SpecError(self.job.fault(f"studySpec.{self.objective.cloud_only}", what, instead))

    def _refuse_tuned_flags(self) -> None:
        """A flag for all trials is no parameter, which each trial has of its own."""
        tuned = {parameter.id.replace("-", "_") for parameter in space.everything(self.space)}
        for flag in self.flags:
            name = flag.partition("=")[0]
            if name.startswith("--") and name[2:].replace("-", "_") in tuned:
                raise SpecError(f"{name}: the study sets it, anew for each trial; leave it out")

    # --- Trials

    def _all_trials(self, threads: ThreadPoolExecutor) -> None:
        waiting = self.search.unfinished()
        if waiting:
            self.dir.wait_for_orphans()
        asked = made = False  # to end, politely and firmly
        while True:
            self.dir.beat()
            ending = self.stopping or bool(self.failure)
            while not ending and len(self.running) < self.job.parallel:
                trial = waiting.pop(0) if waiting else self.search.next()
                if trial is None:
                    break
                self._begin(trial, threads)
            if not self.running:
                return
            if (ending and not asked) or (self.firmly and not made):
                asked, made = True, self.firmly
                for each in self.running:
                    each.run.stop(firmly=made)
            wait([each.future for each in self.running], LOOK, FIRST_COMPLETED)
            for each in list(self.running):
                over = each.future.done()  # asked first, so that its last report is not missed
                each.measure()
                if over:
                    self.running.remove(each)
                    self._end(each.result())
                elif self.objective.stops:
                    each.stop_early(self.search.trials())

    def _begin(self, trial: Trial, threads: ThreadPoolExecutor) -> None:
        while not (self.stopping or self.is_ready()):
            time.sleep(LOOK)
        run = local.Run(
            self.job,
            self.path / str(trial.id),
            flags=[*self.flags, *space.flags(trial.parameters)],
            trial=str(trial.id),
            say=lambda text: self.say(f"trial {trial.id}: {text}"),
            **self.options,
        )
        values = ", ".join(f"{id} {space.short(v)}" for id, v in trial.parameters.items())
        verb = "goes on" if run.run_dir.exists() else "begins"
        self.say(f"trial {trial.id} of {self.search.count} {verb}: {values}")
        each = Running(trial, run, self.objective, self.curves)
        each.start(threads)
        self.running.append(each)

    def _end(self, trial: Trial) -> None:
        if trial.state == UNFINISHED:
            return
        self.search.finish(trial)
        self._tell(trial)
        if not self.failure and (failure := self._failure()):
            self.failure = failure
            self.say(f"no more trials: {failure}")

    def _failure(self) -> str:
        """Why the study has failed; "" where it has not."""
        trials = self.search.trials()
        lost = sum(not trial.counts and trial.state != UNFINISHED for trial in trials)
        limit = self.job.failures
        if limit and lost >= limit:
            return f"{lost} trials failed, and maxFailedTrialCount is {limit}"
        enough = self.search.count if limit else min(FIRST_FAILURES, self.search.count)
        if lost >= enough and not any(trial.counts for trial in trials):
            return f"the first {lost} trials failed, all of them"
        return ""

    # --- What there is to tell

    def _announce(self) -> None:
        done = sum(trial.state != UNFINISHED for trial in self.search.trials())
        goal = "highest" if self.objective.maximize else "lowest"
        self.say(f"study {self.path}" + (f" goes on, {done} done" if self.dir.goes_on else ""))
        self.say(
            f"{self.search.count} trials, {self.job.parallel} at a time, by {self.search.method}; "
            f"looked for is the {goal} {self.objective.metric}"
        )
        if self.objective.limited:
            self.say("applied on Vertex AI only, not here: studyStoppingConfig")

    def _tell(self, trial: Trial) -> None:
        """A line at the end of a trial, with what is known of the whole study."""
        trials = results.ranked(self.search.trials(), self.objective.maximize)
        over = [each for each in trials if each.state != UNFINISHED]
        value = f"{self.objective.metric} {figures(trial.value)}" if trial.counts else ""
        facts = ", ".join(filter(None, [value, trial.why, duration(trial.seconds)]))
        line = [f"trial {trial.id} {trial.state}: {facts}"]
        if trials[0].counts:
            line.append(f"best {figures(trials[0].value)} of trial {trials[0].id}")
        line.append(f"{len(over)} of {self.search.count} done")
        if left := self.search.count - len(over):
            mean = sum(each.seconds for each in over) / len(over)
            line.append(f"about {duration(math.ceil(mean * left / self.job.parallel))} left")
        self.say("; ".join(line))

    def _finish(self) -> int:
        """Writes what a study leaves, tells where, and gives the exit code."""
        trials = results.ranked(self.search.trials(), self.objective.maximize)
        over = sum(trial.state != UNFINISHED for trial in trials) == self.search.count
        state = directory.FAILED if self.failure else directory.FINISHED
        self.dir.write(state=state if over or self.failure else directory.RUNNING)
        written = []
        if trials:
            metric = self.objective.metric
            spread = results.Spread.read(self.path, trials, metric)
            results.write_csv(self.path / "study.csv", trials, metric, spread)
            record = study_page.StudyRecord(
                path=self.path,
                job=self.job,
                flags=self.flags,
                started=self.dir.about["started"],
                state=self.dir.about["state"],
                failure=self.failure,
                method=self.search.method,
                count=self.search.count,
                importance=compute_importance(self.search.study),
                curves=self.curves,
            )
            page = study_page.write(record, trials, spread)
            if over or self.failure:
                command = f"scripts/train_local.py configs/{self.job.path.name}"
                words = self.path, command, self.configs, self.top
                written = results.write_best(self.job, self.flags, trials, *words)
            self.say("")
            results.leaderboard(trials, metric, spread, self.say)
            self.say("")
        if self.failure:
            self.say(f"the study failed: {self.failure}")
        for path in written:
            self.say(f"job file: {path}")
        self.say(f"study directory: {self.path}")
        if trials:
            self.say(f"report: {page}")
        if not over and not self.failure:
            self.say("stopped: the same command goes on where it was")
            return local.START_AGAIN
        return 1 if self.failure else 0
