"""Brings what a cloud job has written to runs/, where reports, notebooks and predict.py find it.

The run record is what makes a folder a run. It is read from the bucket first and written here last,
when all that was in the bucket with it is here, too: a copy that was interrupted is no run yet, and
the same command resumes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from launcher.cloud import object_names, storage
from launcher.cloud.clients import CloudError
from launcher.cloud.remote_job import RemoteJob
from launcher.cloud.storage import Store
from launcher.cloud.vertex import Vertex
from launcher.common.files import write_file
from launcher.local.run_dirs import RUNS

JOB = "vertex.json"  # the job as the service described it, and so where a folder came from
RECORD = r"(?i:^([^/]+/)?run\.json$)"  # of a run, or of a trial
STUDY = "study.json"
# What is written here beside a run; objects of the same names stay in the bucket.
OWN = r"(?i:^(vertex\.json|study\.(json|csv)|([^/]+/)?report\.html)$)"
TRIES = 4
# In the error for a file that is not as it was listed, or gone: old checkpoints are removed.
CHANGED = "changed meanwhile|No such object"


def fetch(jobs: Vertex, job: RemoteJob, say: Callable[[str], None] = print) -> int:
    """Copies the job's folder to runs/, and writes the reports; what is here already stays.

    Raises:
        CloudError: it has no folder, or it cannot be read, or another run lies here in its place;
            or the disk is full, or an object's name must not be written to it.
    """
    target = _target(job)
    store = Store(jobs.project, jobs.region, jobs.who)
    try:
        with storage.disk_errors(target):
            new = _copy(store, job, target, say)
            pages = _report(job, target, new)
    except KeyboardInterrupt:
        raise CloudError(f"{target}: interrupted; the same command brings the rest") from None
    if not any(target.glob("run.json")) and not any(target.glob("*/run.json")):
        say(f"{job.name} ({job.state.lower()}) has no run record there")
    elif not job.ended:
        say(f"{job.name} is {job.state.lower()}; later the same command brings the rest")
    elif not new:
        say("all of it was here already")
    for path in pages:
        say(f"{'report' if path.suffix == '.html' else 'job file'}: {path}")
    say(f"{'study' if job.tuning else 'run'} directory: {target}")
    return 0


def find_folder(job: RemoteJob) -> Path | None:
    """The local folder with what was fetched of a job; None where there is none."""
    folder = RUNS / _name(job)
    return folder if job.folder and _source(folder) == job.folder else None


def _target(job: RemoteJob) -> Path:
    if not storage.split(job.folder)[1]:
        what = f"writes to the top of {job.folder}" if job.folder else "has no baseOutputDirectory"
        raise CloudError(f"{job.name} {what}: nobody can tell what in a bucket is its own")
    name = _name(job)
    if faults := object_names.find_faults([name]):
        raise CloudError(
            f"{job.folder}: {faults[0]}, and no folder here can have its name; copy it under another: "
            f"gcloud storage cp -r {job.folder} FOLDER"
        )
    target = RUNS / name
    if target.exists() and _source(target) != job.folder:
        raise CloudError(
            f"{target}: is there already, and is not from {job.folder}; rename it, then try again"
        )
    return target


def _name(job: RemoteJob) -> str:
    """Its folder's name: unique in the bucket, and the one in its run record."""
    return re.sub(r"[^\w.-]+|^\.+", "-", job.folder.rpartition("/")[2]) or "-"


def _source(folder: Path) -> str:
    try:
        return RemoteJob(json.loads((folder / JOB).read_text(encoding="utf-8"))).folder
    except (OSError, ValueError, AttributeError):
        return ""


def _copy(store: Store, job: RemoteJob, target: Path, say: Callable[[str], None]) -> bool:
    """Brings all files, the run records last; returns whether anything has changed here."""
    listing = store.list_for_disk(job.folder, target)
    storage.refuse_obstacles([target / JOB])
    if own := [name for name in listing if re.search(OWN, name)]:
        say(f"left in the bucket, since fetch writes its own: {', '.join(own)}")
    names = [name for name in listing if re.search(RECORD, name)]
    with ThreadPoolExecutor(storage.AT_ONCE) as pool:
        read = pool.map(lambda name: store.read(f"{job.folder}/{name}"), names)
        records = {target / name: data for name, data in zip(names, read, strict=True)}
    message = json.dumps(job.message, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    description = {target / JOB: message.encode()}
    new = _differ(description) + _differ(records)
    if new:
        for path in (target / STUDY, *_differ(records)):  # no run, until all is here
            path.unlink(missing_ok=True)
        _write(description)
    changed = _sync(store, job, target, say)
    _write(records)
    return bool(new) or changed


def _sync(store: Store, job: RemoteJob, target: Path, say: Callable[[str], None]) -> bool:
    """Brings the files; a job that runs may change one while it comes, so there are several tries."""
    for left in reversed(range(TRIES)):
        try:
            skip = f"{RECORD}|{OWN}"
            return storage.sync(store, job.folder, target, skip=skip, say=say).files > 0
        except CloudError as error:
            if not left or not re.search(CHANGED, str(error)):
                raise
    raise AssertionError("the last try returns or raises")


def _differ(files: dict[Path, bytes]) -> list[Path]:
    return [path for path, data in files.items() if not path.is_file() or path.read_bytes() != data]


def _write(files: dict[Path, bytes]) -> None:
    for path in _differ(files):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, files[path])


def _report(job: RemoteJob, target: Path, new: bool) -> list[Path]:
    """Writes the pages that are missing, or older than their run; of a study, its own, too."""
    from launcher.report import report, runs

    written = []
    for record in sorted([*target.glob("run.json"), *target.glob("*/run.json")]):
        page = record.with_name("report.html")
        if page.exists() and page.stat().st_mtime >= record.stat().st_mtime:
            continue
        try:
            written.append(report.write(record.parent))
        except runs.RunError:  # damaged, since its trainer was killed
            continue
    if not job.tuning:
        return written
    from launcher.cloud import study

    return study.write(job, target) if new or not (target / STUDY).exists() else []
