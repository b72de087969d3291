"""Jobs on Vertex AI: sent once, listed, found, cancelled.

    jobs = Vertex(Connection("my-lab", "us-central1"))
    job = jobs.find("1234567890")
    jobs.cancel(job)

The requests are those of the API's REST reference: https://cloud.google.com/vertex-ai/docs/reference/rest
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Mapping

from launcher.cloud import clients, errors
from launcher.cloud.clients import Connection, Need
from launcher.cloud.errors import CloudError
from launcher.cloud.remote_job import RemoteJob

ID = "submission"  # the label by which a job is found whose answer was lost
COLLECTIONS = ("customJobs", "hyperparameterTuningJobs")  # jobs, studies
SETTLE = 3.0  # seconds until a new job appears in lists
PAGE = 100  # jobs in an answer, as many as the service gives
NEED = Need("roles/aiplatform.user", "aiplatform.googleapis.com")


class UnknownFate(CloudError):
    """A job was sent, its answer was lost, and it is not there yet: it may still start."""


class Vertex:
    """The jobs of one project in one region."""

    def __init__(self, connection: Connection):
        """Sends nothing yet."""
        self.connection = connection
        usual = f"https://{connection.region}-aiplatform.googleapis.com"
        self.base = f"{clients.endpoint('aiplatform', usual)}/v1"
        self.parent = f"projects/{connection.project}/locations/{connection.region}"

    def create(self, message: Mapping) -> RemoteJob:
        """Start a job, and never a second one, whatever happens to the answer.

        A request may take effect long after its client gave up, and the service has no request id
        that would make a second one harmless. So a request is repeated only if it surely had no
        effect; after any other failure the job is looked up by its label.

        Args:
            message: a whole CustomJob or HyperparameterTuningJob; no other job has its label
                `submission`.

        Raises:
            UnknownFate: nobody can say yet whether the job starts.
            CloudError: the job was refused, and does not start.
        """
        job = RemoteJob(message)
        send = errors.retry(errors.had_no_effect)(self._send)
        with self.connection.explain_errors("start the job", NEED):
            try:
                return send(job)
            except Exception as error:
                cut_off = isinstance(error, errors.sdk("requests.exceptions").JSONDecodeError)
                lost = errors.is_transient(error) and not errors.had_no_effect(error)
                if not (cut_off or lost):
                    raise
                reason = errors.clean(error)
        return self._wait_for(job, reason)

    def get(self, job: RemoteJob) -> RemoteJob:
        """The same job as it is now."""
        return self._get(f"look at {job.name}", job.resource)

    def list(self, filter: str = "", most: int = PAGE) -> list[RemoteJob]:
        """Jobs and studies, the newest first.

        Args:
            filter: the service's own words, such as labels.project="penguins" AND state!="…".
        """
        what = "list the jobs"
        jobs = [job for c in COLLECTIONS for job in self._list(what, c, filter, most)]
        jobs.sort(key=lambda job: job.message.get("createTime", ""), reverse=True)
        return jobs[:most]

    def find(self, number: str) -> RemoteJob | None:
        """The job or study of this number; None where there is none."""
        for collection in COLLECTIONS:
            try:
                return self._get(f"look for {number}", f"{self.parent}/{collection}/{number}")
            except CloudError as error:
                if error.status != 404:
                    raise
        return None

    def find_sent(self, label: str, tuning: bool) -> RemoteJob | None:
        """The job that was sent with this label `submission`; None where there is none yet."""
        what, filter = "look whether the job started", f'labels.{ID}="{label}"'
        return next(self._list(what, COLLECTIONS[tuning], filter, 1), None)

    def cancel(self, job: RemoteJob) -> None:
        """Ask the service to stop a job; it ends some moments later."""
        url = f"{self.base}/{job.resource}:cancel"
        self.connection.ask(f"cancel {job.name}", NEED, "POST", url, json={})

    def _send(self, job: RemoteJob) -> RemoteJob:
        url = f"{self.base}/{self.parent}/{COLLECTIONS[job.tuning]}"
        body = dict(job.message)
        return RemoteJob(clients.ask(self.connection.session, "POST", url, False, json=body))

    def _get(self, what: str, resource: str) -> RemoteJob:
        return RemoteJob(self.connection.ask(what, NEED, "GET", f"{self.base}/{resource}"))

    def _list(self, what: str, collection: str, filter: str, most: int) -> Iterator[RemoteJob]:
        url, query = f"{self.base}/{self.parent}/{collection}", {"pageSize": min(most, PAGE)}
        query |= {"filter": filter} if filter else {}
        jobs = self.connection.ask_pages(what, NEED, "GET", url, collection, query)
        return map(RemoteJob, itertools.islice(jobs, most))

    def _wait_for(self, job: RemoteJob, lost: str) -> RemoteJob:
        """Look for a job whose answer was lost, for as long as a request is usually repeated."""
        problem = ""
        words = f"[launcher] no good answer ({lost}): looking whether the job started"
        print(f"{words}, for up to {errors.LIMIT:.0f} s", file=sys.stderr, flush=True)
        pause, end = errors.FIRST, time.monotonic() + errors.LIMIT
        while time.monotonic() < end:
            time.sleep(max(pause, SETTLE))
            pause = min(2 * pause, errors.LONGEST)
            try:
                if started := self.find_sent(job.labels[ID], job.tuning):
                    return started
                problem = ""
            except CloudError as error:
                problem = f" ({error})"
        raise UnknownFate(
            f"start the job: no good answer ({lost}), and it is unknown whether {job.name} starts"
            f"{problem}; python scripts/jobs.py show {job.name} shows whether it did; the same "
            "command looks, too, and sends nothing while this is unknown"
        )
