"""Sends a job once, whatever happens to the command that sends it.

A note of the job lies in runs/ from just before it is sent until its fate is known: the command may be
interrupted or killed meanwhile. The same command, given again, reads the note first.
"""

import json
import time
from pathlib import Path

from launcher.cloud.errors import CloudError
from launcher.cloud.remote_job import COLLECTIONS, RemoteJob
from launcher.cloud.submission import ID, Submission
from launcher.cloud.vertex import Step, UnknownFate, Vertex
from launcher.common.document import SpecError
from launcher.local.run_dirs import RUNS

FOLDER = RUNS / ".pending"
LATEST = 600.0  # seconds after which a request without effect will never have one


def send(vertex: Vertex, submission: Submission) -> RemoteJob:
    """Start a job that `find_sent` has not found; never a second one, whatever happens.

    Raises:
        UnknownFate: nobody can say yet whether the job starts; the note stays.
        SpecError: the job was refused, or another command is sending it. Or Ctrl-C came meanwhile,
            and the note stays.
    """
    note, show = write_note(submission), f"python scripts/jobs.py show {submission.name}"
    step = Step(
        "start the job",
        f"{vertex.parent}/{COLLECTIONS[submission.job.tuning]}",
        submission.message,
        look="whether the job started",
        fate=f"it is unknown whether {submission.name} starts{{}}; {show} shows whether it did; the "
        "same command looks, too, and sends nothing while this is unknown",
    )
    try:
        answer = vertex.create(step, lambda: _find(vertex, submission, submission.labels[ID]))
    except KeyboardInterrupt:
        raise SpecError(
            f"interrupted while the job was being sent: {show} shows whether it runs"
        ) from None
    except CloudError as error:
        if not isinstance(error, UnknownFate):
            note.unlink(missing_ok=True)
        raise
    note.unlink(missing_ok=True)
    return RemoteJob(answer)


def find_sent(vertex: Vertex, submission: Submission) -> RemoteJob | None:
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
            f"{note}: cannot be read; python scripts/jobs.py list shows whether the job runs; "
            "then delete this file"
        ) from None
    job = _find(vertex, submission, label)
    if not job and time.time() < until:
        clock = time.strftime("%H:%M:%S", time.localtime(until))
        raise CloudError(
            f"{name} was sent before, its answer was lost, and it may still start: nothing is sent "
            f"again before {clock}; python scripts/jobs.py show {name} shows whether it started"
        )
    note.unlink(missing_ok=True)
    return RemoteJob(job) if job else None


def _find(vertex: Vertex, submission: Submission, label: str) -> dict | None:
    """The job with this label `submission`; None where there is none yet."""
    collection, filter = COLLECTIONS[submission.job.tuning], f'labels.{ID}="{label}"'
    return next(iter(vertex.list(collection, "look whether the job started", filter, 1)), None)


def find_note(submission: Submission) -> Path:
    """The note of a job, whatever the job's name; the file may be missing."""
    return FOLDER / f"{submission.fingerprint}.json"


def write_note(submission: Submission) -> Path:
    """Note that a job is about to be sent; return the note.

    Raises:
        CloudError: another command is sending it, or the note cannot be written: then nothing may
            be sent.
    """
    note = find_note(submission)
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
    return note
