"""Where runs lie: a new directory for each, or the one that `--job-dir` names."""

from __future__ import annotations

import argparse
import contextlib
import os
from datetime import datetime, timezone
from pathlib import Path

from launcher.process import ROOT
from launcher.spec import SpecError

RUNS = ROOT / "runs"


def new(name: str, runs: Path = RUNS) -> Path:
    """Makes `runs/<name>-<UTC time>`; two runs in one second get two directories."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    runs.mkdir(parents=True, exist_ok=True)
    attempt = 1
    while True:
        path = runs / (f"{name}-{stamp}" + (f"-{attempt}" if attempt > 1 else ""))
        try:
            path.mkdir()  # atomic: of two processes only one succeeds
            return path
        except FileExistsError:
            attempt += 1


def taken_from(flags: list[str]) -> tuple[list[str], Path | None]:
    """Takes `--job-dir` out of a trainer's flags: the environment says it, as on Vertex AI.

    Raises:
        SpecError: the directory is in a bucket, or cannot be made.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--job-dir", "--job_dir")
    found, rest = parser.parse_known_args(flags)
    if not found.job_dir:
        return rest, None
    if "://" in found.job_dir:
        raise SpecError(
            f"--job-dir {found.job_dir}: a local run writes to a local folder; into a bucket writes "
            "python -m trainer.task --job-dir gs://…"
        )
    path = Path(os.path.abspath(found.job_dir))  # without .., which containers would not find
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"--job-dir {path}: cannot be made ({error.strerror})") from None
    return rest, path


def discard_if_empty(run_dir: Path) -> bool:
    """Removes a directory in which a run left nothing but logs; says whether it did."""
    left = list(run_dir.iterdir())
    if any(path.suffix != ".log" or not path.is_file() for path in left):
        return False
    for path in left:
        path.unlink()
    run_dir.rmdir()
    with contextlib.suppress(OSError):
        run_dir.parent.rmdir()  # only where this was to be the first run
    return True
