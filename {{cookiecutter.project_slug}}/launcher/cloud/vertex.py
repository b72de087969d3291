"""Jobs on Vertex AI: sent once, listed, found, cancelled.

    jobs = Vertex(Connection("my-lab", "us-central1"))
    job = jobs.find("smoke-20260301")    a name, a number, a resource name, or how one begins
    jobs.cancel(job)

Google's own client sends the requests, over REST, so that a proxy or a stand-in sees them.

A request may take effect minutes after its client gave up, was interrupted or was killed, and the
service has no request id that would make a second one harmless. So a note of the job lies in runs/
from just before it is sent until its fate is known; the same command, given again, reads it first.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
import time
from pathlib import Path

from launcher.cloud import clients, errors
from launcher.cloud.clients import Connection, Need
from launcher.cloud.errors import CloudError
from launcher.cloud.remote_job import RemoteJob
from launcher.cloud.submission import ID, Submission
from launcher.common.document import SpecError
from launcher.common.terminal import printable
from launcher.local.run_dirs import RUNS

# What the API calls a job, and a study: indexed by RemoteJob.tuning.
COLLECTIONS = ("customJobs", "hyperparameterTuningJobs")
MESSAGES = ("CustomJob", "HyperparameterTuningJob")
FIELDS = ("custom_job", "hyperparameter_tuning_job")  # of requests, and in names of methods
SETTLE = 3.0  # seconds until a new job appears in lists
PAGE = 100  # jobs in an answer, as many as the service gives
MOST = 1000  # jobs that are looked through
NAMED = 5  # jobs in a message
RESOURCE = re.compile(r"projects/[^/]+/locations/([^/]+)/(?:customJobs|\w+TuningJobs)/\d+")
NEED = Need("roles/aiplatform.user")
FOLDER = RUNS / ".pending"
LATEST = 600.0  # seconds after which a request without effect will never have one


class UnknownFate(CloudError):
    """A job was sent, its answer was lost, and it is not there yet: it may still start."""


class Vertex:
    """The jobs of one project in one region."""

    def __init__(self, connection: Connection, label: str = ""):
        """Send nothing yet.

        Args:
            label: `project` of this repo's jobs.

        Raises:
            CloudError: the SDK is not installed.
        """
        self.connection, self.own = connection, f'labels.project="{label}"'  # a filter for `list`
        self.parent = connection.parent
        self.api = errors.sdk("google.cloud.aiplatform_v1")
        self.json = errors.sdk("google.protobuf.json_format")
        usual = f"https://{connection.region}-aiplatform.googleapis.com"
        self.client = self.api.JobServiceClient(
            credentials=connection.credentials,
            transport="rest",
            client_options={"api_endpoint": clients.endpoint("aiplatform", usual)},
        )

    def send(self, submission: Submission) -> RemoteJob:
        """Start a job that `find_sent` has not found; never a second one, whatever happens.

        A request is repeated only if it surely had no effect; after any other failure the job is
        looked up by its label.

        Raises:
            UnknownFate: nobody can say yet whether the job starts; the note stays.
            SpecError: the job was refused, or another command is sending it. Or Ctrl-C came
                meanwhile, and the note stays.
        """
        note = write_note(submission)
        try:
            job = self._create(RemoteJob(submission.message))
        except KeyboardInterrupt:
            raise SpecError(
                f"interrupted while the job was being sent: python scripts/jobs.py show "
                f"{submission.name} shows whether it runs"
            ) from None
        except CloudError as error:
            if not isinstance(error, UnknownFate):
                note.unlink(missing_ok=True)
            raise
        note.unlink(missing_ok=True)
        return job

    def find_sent(self, submission: Submission) -> RemoteJob | None:
        """The job that an earlier command sent, if it is there; None where it may be sent now.

        Raises:
            CloudError: nobody knows yet whether it starts, so it must not be sent again.
        """
        note = find_note(submission)
        try:
            facts = json.loads(note.read_text(encoding="utf-8"))
            name, label, until = facts["name"], facts["label"], float(facts["time"]) + LATEST
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, LookupError, TypeError):
            raise CloudError(
                f"{note}: cannot be read; python scripts/jobs.py list shows whether the job runs; "
                "then delete this file"
            ) from None
        job = self._find_label(label, submission.job.tuning)
        if not job and time.time() < until:
            clock = time.strftime("%H:%M:%S", time.localtime(until))
            raise CloudError(
                f"{name} was sent before, its answer was lost, and it may still start: nothing is "
                f"sent again before {clock}; python scripts/jobs.py show {name} shows whether it "
                "started"
            )
        note.unlink(missing_ok=True)
        return job

    def get(self, job: RemoteJob) -> RemoteJob:
        """The same job as it is now."""
        return self._get(f"look at {job.name}", job.resource, job.tuning)

    def list(self, filter: str = "", most: int = MOST) -> list[RemoteJob]:
        """Jobs and studies, the newest first.

        Args:
            filter: the service's own words, such as labels.project="penguins" AND state!="…".
        """
        what = "list the jobs"
        jobs = [job for tuning in (False, True) for job in self._list(what, tuning, filter, most)]
        jobs.sort(key=lambda job: job.message.get("createTime", ""), reverse=True)
        return jobs[:most]

    def find(self, text: str) -> RemoteJob:
        """The job of this name or number, or the only one of this project that begins so.

        Raises:
            CloudError: there is none, or there are several: which ones.
        """
        number, jobs = text.rpartition("/")[2] if RESOURCE.fullmatch(text) else text, []
        if number.isdecimal() and (job := self._find_number(number)):
            return job
        if text.strip() and not re.search(r'["\\]', text):  # a name, which may be anybody's
            jobs = self.list(f'display_name="{text}"', NAMED + 1)
            ours = [] if jobs else self.list(self.own)
            jobs += [job for job in ours if job.name.startswith(text) or job.id.startswith(text)]
        if len(jobs) == 1:
            return self.get(jobs[0])
        what = f"no such job in {self.connection.project}, {self.connection.region}"
        if jobs:
            names = [printable(f"{job.name} ({job.id})") for job in jobs[:NAMED]]
            more = f" and {len(jobs) - NAMED} more" if len(jobs) > NAMED else ""
            what = f"which one? {', '.join(names)}{more}"
        raise CloudError(f"{text}: {what}; python scripts/jobs.py list shows all")

    def cancel(self, job: RemoteJob) -> None:
        """Ask the service to stop a job; it ends some moments later."""
        with self.connection.explain_errors(f"cancel {job.name}", NEED):
            self._call(f"cancel_{FIELDS[job.tuning]}", {"name": job.resource}, errors.retry())

    def _create(self, job: RemoteJob) -> RemoteJob:
        send = errors.retry(errors.had_no_effect)(self._send)
        with self.connection.explain_errors("start the job", NEED):
            try:
                return send(job)
            except Exception as error:
                cut_off = isinstance(error, self.json.ParseError)
                lost = errors.is_transient(error) and not errors.had_no_effect(error)
                if not (cut_off or lost):
                    raise
                reason = errors.clean(error)
        return self._wait_for(job, reason)

    def _send(self, job: RemoteJob) -> RemoteJob:
        field = FIELDS[job.tuning]
        request = {"parent": self.parent, field: self._to_protobuf(job)}
        return self._read(self._call(f"create_{field}", request))

    def _call(self, method: str, request: dict, retry=None):
        return getattr(self.client, method)(request=request, retry=retry, timeout=errors.ANSWER)

    def _get(self, what: str, resource: str, tuning: bool) -> RemoteJob:
        with self.connection.explain_errors(what, NEED):
            answer = self._call(f"get_{FIELDS[tuning]}", {"name": resource}, errors.retry())
            return self._read(answer)

    def _find_number(self, number: str) -> RemoteJob | None:
        """The job or study of this number; None where there is none."""
        for tuning, collection in enumerate(COLLECTIONS):
            try:
                name = f"{self.parent}/{collection}/{number}"
                return self._get(f"look for {number}", name, bool(tuning))
            except CloudError as error:
                if error.status != 404:
                    raise
        return None

    def _find_label(self, label: str, tuning: bool) -> RemoteJob | None:
        """The job with this label `submission`; None where there is none yet."""
        what, filter = "look whether the job started", f'labels.{ID}="{label}"'
        return next(iter(self._list(what, tuning, filter, 1)), None)

    def _list(self, what: str, tuning: bool, filter: str, most: int) -> list[RemoteJob]:
        request = {"parent": self.parent, "filter": filter, "page_size": min(most, PAGE)}
        with self.connection.explain_errors(what, NEED):
            pages = self._call(f"list_{FIELDS[tuning]}s", request, errors.retry())
            return [self._read(job) for job in itertools.islice(pages, most)]

    def _to_protobuf(self, job: RemoteJob):
        """The job as the API's own message, by its own strict reader."""
        kind = getattr(self.api, MESSAGES[job.tuning])
        try:
            return kind.wrap(self.json.ParseDict(dict(job.message), kind.pb(kind())))
        except self.json.ParseError as error:
            raise CloudError(f"the job's message: {errors.clean(error)}") from None

    def _read(self, answer) -> RemoteJob:
        return RemoteJob(self.json.MessageToDict(type(answer).pb(answer)))

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
                if started := self._find_label(job.labels[ID], job.tuning):
                    return started
                problem = ""
            except CloudError as error:
                problem = f" ({error})"
        raise UnknownFate(
            f"start the job: no good answer ({lost}), and it is unknown whether {job.name} starts"
            f"{problem}; python scripts/jobs.py show {job.name} shows whether it did; the same "
            "command looks, too, and sends nothing while this is unknown"
        )


def find_note(submission: Submission) -> Path:
    """The note of a job, whatever the job's name; the file may be missing."""
    return FOLDER / f"{submission.fingerprint}.json"


def write_note(submission: Submission) -> Path:
    """Note that a job is about to be sent; return the note.

    Raises:
        CloudError: another command is sending it, or the note cannot be written: then nothing may
            be sent.
    """
    note = find_note(submission)
    facts = {"name": submission.name, "label": submission.labels[ID], "time": time.time()}
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with open(note, "x", encoding="utf-8") as file:
            file.write(json.dumps(facts))
    except OSError as error:
        if note.exists():
            raise CloudError(
                "another command is sending the same job just now; give this one again when that "
                "one has ended"
            ) from None
        raise CloudError(
            f"{note}: cannot be written ({error.strerror or error}), and nothing is sent without "
            "it: it keeps a job from starting twice"
        ) from None
    return note
