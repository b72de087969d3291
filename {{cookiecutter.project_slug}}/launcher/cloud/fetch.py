"""Brings what a cloud job has written to runs/, where reports, notebooks and predict.py find it.

The run record is what makes a folder a run. It is read from the bucket first and written here last,
when all that was in the bucket with it is here, too: a copy that was interrupted is no run yet, and
the same command resumes it.
"""

import json
import re
from collections.abc import Container
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from launcher.cloud import local_files, object_names, storage
from launcher.cloud.errors import CloudError
from launcher.cloud.local_files import AT_ONCE
from launcher.cloud.remote_job import RemoteJob
from launcher.cloud.storage import Store
from launcher.common.files import read_json, write_file
from launcher.local.run_dirs import LOCKS, RUNS

JOB = "vertex.json"  # the job as the service described it, and so where a folder came from
RECORD = r"(?i:^([^/]+/)?run\.json$)"  # of a run, or of a trial
STUDY = "study.json"
# What is written here beside a run; objects of the same names stay in the bucket.
OWN = r"(?i:^(vertex\.json|study\.(json|csv)|([^/]+/)?report\.html)$)"
ATTEMPTS = 4
# In the error for a file that is not as it was listed, or gone: old checkpoints are removed.
CHANGED = "changed meanwhile|No such object|atisfiable"


def fetch(store: Store, job: RemoteJob) -> Path:
    """Copy the job's folder to runs/, and write the reports; what is here already stays.

    Returns the folder here.

    Raises:
        CloudError: it has no folder, or it cannot be read, or another run lies here in its place;
            or the disk is full, or an object's name must not be written to it.
    """
    target = _choose_target(job)
    try:
        with local_files.disk_errors(target):
            new = _copy(store, job, target)
            pages = _write_reports(job, target, new)
    except KeyboardInterrupt:
        raise CloudError(f"{target}: interrupted; the same command brings the rest") from None
    if not _find_records(target):
        print(f"{job.name} ({job.state.lower()}) has no run record there")
    elif not job.ended:
        print(f"{job.name} is {job.state.lower()}; later the same command brings the rest")
    elif not new:
        print("all of it was here already")
    for path in pages:
        print(f"{'report' if path.suffix == '.html' else 'job file'}: {path}")
    print(f"{'study' if job.tuning else 'run'} directory: {target}")
    return target


def _choose_target(job: RemoteJob) -> Path:
    if not storage.split(job.folder)[1]:
        what = f"writes to the top of {job.folder}" if job.folder else "has no baseOutputDirectory"
        raise CloudError(f"{job.name} {what}: nobody can tell what in a bucket is its own")
    # Unique in the bucket, and the one in its run record.
    name = re.sub(r"[^\w.-]+|^\.+", "-", job.folder.rpartition("/")[2]) or "-"
    if faults := object_names.find_faults([name]):
        raise CloudError(
            f"{job.folder}: {faults[0]}, and no folder here can have its name; copy it under another: "
            f"gcloud storage cp -r {job.folder} FOLDER"
        )
    target = RUNS / name
    if target.exists() and read_source(target) != job.folder:
        raise CloudError(
            f"{target}: is there already, and is not from {job.folder}; rename it, then try again"
        )
    return target


def read_source(folder: Path) -> str:
    """The folder of the bucket that a local folder was fetched from; "" for any other folder."""
    try:
        return RemoteJob(read_json(folder / JOB)).folder
    except AttributeError:  # somebody has edited it
        return ""


def _find_records(target: Path) -> list[Path]:
    return sorted([*target.glob("run.json"), *target.glob("*/run.json")])


def _refuse_continued(target: Path, names: Container[str]) -> None:
    """Raise CloudError where a run on this machine has written over what was fetched: it would be lost."""
    for path in target.rglob(".*.lock"):
        name = path.relative_to(target).as_posix()
        if path.name in LOCKS and name not in names:
            raise CloudError(
                f"{path.parent}: a run on this machine has continued there; rename {target}, then try "
                "again"
            )


def _copy(store: Store, job: RemoteJob, target: Path) -> bool:
    """Bring all files, the run records last; return whether anything has changed here."""
    names = store.list_for_disk(job.folder, target)
    _refuse_continued(target, names)
    local_files.refuse_obstacles(target, [JOB])
    if own := [name for name in names if re.search(OWN, name)]:
        print(f"left in the bucket, since fetch writes its own: {', '.join(own)}")
    in_bucket = [name for name in names if re.search(RECORD, name)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        read = pool.map(lambda name: store.read(f"{job.folder}/{name}"), in_bucket)
        contents = {target / name: data for name, data in zip(in_bucket, read, strict=True)}
    message = json.dumps(job.message, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    contents[target / JOB] = message.encode()
    outdated = {
        path: data
        for path, data in contents.items()
        if not path.is_file() or path.read_bytes() != data
    }
    if outdated:
        for path in (target / STUDY, *outdated):  # no run, until all is here
            path.unlink(missing_ok=True)
        target.mkdir(parents=True, exist_ok=True)
        write_file(target / JOB, message)  # whose folder this is
    for left in reversed(range(ATTEMPTS)):  # the files of a running job may change meanwhile
        try:
            copied = storage.download_folder(store, job.folder, target, f"{RECORD}|{OWN}")
            break
        except CloudError as error:
            if not left or not re.search(CHANGED, str(error)):
                raise
    for path, data in outdated.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, data)
    return bool(outdated or copied)


def _write_reports(job: RemoteJob, target: Path, new: bool) -> list[Path]:
    """Write the pages that are missing, or older than their run, and of a study its own files.

    Returns:
        The files to show: of a study, those of its trials are too many.
    """
    from launcher.report import report, runs

    written = []
    for record in _find_records(target):
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
