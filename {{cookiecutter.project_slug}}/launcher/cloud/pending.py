"""Remembers a job while nobody knows whether it started, so that it is never sent twice.

A request may take effect minutes after its client gave up, was interrupted or was killed. The note
of a job lies in runs/ from just before it is sent until its fate is known; the same command, given
again, reads it first.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from launcher.cloud.clients import CloudError
from launcher.cloud.remote_job import RemoteJob
from launcher.cloud.submission import Submission
from launcher.cloud.vertex import ID, Vertex
from launcher.local.run_dirs import RUNS

FOLDER = RUNS / ".pending"
LATEST = 600.0  # seconds after which a request without effect will never have one


@dataclass(frozen=True)
class Note:
    """The note of one job, whatever its name; its file may be missing."""

    path: Path

    @classmethod
    def of(cls, submission: Submission) -> Note:
        return cls(FOLDER / f"{submission.fingerprint}.json")

    def write(self, submission: Submission) -> None:
        """Note that a job is about to be sent.

        Raises:
            CloudError: another command is sending it, or the note cannot be written: then nothing
                may be sent.
        """
        facts = {"name": submission.name, "label": submission.labels[ID], "time": time.time()}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "x", encoding="utf-8") as file:
                file.write(json.dumps(facts))
        except OSError as error:
            if self.path.exists():
                raise CloudError(
                    "another command is sending the same job just now; give this one again when "
                    "that one has ended"
                ) from None
            raise CloudError(
                f"{self.path}: cannot be written ({error.strerror or error}), and nothing is sent "
                "without it: it keeps a job from starting twice"
            ) from None

    def clear(self) -> None:
        """Forget the job: it runs, or will never run."""
        self.path.unlink(missing_ok=True)

    def resolve(self, jobs: Vertex, tuning: bool) -> RemoteJob | None:
        """The job that an earlier command sent, if it is there; None where it may be sent now.

        Raises:
            CloudError: nobody knows yet whether it starts, so it must not be sent again.
        """
        try:
            facts = json.loads(self.path.read_text(encoding="utf-8"))
            name, label, sent = facts["name"], facts["label"], float(facts["time"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, LookupError, TypeError):
            raise CloudError(
                f"{self.path}: cannot be read; python scripts/jobs.py list shows whether the job "
                "runs; then delete this file"
            ) from None
        job = jobs.labelled(label, tuning)
        until = sent + LATEST
        if not job and time.time() < until:
            clock = time.strftime("%H:%M:%S", time.localtime(until))
            raise CloudError(
                f"{name} was sent before, its answer was lost, and it may still start: nothing is "
                f"sent again before {clock}; python scripts/jobs.py show {name} shows whether it "
                "started"
            )
        self.clear()
        return job
