"""A tuning study on this machine, run as Vertex AI runs a HyperparameterTuningJob.

    study = Study(spec.load("configs/tuning.yaml"), flags)
    code = study.run()

Each trial is a job of its own (`local.Run`) in a directory of its own. The rules of the service:

- `maxTrialCount` trials, `parallelTrialCount` at a time. A trial that fails counts, and the study
  continues.
- `maxFailedTrialCount` failed trials end it. Where that is not set the service decides, and does
  not say how; here the study ends when the first five trials have all failed: they share a mistake.
  A trial without a finite value of the metric has failed, too.
- The value of a trial is its last measurement, or its best where `measurementSelectionType` says
  so; that of a trial that was stopped early is its best in any case.
- A grid takes integer, discrete and categorical parameters, and ends at its last point.
- One metric only: by several, no trial is the best.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from launcher.common.document import SpecError
from launcher.common.times import format_span
from launcher.jobfile.job import Job
from launcher.jobfile.study import MEDIAN
from launcher.local import local, run_dirs
from launcher.local.guard import ORPHANED
from launcher.local.process import Processes
from launcher.project.settings import ROOT
from launcher.report import runs
from launcher.report.numbers import figures
from launcher.study import directory, results, search
from launcher.study import page as study_page
from launcher.study.search import UNFINISHED, Search, Trial, compute_importance
from launcher.study.trial import Curves, Running

FIRST_FAILURES = 5
LOOK = 0.1  # seconds between looks at what the trials report: hypertune keeps only 100 reports


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
        counts: Mapping[str, int] | None = None,
        host=None,
        runs_dir: Path = run_dirs.RUNS,
        configs: Path = ROOT / "configs",
    ):
        """Find the study to resume, or make a new one; start nothing.

        Args:
            flags: of the trainer, for all trials.
            path: the study's directory. Without it, the newest unfinished study of this file and
                these flags resumes, or a new one is made below `runs_dir`.
            top: how many of the best trials get a job file in `configs`.
            new: resume no older study.
            counts, host: for each `local.Run`.

        Raises:
            SpecError: a study that cannot run here, or a directory that cannot be its own.
        """
        self.job, self.flags, self.top = job, list(flags), top
        self.counts, self.host, self.configs = counts, host or Processes(), configs
        self.objective = job.study
        self._refuse_what_only_vertex_has()
        self._refuse_tuned_flags()
        self.dir = directory.take(job, self.flags, path, new, runs_dir)
        self.path = self.dir.path
        self.curves = Curves(self.path / "measurements.csv")
        self.search = Search(self.path / "study.journal", self.objective, job.trials)
        self.running: list[Running] = []
        self.stopping = self.firmly = False
        self.failure = self._find_failure()  # why no more trials start
        self.digests: dict[str, str] = {}  # of the files that the trials trained on
        for trial in self.search.trials():
            self._find_changed_data(trial)

    def say(self, text: str) -> None:
        print(text, flush=True)  # at once, through a pipe too: a study takes long

    def stop(self, firmly: bool = False) -> None:
        """End the study: its trials write checkpoints, and resume when it is run again."""
        self.firmly = self.firmly or firmly
        self.stopping = True

    def run(self) -> int:
        """Run the trials that are left, then write the results.

        Returns: 0; 1 where the study failed; 75 where it was stopped and can resume.
        """
        try:
            self._announce()
            with ThreadPoolExecutor(self.job.parallel) as threads:
                try:
                    self._run_trials(threads)
                finally:  # whatever happened, no trial is left behind
                    for running in self.running:
                        running.run.stop(firmly=True)
            return self._finish()
        finally:
            self.dir.close()

    def _refuse_what_only_vertex_has(self) -> None:
        if len(self.objective.metrics) > 1:
            what = "here a study has one metric: by several, no trial is the best"
            instead = "keep the one that decides, or run the study on Vertex AI"
            raise SpecError(self.job.file.fault("studySpec.metrics[1]", what, instead))
        if self.objective.cloud_only:
            what = "only Vertex AI can predict where a learning curve ends, by a model of its own"
            instead = f"write {MEDIAN}, or run the study there"
            field = f"studySpec.{self.objective.cloud_only}"
            raise SpecError(self.job.file.fault(field, what, instead))

    def _refuse_tuned_flags(self) -> None:
        """Refuse a flag for all trials that is a parameter, of which each trial has its own value."""
        parameters = search.everything(self.objective.parameters)
        tuned = {parameter.id.replace("-", "_") for parameter in parameters}
        for flag in self.flags:
            name = flag.partition("=")[0]
            if name.startswith("--") and name[2:].replace("-", "_") in tuned:
                raise SpecError(f"{name}: the study sets it for each trial; leave it out")

    # --- Trials

    def _run_trials(self, threads: ThreadPoolExecutor) -> None:
        waiting = self.search.unfinished()
        if waiting and self.dir.was_killed:  # perhaps just now: its guards end its replicas
            time.sleep(ORPHANED + 1)
        while True:
            ending = self.stopping or bool(self.failure)
            while not ending and len(self.running) < self.job.parallel:
                trial = waiting.pop(0) if waiting else self.search.next()
                if trial is None:
                    break
                self._start(trial, threads)
            if not self.running:
                return
            if ending:
                for running in self.running:
                    running.run.stop(self.firmly)
            wait([running.future for running in self.running], LOOK, FIRST_COMPLETED)
            for running in list(self.running):
                over = running.future.done()  # before the measurement, which must not miss a report
                running.measure()
                if over:
                    self.running.remove(running)
                    self._finish_trial(running.result())
                elif self.objective.stops:
                    running.stop_early(self.search.trials())

    def _start(self, trial: Trial, threads: ThreadPoolExecutor) -> None:
        while not (self.stopping or self.host.is_ready):
            time.sleep(LOOK)
        run = local.Run(
            self.job,
            self.path / str(trial.id),
            flags=[*self.flags, *search.list_flags(trial.parameters)],
            trial=str(trial.id),
            counts=self.counts,
            host=self.host,
            say=lambda text: self.say(f"trial {trial.id}: {text}"),
        )
        verb = "resumes" if run.run_dir.exists() else "starts"
        values = search.describe(trial.parameters)
        self.say(f"trial {trial.id} of {self.search.count} {verb}: {values}")
        running = Running(trial, run, self.objective, self.curves)
        running.start(threads)
        self.running.append(running)

    def _finish_trial(self, trial: Trial) -> None:
        if trial.state == UNFINISHED:
            return
        if changed := self._find_changed_data(trial):
            trial = replace(trial, state="failed", value=None, why=changed)
            self.failure = f"{changed}; put it back, or start again with --new"
        self.search.finish(trial)
        self._report(trial)
        if not self.failure and (failure := self._find_failure()):
            self.failure = failure
            self.say(f"no more trials: {failure}")

    def _find_changed_data(self, trial: Trial) -> str:
        """Why a trial cannot be ranked with those before it: other contents of a file; "" if it can."""
        with contextlib.suppress(runs.RunError):  # a trainer of another kind, or no result yet
            for part in runs.load(self.path / str(trial.id)).record["data"].values():
                for file in part["files"]:
                    path, digest = file.get("path"), file.get("digest")
                    if self.digests.setdefault(path, digest) != digest:
                        return f"{path} has changed since the first trials"
        return ""

    def _find_failure(self) -> str:
        """Why the study has failed; "" where it has not."""
        trials = self.search.trials()
        failed = sum(not trial.counts and trial.state != UNFINISHED for trial in trials)
        limit = self.job.failures
        if limit and failed >= limit:
            return f"{failed} trials failed, and maxFailedTrialCount is {limit}"
        enough = self.search.count if limit else min(FIRST_FAILURES, self.search.count)
        if failed >= enough and not any(trial.counts for trial in trials):
            return f"the first {failed} trials failed, all of them"
        return ""

    # --- Messages

    def _announce(self) -> None:
        done = sum(trial.state != UNFINISHED for trial in self.search.trials())
        goal = "highest" if self.objective.maximize else "lowest"
        self.say(f"study {self.path}" + (f" resumes, {done} done" if self.dir.resumes else ""))
        self.say(
            f"{self.search.count} trials, {self.job.parallel} at a time, by {self.search.method}; "
            f"the goal is the {goal} {self.objective.metric}"
        )
        if self.objective.limited:
            self.say("applied on Vertex AI only, not here: studyStoppingConfig")

    def _report(self, trial: Trial) -> None:
        """Print a line at the end of a trial, with the state of the whole study."""
        trials = results.ranked(self.search.trials(), self.objective.maximize)
        over = [trial for trial in trials if trial.state != UNFINISHED]
        value = f"{self.objective.metric} {figures(trial.value)}" if trial.counts else ""
        facts = ", ".join(filter(None, [value, trial.why, format_span(trial.seconds)]))
        line = [f"trial {trial.id} {trial.state}: {facts}"]
        if trial.state == "failed":
            line.append(f"its logs: {self.path / str(trial.id)}")
        if trials[0].counts:
            line.append(f"best {figures(trials[0].value)} of trial {trials[0].id}")
        line.append(f"{len(over)} of {self.search.count} done")
        if left := self.search.count - len(over):
            mean = sum(trial.seconds for trial in over) / len(over)
            line.append(f"about {format_span(math.ceil(mean * left / self.job.parallel))} left")
        self.say("; ".join(line))

    def _finish(self) -> int:
        """Write what a study leaves, print where, and return the exit code."""
        trials = results.ranked(self.search.trials(), self.objective.maximize)
        over = sum(trial.state != UNFINISHED for trial in trials) == self.search.count
        state = directory.FAILED if self.failure else directory.FINISHED
        self.dir.write(state=state if over or self.failure else directory.RUNNING)
        written = []
        if trials:
            record = results.StudyRecord(
                path=self.path,
                job=self.job,
                flags=self.flags,
                started=self.dir.about["started"],
                state=self.dir.about["state"],
                failure=self.failure,
                method=self.search.method,
                count=self.search.count,
                trials=trials,
                importance=compute_importance(self.search.study),
                curves=self.curves,
            )
            results.write_csv(record)
            page = study_page.write(record)
            if over or self.failure:
                command = f"scripts/train_local.py configs/{self.job.file.path.name}"
                written = results.write_best(record, command, self.configs, self.top)
            self.say("")
            results.print_leaderboard(trials, self.objective, record.certainty)
            self.say("")
        if self.failure:
            self.say(f"the study failed: {self.failure}")
        for path in written:
            self.say(f"job file: {path}")
        self.say(f"study directory: {self.path}")
        if trials:
            self.say(f"report: {page}")
        if not over and not self.failure:
            self.say("stopped: the same command resumes it")
            return local.START_AGAIN
        return 1 if self.failure else 0
