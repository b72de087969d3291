"""Jobs on Vertex AI: sent once, listed, stopped.

    jobs = Vertex("my-lab", "us-central1")
    job = jobs.find("1234567890")
    jobs.cancel(job)

Google's own client sends them, over REST, so that a proxy or a stand-in sees what is sent.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Mapping

from launcher.cloud import clients
from launcher.cloud.clients import CloudError, Need
from launcher.cloud.remote_job import WAITS, RemoteJob

__all__ = ["ID", "WAITS", "RemoteJob", "UnknownFate", "Vertex"]

ID = "submission"  # the label by which a job is found whose answer was lost
SETTLE = 3.0  # seconds until a new job appears in lists
KINDS = (False, True)  # jobs, studies


class UnknownFate(CloudError):
    """A job was sent, its answer was lost, and it is not there yet: it may still start."""


class Vertex:
    """The jobs of one project in one region."""

    def __init__(self, project: str, region: str, account: str = "", credentials=None):
        """Asks nothing yet.

        Args:
            account: the service account that jobs are to run under, for messages.

        Raises:
            CloudError: the SDK is not installed, or nobody is logged in.
        """
        self.project, self.region = project, region
        self.parent = f"projects/{project}/locations/{region}"
        self.who = credentials or clients.credentials()
        self.api = clients.sdk("google.cloud.aiplatform_v1")
        self.json = clients.sdk("google.protobuf.json_format")
        usual = f"https://{region}-aiplatform.googleapis.com"
        self.client = self.api.JobServiceClient(
            credentials=self.who,
            transport="rest",
            client_options={"api_endpoint": clients.endpoint("aiplatform", usual)},
        )
        role = "roles/aiplatform.user"
        self.need = Need("aiplatform.googleapis.com", role, project, region=region, account=account)

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
        with clients.explain_errors("start the job", self.need, self.who):
            job = RemoteJob(message)
            request = self._request("Create", job)
            send = clients.retry(clients.had_no_effect)(self._send)
            try:
                return send("create", job, request)
            except Exception as error:
                if not self._may_have_started(error):
                    raise
                lost = clients.clean(error)
        return self._wait_for(job, lost)

    def get(self, job: RemoteJob) -> RemoteJob:
        """The same job as it is now."""
        with clients.explain_errors(f"look at {job.name}", self.need, self.who):
            return self._get(job.resource, job.tuning)

    def list(self, filter: str = "", most: int = 100) -> list[RemoteJob]:
        """Jobs and studies, the newest first.

        Args:
            filter: the service's own words, such as labels.project="penguins" AND state!="…".
        """
        with clients.explain_errors("list the jobs", self.need, self.who):
            jobs = [job for tuning in KINDS for job in self._list(tuning, filter, most)]
        jobs.sort(key=lambda job: job.message.get("createTime", ""), reverse=True)
        return jobs[:most]

    def find(self, number: str) -> RemoteJob | None:
        """The job or study of this number; None where there is none."""
        missing = clients.sdk("google.api_core.exceptions").NotFound
        for tuning in KINDS:
            kind = "hyperparameterTuningJobs" if tuning else "customJobs"
            with clients.explain_errors(f"look for {number}", self.need, self.who):
                try:
                    return self._get(f"{self.parent}/{kind}/{number}", tuning)
                except missing:
                    continue
        return None

    def cancel(self, job: RemoteJob) -> None:
        """Asks the service to stop a job; it ends some moments later."""
        with clients.explain_errors(f"cancel {job.name}", self.need, self.who):
            verb = getattr(self.client, f"cancel_{_snake(job.tuning)}")
            verb(name=job.resource, **clients.patience())

    def _request(self, verb: str, job: RemoteJob):
        """The request's protobuf, by the API's own strict reader."""
        kind = getattr(self.api, "HyperparameterTuningJob" if job.tuning else "CustomJob")
        try:
            body = self.json.ParseDict(dict(job.message), kind.pb(kind()))
        except self.json.ParseError as error:
            raise CloudError(f"the job's message: {clients.clean(error)}") from None
        request = getattr(self.api, f"{verb}{kind.__name__}Request")
        return request(parent=self.parent, **{_snake(job.tuning): kind.wrap(body)})

    def _send(self, verb: str, job: RemoteJob, request) -> RemoteJob:
        function = getattr(self.client, f"{verb}_{_snake(job.tuning)}")
        return self._read(function(request=request, retry=None, timeout=clients.ANSWER))

    def _get(self, resource: str, tuning: bool) -> RemoteJob:
        return self._read(
            getattr(self.client, f"get_{_snake(tuning)}")(name=resource, **clients.patience())
        )

    def _list(self, tuning: bool, filter: str, most: int) -> Iterator[RemoteJob]:
        kind = "HyperparameterTuningJob" if tuning else "CustomJob"
        request = getattr(self.api, f"List{kind}sRequest")(
            parent=self.parent, filter=filter, page_size=min(most, 100)
        )
        pager = getattr(self.client, f"list_{_snake(tuning)}s")
        pages = pager(request=request, **clients.patience())
        yield from map(self._read, itertools.islice(pages, most))

    def labelled(self, label: str, tuning: bool) -> RemoteJob | None:
        """The job that was sent with this label `submission`; None where there is none yet."""
        with clients.explain_errors("look whether the job started", self.need, self.who):
            return next(self._list(tuning, f'labels.{ID}="{label}"', 1), None)

    def _may_have_started(self, error: Exception) -> bool:
        unreadable = isinstance(error, self.json.ParseError)  # an answer, cut off
        return unreadable or (clients.transient(error) and not clients.had_no_effect(error))

    def _wait_for(self, job: RemoteJob, lost: str) -> RemoteJob:
        """Look for a job whose answer was lost, for as long as a request is usually repeated."""
        problem = ""
        words = f"[launcher] no good answer ({lost}): looking whether the job started"
        print(f"{words}, for up to {clients.LIMIT:.0f} s", file=sys.stderr, flush=True)
        pause, end = clients.FIRST, time.monotonic() + clients.LIMIT
        while time.monotonic() < end:
            time.sleep(max(pause, SETTLE))
            pause = min(2 * pause, clients.LONGEST)
            try:
                if started := self.labelled(job.labels[ID], job.tuning):
                    return started
                problem = ""
            except CloudError as error:
                problem = f" ({error})"
        raise UnknownFate(
            f"start the job: no good answer ({lost}), and it is unknown whether {job.name} starts"
            f"{problem}; python scripts/jobs.py show {job.name} shows whether it did; the same command "
            "looks, too, and sends nothing while this is unknown"
        )

    def _read(self, answer) -> RemoteJob:
        return RemoteJob(self.json.MessageToDict(type(answer).pb(answer)))


def _snake(tuning: bool) -> str:
    return "hyperparameter_tuning_job" if tuning else "custom_job"
