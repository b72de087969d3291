"""Jobs on Vertex AI: sent once and only once, found by name, stopped.

    jobs = Vertex("my-lab", "us-central1")
    job = jobs.find("smoke-20260301-120000")       by name, by number, or by resource name
    jobs.cancel(job)

Google's own client sends them, over REST, so that a proxy or a stand-in sees what is sent.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Mapping

from launcher import clients
from launcher.clients import CloudError, Need
from launcher.remote_job import WAITS, RemoteJob

__all__ = ["ID", "WAITS", "RemoteJob", "Vertex"]

ID = "submission"  # the label by which a job is found whose answer was lost
SETTLE = 3.0  # seconds after which a job that was created can be found
KINDS = (False, True)  # jobs, studies


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
        """Starts a job, and one only, whatever becomes of the answers.

        Args:
            message: a whole CustomJob or HyperparameterTuningJob; by its label `submission`, which
                no other job has, it is looked for before it is sent again.

        Raises:
            CloudError: it was refused; or it is not known whether it runs, and how to find out.
        """
        label = message["labels"][ID]
        with clients.telling("start the job", self.need, self.who):
            request = self._request("Create", message)
        pause, end, tries = clients.FIRST, time.monotonic() + clients.LIMIT, 0
        while True:
            tries += 1
            with clients.telling("start the job", self.need, self.who):
                try:
                    job = self._send("create", message, request)
                    break
                except Exception as error:
                    if not clients.transient(error):
                        raise
                    lost = clients.clean(error)
            if tries == 1:
                words = f"[launcher] no good answer ({lost}): looking whether the job started"
                print(words, file=sys.stderr, flush=True)
            time.sleep(max(pause, SETTLE))
            pause = min(2 * pause, clients.LONGEST)
            if found := self._labelled(label, message, lost):
                job = found[0]
                break
            if time.monotonic() > end:
                raise CloudError(
                    f"start the job: no good answer within {clients.LIMIT:.0f} s ({lost}), and no "
                    "job was started; give the same command again later"
                )
        if tries > 1:
            job = self._only_one(label, message, job)
        return job

    def get(self, job: RemoteJob) -> RemoteJob:
        """The same job as it is now."""
        with clients.telling(f"look at {job.name}", self.need, self.who):
            return self._get(job.resource, job.tuning)

    def list(self, filter: str = "", most: int = 100) -> list[RemoteJob]:
        """Jobs and studies, the newest first.

        Args:
            filter: the service's own words, such as labels.project="penguins" AND state!="…".
        """
        with clients.telling("list the jobs", self.need, self.who):
            found = [job for tuning in KINDS for job in self._list(tuning, filter, most)]
        found.sort(key=lambda job: job.message.get("createTime", ""), reverse=True)
        return found[:most]

    def find(self, text: str) -> RemoteJob:
        """The job with this name, or number, or resource name; the newest one of a name.

        Raises:
            CloudError: there is none, or it cannot be asked for.
        """
        number = re.fullmatch(r"(?:projects/.*/)?(\d+)", text)
        if number:
            missing = clients.sdk("google.api_core.exceptions").NotFound
            for tuning in KINDS:
                kind = "hyperparameterTuningJobs" if tuning else "customJobs"
                with clients.telling(f"look for {text}", self.need, self.who):
                    try:
                        return self._get(f"{self.parent}/{kind}/{number[1]}", tuning)
                    except missing:
                        continue
        elif '"' not in text and (found := self.list(f'display_name="{text}"', 1)):
            return found[0]
        raise CloudError(
            f"{text}: no such job in {self.project}, {self.region}; "
            "python scripts/jobs.py list shows those that there are"
        )

    def cancel(self, job: RemoteJob) -> None:
        """Asks the service to stop a job; it ends some moments later."""
        with clients.telling(f"cancel {job.name}", self.need, self.who):
            verb = getattr(self.client, f"cancel_{_snake(job.tuning)}")
            verb(name=job.resource, **self._patience())

    def _request(self, verb: str, message: Mapping):
        """The request's protobuf, by the API's own strict reader."""
        tuning = "trialJobSpec" in message
        kind = getattr(self.api, "HyperparameterTuningJob" if tuning else "CustomJob")
        try:
            body = self.json.ParseDict(dict(message), kind.pb(kind()))
        except self.json.ParseError as error:
            raise CloudError(f"the job's message: {clients.clean(error)}") from None
        request = getattr(self.api, f"{verb}{kind.__name__}Request")
        return request(parent=self.parent, **{_snake(tuning): kind.wrap(body)})

    def _send(self, verb: str, message: Mapping, request) -> RemoteJob:
        function = getattr(self.client, f"{verb}_{_snake('trialJobSpec' in message)}")
        return self._read(function(request=request, retry=None, timeout=clients.ANSWER))

    def _get(self, resource: str, tuning: bool) -> RemoteJob:
        return self._read(
            getattr(self.client, f"get_{_snake(tuning)}")(name=resource, **self._patience())
        )

    def _list(self, tuning: bool, filter: str, most: int) -> Iterator[RemoteJob]:
        kind = "HyperparameterTuningJob" if tuning else "CustomJob"
        request = getattr(self.api, f"List{kind}sRequest")(
            parent=self.parent, filter=filter, page_size=min(most, 100)
        )
        pager = getattr(self.client, f"list_{_snake(tuning)}s")
        for found, _ in zip(pager(request=request, **self._patience()), range(most), strict=False):
            yield self._read(found)

    def _labelled(self, label: str, message: Mapping, lost: str) -> list[RemoteJob]:
        """The jobs with our label, the oldest first.

        Raises:
            CloudError: this cannot be known; so nothing is sent again.
        """
        try:
            with clients.telling("look whether the job started", self.need, self.who):
                found = list(self._list("trialJobSpec" in message, f'labels.{ID}="{label}"', 10))
        except CloudError as error:
            raise CloudError(
                f"start the job: no good answer ({lost}), so it is not known whether it runs, nor "
                f"can that be looked up ({error}); later: python scripts/jobs.py list shows whether "
                f"there is {message['displayName']}"
            ) from None
        return sorted(found, key=lambda job: job.message.get("createTime", ""))

    def _only_one(self, label: str, message: Mapping, job: RemoteJob) -> RemoteJob:
        """Of several that a lost answer may have left, the oldest stays and the others are ended."""
        found = self._labelled(label, message, "an answer was lost")
        for other in found[1:]:
            self.cancel(other)
            print(f"[launcher] it had been started twice: {other.id} is cancelled", file=sys.stderr)
        return found[0] if found else job

    def _read(self, found) -> RemoteJob:
        return RemoteJob(self.json.MessageToDict(type(found).pb(found)))

    def _patience(self) -> dict:
        return {"retry": clients.retry(), "timeout": clients.ANSWER}


def _snake(tuning: bool) -> str:
    return "hyperparameter_tuning_job" if tuning else "custom_job"
