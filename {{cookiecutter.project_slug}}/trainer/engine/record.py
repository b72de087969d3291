"""What a run leaves beside its model, in a directory of its own: run.json, history.csv, schema.json."""

import csv
import io
import json
import os
import sqlite3
import time
from contextlib import closing, contextmanager
from datetime import datetime, timezone

from codec import files
from trainer import AUTHOR, PROJECT
from trainer.engine import machine, repeat
from trainer.engine.runtime import JobError, Runtime, join
from trainer.outputs import METRICS, describe_data

# Seconds; history.csv is written whole, so not at each of 10,000 short epochs.
WRITE_EVERY, WRITE_EVERY_REMOTE = 1.0, 30.0
# Seconds: when a launcher is killed, its trainer has 3 to write a checkpoint, and may still hold
# the directory when the job is started again.
PATIENCE = 6.0
# What a run overwrites in its directory.
OUTPUTS = {"run.json", "history.csv", "schema.json", "evaluation.json"}
OUTPUTS |= {"model", "checkpoints", "logs", "gallery"}


class Record:
    """The run record, written again whenever it changes. Only the chief writes one."""

    def __init__(self, runtime: Runtime, argv: list[str], flags: dict, timings: dict, started: str):
        self.runtime = runtime
        self.timings = timings  # seconds by stage, in the order in which they happen
        self._written = 0.0
        self.run = {
            "status": "running",
            "error": None,
            "project": PROJECT,
            "author": AUTHOR,
            "name": os.path.basename(runtime.job_dir),
            "command": ["python", "-m", "trainer.task", *argv],
            "flags": flags,
            "git": repeat.git_state(runtime),
            "versions": repeat.versions(),
            "machine": machine.describe(),
            "environment": dict(runtime.contract),
            "timings": self.timings,
            "started": started,
            "ended": None,
        }

    def start(self, data, parameters: int) -> None:
        """Writes what is known before the first step: run.json and schema.json."""
        # run.json comes first: `refuse_foreign` takes it for the sign that the rest is a run's.
        self.write(
            data=data.manifest,
            task=data.schema.task,
            target=data.schema.target,
            metric_meanings=describe_metrics(data),
            data_sections=describe_data(data),
            parameters=parameters,
        )
        self._write_text("schema.json", data.schema.to_json())

    def write(self, status: str | None = None, **fields) -> None:
        """Updates run.json."""
        self.run.update(fields)
        if status:
            self.run.update(status=status, ended=now())
        self.write_json("run.json", self.run)

    def write_json(self, name: str, value: dict) -> None:
        self._write_text(name, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")

    def _write_text(self, name: str, text: str) -> None:
        if self.runtime.is_chief:
            files.write_text(join(self.runtime.job_dir, name), text)

    def write_history(self, history: list[dict], final: bool = False) -> None:
        """Writes history.csv: a line an epoch, metric ids as columns. No times: it is repeatable."""
        every = WRITE_EVERY_REMOTE if files.is_remote(self.runtime.job_dir) else WRITE_EVERY
        if not history or (not final and time.monotonic() - self._written < every):
            return
        text = io.StringIO()
        columns = sorted(history[0], key=_column_order)
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        self._write_text("history.csv", text.getvalue())
        self._written = time.monotonic()


def _column_order(name: str) -> tuple:
    """Epoch, loss, metrics by name, then the held-out ones; Keras orders them by its version."""
    metric = name.removeprefix("val_")
    return name != "epoch", name != metric, metric != "loss", metric


def describe_metrics(examples) -> dict[str, str]:
    """What each metric is, in words; its id with val_ before it is the same of held-out examples.

    Raises:
        JobError: outputs.py has no metrics for what this data is to teach.
    """
    schema = examples.schema
    if schema.task not in METRICS:
        raise JobError(
            f"trainer/outputs.py: METRICS has no {schema.task!r}, only {', '.join(METRICS)}; add "
            "its metrics there, and its model to trainer/model.py"
        )
    meanings = METRICS[schema.task].items()
    return {name: meaning.replace("{target}", schema.target) for name, (_, meaning) in meanings}


def refuse_foreign(runtime: Runtime) -> None:
    """Raises a JobError where this run would overwrite what no run of this project has left."""
    if not runtime.is_chief or runtime.job_dir is None:
        return
    names = [name for name in files.names(runtime.job_dir) if name in OUTPUTS]
    if "run.json" in names:
        try:
            record = json.loads(files.read_text(join(runtime.job_dir, "run.json")))
            names = [] if record["project"] == PROJECT else ["run.json"]
        except (ValueError, KeyError, TypeError):
            names = ["run.json"]
    for name in names:
        path = join(runtime.job_dir, name)
        if files.is_remote(path) or os.path.isfile(path) or files.names(path):
            raise JobError(
                f"{runtime.job_dir}: holds a {name} that no run of {PROJECT} has written; give "
                "another --job-dir"
            )


@contextmanager
def locked(runtime: Runtime):
    """Holds a local directory, so that no second run writes there at the same time.

    The system releases the lock of a process that was killed. It is SQLite's lock, since that of the
    system itself differs from one system to the next. In a bucket there is none.

    Raises:
        JobError: another run holds the directory.
    """
    if not runtime.is_chief or runtime.hosted or files.is_remote(runtime.job_dir):
        yield
        return
    os.makedirs(runtime.job_dir, exist_ok=True)
    path = join(runtime.job_dir, ".trainer.lock")
    with closing(sqlite3.connect(path, timeout=PATIENCE)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):  # anything else: a file system without locks
                raise JobError(
                    f"{runtime.job_dir}: another run is using it; wait for its end, or give "
                    "another --job-dir"
                ) from None
        yield


@contextmanager
def timed(timings: dict[str, float], stage: str):
    """Adds the seconds spent inside to `timings[stage]`."""
    start = time.monotonic()
    try:
        yield
    finally:
        timings[stage] = timings.get(stage, 0.0) + time.monotonic() - start


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
