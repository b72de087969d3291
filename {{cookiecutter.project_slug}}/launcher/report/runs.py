"""Read run directories: what a run recorded. `comparison` has what concerns many runs.

A run may still be going, may have been killed half-way, or come from an older trainer. So only
`run.json` must be there; whatever else is missing or damaged is left out and named in `Run.gaps`.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from dataclasses import dataclass
from datetime import datetime
from numbers import Real
from pathlib import Path
from typing import Any

from launcher.common.document import SpecError
from launcher.common.times import parse_time
from launcher.project.settings import ROOT
from launcher.report.numbers import number, whole_number

# The keys that are read here and in the report. A value of another type is left out and named.
_RECORD = {
    **dict.fromkeys(("status", "error", "project", "author", "name", "started", "ended"), str),
    **dict.fromkeys(("task", "target"), str),
    **dict.fromkeys(("flags", "git", "versions", "machine", "environment"), dict),
    **dict.fromkeys(("data", "metrics", "timings", "phases"), dict),
    **dict.fromkeys(("exported", "intervals", "metric_meanings"), dict),
    **dict.fromkeys(("command", "data_sections"), list),
    **dict.fromkeys(("parameters", "rows_per_second"), Real),
}
_EVALUATION = {"sections": list}
_NO_METRICS = ("epoch", "learning_rate")
_LOWER_IS_BETTER = ("loss", "error", "mae", "mse", "perplexity", "distance", "divergence")
STUDY = "study.json"  # in a study's directory, not in a run's


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
    record: dict[str, Any]  # run.json, without what is of another type than it should be
    history: dict[str, list[float]]  # history.csv by column, such as "epoch"
    evaluation: dict[str, Any]  # evaluation.json
    utilisation: dict[str, list[float]]  # logs/utilisation.csv by column
    gaps: tuple[str, ...]  # what could not be read, a sentence for each

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
        RunError: no such directory, or no readable run.json in it.
    """
    path, gaps = Path(run_dir), []
    if not path.is_dir():
        raise RunError(f"{path}: no such directory")
    if (path / "study.json").is_file():
        raise RunError(
            f"{path}: a study, whose report is {path / 'report.html'}; name a trial: {path / '1'}"
        )
    if not (path / "run.json").is_file():
        raise RunError(f"{path}: no run.json in it, so it is not a run directory")
    try:
        record = _read_json(path / "run.json", _RECORD, gaps)
    except (OSError, ValueError) as error:
        raise RunError(f"{path / 'run.json'}: cannot be read ({error})") from None
    record["data"] = {name: _read_part(part) for name, part in record.get("data", {}).items()}
    for key in ("timings", "phases"):
        values = {name: number(value) for name, value in record.get(key, {}).items()}
        record[key] = {name: value for name, value in values.items() if math.isfinite(value)}
    intervals = {name: _read_interval(ends) for name, ends in record.get("intervals", {}).items()}
    evaluation = {}
    try:
        evaluation = _read_json(path / "evaluation.json", _EVALUATION, gaps)
    except FileNotFoundError:
        gaps.append("There is no evaluation.json.")
    except (OSError, ValueError) as error:
        gaps.append(f"evaluation.json cannot be read ({error}).")
    history = _read_history(path / "history.csv", gaps)
    started, ended = _read_time(record.get("started")), _read_time(record.get("ended"))
    whole = path.resolve()
    in_study = (whole.parent / STUDY).is_file()
    return Run(
        path=path,
        name=f"{whole.parent.name}/{whole.name}" if in_study else whole.name,
        status=record.get("status", "unknown"),
        started=started,
        seconds=(ended - started).total_seconds() if started and ended else None,
        metrics={name: number(value) for name, value in record.get("metrics", {}).items()},
        intervals={name: ends for name, ends in intervals.items() if ends},
        exported=whole_number(record.get("exported", {}).get("epoch")),
        record=record,
        history=history,
        evaluation=evaluation,
        utilisation=_read_samples(path / "logs" / "utilisation.csv"),
        gaps=tuple(gaps),
    )


def load_all(root: str | Path) -> list[Run]:
    """Read every run in a directory, the newest first; name and skip one that is broken.

    The trials of a study are runs, too. A directory without run.json is none: its job failed early.
    """
    root, runs = Path(root), []
    studies = (path.parent for path in root.glob(f"[!.]*/{STUDY}"))
    trials = (path for study in studies for path in study.glob("*/run.json"))
    for path in sorted([*root.glob("[!.]*/run.json"), *trials]):
        try:
            runs.append(load(path.parent))
        except RunError as error:
            print(f"skipped {error}", file=sys.stderr)
    return sorted(runs, key=_age)


def find_model(run_dir: Path | None, root: Path = ROOT / "runs") -> Path:
    """The exported model of a run; of the newest run that has one, where none is given.

    Raises:
        RunError: there is none.
    """
    if run_dir is None:
        models = [run.path / "model" for run in load_all(root)]
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
        if id not in _NO_METRICS and any(map(math.isfinite, values))
    ]
    return min(ids, key=lambda id: (not id.startswith("val_"), id.endswith("loss")), default=None)


def higher_is_better(metric: str) -> bool:
    return not any(word in metric.lower() for word in _LOWER_IS_BETTER)


def _read_json(path: Path, types: dict[str, type], gaps: list[str]) -> dict[str, Any]:
    document = json.loads(path.read_text(encoding="utf-8-sig"))
    # JSON may spell half a character ("\\ud83d"), which neither pages nor tables can hold.
    whole = json.dumps(document, ensure_ascii=False).encode(errors="replace")
    document = json.loads(whole)
    if not isinstance(document, dict):
        raise ValueError("expected a JSON object")
    for key, expected in types.items():
        value = document.get(key)
        if not isinstance(value, expected):
            document.pop(key, None)
            if value is not None:
                gaps.append(f"{path.name}: {key} is not what was expected, and is left out.")
    return document


def _read_part(part: Any) -> dict[str, Any]:
    """One part of the data; its `files` are a list of dictionaries, whatever the record holds."""
    part = part if isinstance(part, dict) else {}
    files = part.get("files")
    files = [file for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    return part | {"files": files}


def _read_interval(ends: Any) -> tuple[float, float] | None:
    """(low, high); None where they are no interval."""
    low, high = map(number, ends) if isinstance(ends, list) and len(ends) == 2 else (math.nan,) * 2
    return (low, high) if -math.inf < low <= high < math.inf else None


def _read_columns(path: Path) -> tuple[dict[str, list[float]], int]:
    """Read a CSV file of numbers: {column: its values}, and how many damaged lines it has.

    Raises:
        OSError, csv.Error: it cannot be read.
    """
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        header, *lines = list(filter(None, csv.reader(file))) or [[]]
    rows = [list(map(number, line)) for line in lines if len(line) == len(header)]
    columns = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    return columns, len(lines) - len(rows)


def _read_samples(path: Path) -> dict[str, list[float]]:
    """By column; damaged lines are left out without a word, since nothing depends on them."""
    try:
        return _read_columns(path)[0]
    except (OSError, csv.Error):
        return {}


def _read_history(path: Path, gaps: list[str]) -> dict[str, list[float]]:
    """By column. Damaged lines are left out; of an epoch that stands twice, the later line counts."""
    try:
        columns, damaged = _read_columns(path)
    except FileNotFoundError:
        gaps.append("There is no history.csv, so there are no learning curves.")
        return {}
    except (OSError, csv.Error) as error:
        gaps.append(f"history.csv cannot be read ({error}).")
        return {}
    if "epoch" not in columns:
        gaps.append("history.csv has no column epoch, so there are no learning curves.")
        return {}
    epochs = list(map(whole_number, columns["epoch"]))
    if damaged := damaged + epochs.count(None):
        gaps.append(f"history.csv: {damaged} damaged line(s) left out.")
    latest = {epoch: i for i, epoch in enumerate(epochs) if epoch is not None}
    if not latest:
        gaps.append("history.csv holds no epoch yet.")
        return {}
    rows = [latest[epoch] for epoch in sorted(latest)]
    return {id: [values[i] for i in rows] for id, values in columns.items()}


def _read_time(text: str | None) -> datetime | None:
    try:
        return parse_time(text or "")
    except ValueError:
        return None


def _age(run: Run) -> tuple[float, str]:
    """Sorts the newest first; a run without a start counts by its last change."""
    time = run.started.timestamp() if run.started else (run.path / "run.json").stat().st_mtime
    return -time, run.name
