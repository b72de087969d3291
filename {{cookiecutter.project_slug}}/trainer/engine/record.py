"""What a run leaves beside its model, and what it depends on: run.json, history.csv, schema.json."""

import argparse
import csv
import hashlib
import io
import json
import os
import platform
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timezone
from importlib import metadata

from codec import files
from trainer import AUTHOR, PROJECT, TEMPLATE
from trainer.data import READER
from trainer.engine import machine
from trainer.engine.runtime import JobError, Runtime, join
from trainer.outputs import METRICS, describe_data

# Seconds; history.csv is written whole, so not at each of 10,000 short epochs.
WRITE_EVERY, WRITE_EVERY_REMOTE = 1.0, 30.0
# Seconds: when a launcher is killed, its trainer has 3 to write a checkpoint, and may still hold
# the directory when the job is started again.
PATIENCE = 6.0
# What a run overwrites in its directory.
OUTPUTS = {"run.json", "history.csv", "schema.json", "evaluation.json", "predictions.csv"}
OUTPUTS |= {"model", "checkpoints", "logs", "gallery"}


class Record:
    """The run record, written again whenever it changes. Only the chief writes one."""

    def __init__(self, argv: list[str], flags: argparse.Namespace):
        self.timings: dict[str, float] = {}  # seconds by stage, in the order in which they happen
        self._written = 0.0
        self.run = {
            "status": "running",
            "error": None,
            "project": PROJECT,
            "author": AUTHOR,
            "template": TEMPLATE or None,
            "command": ["python", "-m", "trainer.task", *argv],
            "flags": vars(flags),
            "timings": self.timings,
            "started": _now(),
            "ended": None,
        }

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the seconds spent inside to those of a stage."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.timings[stage] = self.timings.get(stage, 0.0) + time.monotonic() - start

    def start(self, runtime: Runtime, data, parameters: int) -> None:
        """Writes what is known before the first step: run.json and schema.json."""
        self.runtime = runtime
        # run.json comes first: `refuse_foreign` takes it for the sign that the rest is a run's.
        self.write(
            name=os.path.basename(runtime.job_dir),
            git=git_state(runtime),
            versions=versions(),
            machine=machine.describe(),
            environment=dict(runtime.contract),
            data=data.manifest,
            data_hash=runtime.contract.get("DATA_HASH") or hash_raw_data(),
            task=data.schema.task,
            target=data.schema.target,
            metric_meanings=describe_metrics(data),
            metric_goals={n: goal for n, (goal, *_) in METRICS[data.schema.task].items()},
            data_sections=describe_data(data),
            parameters=parameters,
        )
        self._write_text("schema.json", data.schema.to_json())
        if repeated := self.run["flags"]["repeat"]:
            warn_of_differences(repeated, self.run)

    def write(self, status: str | None = None, **fields) -> None:
        """Updates run.json."""
        self.run.update(fields)
        if status:
            self.run.update(status=status, ended=_now())
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

        def order(name: str) -> tuple:  # Keras's order depends on its version
            metric = name.removeprefix("val_")
            return name != "epoch", name != metric, metric != "loss", metric

        text = io.StringIO()
        writer = csv.DictWriter(text, sorted(history[0], key=order), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        self._write_text("history.csv", text.getvalue())
        self._written = time.monotonic()


def describe_metrics(examples) -> dict[str, str]:
    """What each metric is, in words; its id with val_ before it is the same of held-out examples.

    A JobError if outputs.py has no metrics for what this data is to teach.
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
        names = ["run.json"]
        with suppress(ValueError, KeyError, TypeError):
            record = json.loads(files.read_text(join(runtime.job_dir, "run.json")))
            names = [] if record["project"] == PROJECT else names
    for name in names:
        path = join(runtime.job_dir, name)
        if files.is_remote(path) or os.path.isfile(path) or files.names(path):
            raise JobError(
                f"{runtime.job_dir}: holds a {name} that no run of {PROJECT} has written; give "
                "another --job-dir"
            )


@contextmanager
def locked(runtime: Runtime) -> Iterator[None]:
    """Holds a local directory, so that no second run writes there at the same time.

    The system releases the lock of a process that was killed. It is SQLite's lock, since that of the
    system itself differs from one system to the next. In a bucket there is none.
    A JobError if another run holds the directory.
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


def read_record(path: str) -> dict:
    """The run.json that --repeat names; raises a JobError if it is no such file."""
    try:
        record = json.loads(files.read_text(path))
        if not isinstance(record["flags"], dict):
            raise ValueError("no flags in it")
        return record
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JobError(f"--repeat {path}: not the run.json of a run ({error})") from None


def warn_of_differences(path: str, run: dict) -> None:
    """Prints what is not as in this run.json: without a line, the same numbers are to be expected."""
    before, lines = {"git": {}, "versions": {}, "data": {}} | read_record(path), []
    there, here = before["git"], run["git"]
    if there.get("commit") != here["commit"]:
        lines.append(f"the code: commit {there.get('commit')} then, {here['commit']} now")
    if there.get("dirty") or here["dirty"]:
        lines.append("the code: uncommitted changes then or now")
    there, here = before["versions"], run["versions"]
    for name in sorted(there.keys() | here.keys()):
        if there.get(name) != here.get(name):
            lines.append(f"{name}: {there.get(name)} then, {here.get(name)} now")
    for part, table in run["data"].items():
        recorded = before["data"].get(part, {"files": []})["files"]
        if [f["digest"] for f in table["files"]] != [f["digest"] for f in recorded]:
            lines.append(f"the data: other {part} files, or the same with other contents")
    for line in lines:
        print(f"warning: not as in {path}: {line}", file=sys.stderr)


def git_state(runtime: Runtime) -> dict:
    """Commit and dirtiness of the code that runs: from the image that was built, or from git."""
    if commit := runtime.contract.get("GIT_COMMIT"):
        return {"commit": commit, "dirty": runtime.contract.get("GIT_DIRTY") == "true"}

    def git(*words: str) -> str:
        command = ["git", "-C", os.path.dirname(os.path.abspath(__file__)), *words]
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return result.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}  # no git, or no repository


def hash_raw_data() -> str | None:
    """One hash for all of data/raw, of the list of its files; None where there is no such list."""
    path = os.path.join(os.path.dirname(__file__), "../../data/MANIFEST.csv")
    if not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    packages = {"python": platform.python_version()}
    for name in ("tensorflow", "tensorflow-cpu", "keras", "numpy", READER):
        with suppress(metadata.PackageNotFoundError):
            packages[name] = metadata.version(name)
    return packages


def _now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
