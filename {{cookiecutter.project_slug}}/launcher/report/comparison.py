"""Many runs side by side: tables, and which of them may be ranked against each other."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import polars as pl

from launcher.report.charts import COLOURS
from launcher.report.pairs import Difference, compare_pairs
from launcher.report.runs import Run, RunError, higher_is_better, main_metric


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
        sign = -1 if higher_is_better(metric, self.runs) else 1
        return sorted(finite, key=lambda run: sign * run.metrics[metric])


def group_runs(runs: Iterable[Run]) -> list[Group]:
    """Group runs by task, target, main metric and held-out rows: grams say nothing of millimetres.

    Runs without any metric are left out. The group of the first run comes first.
    """
    groups: dict[tuple, Group] = {}
    for run in runs:
        if metric := main_metric(run):
            names, digest = _identify_held_out(run)
            task, target = (run.record.get(key, f"unknown {key}") for key in ("task", "target"))
            rows = f"{run.held_out.get('rows', 'unknown')} held-out rows of {names} ({digest})"
            title = f"{task} of {target} by {metric}, on {rows}"
            key = task, target, metric, digest
            groups.setdefault(key, Group(title, metric, [])).runs.append(run)
    return list(groups.values())


def _identify_held_out(run: Run) -> tuple[str, str]:
    """Names the files of the held-out rows: "penguins.csv and 2 more"; and a digest of them.

    The digest is equal for the same contents, wherever they lie; it goes by paths where no digest is
    recorded. Rows that are held out of the training files are in these.
    """
    files = run.held_out["files"] or run.record["data"].get("train", run.held_out)["files"]
    names = [PurePosixPath(str(file.get("path")).replace("\\", "/")).name for file in files]
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    contents = sorted(str(file.get("digest") or file.get("path")) for file in files)
    rows = [run.held_out.get("rows"), run.held_out.get("targets"), contents]
    digest = hashlib.sha256(json.dumps(rows, default=str).encode()).hexdigest()[:6]
    return (names[0] if names else "unknown files") + more, digest


def table(runs: Sequence[Run]) -> pl.DataFrame:
    """One row a run.

    Columns: run, status, started (UTC), seconds, target; a `--flag` for each flag in which the runs
    differ; the metrics of the exported model by id, and its epoch; rows_per_second.
    """
    flags = differing_flags(runs)
    ids = dict.fromkeys(id for run in runs for id in run.metrics)
    rows = [
        {
            "run": run.name,
            "status": run.status,
            # Without a zone, since polars needs the system's zone data for it; all are UTC.
            "started": run.started and run.started.replace(tzinfo=None),
            "seconds": run.seconds,
            "target": run.record.get("target"),
            **{flag: _as_cell(values[i]) for flag, values in flags.items()},
            **{id: run.metrics.get(id) for id in ids},
            "exported_epoch": run.exported,
            "rows_per_second": run.record.get("rows_per_second"),
        }
        for i, run in enumerate(runs)
    ]
    return pl.DataFrame(rows, infer_schema_length=None, strict=False)


def draw(group: Group, metric: str | None = None) -> list[dict]:
    """Sections that compare the runs of a group: curves, exported models, flags that differ.

    Args:
        metric: its id, such as "val_loss"; None: the group's own.
    """
    metric = metric or group.metric
    ranked, name = group.rank(metric), metric.removeprefix("val_")
    learned = [run for run in ranked or group.runs if metric in run.history][: len(COLOURS)]
    histories = {
        run.name: dict(zip(run.history["epoch"], run.history[metric], strict=False))
        for run in learned
    }
    epochs = sorted(set().union(*histories.values()))
    meaning = group.runs[0].record.get("metric_meanings", {}).get(name, "")
    curves = {
        "title": f"{metric} by epoch",
        "text": f"{meaning}\nThe best {len(learned)} of {len(group.runs)} runs.",
        "lines": {run: [values.get(x) for x in epochs] for run, values in histories.items()},
        **{"x": epochs, "x_label": "epoch", "counted": "epoch"},
    }
    table = {
        "title": "The best first",
        "text": "The line across the end of a bar is the 95 % interval.",
        "columns": ["run", f"{metric} of the exported model", f"{name} in training", "epoch"],
        "rows": [
            [
                run.name,
                {"bar": [run.metrics[metric], *run.intervals.get(metric, (None, None))]},
                run.metrics.get(name),
                run.exported,
            ]
            for run in ranked
        ],
    }
    values = {"y": [run.metrics[metric] for run in ranked], "y_label": metric}
    scatters = [
        {"title": f"{metric} by {flag}", "x": x, "x_label": flag, **values}
        for flag, x in differing_flags(ranked).items()
        if len(x) > 2 and all(type(value) in (int, float) for value in x)
    ]
    return [
        *([{"kind": "curves", **curves}] if learned else []),
        {"kind": "table", **table},
        *({"kind": "scatter", "equal": False, "of": len(ranked), **one} for one in scatters),
    ]


def compare_rows(first: Run, second: Run, metric: str) -> tuple[pl.DataFrame, Difference]:
    """Compare two runs of a group on the held-out rows that both list in predictions.csv.

    Args:
        metric: one with a value for each row, such as val_accuracy.

    Returns:
        The rows whose values differ, those that differ most first: row, truth, and of each run
        its prediction and its value; and the mean of first − second over all rows.

    Raises:
        RunError: a run has no such values, or none of the same rows.
    """
    name, parts = metric.removeprefix("val_"), []
    for run in (first, second):
        path = run.path / "predictions.csv"
        try:
            rows = pl.read_csv(path, infer_schema_length=None)
            values = pl.col(name).cast(pl.Float64)
            rows = rows.select(pl.col("^(row|truth|prediction)$"), values)
        except (OSError, pl.exceptions.PolarsError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"{path}: no values of {name} for each row ({reason})") from None
        columns = ("prediction", name)
        parts.append(rows.rename({c: f"{c} of {run.name}" for c in columns}, strict=False))
    joined = parts[0].join(parts[1].drop("truth", strict=False), on="row")
    if joined.is_empty():
        raise RunError(f"{first.name}, {second.name}: no row is in both predictions.csv")
    pair = [joined[f"{name} of {run.name}"] for run in (first, second)]
    apart = (pair[0] - pair[1]).abs()
    differing = joined.sort(-apart, maintain_order=True).head((apart > 0).sum())
    return differing, compare_pairs(*pair)


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


def _as_cell(value):
    """Lists become text; polars finds the type of the rest."""
    return json.dumps(value, default=str) if isinstance(value, list | dict) else value
