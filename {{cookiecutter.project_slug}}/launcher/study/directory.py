"""Where a study lies, which one is to go on, and that no two processes run the same one."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import filelock

from launcher.common.document import SpecError
from launcher.common.files import write_file
from launcher.jobfile.job import Job
from launcher.local import run_dirs
from launcher.local.guard import ORPHANED

RUNNING, FINISHED, FAILED = "running", "finished", "failed"


class StudyDir:
    """A study's directory, held by this process until `close`, and what its study.json says."""

    def __init__(self, path: Path, about: dict, goes_on: bool):
        """Takes hold of the directory.

        Raises:
            SpecError: another process has it.
        """
        self.path, self.about, self.goes_on = path, about, goes_on
        file = path / "study.lock"
        self._left = file.stat().st_mtime if file.exists() else 0.0  # when it was last held
        self._lock = filelock.FileLock(file)
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise SpecError(
                f"{path}: another process is running this study; wait for its end, or begin "
                "another one with --new"
            ) from None

    def write(self, **about) -> None:
        """Updates study.json."""
        self.about |= about
        text = json.dumps(self.about, indent=2, ensure_ascii=False) + "\n"
        write_file(self.path / "study.json", text)

    def beat(self) -> None:
        """Notes that the study is still held."""
        os.utime(self.path / "study.lock")

    def wait_for_orphans(self) -> None:
        """Where a launcher was killed just now, the guards of its replicas are ending them."""
        time.sleep(min(max(0.0, self._left + ORPHANED + 1 - time.time()), ORPHANED + 1))

    def close(self) -> None:
        """Lets go, with no replica left."""
        os.utime(self.path / "study.lock", (0, 0))
        self._lock.release()


def take(
    job: Job, flags: Sequence[str], path: Path | None, new: bool, runs: Path = run_dirs.RUNS
) -> StudyDir:
    """The study of this file and these flags that was left unfinished, or a new one.

    Args:
        path: the study's directory, if it is to be that one: it goes on, or is made.
        new: no older study goes on.

    Raises:
        SpecError: that directory holds something else, or another process runs the study.
    """
    about = {
        "state": RUNNING,
        "job": job.path.name,
        "made_from": job.digest,
        "flags": list(flags),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    if path is None and not new:
        wanted = {key: about[key] for key in ("made_from", "flags", "state")}
        left = [at for at in runs.glob("*/study.json") if wanted.items() <= _read(at).items()]
        path = max(left, key=lambda at: at.stat().st_mtime).parent if left else None
    if path is None:
        path = run_dirs.new(job.path.stem, runs)
    elif (path / "study.json").exists():
        found = _read(path / "study.json")
        if new:
            raise SpecError(f"{path}: holds a study already; give another directory, or no --new")
        if found.get("made_from") != about["made_from"]:
            raise SpecError(
                f"{path}: holds a study of another file, or what {job.path} says of parameters, "
                "metric or job was changed since; begin a new study with --new, in no directory"
            )
        if found.get("flags") != about["flags"]:
            given = " ".join(found.get("flags", [])) or "none"
            raise SpecError(f"{path}: this study was begun with other trainer flags: {given}")
        return StudyDir(path, found, goes_on=True)
    elif path.exists() and any(path.iterdir()):
        raise SpecError(f"{path}: not empty, and no study; give a new directory")
    path.mkdir(parents=True, exist_ok=True)
    study = StudyDir(path, about, goes_on=False)
    study.write()
    return study


def _read(path: Path) -> dict:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
