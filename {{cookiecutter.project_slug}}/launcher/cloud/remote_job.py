"""A job on Vertex AI, as the service describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from launcher.common.times import seconds_between
from launcher.jobfile.job import Job

ENDED = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED")
WAITS = ("QUEUED", "PENDING")


@dataclass(frozen=True)
class RemoteJob:
    """A CustomJob or HyperparameterTuningJob as the service describes it."""

    message: Mapping  # the whole resource, camelCase, enums as names

    @property
    def resource(self) -> str:
        """projects/NUMBER/locations/REGION/customJobs/ID"""
        return self.message.get("name", "")

    @property
    def id(self) -> str:
        return self.resource.rpartition("/")[2]

    @property
    def name(self) -> str:
        """What a person calls it; also the name of its folder."""
        return self.message.get("displayName", "")

    @property
    def tuning(self) -> bool:
        return "trialJobSpec" in self.message

    @property
    def state(self) -> str:
        """QUEUED, PENDING, RUNNING, SUCCEEDED, FAILED, CANCELLING, CANCELLED, …"""
        return self.message.get("state", "JOB_STATE_UNSPECIFIED").removeprefix("JOB_STATE_")

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def succeeded(self) -> bool:
        return self.state == "SUCCEEDED"

    @property
    def error(self) -> str:
        """Why it failed, as the service says; "" where it did not."""
        return " ".join((self.message.get("error") or {}).get("message", "").split())

    @property
    def labels(self) -> Mapping[str, str]:
        return self.message.get("labels") or {}

    @cached_property
    def sent(self) -> Job:
        """What was sent: its pools, times and study."""
        message = self.message if self.tuning else self.message.get("jobSpec") or {}
        return Job(Path(f"{self.labels.get('config') or self.name}.yaml"), message, self.tuning)

    @property
    def folder(self) -> str:
        """Where it writes: gs://…, without a slash at the end; a trial has a folder in it."""
        return self.sent.output.rstrip("/")

    @property
    def trials(self) -> list[Mapping]:
        """Of a study: [{"id", "state", "parameters", "finalMeasurement", "startTime", …}]."""
        return self.message.get("trials") or []

    @property
    def replicas(self) -> int:
        """Machines of the job, or of a trial."""
        return sum(pool.replicas for pool in self.sent.pools)

    @property
    def end(self) -> str | None:
        """When it ended, RFC 3339; None where it has not."""
        message = self.message
        return message.get("endTime") or (message.get("updateTime") if self.ended else None)

    @property
    def since(self) -> str | None:
        """When its state became what it is, RFC 3339."""
        if self.ended:
            return self.end
        created = self.message.get("createTime")
        return created if self.state in WAITS else self.message.get("startTime") or created

    @property
    def age(self) -> float:
        """Seconds since it was sent."""
        created = self.message.get("createTime")
        return seconds_between(created, None) if created else 0.0

    @property
    def seconds(self) -> float | None:
        """That its machines have run, until now where they still do; None: they never did."""
        start = self.message.get("startTime")
        return seconds_between(start, self.end) if start else None

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
