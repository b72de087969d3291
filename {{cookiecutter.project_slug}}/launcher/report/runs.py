"""Read run directories: what a run recorded. `comparison` has what concerns many runs.

A run may still be going, may have been killed half-way, or come from an older trainer. So only
`run.json` must be there.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from launcher.common.document import SpecError
from launcher.common.times import parse_time
from launcher.project.settings import ROOT
from launcher.report.numbers import number

NO_METRICS = ("epoch", "learning_rate")
LOWER_IS_BETTER = ("loss", "error", "mae", "mse", "perplexity", "distance", "divergence", "entropy")
LOWER_IS_BETTER += ("deviation", "brier", "poisson", "hinge", "log_cosh", "negative", "nll")
STUDY = "study.json"  # in a study's directory, not in a run's
# What Python raises where JSON or CSV does not hold what a trainer writes.
DAMAGED = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)


class RunError(SpecError):
    """A directory that holds no readable run: why, in one line."""


@dataclass(frozen=True)
class Run:
    """One run directory. What it has not recorded is None or empty."""

    path: Path
    name: str  # of the directory, after that of its study: its owner may have renamed it
    status: str  # "unknown" where it is not recorded
    started: datetime | None
    seconds: float | None  # from start to end; None while there is no end
    metrics: dict[str, float]  # of the exported model by metric id; {} while there is none
    intervals: dict[str, tuple[float, float]]  # (low, high), 95 %, of held-out metrics by id
    exported: int | None  # the epoch whose weights were exported
    record: dict[str, Any]  # run.json
    history: dict[str, list[float]]  # history.csv by column, such as "epoch"
    evaluation: dict[str, Any]  # evaluation.json
    utilisation: dict[str, list[float]]  # logs/utilisation.csv by column

    @property
    def why_exported(self) -> str:
        """As in the trainer's log: "epoch 12 of 17 (the lowest val_loss, …)"; "" if unknown."""
        if self.exported is None:
            return ""
        epochs = f" of {self.history['epoch'][-1]:.0f}" if self.history else ""
        return f"epoch {self.exported}{epochs} ({self.record['exported'].get('why', '')})"

    @property
    def held_out(self) -> dict[str, Any]:
        """What run.json says of the held-out rows: their number, files, and a digest of targets."""
        return self.record["data"].get("eval", {"files": []})


def load(run_dir: str | Path) -> Run:
    """Read one run directory.

    Raises:
        RunError: no such directory, no run.json in it, or files that no trainer writes.
    """
    path = Path(run_dir)
    if not path.is_dir():
        raise RunError(f"{path}: no such directory")
    if (path / STUDY).is_file():
        raise RunError(
            f"{path}: a study, whose report is {path / 'report.html'}; name a trial: {path / '1'}"
        )
    if not (path / "run.json").is_file():
        raise RunError(f"{path}: no run.json in it, so it is not a run directory")
    try:
        return _read(path)
    except (OSError, csv.Error, *DAMAGED) as error:
        raise RunError(f"{path}: its files cannot be read ({error!r})") from None


def _read(path: Path) -> Run:
    record = {"data": {}, "timings": {}, **_read_json(path / "run.json")}
    # Trainers of other kinds need not name their files.
    record["data"] = {name: {"files": [], **part} for name, part in record["data"].items()}
    started, ended = (
        parse_time(record[key]) if record.get(key) else None for key in ("started", "ended")
    )
    whole = path.resolve()
    in_study = (whole.parent / STUDY).is_file()
    history = _read_columns(path / "history.csv")
    return Run(
        path=path,
        name=f"{whole.parent.name}/{whole.name}" if in_study else whole.name,
        status=record.get("status", "unknown"),
        started=started,
        seconds=(ended - started).total_seconds() if started and ended else None,
        metrics={name: number(value) for name, value in (record.get("metrics") or {}).items()},
        intervals={
            name: (number(low), number(high))
            for name, (low, high) in record.get("intervals", {}).items()
        },
        exported=(record.get("exported") or {}).get("epoch"),
        record=record,
        history=history if history.get("epoch") else {},
        evaluation=_read_json(path / "evaluation.json"),
        utilisation=_read_columns(path / "logs" / "utilisation.csv"),
    )


def load_all(root: str | Path) -> list[Run]:
    """Read every run in a directory, the newest first; name and skip one that is broken.

    The trials of a study are runs, too. A directory without run.json is none: its job failed early.
    """
    return list(iterate(root))


def iterate(root: str | Path) -> Iterator[Run]:
    """Yield what `load_all` returns. Only the starts are read ahead, which is fast for thousands of runs."""
    root = Path(root)
    studies = (path.parent for path in root.glob(f"[!.]*/{STUDY}"))
    trials = (path for study in studies for path in study.glob("*/run.json"))
    for path in sorted([*root.glob("[!.]*/run.json"), *trials], key=_age):
        try:
            yield load(path.parent)
        except RunError as error:
            print(f"skipped {error}", file=sys.stderr)


def find_model(run_dir: Path | None, root: Path = ROOT / "runs") -> Path:
    """The exported model of a run; of the newest run that has one, where none is given.

    Raises:
        RunError: there is none.
    """
    if run_dir is None:
        models = (run.path / "model" for run in iterate(root))
        if model := next((path for path in models if path.is_dir()), None):
            return model
        raise RunError(f"no run in {root} has a model; train one first")
    for path in (run_dir / "model", run_dir):
        if (path / "assets.extra").is_dir():
            return path
    raise RunError(f"{run_dir}: no exported model; give a run's directory, such as runs/NAME")


def main_metric(run: Run) -> str | None:
    """The metric that says how good a run is: on held-out rows, and rather another than the loss."""
    known = {**run.history, **{id: [value] for id, value in run.metrics.items()}}
    ids = [
        id
        for id, values in known.items()
        if id not in NO_METRICS and any(map(math.isfinite, values))
    ]
    return min(ids, key=lambda id: (not id.startswith("val_"), id.endswith("loss")), default=None)


def higher_is_better(metric: str, group: Iterable[Run] = ()) -> bool:
    """Which way a metric of these runs is better: as their trainer says, else by its name."""
    name = metric.removeprefix("val_")
    goals = (run.record.get("metric_goals", {}).get(name) for run in group)
    if goal := next(filter(None, goals), ""):
        return goal == "max"
    return not any(word in metric.lower() for word in LOWER_IS_BETTER)


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _read_columns(path: Path) -> dict[str, list[float]]:
    """Read a CSV file of numbers by column; a line that is not whole, where a run was killed, is skipped."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        header, *lines = list(filter(None, csv.reader(file))) or [[]]
    rows = [list(map(number, line)) for line in lines if len(line) == len(header)]
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


def _age(path: Path) -> tuple[float, str]:
    """Sorts run.json files, the newest first; a run without a start counts by its last change."""
    try:
        time = parse_time(json.loads(path.read_bytes())["started"]).timestamp()
    except (OSError, *DAMAGED):
        time = path.stat().st_mtime
    return -time, str(path.parent)
