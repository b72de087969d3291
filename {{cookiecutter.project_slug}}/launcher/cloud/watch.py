"""Watches a cloud job: its lines as they come, its states, and how long it has been waiting."""

import shlex
import sys
import time

from launcher.cloud import remote_job
from launcher.cloud.errors import CloudError
from launcher.cloud.log import open_job_log
from launcher.cloud.remote_job import WAITS, RemoteJob
from launcher.cloud.vertex import Vertex
from launcher.common.times import format_span

POLL = 5.0  # seconds between two looks
LAST = 10.0  # seconds in which the last lines of an ended job must have come
DETACHED = 130  # exit code of Ctrl-C, as a shell counts it
TAIL = 15  # lines of a failed job
NO_ERROR = {"CANCELLED": "somebody stopped it, by jobs.py cancel or on its page"}


def watch(vertex: Vertex, job: RemoteJob) -> int:
    """Show a job until it has ended; return the exit code: 0, 1, or 130 after Ctrl-C.

    Raises:
        CloudError: the job cannot be looked at any more; it keeps running.
    """
    name = shlex.quote(job.name)
    back = f"come back: python scripts/jobs.py logs {name} --follow"
    try:
        return _print_end(vertex, _follow(vertex, job))
    except KeyboardInterrupt:
        print(f"\n[launcher] {job.name} keeps running without us\n{back}", flush=True)
        print(f"stop it: python scripts/jobs.py cancel {name}", flush=True)
        return DETACHED
    except CloudError as error:
        raise CloudError(f"{error}; the job keeps running; {back}") from None


def _follow(vertex: Vertex, job: RemoteJob) -> RemoteJob:
    """Show what the job does until it has ended; return it as it is then."""
    log, state, warned = open_job_log(vertex.connection, job), "", 0.0
    while True:
        job = remote_job.refresh(vertex, job)
        if job.state != state and not job.ended:
            state = job.state
            print(f"[launcher] {job.name}: {state.lower()}", flush=True)
        if state in WAITS and job.age > warned + remote_job.LONG:
            warned = job.age
            print(
                f"[launcher] {job.name} has been {state.lower()} for {format_span(job.age)}: "
                f"{remote_job.explain_waiting(vertex.connection.project)}; "
                f"to give it up: python scripts/jobs.py cancel {job.name}",
                flush=True,
            )
        log.try_print_new()
        if job.ended:
            break
        time.sleep(POLL)
    end = time.monotonic() + LAST
    while time.monotonic() < end:  # the last lines arrive after the end
        time.sleep(min(POLL, LAST / 2))
        if not log.try_print_new():
            break
    return job


def _print_end(vertex: Vertex, job: RemoteJob) -> int:
    """Print how a job ended; return the exit code: 0, or 1."""
    took = f" after {format_span(job.seconds)}" if job.seconds is not None else ""
    if job.succeeded:
        print(f"[launcher] {job.name} succeeded{took}: {job.folder}")
        if job.deploy:
            print(f"[launcher] to serve its model: {job.deploy}", flush=True)
        return 0
    why = job.error or NO_ERROR.get(job.state, "the service gives no reason")
    print(f"error: {job.name} {job.state.lower()}{took}: {why}", file=sys.stderr)
    try:
        lines = open_job_log(vertex.connection, job).read_last(200)
        # Of the replica that printed an error last, or else anything.
        decisive = [line for line in lines if line.error] or lines
        for line in [line for line in lines if line.replica == decisive[-1].replica][-TAIL:]:
            print(f"  {line}", file=sys.stderr)
    except CloudError as error:
        print(f"error: its log: {error}", file=sys.stderr)
    print(f"[launcher] its page: {job.page}", file=sys.stderr)
    return 1
