"""Run directories: a new one for each run, or the one that `--job-dir` names."""

from __future__ import annotations

import itertools
import os
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from pathlib import Path

import filelock

from launcher.common.document import SpecError
from launcher.common.files import read_json
from launcher.jobfile import program
from launcher.project.settings import ROOT

RUNS = ROOT / "runs"
LOCK = ".launcher.lock"  # stays in the directory: the sign that it was a job's from the beginning
LOCKS = (LOCK, ".trainer.lock")
# What a run writes. Without a run's record beside it, it belongs to somebody else.
OUTPUTS = ("run.json", "history.csv", "schema.json", "evaluation.json", "predictions.csv", "model")
OUTPUTS += ("report.html", "checkpoints", "logs", "gallery", "hypertune", "study.json")


def make(name: str, runs: Path = RUNS) -> Path:
    """Make `runs/<name>-<UTC time>`; two runs in one second get two directories.

    Raises:
        SpecError: the directory cannot be made.
    """
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    for attempt in itertools.count(1):
        path = runs / (f"{name}-{stamp}" + (f"-{attempt}" if attempt > 1 else ""))
        try:
            path.mkdir(parents=True)  # atomic: of two processes only one succeeds
            return path
        except FileExistsError:
            continue
        except OSError as error:
            raise _cannot_make(path, error.strerror) from None


def take_job_dir(flags: list[str]) -> tuple[list[str], Path | None]:
    """Take `--job-dir` out of a trainer's flags: the environment says it, as on Vertex AI.

    Raises:
        SpecError: the directory is in a bucket.
    """
    rest, job_dir = program.take_job_dir(flags)
    if not job_dir:
        return rest, None
    if "://" in job_dir:
        raise SpecError(
            f"--job-dir {job_dir}: a local run writes to a local folder; into a bucket writes "
            "python -m trainer.task --job-dir gs://…"
        )
    # From the repo's folder, as the paths in other flags. Containers would not find what has a "..".
    return rest, Path(os.path.abspath(ROOT / job_dir))


def lock(run_dir: Path) -> AbstractContextManager:
    """Make the directory, and refuse other launchers in it within the block.

    Raises:
        SpecError: the directory is in use, is not a run's, or cannot be made.
    """
    _refuse_foreign(run_dir)
    return acquire(run_dir, LOCK, "give another --job-dir")


def acquire(folder: Path, name: str, instead: str) -> filelock.AcquireReturnProxy:
    """Make a folder and lock a file in it; the system releases the lock of a process that was killed.

    Args:
        instead: what to do where another process has the lock.

    Raises:
        SpecError: another process has it, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(folder / name).acquire(timeout=0)
    except filelock.Timeout:
        raise SpecError(
            f"{folder}: another run is using it; wait for its end, or {instead}"
        ) from None
    except OSError as error:
        raise _cannot_make(folder, error.strerror) from None


def _refuse_foreign(run_dir: Path) -> None:
    """Raise SpecError where a job would overwrite what no job of ours has written."""
    record = read_json(run_dir / "run.json")
    if (run_dir / LOCK).exists() or {"status", "project", "flags"} <= record.keys():
        return
    for name in OUTPUTS:
        path = run_dir / name
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            raise SpecError(
                f"{run_dir}: holds a {name} that no run of this project has written; give another "
                "--job-dir"
            )


def _cannot_make(path: Path, why: str | None) -> SpecError:
    return SpecError(f"{path}: cannot be made ({why}); remove the cause, or name another folder")
