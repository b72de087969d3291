"""A study that ran on Vertex AI, told as one that ran here: leaderboard, study.csv, report.

The service's words for trials are turned into those of `launcher.study.search`; all else is the same code.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna

from launcher.cloud import facts as jobs_facts
from launcher.cloud.remote_job import RemoteJob
from launcher.common.files import write_file
from launcher.jobfile import completion
from launcher.jobfile.job import Job, Parameter, StudySpec, Value
from launcher.project.settings import ROOT
from launcher.report import runs
from launcher.study import directory, page, results, space
from launcher.study import search as study_search
from launcher.study.curves import Curves
from launcher.study.search import UNFINISHED, Trial

READ = {"double": float, "discrete": float, "categorical": str, "integer": lambda v: int(float(v))}


@dataclass(frozen=True)
class CloudStudy:
    """What `launcher.study.page` wants to know of a study."""

    path: Path
    job: Job
    dir: Any  # .about is what study.json says
    objective: StudySpec
    space: Sequence[Parameter]
    search: study_search.Search
    curves: Curves
    failure: str
    flags: Sequence[str] = ()


class CloudSearch(study_search.Search):
    """The service has searched; here is only what came of it, for asking what decided."""

    def __init__(self, job: RemoteJob):
        spec = job.sent.study
        self.algorithm, self.space, self.count = spec.algorithm, spec.parameters, job.sent.trials
        self.study = optuna.create_study(direction="maximize" if spec.maximize else "minimize")
        with warnings.catch_warnings():  # of values at a bound, which the service has rounded
            warnings.simplefilter("ignore")
            for trial in filter(lambda trial: trial.counts, trials(job)):
                self.study.enqueue_trial(_inner(self.space, trial.parameters))
                handle = self.study.ask()
                space.suggest(self.space, handle)
                self.study.tell(handle, trial.value)

    @property
    def method(self) -> str:
        names = {"GRID_SEARCH": "a grid", "RANDOM_SEARCH": "random search"}
        return f"{names.get(self.algorithm, 'Bayesian search')} (Vertex AI)"


def trials(job: RemoteJob) -> list[Trial]:
    """All trials so far, by id."""
    kinds = {each.id: each.kind for each in space.everything(job.sent.study.parameters)}
    found = [_trial(job, each, kinds, job.sent.study.metric) for each in job.trials]
    return sorted(found, key=lambda trial: trial.id)


def ranked(job: RemoteJob) -> list[Trial]:
    """The best first."""
    return results.ranked(trials(job), job.sent.study.maximize)


def leaderboard(job: RemoteJob) -> None:
    """Shows the trials, as a study on this machine does at its end."""
    no_records = results.Spread({})  # those of the trials are in the bucket
    results.leaderboard(ranked(job), job.sent.study.metric, no_records, print)


def facts(job: RemoteJob) -> list[dict]:
    """For a program; the best first."""
    names = ("id", "state", "value", "step", "seconds", "parameters", "why")
    return [{name: getattr(trial, name) for name in names} for trial in ranked(job)]


def write(job: RemoteJob, path: Path, configs: Path = ROOT / "configs") -> list[Path]:
    """Writes what a study leaves into a folder that holds its trials; returns page and job file.

    study.json comes last: before it is there, nobody takes the folder for a study.
    """
    spec, board = job.sent.study, ranked(job)
    study = CloudStudy(
        path=path,
        job=completion.undo(job.sent),
        dir=SimpleNamespace(about=_about(job)),
        objective=spec,
        space=spec.parameters,
        search=CloudSearch(job),
        curves=_curves(job, path, spec.metric),
        failure=_failure(job),
    )
    spread = results.Spread.read(path, board, spec.metric)
    results.write_csv(path / "study.csv", board, spec.metric, spread)
    written = [page.write(study, board, spread)] if board else []
    if job.ended:
        written += _write_best(study, board, configs)
    text = json.dumps(study.dir.about, indent=2, ensure_ascii=False) + "\n"
    write_file(path / "study.json", text)
    return written


def _write_best(study: CloudStudy, board: Sequence[Trial], configs: Path) -> list[Path]:
    written = results.write_best(study.job, (), board, study.path, configs, top=1)
    for path in written:  # the words are those of a study that ran here
        before = f"scripts/train_local.py configs/{study.job.path.name} wrote"
        text = path.read_text(encoding="utf-8")
        text = text.replace(before, f"scripts/jobs.py fetch {study.path.name} wrote", 1)
        path.write_text(text, encoding="utf-8", newline="\n")
    return written


def _about(job: RemoteJob) -> dict:
    """study.json; without a digest of a job file, so that no study here goes on in its folder."""
    state = directory.FINISHED if job.succeeded else directory.FAILED
    created = job.time("createTime") or datetime.now(timezone.utc)
    return {
        "state": state if job.ended else directory.RUNNING,
        "job": job.sent.path.name,
        "flags": [],
        "started": created.astimezone(timezone.utc).isoformat(timespec="seconds"),
        "cloud": job.resource,
    }


def _failure(job: RemoteJob) -> str:
    if job.succeeded or not job.ended:
        return ""
    return job.error or f"{job.state.lower()} since {jobs_facts.moment(jobs_facts.ended(job))}"


def _trial(job: RemoteJob, told: Mapping, kinds: Mapping[str, str], metric: str) -> Trial:
    final = told.get("finalMeasurement") or {}
    # The service leaves out a number that is 0.
    values = {m["metricId"]: float(m.get("value", 0.0)) for m in final.get("metrics") or []}
    chosen = {each["parameterId"]: each.get("value") for each in told.get("parameters") or []}
    end = told.get("endTime") or jobs_facts.ended(job)
    alone = RemoteJob({"startTime": told.get("startTime"), "endTime": end})
    trial = Trial(
        id=int(told.get("id") or 0),
        parameters={id: READ[kinds.get(id, "categorical")](v) for id, v in chosen.items()},
        seconds=round(jobs_facts.seconds(alone) or 0.0, 3),
        why=" ".join((told.get("infeasibleReason") or "").split()),
    )
    state, value = told.get("state"), values.get(metric, math.nan)
    if state == "SUCCEEDED" and math.isfinite(value):
        step = float(final.get("stepCount") or 0)
        return replace(trial, state="succeeded", value=value, step=step)
    if state == "SUCCEEDED":
        why = f"{metric} was not a finite number" if metric in values else f"no {metric}"
        return replace(trial, state="infeasible", why=trial.why or why)
    if state == "INFEASIBLE":
        return replace(trial, state="infeasible")
    if job.ended:
        return replace(trial, state="failed", why=f"the study ended: {job.state.lower()}")
    return replace(trial, state=UNFINISHED)


def _curves(job: RemoteJob, path: Path, metric: str) -> Curves:
    """What the service has measured; where it does not tell, what the trial itself recorded."""
    curves = Curves(path / "measurements.csv")
    for told in job.trials:
        points = [
            (float(each.get("stepCount") or 0), float(m.get("value", 0.0)))
            for each in told.get("measurements") or []
            for m in each.get("metrics") or []
            if m.get("metricId") == metric
        ]
        try:
            history = {} if points else runs.load(path / str(told["id"])).history
        except runs.RunError:  # it has left nothing
            history = {}
        points += zip(history.get("epoch", ()), history.get(metric, ()), strict=False)
        for step, value in points:
            curves.add(int(told["id"]), step, value, 0.0)
    return curves


def _inner(parameters: Sequence[Parameter], chosen: Mapping[str, Value]) -> dict[str, Value]:
    """The values of a trial as optuna has them, by its own names; see `space`."""
    found: dict[str, Value] = {}
    for parameter in parameters:
        if parameter.id not in chosen:
            continue
        value = chosen[parameter.id]
        if parameter.kind == "discrete":
            found[parameter.key] = parameter.values.index(value)
        elif parameter.scale == "reverse log":
            found[parameter.key] = parameter.low + parameter.high - value
        else:
            found[parameter.key] = value
        found |= _inner(parameter.brings(value), chosen)
    return found
