"""A job on Vertex AI, as the service describes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from launcher.common.times import seconds_between
from launcher.jobfile.job import Job

ENDED = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED")
WAITS = ("QUEUED", "PENDING")


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
        path = Path(f"{self.labels.get('config') or self.name}.yaml")
        self.sent = Job(path, message if self.tuning else get("jobSpec") or {}, self.tuning)
        self.folder = self.sent.output.rstrip("/")  # gs://…; a trial has a folder in it
        # Of a study: [{"id", "state", "parameters", "finalMeasurement", "startTime", …}].
        self.trials = get("trials") or []
        self.state = get("state", "JOB_STATE_UNSPECIFIED").removeprefix("JOB_STATE_")
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
    def curves(self) -> str:
        """Where its TensorBoard is: a page, or the command that opens one here."""
        board = self.sent.tensorboard
        if not board:
            return f"tensorboard --logdir {self.folder}{'' if self.tuning else '/logs'}"
        region, experiment = board.split("/")[3], f"{board}/experiments/{self.id}"
        host = f"https://{region}.tensorboard.googleusercontent.com"
        return f"{host}/experiment/{experiment.replace('/', '+')}"
