"""What a study leaves: the leaderboard, `study.csv`, and job files of its best trials.

Where it repeats each setting with other seeds or folds, settings are compared instead of trials.
"""

from __future__ import annotations

import contextlib
import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from launcher.common.terminal import print_table
from launcher.common.times import format_span
from launcher.jobfile import completion
from launcher.jobfile.job import Job
from launcher.jobfile.study import StudySpec, Value
from launcher.report import runs
from launcher.report.numbers import figures, measured, shorten
from launcher.report.pairs import compare_pairs
from launcher.study import search
from launcher.study.search import Trial
from launcher.study.trial import Curves

REPEATS = ("seed", "fold")  # parameters whose values repeat a setting; all others make the setting
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
        """Read the run.json of ranked trials; a trainer of another kind records no intervals."""
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
class Setting:
    """The trials that differ in nothing but their seed, or their fold."""

    parameters: Mapping[str, Value]
    repeats: str  # "seeds", "folds", or both
    values: dict[tuple[Value, ...], float] = field(default_factory=dict)  # of the metric, by repeat
    verdict: str = ""  # whether the best setting beats this one; "" for the best itself

    @property
    def name(self) -> str:
        """For people: "learning_rate 0.003"."""
        return search.describe(self.parameters) or "these flags"

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values.values())

    @property
    def spread(self) -> float | None:
        """The standard deviation over the repeats."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    def describe(self) -> str:
        """Mean and spread: "0.12 ± 0.01"."""
        if not self.spread:
            return figures(self.mean)
        mean, _ = measured(self.mean, (self.mean - self.spread, self.mean + self.spread))
        return f"{mean} ± {self.spread:.2g}"


def compare_settings(trials: Sequence[Trial], metric: str, maximize: bool) -> list[Setting]:
    """The settings of a study, the best mean first; [] where its trials have no seed or fold."""
    settings: dict[tuple, Setting] = {}
    for trial in trials:
        repeats = {id: trial.parameters[id] for id in REPEATS if id in trial.parameters}
        if trial.counts and repeats:
            others = {id: v for id, v in trial.parameters.items() if id not in repeats}
            new = Setting(others, " and ".join(f"{id}s" for id in repeats))
            setting = settings.setdefault(tuple(others.items()), new)
            setting.values[tuple(repeats.values())] = trial.value
    if all(len(setting.values) < 2 for setting in settings.values()):
        return []
    ranked = sorted(settings.values(), key=lambda s: -s.mean if maximize else s.mean)
    best = ranked[0]
    return [best, *(replace(s, verdict=_judge(best, s, metric, maximize)) for s in ranked[1:])]


def _judge(best: Setting, other: Setting, metric: str, maximize: bool) -> str:
    """Whether the best setting beats another one, over the repeats that both have."""
    both = [repeat for repeat in best.values if repeat in other.values]
    pair = [[setting.values[repeat] for repeat in both] for setting in (best, other)]
    gain = compare_pairs(*(pair if maximize else reversed(pair)))
    verb = "beats" if gain.is_clear else "does not clearly beat"
    what = f"{metric} is better by {gain}, over the same {gain.pairs} {best.repeats}"
    advice = "" if gain.is_clear else f"; more {best.repeats} may show more"
    return f"{best.name} {verb} {other.name}: {what}{advice}."


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
            *(shorten(trial.parameters.get(id, "–")) for id in ids),
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
    of seeds has no best trial, only a lucky one: nothing is written. `command` is named in them.
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
