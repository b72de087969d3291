"""Many runs side by side: tables, and which of them may be ranked against each other."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

import polars as pl

from launcher.report.runs import Run, higher_is_better, main_metric


@dataclass(frozen=True)
class Group:
    """Runs that one metric can rank: of one task and target, on the same held-out rows."""

    title: str
    metric: str
    runs: list[Run]  # the newest first; those that have not exported a model are among them

    def rank(self, metric: str | None = None) -> list[Run]:
        """The runs that exported a model with a finite value of the metric, the best first."""
        metric = metric or self.metric
        finite = [run for run in self.runs if math.isfinite(run.metrics.get(metric, math.nan))]
        sign = -1 if higher_is_better(metric) else 1
        return sorted(finite, key=lambda run: sign * run.metrics[metric])

    def find_ties(self, metric: str | None = None) -> list[Run]:
        """The runs within one standard error of the best one, which is not among them."""
        metric = metric or self.metric
        ranked = self.rank(metric)
        error = ranked[0].standard_error(metric) if ranked else None
        top = ranked[0].metrics[metric] if ranked else math.nan
        return [r for r in ranked[1:] if error and abs(r.metrics[metric] - top) <= error]


def group_runs(runs: Iterable[Run]) -> list[Group]:
    """Groups runs by task, target, main metric and held-out rows: grams say nothing of millimetres.

    Runs without any metric are left out. The group of the first run comes first.
    """
    groups: dict[tuple, Group] = {}
    for run in runs:
        if metric := main_metric(run):
            key = (*_describe_task(run, metric), _identify_held_out(run))
            group = groups.setdefault(key, Group(_title(run, metric), metric, []))
            group.runs.append(run)
    return list(groups.values())


def _describe_task(run: Run, metric: str) -> tuple[str, str, str]:
    task, target = (str(run.record.get(key, f"unknown {key}")) for key in ("task", "target"))
    return task, target, metric


def _files(run: Run) -> list[dict]:
    """The files of the held-out rows: those of the training where a part of them is held out."""
    data = run.record.get("data", {})
    parts = [part for part in (run.held_out, data.get("train")) if isinstance(part, dict)]
    files = next((part["files"] for part in parts if part.get("files")), [])
    return [file for file in files if isinstance(file, dict)] if isinstance(files, list) else []


def _identify_held_out(run: Run) -> str:
    """Equal for the same contents, wherever they lie; by paths where no digest is recorded."""
    files = sorted(str(file.get("digest") or file.get("path")) for file in _files(run))
    rows = [run.held_out.get("rows"), run.held_out.get("targets"), files]
    return hashlib.sha256(json.dumps(rows, default=str).encode()).hexdigest()[:6]


def _title(run: Run, metric: str) -> str:
    """ "regression of body_mass_g by val_mae, on 69 held-out rows of penguins.csv (1f0c2a)": with
    a few digits of what `_identify_held_out` gives."""
    task, target, _ = _describe_task(run, metric)
    names = [PurePosixPath(str(file.get("path")).replace("\\", "/")).name for file in _files(run)]
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return (
        f"{task} of {target} by {metric}, on {run.held_out.get('rows', 'unknown')} held-out rows of "
        f"{names[0] if names else 'unknown files'}{more} ({_identify_held_out(run)})"
    )


def table(runs: Sequence[Run]) -> pl.DataFrame:
    """One row a run.

    Columns: run, status, started (UTC), seconds, target; a `--flag` for each flag in which the runs
    differ; the metrics of the exported model by id, and its epoch; rows_per_second.
    """
    floats = {"dtype": pl.Float64, "strict": False}
    columns = [
        pl.Series("run", [run.name for run in runs], pl.String),
        pl.Series("status", [run.status for run in runs], pl.String),
        # Without a zone, since polars needs the system's zone data for it; all are UTC.
        pl.Series("started", [_naive(run.started) for run in runs], pl.Datetime("ms")),
        pl.Series("seconds", [run.seconds for run in runs], **floats),
        pl.Series("target", [run.record.get("target") for run in runs], pl.String),
        *(_flag_column(flag, values) for flag, values in differing_flags(runs).items()),
        *(
            pl.Series(id, [run.metrics.get(id) for run in runs], **floats)
            for id in dict.fromkeys(id for run in runs for id in run.metrics)
        ),
        pl.Series("exported_epoch", [run.exported for run in runs], pl.Int64),
        pl.Series("rows_per_second", [r.record.get("rows_per_second") for r in runs], **floats),
    ]
    return pl.DataFrame({column.name: column for column in columns})


def histories(runs: Iterable[Run]) -> pl.DataFrame:
    """All learning curves in long form: run, epoch, metric, value; the newest run's first."""
    rows = [
        (run.name, int(epoch), metric, value)
        for run in runs
        for metric, values in run.history.items()
        if metric != "epoch"
        for epoch, value in zip(run.history["epoch"], values, strict=True)
    ]
    schema = {"run": pl.String, "epoch": pl.Int64, "metric": pl.String, "value": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def differing_flags(runs: Sequence[Run]) -> dict[str, list]:
    """{"--flag": its value in each run}, without the flags in which all agree.

    job_dir is left out: it always differs, and is the run's name. So is target: without the flag,
    data/ has its own.
    """
    flags = [run.record.get("flags", {}) for run in runs]
    differing = {}
    for name in dict.fromkeys(name for of_run in flags for name in of_run):
        # A run that lacks the flag is from a trainer that had none: no difference that was chosen.
        known = [of_run[name] for of_run in flags if name in of_run]
        if name not in ("job_dir", "target") and any(value != known[0] for value in known):
            differing[f"--{name.replace('_', '-')}"] = [of_run.get(name) for of_run in flags]
    return differing


def _flag_column(name: str, values: list) -> pl.Series:
    given = [value for value in values if value is not None]
    for kinds, dtype in (((bool,), pl.Boolean), ((int,), pl.Int64), ((int, float), pl.Float64)):
        if all(type(value) in kinds for value in given):
            return pl.Series(name, values, dtype, strict=False)
    texts = [v if isinstance(v, str | None) else json.dumps(v, default=str) for v in values]
    return pl.Series(name, texts, pl.String)


def _naive(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=None) if time else None
