"""Finds files of this machine among a job's flags: where the job runs there will be none of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from launcher.common.document import Fault
from launcher.jobfile.job import Job
from launcher.project.settings import ROOT

INSIDE = ("data/",)  # what the project's image holds


def find(job: Job, flags: Sequence[str], bucket: str, image: bool) -> list[Fault]:
    """A fault for each path of this machine.

    Args:
        flags: that come after the file's own args.
        bucket: where a copy may lie.
        image: the trainer travels in the project's image.
    """
    faults = [_fault(job, "", path, bucket) for path in _all(flags, image)]
    for pool in job.pools:
        if pool.program.foreign:
            continue  # its args name files of its own image
        for where, word in pool.args():
            paths = _all([word], image and pool.program.needs == "image")
            faults += [_fault(job, where, path, bucket) for path in paths]
    return faults


def _fault(job: Job, where: str, path: str, bucket: str) -> Fault:
    what = f"{path} is on this machine, and the job runs on another"
    copied = f"gcloud storage cp -r {shlex.quote(path)} gs://{bucket}/data/"
    line = job.line(where) if where else 0
    return Fault(job.path, line, where, what, f"run {copied} and name the copy")


def _all(words: Sequence[str], image: bool) -> Iterator[str]:
    """A value is taken for a path where it has a / and there is such a file or folder here."""
    for word in words:
        value = word.partition("=")[2] if word.startswith("-") else word
        for text in filter(None, value.split(",")):
            if "/" not in text or "://" in text or text.startswith("/gcs/"):
                continue
            if image and text.startswith(INSIDE):
                continue
            path = Path(text)
            while re.search(r"[*?\[]", path.name):  # of a pattern, the folder before it
                path = path.parent
            if (ROOT / path).exists() and path != Path("/"):
                yield text
