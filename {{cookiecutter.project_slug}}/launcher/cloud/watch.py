"""Watches a cloud job: its lines as they come, its states, and how long it has been waiting."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Callable

from launcher.cloud.clients import CloudError
from launcher.cloud.logs import Line, Log
from launcher.cloud.vertex import WAITS, RemoteJob, Vertex
from launcher.common.times import format_span

POLL = 5.0  # seconds between two looks
LAST = 10.0  # seconds in which the last lines of an ended job must have come
LONG = 600.0  # seconds of waiting after which we say that this is long, and again after as many
DETACHED = 130  # exit code of Ctrl-C, as a shell counts it
TAIL = 15  # lines of a failed job
NO_ERROR = {"CANCELLED": "somebody stopped it, by jobs.py cancel or on its page"}
NOISE = r"WARNING: All log messages before absl|I0000 "  # what TensorFlow's C++ prints of itself


def run(jobs: Vertex, job: RemoteJob) -> int:
    """Shows a job until it has ended; returns the exit code: 0, 1, or 130 after Ctrl-C.

    Raises:
        CloudError: the job cannot be looked at any more; it keeps running.
    """
    name = shlex.quote(job.name)
    back = f"come back: python scripts/jobs.py logs {name} --follow"
    try:
        return outcome(jobs, follow(jobs, job, _say))
    except KeyboardInterrupt:
        _say(f"\n[launcher] {job.name} keeps running without us\n{back}")
        _say(f"stop it: python scripts/jobs.py cancel {name}")
        return DETACHED
    except CloudError as error:
        raise CloudError(f"{error}; the job keeps running; {back}") from None


def follow(jobs: Vertex, job: RemoteJob, say: Callable[[str], None] = print) -> RemoteJob:
    """Shows what the job does until it has ended; returns it as it is then.

    Raises:
        CloudError: it cannot be looked at any more.
        KeyboardInterrupt: the user has seen enough; the job keeps running.
    """
    log, state, readable = Log(jobs, job), "", True
    several = job.replicas > 1 or job.tuning
    warned = 0.0
    while True:
        job = jobs.get(job)
        if job.state != state and not job.ended:
            state = job.state
            say(f"[launcher] {job.name}: {state.lower()}")
        if state in WAITS and (waited := job.age) > warned + LONG:
            warned = waited
            say(_waiting(jobs, job, waited))
        if readable:
            readable = _show(log, several, say)
        if job.ended:
            break
        time.sleep(POLL)
    end = time.monotonic() + LAST
    while readable and time.monotonic() < end:  # the last lines arrive after the end
        time.sleep(min(POLL, LAST / 2))
        if not _show(log, several, say):
            break
    return job


def outcome(jobs: Vertex, job: RemoteJob) -> int:
    """Prints how a job ended; returns the exit code: 0, or 1."""
    took = f" after {format_span(job.seconds)}" if job.seconds is not None else ""
    if job.succeeded:
        print(f"[launcher] {job.name} succeeded{took}: {job.folder}")
        return 0
    why = job.error or NO_ERROR.get(job.state, "the service gives no reason")
    print(f"error: {job.name} {job.state.lower()}{took}: {why}", file=sys.stderr)
    try:
        lines = _tail(Log(jobs, job).last(200))
    except CloudError as error:
        print(f"error: its log: {error}", file=sys.stderr)
        lines = []
    for line in lines:
        print(f"  {line.replica} | {line.text}", file=sys.stderr)
    print(f"[launcher] its page: {job.page}", file=sys.stderr)
    return 1


def _show(log: Log, several: bool, say: Callable[[str], None]) -> bool:
    """False where the log cannot be read; the job is watched on without it."""
    try:
        for line in log.new():
            if not re.match(NOISE, line.text):
                say(f"{line.replica} | {line.text}" if several else line.text)
    except CloudError as error:
        print(f"[launcher] {error}", file=sys.stderr, flush=True)
        return False
    return True


def _tail(lines: list[Line]) -> list[Line]:
    """The last lines of the replica that printed an error last, or of anything."""
    lines = [line for line in lines if not re.match(NOISE, line.text)]
    replicas = [line.replica for line in lines if line.error] or [line.replica for line in lines]
    return [line for line in lines if line.replica == replicas[-1]][-TAIL:] if replicas else []


def _waiting(jobs: Vertex, job: RemoteJob, seconds: float) -> str:
    page = f"https://console.cloud.google.com/iam-admin/quotas?project={jobs.project}"
    return (
        f"[launcher] {job.name} has been {job.state.lower()} for {format_span(seconds)}: no machine of "
        "this kind is free, or there is no quota for it, which the service does not tell; see "
        f"{page}; to give it up: python scripts/jobs.py cancel {job.name}"
    )


def _say(text: str) -> None:
    print(text, flush=True)
