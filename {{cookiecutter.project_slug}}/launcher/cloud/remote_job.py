"""A job on Vertex AI, as the service describes it, and its text for people."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from launcher.cloud.clients import quota_page
from launcher.cloud.vertex import Vertex
from launcher.common.document import Document
from launcher.common.times import format_age, format_span, format_time, seconds_between
from launcher.cost import cost
from launcher.cost.prices import dollars
from launcher.jobfile.job import Job

COLLECTIONS = ("customJobs", "hyperparameterTuningJobs")  # indexed by RemoteJob.tuning
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED")
WAITS = ("QUEUED", "PENDING")
LONG = 600.0  # seconds of waiting after which we say that this is long, and again after as many
COLUMNS = ("name", "kind", "state", "sent", "time", "config", "commit", "cost")


def read_state(message: Mapping) -> str:
    """The state of a job of any kind: "RUNNING"."""
    return message.get("state", "UNSPECIFIED").removeprefix("JOB_STATE_")


class RemoteJob:
    """A CustomJob or HyperparameterTuningJob. Times are RFC 3339; None: not yet, or never."""

    def __init__(self, message: Mapping):
        """Reads the whole resource: camelCase, enums as names."""
        get = message.get
        self.message = message
        self.resource = get("name", "")  # projects/NUMBER/locations/REGION/customJobs/ID
        self.id = self.resource.rpartition("/")[2]
        self.name = get("displayName", "")  # also of its folder
        self.labels = get("labels") or {}
        self.tuning = "trialJobSpec" in message
        self.kind = "study" if self.tuning else "job"
        file = Document(Path(f"{self.labels.get('config') or self.name}.yaml"), message)
        self.sent = Job(file, message if self.tuning else get("jobSpec") or {}, self.tuning)
        self.folder = self.sent.output.rstrip("/")  # gs://…; a trial has a folder in it
        # Of a study: [{"id", "state", "parameters", "finalMeasurement", "startTime", …}].
        self.trials = get("trials") or []
        self.state = read_state(message)
        self.ended = self.state in ENDED
        self.succeeded = self.state == "SUCCEEDED"
        # Why it failed, as the service says; "" where it did not.
        self.error = " ".join((get("error") or {}).get("message", "").split())
        self.created = get("createTime")
        self.started = get("startTime")  # since then its machines run
        self.end = get("endTime") or (get("updateTime") if self.ended else None)

    @property
    def since(self) -> str | None:
        """When its state became what it is."""
        if self.ended:
            return self.end
        return self.created if self.state in WAITS else self.started or self.created

    @property
    def age(self) -> float:
        """Seconds since it was sent."""
        return seconds_between(self.created, None) if self.created else 0.0

    @property
    def seconds(self) -> float | None:
        """For how long its machines have run, until now where they still do; None: they never did."""
        return seconds_between(self.started, self.end) if self.started else None

    @property
    def several(self) -> bool:
        """Whether several replicas write into its log."""
        return self.tuning or sum(pool.replicas for pool in self.sent.pools) > 1

    @property
    def page(self) -> str:
        """Its page in Google's console."""
        _, project, _, region, _, job = self.resource.split("/")
        path = f"agent-platform/locations/{region}/training/{job}"
        return f"https://console.cloud.google.com/{path}?project={project}"

    @property
    def deploy(self) -> str:
        """The command that serves its model; "" where there is none, or many."""
        one = self.succeeded and self.folder and not self.tuning
        return f"python scripts/deploy.py {shlex.quote(self.folder)}" if one else ""

    @property
    def curves(self) -> str:
        """Where its TensorBoard is: a page, or the command that opens one here."""
        board = self.sent.tensorboard
        if not board:
            logs = self.folder if self.tuning else f"{self.folder}/logs"
            return f"tensorboard --logdir {shlex.quote(logs)}"
        region, experiment = board.split("/")[3], f"{board}/experiments/{self.id}"
        host = f"https://{region}.tensorboard.googleusercontent.com"
        return f"{host}/experiment/{experiment.replace('/', '+')}"


def refresh(vertex: Vertex, job: RemoteJob) -> RemoteJob:
    """The same job as it is now."""
    return RemoteJob(vertex.get(job.resource, f"look at {job.name}"))


def to_row(job: RemoteJob) -> list[str]:
    """For people, by COLUMNS."""
    return [
        job.name,
        f"{len(job.trials)} trials" if job.tuning else "job",
        job.state.lower(),
        f"{format_age(job.age)} ago",
        "–" if job.seconds is None else format_span(job.seconds),
        job.labels.get("config", "–"),
        job.labels.get("git_commit", "–"),
        format_cost(job, compute_cost(job)),
    ]


def to_lines(job: RemoteJob, project: str) -> list[str]:
    """For people: its state, where it writes, what can be done with it."""
    price, seconds = compute_cost(job), job.seconds
    state = f"{job.state.lower()} since {format_time(job.since)}"
    if seconds is not None:
        state += f", it {'ran' if job.ended else 'has run'} for {format_span(seconds)}"
    words = {"config": "from configs/{}.yaml", "git_commit": "commit {}", "user": "by {}"}
    labels = [(text, job.labels.get(key)) for key, text in words.items()]
    origin = [text.format(value) for text, value in labels if value]
    waits = job.state in WAITS and job.age > LONG
    verb = f"python scripts/jobs.py {{}} {shlex.quote(job.name)}".format
    lines = [
        (job.name, f"{job.kind} {job.id}, {state}"),
        ("error", job.error),
        (f"pending for {format_span(job.age)}", waits and explain_waiting(project)),
        ("sent", ", ".join([format_time(job.created), *origin])),
        *(("machines", part) for part in price.parts),
        ("cost", format_cost(job, price)),
        *(("", note) for note in price.notes),
        ("page", job.page),
        ("folder", job.folder),
        ("log", verb("logs") + ("" if job.ended else " --follow")),
        ("stop", not job.ended and verb("cancel")),
        ("bring back", job.folder and verb("fetch")),
        ("serve", job.deploy),
        ("curves", job.folder and job.curves),
    ]
    return [f"{name}: {text}" if name else f"  {text}" for name, text in lines if text]


def compute_cost(job: RemoteJob) -> cost.Estimate:
    """What a job has cost, by its own times; of a study, by those of its trials."""
    region, times = job.resource.split("/")[3], [(job.started, job.end)]
    if job.tuning:
        times = [(t.get("startTime"), t.get("endTime") or job.end) for t in job.trials]
    price = cost.spent(job.sent, region, times)
    begun = [trial for trial in job.trials if trial.get("state") not in (None, "REQUESTED")]
    silent = [trial.get("id", "?") for trial in begun if not trial.get("startTime")]
    if silent or (job.tuning and job.started and not job.trials):
        which = f"trial {', '.join(silent)}" if silent else "its trials"
        return replace(price, most=None, notes=(f"the service gives no times of {which}",))
    return price


def format_cost(job: RemoteJob, price: cost.Estimate) -> str:
    """ "$1.20", "$1.20 so far", "unknown" """
    if price.most is None:
        return "unknown"
    return dollars(price.most) + (" so far" if job.started and not job.ended else "")


def explain_waiting(project: str) -> str:
    """Why a job may wait for so long."""
    return (
        "no machine of this kind is free, or there is no quota for it, which the service does not "
        f"say; see {quota_page(project)}"
    )
