"""Watches a cloud job: its lines as they come, its states, and how long it has been waiting."""

from __future__ import annotations

import shlex
import sys
import time

from launcher.cloud.clients import quota_page
from launcher.cloud.errors import CloudError
from launcher.cloud.logs import Line, Log
from launcher.cloud.remote_job import WAITS, RemoteJob
from launcher.cloud.vertex import Vertex
from launcher.common.times import format_span

POLL = 5.0  # seconds between two looks
LAST = 10.0  # seconds in which the last lines of an ended job must have come
LONG = 600.0  # seconds of waiting after which we say that this is long, and again after as many
DETACHED = 130  # exit code of Ctrl-C, as a shell counts it
TAIL = 15  # lines of a failed job
NO_ERROR = {"CANCELLED": "somebody stopped it, by jobs.py cancel or on its page"}


def watch(jobs: Vertex, job: RemoteJob) -> int:
    """Show a job until it has ended; return the exit code: 0, 1, or 130 after Ctrl-C.

    Raises:
        CloudError: the job cannot be looked at any more; it keeps running.
    """
    name = shlex.quote(job.name)
    back = f"come back: python scripts/jobs.py logs {name} --follow"
    try:
        return _print_end(jobs, _follow(jobs, job))
    except KeyboardInterrupt:
        print(f"\n[launcher] {job.name} keeps running without us\n{back}", flush=True)
        print(f"stop it: python scripts/jobs.py cancel {name}", flush=True)
        return DETACHED
    except CloudError as error:
        raise CloudError(f"{error}; the job keeps running; {back}") from None


def explain_waiting(project: str) -> str:
    """Why a job may wait for so long."""
    return (
        "no machine of this kind is free, or there is no quota for it, which the service does not "
        f"say; see {quota_page(project)}"
    )


def _follow(jobs: Vertex, job: RemoteJob) -> RemoteJob:
    """Show what the job does until it has ended; return it as it is then."""
    log, state, readable, warned = Log(jobs.connection, job), "", True, 0.0
    while True:
        job = jobs.get(job)
        if job.state != state and not job.ended:
            state = job.state
            print(f"[launcher] {job.name}: {state.lower()}", flush=True)
        if state in WAITS and job.age > warned + LONG:
            warned = job.age
            print(
                f"[launcher] {job.name} has been {state.lower()} for {format_span(job.age)}: "
                f"{explain_waiting(jobs.connection.project)}; "
                f"to give it up: python scripts/jobs.py cancel {job.name}",
                flush=True,
            )
        readable = readable and _print_new(log) is not None
        if job.ended:
            break
        time.sleep(POLL)
    end = time.monotonic() + LAST
    while readable and time.monotonic() < end:  # the last lines arrive after the end
        time.sleep(min(POLL, LAST / 2))
        if not _print_new(log):
            break
    return job


def _print_new(log: Log) -> int | None:
    """None where the log cannot be read; the job is watched on without it."""
    try:
        return log.print_new()
    except CloudError as error:
        print(f"[launcher] {error}", file=sys.stderr, flush=True)
        return None


def _print_end(jobs: Vertex, job: RemoteJob) -> int:
    """Print how a job ended; return the exit code: 0, or 1."""
    took = f" after {format_span(job.seconds)}" if job.seconds is not None else ""
    if job.succeeded:
        print(f"[launcher] {job.name} succeeded{took}: {job.folder}")
        return 0
    why = job.error or NO_ERROR.get(job.state, "the service gives no reason")
    print(f"error: {job.name} {job.state.lower()}{took}: {why}", file=sys.stderr)
    try:
        for line in _select_tail(Log(jobs.connection, job).read_last(200)):
            print(f"  {line}", file=sys.stderr)
    except CloudError as error:
        print(f"error: its log: {error}", file=sys.stderr)
    print(f"[launcher] its page: {job.page}", file=sys.stderr)
    return 1


def _select_tail(lines: list[Line]) -> list[Line]:
    """The last lines of the replica that printed an error last, or of anything."""
    replicas = [line.replica for line in lines if line.error] or [line.replica for line in lines]
    return [line for line in lines if line.replica == replicas[-1]][-TAIL:]
