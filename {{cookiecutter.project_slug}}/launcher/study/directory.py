"""The directory of a study: which one resumes, and that no two processes run the same one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from launcher.common.document import SpecError
from launcher.common.files import read_json, write_file
from launcher.jobfile.job import Job
from launcher.jobfile.program import FOLDERS
from launcher.local import run_dirs
from launcher.project import sources

RUNNING, FINISHED, FAILED = "running", "finished", "failed"
# {key of study.json: what must be as it was when the study began}
KEPT = {
    "made_from": "parameters, metric or job",
    "flags": "trainer flags",
    "sources": f"code in {'/ or '.join(FOLDERS)}/",
}


class StudyDir:
    """A study's directory, locked by this process until `close`, and the content of its study.json."""

    def __init__(self, path: Path, about: dict, resumes: bool):
        """Lock the directory.

        Raises:
            SpecError: another process has locked it.
        """
        self.path, self.about, self.resumes = path, about, resumes
        self._lock = run_dirs.acquire(path, "study.lock", "start another study with --new").lock
        self.was_killed = resumes and not about.get("closed")  # the launcher before this one
        self.write(closed=False)

    def write(self, **about) -> None:
        """Update study.json."""
        self.about |= about
        text = json.dumps(self.about, indent=2, ensure_ascii=False) + "\n"
        write_file(self.path / "study.json", text)

    def close(self) -> None:
        """Unlock the directory: no replica is left."""
        self.write(closed=True)
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
        "job": job.file.path.name,
        "made_from": job.digest,
        "sources": sources.digest(FOLDERS),
        "flags": list(flags),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    if path is None and not new:
        wanted = {key: about[key] for key in ("made_from", "flags", "state")}
        files = [f for f in runs.glob("*/study.json") if wanted.items() <= read_json(f).items()]
        path = max(files, key=lambda file: file.stat().st_mtime).parent if files else None
    if path is None:
        path = run_dirs.make(job.file.path.stem, runs)
    elif (path / "study.json").exists():
        # Studies of older versions do not know their sources.
        record = {"sources": about["sources"], **read_json(path / "study.json")}
        if new:
            raise SpecError(f"{path}: holds a study already; give another directory, or no --new")
        for key, what in KEPT.items():
            if record.get(key) != about[key]:
                raise SpecError(
                    f"{path}: holds a study with other {what}, whose trials cannot be compared with "
                    "new ones; undo the change, or start a new study with --new, without --job-dir"
                )
        return StudyDir(path, record, resumes=True)
    elif path.exists() and any(path.iterdir()):
        raise SpecError(f"{path}: not empty, and no study; give a new directory")
    return StudyDir(path, about, resumes=False)
