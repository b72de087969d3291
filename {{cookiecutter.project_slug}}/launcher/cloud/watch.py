"""Watch a cloud job: its lines as they come, its states, and how long it has been waiting.

The lines of jobs, and of endpoints, are in Cloud Logging.
"""

import re
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from launcher.cloud import clients, remote_job
from launcher.cloud.clients import Connection, Need
from launcher.cloud.errors import CloudError
from launcher.cloud.remote_job import WAITS, RemoteJob
from launcher.cloud.vertex import Vertex
from launcher.common.times import format_span, parse_time
from launcher.local.contract import ROLES

POLL = 5.0  # seconds between two looks
LAST = 10.0  # seconds in which the last lines of an ended job must have come
DETACHED = 130  # exit code of Ctrl-C, as a shell counts it
TAIL = 15  # lines of a failed job
NO_ERROR = {"CANCELLED": "somebody stopped it, by jobs.py cancel or on its page"}
NEED = Need("roles/logging.viewer")
PAGE = 1000  # entries in an answer, as many as the service gives
LATE = 30  # seconds that an entry may arrive after one that is younger
NOISE = r"WARNING: All log messages before absl|I0000 "  # what TensorFlow's C++ prints of itself


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


@dataclass(frozen=True)
class Line:
    """One line of a replica's output."""

    replica: str  # "chief:0"; "service" for Vertex AI itself
    text: str
    error: bool

    def __str__(self) -> str:
        return f"{self.replica} | {self.text}"


class Log:
    """One log; `print_new` prints each line once."""

    def __init__(self, connection: Connection, what: str, filter: str, several: bool = False):
        """Read nothing yet.

        Args:
            what: whose log it is, for messages.
            several: print the replica before each line.
        """
        self.connection, self.what, self.filter = connection, f"read the log{what}", filter
        self.several, self.readable = several, True
        self.newest = ""  # time of an entry, as the service writes it
        self.seen: set[str] = set()

    def print_new(self) -> int:
        """Print the lines that came since the last call, in the order of their times; return how many."""
        since, count = "", 0
        if self.newest:  # what is late has an older time than what was on time
            before = parse_time(self.newest[:19]) - timedelta(seconds=LATE)
            since = f' AND timestamp>="{before:%Y-%m-%dT%H:%M:%SZ}"'
        for entry in self._list_entries("timestamp asc", since):
            time = entry.get("timestamp", "")
            if (key := f"{entry.get('insertId')} {time}") in self.seen:
                continue
            self.seen.add(key)
            self.newest = max(self.newest, time)
            for line in _read_lines(entry):
                print(line if self.several else line.text, flush=True)
                count += 1
        return count

    def try_print_new(self) -> int:
        """The same for a log that may be unreadable, which is reported once; 0 then."""
        try:
            return self.print_new() if self.readable else 0
        except CloudError as error:
            print(f"[launcher] {error}", file=sys.stderr, flush=True)
            self.readable = False
            return 0

    def read_last(self, number: int) -> list[Line]:
        """The last lines that replicas have printed, the oldest first."""
        lines: list[Line] = []
        for entry in self._list_entries("timestamp desc"):
            lines = [*_read_lines(entry), *lines]
            if len(lines) >= number:
                break
        return lines[-number:]

    def _list_entries(self, order: str, since: str = "") -> Iterator[dict]:
        query = {
            "resourceNames": [f"projects/{self.connection.project}"],
            "filter": f"{self.filter}{since}",
            "orderBy": order,
            "pageSize": PAGE,
        }
        url = f"{clients.endpoint('logging')}/v2/entries:list"
        return self.connection.list_pages(self.what, NEED, url, "entries", query, "POST")


def open_job_log(connection: Connection, job: RemoteJob) -> Log:
    """The log of a job's replicas, and of the service about them."""
    filter = f'resource.type="ml_job" AND resource.labels.job_id="{job.id}"'
    return Log(connection, f" of {job.name}", filter, job.several)


def open_endpoint_log(connection: Connection, endpoint: str) -> Log:
    """The log of the containers behind an endpoint, by its resource name."""
    kind, number = "aiplatform.googleapis.com/Endpoint", endpoint.rpartition("/")[2]
    return Log(connection, "", f'resource.type="{kind}" AND resource.labels.endpoint_id="{number}"')


def _read_lines(entry: dict) -> list[Line]:
    payload = entry.get("jsonPayload") or {}
    text = payload.get("message") or entry.get("textPayload") or ""
    task = ((entry.get("resource") or {}).get("labels") or {}).get("task_name", "")
    replica = task or "service"
    if match := re.fullmatch(r"workerpool([0-3])-(\d+)", task):
        replica = f"{ROLES[int(match[1])]}:{match[2]}"
    error = entry.get("severity") in ("ERROR", "CRITICAL", "ALERT", "EMERGENCY")
    lines = (part for part in str(text).splitlines() if not re.match(NOISE, part))
    return [Line(replica, part, error) for part in lines]
