"""Sends a job once, also where its answer is lost or the command is killed.

A request may take effect minutes after its client gave up, was interrupted or was killed. A note of
the job lies in runs/ from just before it is sent until its fate is known; the same command, given
again, reads it first.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from launcher.cloud.errors import CloudError
from launcher.cloud.remote_job import RemoteJob
from launcher.cloud.submission import Submission
from launcher.cloud.vertex import ID, UnknownFate, Vertex
from launcher.common.document import SpecError
from launcher.local.run_dirs import RUNS

FOLDER = RUNS / ".pending"
LATEST = 600.0  # seconds after which a request without effect will never have one


def find_note(submission: Submission) -> Path:
    """The note of a job, whatever the job's name; the file may be missing."""
    return FOLDER / f"{submission.fingerprint}.json"


def find_sent(submission: Submission, jobs: Vertex) -> RemoteJob | None:
    """The job that an earlier command sent, if it is there; None where it may be sent now.

    Raises:
        CloudError: nobody knows yet whether it starts, so it must not be sent again.
    """
    note = find_note(submission)
    try:
        facts = json.loads(note.read_text(encoding="utf-8"))
        name, label, until = facts["name"], facts["label"], float(facts["time"]) + LATEST
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, LookupError, TypeError):
        raise CloudError(
            f"{note}: cannot be read; python scripts/jobs.py list shows whether the job runs; then "
            "delete this file"
        ) from None
    job = jobs.find_sent(label, submission.job.tuning)
    if not job and time.time() < until:
        clock = time.strftime("%H:%M:%S", time.localtime(until))
        raise CloudError(
            f"{name} was sent before, its answer was lost, and it may still start: nothing is sent "
            f"again before {clock}; python scripts/jobs.py show {name} shows whether it started"
        )
    note.unlink(missing_ok=True)
    return job


def send(submission: Submission, jobs: Vertex) -> RemoteJob:
    """Send a job that `find_sent` has not found.

    Raises:
        UnknownFate: nobody knows whether it starts; the note stays.
        SpecError: it was refused, or another command is sending it; or Ctrl-C came meanwhile, and
            the note stays.
    """
    note = find_note(submission)
    write_note(note, submission)
    try:
        job = jobs.create(submission.message)
    except UnknownFate:
        raise
    except CloudError:
        note.unlink(missing_ok=True)
        raise
    except KeyboardInterrupt:
        raise SpecError(
            f"interrupted while the job was being sent: python scripts/jobs.py show "
            f"{submission.name} shows whether it runs"
        ) from None
    note.unlink(missing_ok=True)
    return job


def write_note(note: Path, submission: Submission) -> None:
    """Note that a job is about to be sent.

    Raises:
        CloudError: another command is sending it, or the note cannot be written: then nothing may
            be sent.
    """
    facts = {"name": submission.name, "label": submission.labels[ID], "time": time.time()}
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with open(note, "x", encoding="utf-8") as file:
            file.write(json.dumps(facts))
    except OSError as error:
        if note.exists():
            raise CloudError(
                "another command is sending the same job just now; give this one again when that "
                "one has ended"
            ) from None
        raise CloudError(
            f"{note}: cannot be written ({error.strerror or error}), and nothing is sent without "
            "it: it keeps a job from starting twice"
        ) from None
