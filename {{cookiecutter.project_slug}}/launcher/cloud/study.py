"""A study that ran on Vertex AI, shown as one that ran here: leaderboard, study.csv, report.

The service's words for trials are turned into those of `launcher.study.search`; all else is the same code.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from launcher.cloud.remote_job import RemoteJob
from launcher.common.files import write_file
from launcher.common.times import format_time, parse_time, seconds_between
from launcher.jobfile import completion
from launcher.project.settings import ROOT
from launcher.report import runs
from launcher.study import directory, page, results, search
from launcher.study.search import METHODS, UNFINISHED, Trial
from launcher.study.trial import Curves

READ = {"double": float, "discrete": float, "categorical": str, "integer": lambda v: int(float(v))}


def ranked(job: RemoteJob) -> list[Trial]:
    """All trials so far, the best first."""
    spec = job.sent.study
    kinds = {p.id: p.kind for p in search.everything(spec.parameters)}
    trials = [_trial(job, trial, kinds, spec.metric) for trial in job.trials]
    return results.ranked(trials, spec.maximize)


def print_leaderboard(job: RemoteJob) -> None:
    """Show the trials, as a study on this machine does at its end."""
    no_records = results.Certainty({})  # those of the trials are in the bucket
    results.print_leaderboard(ranked(job), job.sent.study, no_records)


def write(job: RemoteJob, path: Path, configs: Path = ROOT / "configs") -> list[Path]:
    """Write what a study leaves into a folder that holds its trials; return page and job file.

    study.json comes last: before it is there, nobody takes the folder for a study.
    """
    spec, trials = job.sent.study, ranked(job)
    started = parse_time(job.created) if job.created else datetime.now(timezone.utc)
    state = directory.FINISHED if job.succeeded else directory.FAILED
    failure = (
        "" if job.succeeded else job.error or f"{job.state.lower()} since {format_time(job.end)}"
    )
    study = results.StudyRecord(
        path=path,
        job=completion.undo(job.sent),
        flags=(),
        started=started.isoformat(timespec="seconds"),
        state=state if job.ended else directory.RUNNING,
        failure=failure if job.ended else "",
        method=f"{METHODS.get(spec.algorithm, 'Bayesian search')} (Vertex AI)",
        count=job.sent.trials,
        trials=trials,
        importance={},
        curves=_curves(job, path, spec.metric),
    )
    results.write_csv(study)
    written = [page.write(study)] if trials else []
    if job.ended:
        command = f"scripts/jobs.py fetch {path.name}"
        written += results.write_best(study, command, configs)
    # Without a digest of a job file, so that no study here is resumed in this folder.
    file = job.sent.file.path.name
    about = {"state": study.state, "job": file, "flags": [], "started": study.started}
    text = json.dumps({**about, "cloud": job.resource}, indent=2, ensure_ascii=False) + "\n"
    write_file(path / "study.json", text)
    return written


def _trial(job: RemoteJob, message: Mapping, kinds: Mapping[str, str], metric: str) -> Trial:
    final = message.get("finalMeasurement") or {}
    # The service leaves out a number that is 0.
    values = {m["metricId"]: float(m.get("value", 0.0)) for m in final.get("metrics") or []}
    chosen = {p["parameterId"]: p.get("value") for p in message.get("parameters") or []}
    start, end = message.get("startTime"), message.get("endTime") or job.end
    trial = Trial(
        id=int(message.get("id") or 0),
        parameters={id: READ[kinds.get(id, "categorical")](v) for id, v in chosen.items()},
        seconds=round(seconds_between(start, end), 3) if start else 0.0,
        why=" ".join((message.get("infeasibleReason") or "").split()),
    )
    state, value = message.get("state"), values.get(metric, math.nan)
    if state == "SUCCEEDED" and math.isfinite(value):
        step = float(final.get("stepCount") or 0)
        return replace(trial, state="succeeded", value=value, step=step)
    if state in ("SUCCEEDED", "INFEASIBLE"):
        return replace(trial, state="infeasible", why=trial.why or f"no finite {metric}")
    if job.ended:
        return replace(trial, state="failed", why=f"the study ended: {job.state.lower()}")
    return replace(trial, state=UNFINISHED)


def _curves(job: RemoteJob, path: Path, metric: str) -> Curves:
    """What the trials have recorded themselves: the service keeps no more than their last value."""
    curves = Curves(path / "measurements.csv")
    for trial in job.trials:
        try:
            history = runs.load(path / str(trial["id"])).history
        except runs.RunError:  # it left nothing
            continue
        for step, value in zip(history.get("epoch", ()), history.get(metric, ()), strict=False):
            curves.add(int(trial["id"]), step, value, 0.0)
    return curves
