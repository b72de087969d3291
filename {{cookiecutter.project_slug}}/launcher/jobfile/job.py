"""A job as all other packages see it: pools, programs, times, and what a study varies.

A `Job` keeps the API's message, which is what is sent. Only this package looks into the message; whatever
others need to know is an attribute here, read once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from launcher.common.document import Document
from launcher.jobfile.program import Program, read_program
from launcher.jobfile.schema import parse_duration
from launcher.jobfile.study import StudySpec, read_study

ROLES = ("chief", "worker", "ps", "evaluator")  # of the pools, in their order
WEEK = 604_800.0  # seconds: the longest timeout, and the one of a job that sets none


@dataclass(frozen=True)
class Pool:
    """The replicas of one role."""

    role: str
    replicas: int
    machine: str  # "n1-standard-4"; "" where the pool names none
    accelerator: str  # "NVIDIA_TESLA_T4"; "" for none
    accelerators: int  # of each machine
    topology: str  # of a TPU: "2x2"
    disk_type: str
    disk_gb: int
    program: Program
    task: Mapping  # its containerSpec or pythonPackageSpec
    path: str  # to its task in the message: "workerPoolSpecs[0].containerSpec"
    takes_flags: bool  # runs the chief's program, and so takes the flags of a command line

    @property
    def index(self) -> int:
        """Among the pools of the message, empty ones included."""
        return ROLES.index(self.role)

    def args(self, flags: Sequence[str] = ()) -> list[tuple[str, str]]:
        """(path in the message, arg), with the flags of a command line last, so that they win."""
        words = [
            (f"{self.path}.{key}[{i}]", word)
            for key in ("command", "args")
            for i, word in enumerate(self.task.get(key, ()))
        ]
        start = len(words) - len(self.program.args)  # the words before it start the program
        number = len(self.task.get("args", ()))
        for i, flag in enumerate(flags if self.takes_flags else (), number):
            words.append((f"{self.path}.args[{i}]", flag))
        return words[start:]


@dataclass(frozen=True)
class Scheduling:
    """How long a job runs, on which machines, and what starts again when a replica fails."""

    timeout: float  # seconds
    strategy: str  # STANDARD, SPOT, FLEX_START; ON_DEMAND and LOW_COST in old messages
    restart_together: bool
    disable_retries: bool


@dataclass(frozen=True)
class Job:
    """A job file, or a job of the service, that has the shape of the API's message."""

    file: Document  # the whole file; of a job of the service its name alone
    message: dict  # a CustomJobSpec or a HyperparameterTuningJob
    tuning: bool  # a HyperparameterTuningJob

    @property
    def spec(self) -> dict:
        """The CustomJobSpec: the message itself, or that of a trial."""
        return self.message.get("trialJobSpec", {}) if self.tuning else self.message

    @cached_property
    def pools(self) -> list[Pool]:
        """The pools that have replicas, the chief's first."""
        return read_pools(self.spec, self.locate(""))

    @cached_property
    def scheduling(self) -> Scheduling:
        spec = self.spec.get("scheduling", {})
        strategy = spec.get("strategy", "STRATEGY_UNSPECIFIED")
        return Scheduling(
            timeout=parse_duration(spec.get("timeout") or f"{WEEK}s"),
            strategy="STANDARD" if strategy == "STRATEGY_UNSPECIFIED" else strategy,
            restart_together=bool(spec.get("restartJobOnWorkerRestart")),
            disable_retries=bool(spec.get("disableRetries")),
        )

    @cached_property
    def study(self) -> StudySpec | None:
        """None for a job that is no study."""
        return read_study(self.message.get("studySpec", {})) if self.tuning else None

    @property
    def trials(self) -> int:
        """Of a study; 0 for other jobs."""
        return int(self.message.get("maxTrialCount") or 1) if self.tuning else 0

    @property
    def parallel(self) -> int:
        """Trials that run at a time; 1 for other jobs."""
        return int(self.message.get("parallelTrialCount") or 1)

    @property
    def failures(self) -> int:
        """Failed trials that end a study; 0: not set."""
        return int(self.message.get("maxFailedTrialCount") or 0)

    @property
    def name(self) -> str:
        """What the file calls the job; "" where it leaves that to the launcher."""
        return self.message.get("displayName", "")

    @property
    def labels(self) -> Mapping[str, str]:
        return self.message.get("labels", {})

    @property
    def output(self) -> str:
        """Where it writes, gs://…; "" where it does not say."""
        return self.spec.get("baseOutputDirectory", {}).get("outputUriPrefix", "")

    @property
    def service_account(self) -> str:
        return self.spec.get("serviceAccount", "")

    @property
    def tensorboard(self) -> str:
        return self.spec.get("tensorboard", "")

    @property
    def digest(self) -> str:
        """Of what an interrupted study must keep; the numbers of trials may change."""
        parts = [self.message["studySpec"], self.message["trialJobSpec"]]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def locate(self, field: str) -> str:
        """A field of the CustomJobSpec, as one of the message."""
        return f"trialJobSpec.{field}" if self.tuning else field


def read_pools(spec: Mapping, path: str = "") -> list[Pool]:
    """Read the pools of a CustomJobSpec that have replicas, the chief's first.

    Args:
        path: to the CustomJobSpec in the message, such as "trialJobSpec.".
    """
    pools: list[Pool] = []
    for i, (role, pool) in enumerate(zip(ROLES, spec.get("workerPoolSpecs", []), strict=False)):
        if not pool:
            continue  # it only keeps the place of its role
        machine, disk = pool.get("machineSpec", {}), pool.get("diskSpec", {})
        key = "pythonPackageSpec" if "pythonPackageSpec" in pool else "containerSpec"
        program = read_program(pool)
        first = pools[0].program if pools else program
        pools.append(
            Pool(
                role=role,
                replicas=int(pool.get("replicaCount") or 1),
                machine=machine.get("machineType", ""),
                accelerator=machine.get("acceleratorType", ""),
                accelerators=int(machine.get("acceleratorCount") or 0),
                topology=machine.get("tpuTopology", ""),
                disk_type=disk.get("bootDiskType") or "pd-ssd",
                disk_gb=int(disk.get("bootDiskSizeGb") or 100),
                program=program,
                task=pool.get(key, {}),
                path=f"{path}workerPoolSpecs[{i}].{key}",
                takes_flags=program.foreign == first.foreign,  # a Reduction Server does not
            )
        )
    return pools
