"""What the replicas of a cloud job print, read from Cloud Logging as it arrives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from launcher.cloud import clients
from launcher.cloud.clients import Need
from launcher.cloud.vertex import RemoteJob, Vertex
from launcher.common.times import parse_time
from launcher.local.contract import ROLES

PAGE = 1000  # entries in an answer, as many as the service gives
LATE = 30  # seconds that an entry may arrive after one that is younger


@dataclass(frozen=True)
class Line:
    """One line of a replica's output."""

    replica: str  # "chief:0"; "service" for Vertex AI itself
    text: str
    time: str  # as the service writes it
    error: bool


class Log:
    """The log of one job; `new` gives each line once."""

    def __init__(self, jobs: Vertex, job: RemoteJob):
        self.jobs, self.job = jobs, job
        self.session = clients.session(jobs.who)
        self.need = Need("logging.googleapis.com", "roles/logging.viewer", jobs.project)
        self.newest = ""
        self.seen: set[str] = set()

    def new(self) -> list[Line]:
        """The lines that came since the last call, in the order of their times.

        Raises:
            CloudError: the log cannot be read.
        """
        since = [f'timestamp>="{_before(self.newest)}"'] if self.newest else []
        lines = []
        for entry in self._entries(since, "timestamp asc"):
            key = f"{entry.get('insertId')} {entry.get('timestamp')}"
            if key not in self.seen:
                self.seen.add(key)
                self.newest = max(self.newest, entry.get("timestamp", ""))
                lines += _lines(entry)
        return lines

    def last(self, number: int) -> list[Line]:
        """The last lines that replicas have printed."""
        lines: list[Line] = []
        for entry in self._entries([], "timestamp desc"):
            lines = [*_lines(entry), *lines]
            if len(lines) >= number:
                break
        return lines[-number:]

    def _entries(self, more: list[str], order: str) -> Iterator[dict]:
        words = ['resource.type="ml_job"', f'resource.labels.job_id="{self.job.id}"', *more]
        base = clients.endpoint("logging")
        body = {
            "resourceNames": [f"projects/{self.jobs.project}"],
            "filter": " AND ".join(words),
            "orderBy": order,
            "pageSize": PAGE,
        }
        while True:
            with clients.explain_errors(
                f"read the log of {self.job.name}", self.need, self.jobs.who
            ):
                answer = clients.ask(self.session, "POST", f"{base}/v2/entries:list", json=body)
            yield from answer.get("entries") or []
            if not answer.get("nextPageToken"):
                return
            body["pageToken"] = answer["nextPageToken"]


def _before(time: str) -> str:
    """A while before a time: what is late has an older time than what was on time."""
    return (parse_time(time[:19]) - timedelta(seconds=LATE)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _lines(entry: dict) -> list[Line]:
    payload = entry.get("jsonPayload") or {}
    text = payload.get("message") or entry.get("textPayload") or ""
    task = ((entry.get("resource") or {}).get("labels") or {}).get("task_name", "")
    replica, time = _replica(task), entry.get("timestamp", "")
    error = entry.get("severity") in ("ERROR", "CRITICAL", "ALERT", "EMERGENCY")
    return [Line(replica, part, time, error) for part in str(text).splitlines()]


def _replica(task: str) -> str:
    """ "workerpool1-0" → "worker:0" """
    match = re.fullmatch(r"workerpool([0-3])-(\d+)", task)
    return f"{ROLES[int(match[1])]}:{match[2]}" if match else task or "service"
