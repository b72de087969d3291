"""What a study leaves: the leaderboard, `study.csv`, and job files of its best trials."""

from __future__ import annotations

import contextlib
import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from launcher.common.terminal import print_table
from launcher.common.times import format_span
from launcher.jobfile import completion
from launcher.jobfile.job import Job
from launcher.jobfile.study import StudySpec
from launcher.report import runs
from launcher.report.numbers import figures, measured
from launcher.study import search
from launcher.study.repeats import Setting, compare_settings
from launcher.study.search import Trial
from launcher.study.trial import Curves

LEADERS = 20  # on the terminal; the rest is in study.csv


def ranked(trials: Sequence[Trial], maximize: bool) -> list[Trial]:
    """The best first, the earlier of equals; then, by id, those without a value."""
    sign = -1 if maximize else 1
    return sorted(trials, key=lambda t: (not t.counts, sign * t.value if t.counts else 0, t.id))


def columns(trials: Sequence[Trial]) -> list[str]:
    """The ids of all parameters that any trial had."""
    return list(dict.fromkeys(id for trial in trials for id in trial.parameters))


@dataclass(frozen=True)
class Certainty:
    """How far the held-out rows tell the trials apart."""

    intervals: Mapping[int, tuple[float, float]]  # by trial: 95 %, of its exported model's metric
    rows: int | None = None  # held out
    tied: frozenset[int] = frozenset()  # the best trial and those within its interval

    @staticmethod
    def read(study: Path, trials: Sequence[Trial], metric: str) -> Certainty:
        """Read the trials' run.json; a trainer of another kind records no intervals.

        Args:
            trials: ranked.
        """
        intervals, rows = {}, None
        for trial in filter(lambda trial: trial.counts, trials):
            with contextlib.suppress(runs.RunError):
                run = runs.load(study / str(trial.id))
                if metric in run.intervals:
                    intervals[trial.id], rows = run.intervals[metric], run.held_out.get("rows")
        low, high = intervals.get(trials[0].id if trials else 0, (math.inf, -math.inf))
        near = {t.id for t in trials if t.counts and low <= t.value <= high}
        return Certainty(intervals, rows, frozenset(near if len(near) > 1 else ()))

    def explain(self, metric: str) -> str:
        """What the intervals mean, and which trials are a tie; "" where none is known."""
        if not self.intervals:
            return ""
        text = (
            f"The 95 % interval is as far as {metric} is known from these held-out rows: others, as "
            f"many{f' ({self.rows})' if self.rows else ''}, would give other values."
        )
        if self.tied:
            text += (
                f" Trials {', '.join(map(str, sorted(self.tied)))} are within the interval of the "
                "best: a tie, as far as these rows show."
            )
        return text


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
    trials: Sequence[Trial]  # ranked
    importance: Mapping[str, float]  # the share of each parameter in how good a trial is
    curves: Curves

    @cached_property
    def certainty(self) -> Certainty:
        certainty = Certainty.read(self.path, self.trials, self.job.study.metric)
        # Of seeds none is to be chosen: settings are compared, not trials.
        return replace(certainty, tied=frozenset()) if self.settings else certainty

    @cached_property
    def settings(self) -> list[Setting]:
        return compare_settings(self.trials, self.job.study.metric, self.job.study.maximize)


def print_leaderboard(trials: Sequence[Trial], spec: StudySpec, certainty: Certainty) -> None:
    """Print ranked trials, and of a study of seeds or folds what each setting gives and which is better."""
    ids, metric = columns(trials), spec.metric
    interval = ["95 % interval"] if certainty.intervals else []
    header = ["", "trial", metric, *interval, *ids, "state", "time"]
    rows = [
        [
            ("=1" if trial.id in certainty.tied else str(rank)) if trial.counts else "",
            str(trial.id),
            *measured(trial.value, certainty.intervals.get(trial.id))[: 1 + len(interval)],
            *(search.shorten(trial.parameters.get(id, "–")) for id in ids),
            trial.state,
            format_span(trial.seconds) if trial.seconds else "–",
        ]
        for rank, trial in enumerate(trials[:LEADERS], 1)
    ]
    print_table(header, rows, str.rjust)
    if len(trials) > LEADERS:
        print(f"{len(trials) - LEADERS} more trials are in study.csv")
    if text := certainty.explain(metric):
        print(text)
    settings = compare_settings(trials, metric, spec.maximize)
    for setting in settings:
        print(
            f"{setting.name}: {metric} {setting.describe()}, over {len(setting.values)} {setting.repeats}"
        )
    for setting in settings[1:]:
        print(setting.verdict)


def write_csv(study: StudyRecord) -> None:
    """Write study.csv: one row a trial, the best first; parameters by id, with all digits."""
    trials, metric = study.trials, study.job.study.metric
    ids = columns(trials)
    with open(study.path / "study.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        header = ["trial", "state", metric, "low", "high", "step", "seconds", *ids, "why"]
        writer.writerow(header)
        for t in trials:
            interval = study.certainty.intervals.get(t.id, (None, None))
            seconds = round(t.seconds, 1)
            values = [search.format_value(t.parameters.get(id, "")) for id in ids]
            writer.writerow([t.id, t.state, t.value, *interval, t.step, seconds, *values, t.why])


WRITTEN = "wrote it, and would write it"  # in the job files of the best trials


def write_best(study: StudyRecord, command: str, configs: Path, top: int = 1) -> list[Path]:
    """Write best.yaml, best-2.yaml …: the study's job, with the parameters of its best trials.

    A file of that name that no study wrote stays; ours begins with the name of the study then. A study
    of seeds has no best trial, only a lucky one: nothing is written.

    Args:
        command: which wrote the files.
    """
    written = []
    if study.settings:
        return written
    for rank, trial in enumerate([t for t in study.trials if t.counts][:top], 1):
        path = configs / ("best.yaml" if rank == 1 else f"best-{rank}.yaml")
        while path.exists() and WRITTEN not in path.read_text(encoding="utf-8", errors="replace"):
            path = path.with_name(f"{study.path.name}-{path.name}")
        what = "The best trial" if rank == 1 else f"Number {rank} of the trials"
        step = f" at step {trial.step:g}" if trial.step else ""
        head = (
            "# yaml-language-server: $schema=job.schema.json\n"
            f"# {what} of the study {study.path.name}: trial {trial.id} of {len(study.trials)}, "
            f"{study.job.study.metric} {figures(trial.value)}{step}.\n#\n"
            f"#   python scripts/train_local.py configs/{path.name}\n#\n"
            f"# {command} {WRITTEN} again: to keep it,\n# give it another name.\n"
        )
        values = {id: search.format_value(value) for id, value in trial.parameters.items()}
        spec = completion.add_parameters(study.job, study.flags, values)
        body = completion.to_yaml(spec, allow_unicode=True, width=10_000)
        path.write_text(head + body, encoding="utf-8", newline="\n")
        written.append(path)
    return written
