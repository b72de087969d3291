"""Run directories, read back: what a run recorded. `comparison` has what is over many runs.

A run may still be going, may have been killed half-way, or come from an older trainer. So only
`run.json` must be there; whatever else is missing or damaged is left out and named in `Run.gaps`.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from numbers import Real
from pathlib import Path
from typing import Any

from launcher.common.times import parse_time

# The keys that are read here and in the report. A value of another type is left out and named.
_RECORD = {
    **dict.fromkeys(("status", "error", "project", "author", "name", "started", "ended"), str),
    **dict.fromkeys(("flags", "git", "versions", "machine", "environment"), dict),
    **dict.fromkeys(("data", "metrics", "timings", "phases"), dict),
    **dict.fromkeys(("exported", "standard_errors", "metric_meanings"), dict),
    **{"task": str, "target": str, "command": list, "data_sections": list},
    **dict.fromkeys(("parameters", "rows_per_second"), Real),
}
_EVALUATION = {"sections": list}
STUDY = "study.json"  # in a study's directory, not in a run's
_NO_METRICS = ("epoch", "learning_rate")
_LOWER_IS_BETTER = ("loss", "error", "mae", "mse", "perplexity", "distance", "divergence")


class RunError(Exception):
    """A directory that holds no readable run: why, in one line."""


@dataclass(frozen=True)
class Run:
    """One run directory. Keys that are absent from `record` and the rest were not recorded."""

    path: Path
    record: dict[str, Any]  # run.json
    history: dict[str, list[float]]  # history.csv by column, "epoch" first; {} where there is none
    evaluation: dict[str, Any]  # evaluation.json
    utilisation: dict[str, list[float]]  # logs/utilisation.csv by column; {} where there is none
    gaps: tuple[str, ...]  # what could not be read, a sentence each

    @property
    def name(self) -> str:
        """The directory's name: unique, and it may have been given a better one since."""
        path = self.path.resolve()
        in_study = (path.parent / STUDY).is_file()
        return f"{path.parent.name}/{path.name}" if in_study else path.name

    @property
    def status(self) -> str:
        return self.record.get("status", "unknown")

    @property
    def started(self) -> datetime | None:
        return _time(self.record.get("started"))

    @property
    def seconds(self) -> float | None:
        """From start to end; None while there is no end."""
        start, end = self.started, _time(self.record.get("ended"))
        return (end - start).total_seconds() if start and end else None

    @property
    def metrics(self) -> dict[str, float]:
        """The values of the exported model by metric id; {} while there is none."""
        return {id: number(value) for id, value in self.record.get("metrics", {}).items()}

    @property
    def exported(self) -> int | None:
        """The epoch whose weights were exported; None where there is none, or it is not recorded."""
        epoch = number(self.record.get("exported", {}).get("epoch"))
        return int(epoch) if abs(epoch) < 1e15 else None  # not NaN either

    @property
    def why_exported(self) -> str:
        """As the trainer's log has it: "epoch 12 of 17 (the lowest val_loss, …)"; "" if unknown."""
        if self.exported is None:
            return ""
        epochs = f" of {self.history['epoch'][-1]:.0f}" if self.history else ""
        return f"epoch {self.exported}{epochs} ({self.record['exported'].get('why', '')})"

    def standard_error(self, metric: str) -> float | None:
        """How much the metric would vary with other held-out rows; None where it is not recorded."""
        error = number(self.record.get("standard_errors", {}).get(metric))
        return error if math.isfinite(error) else None

    @property
    def held_out(self) -> dict[str, Any]:
        """What run.json says of the held-out rows: their number, files, and a digest of targets."""
        part = self.record.get("data", {}).get("eval")
        return part if isinstance(part, dict) else {}


def load(run_dir: str | Path) -> Run:
    """Reads one run directory.

    Raises:
        RunError: no such directory, or no readable run.json in it.
    """
    path, gaps = Path(run_dir), []
    if not path.is_dir():
        raise RunError(f"{path}: no such directory")
    if not (path / "run.json").is_file():
        raise RunError(f"{path}: no run.json in it, so it is not a run directory")
    try:
        record = _read_json(path / "run.json", _RECORD, gaps)
    except (OSError, ValueError) as error:
        raise RunError(f"{path / 'run.json'}: cannot be read ({error})") from None
    evaluation = {}
    try:
        evaluation = _read_json(path / "evaluation.json", _EVALUATION, gaps)
    except FileNotFoundError:
        gaps.append("There is no evaluation.json.")
    except (OSError, ValueError) as error:
        gaps.append(f"evaluation.json cannot be read ({error}).")
    history = _read_history(path / "history.csv", gaps)
    samples = _read_samples(path / "logs" / "utilisation.csv")
    return Run(path, record, history, evaluation, samples, tuple(gaps))


def load_all(root: str | Path) -> list[Run]:
    """Reads every run in a directory, the newest first; one that is broken is named and skipped.

    The trials of a study are runs, too. A directory without run.json is none: its job failed early.
    """
    runs = []
    for path in _run_dirs(Path(root)):
        try:
            runs.append(load(path))
        except RunError as error:
            print(f"skipped {error}", file=sys.stderr)
    return sorted(runs, key=_age)


def _run_dirs(root: Path) -> Iterator[Path]:
    for path in sorted(root.glob("[!.]*/")):
        if (path / STUDY).is_file():
            yield from sorted(file.parent for file in path.glob("*/run.json"))
        elif (path / "run.json").exists():
            yield path


def main_metric(run: Run) -> str | None:
    """The metric that says how good a run is: on held-out rows, and rather another than the loss."""
    known = {**run.history, **{id: [value] for id, value in run.metrics.items()}}
    ids = [
        id
        for id, values in known.items()
        if id not in _NO_METRICS and any(math.isfinite(v) for v in values)
    ]
    return min(ids, key=lambda id: (not id.startswith("val_"), id.endswith("loss")), default=None)


def higher_is_better(metric: str) -> bool:
    return not any(word in metric.lower() for word in _LOWER_IS_BETTER)


def best(run: Run, metric: str) -> tuple[int, float] | None:
    """The epoch with the best value of a metric, and the value; the earliest one of equals."""
    if metric not in run.history:
        return None
    pairs = zip(run.history["epoch"], run.history[metric], strict=True)
    finite = [(int(epoch), value) for epoch, value in pairs if math.isfinite(value)]
    sign = -1 if higher_is_better(metric) else 1
    return min(finite, key=lambda pair: sign * pair[1], default=None)


def number(value: Any) -> float:
    """A float; NaN for anything that is none. Strict JSON writes NaN as null or as a text."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


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


def _read_samples(path: Path) -> dict[str, list[float]]:
    """By column; damaged lines are left out without a word, since nothing depends on them."""
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            header, *lines = list(csv.reader(file)) or [[]]
    except (OSError, csv.Error):
        return {}
    rows = [[number(text) for text in line] for line in lines if len(line) == len(header)]
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


def _read_history(path: Path, gaps: list[str]) -> dict[str, list[float]]:
    """By column. Damaged lines are left out; of an epoch that stands twice, the later line counts."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            header, *lines = list(csv.reader(file)) or [[]]
    except FileNotFoundError:
        gaps.append("There is no history.csv, so there are no learning curves.")
        return {}
    except (OSError, csv.Error) as error:
        gaps.append(f"history.csv cannot be read ({error}).")
        return {}
    if "epoch" not in header:
        gaps.append("history.csv has no column epoch, so there are no learning curves.")
        return {}
    column, epochs, damaged = header.index("epoch"), {}, 0
    for line in filter(None, lines):
        if len(line) == len(header) and abs(number(line[column])) < 1e15:  # not NaN either
            epochs[int(number(line[column]))] = [number(value) for value in line]
        else:
            damaged += 1
    if damaged:
        gaps.append(f"history.csv: {damaged} damaged line(s) left out.")
    if not epochs:
        gaps.append("history.csv holds no epoch yet.")
        return {}
    values = [epochs[epoch] for epoch in sorted(epochs)]
    history = {"epoch": [float(epoch) for epoch in sorted(epochs)]}
    return history | {id: [v[i] for v in values] for i, id in enumerate(header) if id != "epoch"}


def _time(text: str | None) -> datetime | None:
    try:
        return parse_time(text or "")
    except ValueError:
        return None


def _age(run: Run) -> tuple[float, str]:
    """Sorts the newest first; a run without a start counts by its last change."""
    time = run.started.timestamp() if run.started else (run.path / "run.json").stat().st_mtime
    return -time, run.name
