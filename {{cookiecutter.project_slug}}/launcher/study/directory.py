"""The directory of a study: which one resumes, and that no two processes run the same one."""

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
from launcher.jobfile.program import FOLDERS
from launcher.local import run_dirs
from launcher.local.guard import ORPHANED
from launcher.project import sources

RUNNING, FINISHED, FAILED = "running", "finished", "failed"


class StudyDir:
    """A study's directory, locked by this process until `close`, and the content of its study.json."""

    def __init__(self, path: Path, about: dict, resumes: bool):
        """Lock the directory.

        Raises:
            SpecError: another process has locked it.
        """
        self.path, self.about, self.resumes = path, about, resumes
        file = path / "study.lock"
        self._left = file.stat().st_mtime if file.exists() else 0.0  # when it was last locked
        self._lock = filelock.FileLock(file)
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise SpecError(
                f"{path}: another process is running this study; wait for its end, or start "
                "another one with --new"
            ) from None

    def write(self, **about) -> None:
        """Update study.json."""
        self.about |= about
        text = json.dumps(self.about, indent=2, ensure_ascii=False) + "\n"
        write_file(self.path / "study.json", text)

    def beat(self) -> None:
        """Note that the study is still locked."""
        os.utime(self.path / "study.lock")

    def wait_for_orphans(self) -> None:
        """Where a launcher was killed just now, wait for the guards of its replicas to end them."""
        time.sleep(min(max(0.0, self._left + ORPHANED + 1 - time.time()), ORPHANED + 1))

    def close(self) -> None:
        """Unlock the directory: no replica is left."""
        os.utime(self.path / "study.lock", (0, 0))
        self._lock.release()


def take(
    job: Job, flags: Sequence[str], path: Path | None, new: bool, runs: Path = run_dirs.RUNS
) -> StudyDir:
    """Take the unfinished study of this file and these flags, or make a new one.

    Args:
        path: resume the study in this directory, or make a new one in it.
        new: resume no older study.

    Raises:
        SpecError: that directory holds something else, or another process runs the study.
    """
    about = {
        "state": RUNNING,
        "job": job.path.name,
        "made_from": job.digest,
        "sources": sources.digest(FOLDERS),
        "flags": list(flags),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    if path is None and not new:
        wanted = {key: about[key] for key in ("made_from", "flags", "state")}
        files = [
            file for file in runs.glob("*/study.json") if wanted.items() <= _read(file).items()
        ]
        path = max(files, key=lambda file: file.stat().st_mtime).parent if files else None
    if path is None:
        path = run_dirs.make(job.path.stem, runs)
    elif (path / "study.json").exists():
        record = _read(path / "study.json")
        if new:
            raise SpecError(f"{path}: holds a study already; give another directory, or no --new")
        if record.get("made_from") != about["made_from"]:
            raise SpecError(
                f"{path}: holds a study of another file, or what {job.path} says of parameters, "
                "metric or job was changed since; start a new study with --new, in no directory"
            )
        if record.get("flags") != about["flags"]:
            given = " ".join(record.get("flags", [])) or "none"
            raise SpecError(f"{path}: this study was started with other trainer flags: {given}")
        if record.get("sources", about["sources"]) != about["sources"]:
            raise SpecError(
                f"{path}: {'/ or '.join(FOLDERS)}/ was changed since this study's trials ran, which "
                "cannot be compared with new ones; start a new study with --new, or undo the change"
            )
        return StudyDir(path, record, resumes=True)
    elif path.exists() and any(path.iterdir()):
        raise SpecError(f"{path}: not empty, and no study; give a new directory")
    path.mkdir(parents=True, exist_ok=True)
    study = StudyDir(path, about, resumes=False)
    study.write()
    return study


def _read(path: Path) -> dict:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
