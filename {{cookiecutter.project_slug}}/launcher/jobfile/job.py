"""A job as all other packages see it: pools, programs, times, and what a study varies.

A `Job` keeps the API's message, which is what is sent. Only this package looks into the message; whatever
others need to know is an attribute here, read once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from launcher.common import document
from launcher.common.times import parse_duration
from launcher.jobfile import program
from launcher.jobfile.program import Program

ROLES = ("chief", "worker", "ps", "evaluator")  # of the pools, in their order
WEEK = 604_800.0  # seconds: the longest timeout, and the one of a job that sets none
DISK = ("pd-ssd", 100)  # GB: the boot disk where diskSpec is not set
Value = float | int | str

_NUMBERS = {
    "doubleValueSpec": ("double", float),
    "integerValueSpec": ("integer", int),  # int64 is a text in JSON
    "discreteValueSpec": ("discrete", float),
    "categoricalValueSpec": ("categorical", str),
}
_SCALES = {"UNIT_LOG_SCALE": "log", "UNIT_REVERSE_LOG_SCALE": "reverse log"}
_CONDITIONS = ("parentDiscreteValues", "parentIntValues", "parentCategoricalValues")
MEDIAN = "medianAutomatedStoppingSpec"
# Vertex AI fits Gaussian processes and regressions to the curves, in ways that are not published.
CLOUD_ONLY = ("decayCurveStoppingSpec", "convexAutomatedStoppingSpec")


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
    place: str  # of its task in the message: "workerPoolSpecs[0].containerSpec"
    program: Program
    takes_flags: bool = True  # runs the chief's program, and so takes the flags of a command line

    @property
    def index(self) -> int:
        """Among the pools of the message, empty ones included."""
        return ROLES.index(self.role)

    def args(self, flags: Sequence[str] = ()) -> list[tuple[str, str]]:
        """(place in the message, arg), with the flags of a command line last, so that they win."""
        runs = self.program
        first = sum(place.startswith("args") for place in runs.places)
        places = [*runs.places, *(f"args[{first + i}]" for i in range(len(flags)))]
        words = [*runs.args, *(flags if self.takes_flags else ())]
        return [(f"{self.place}.{place}", word) for place, word in zip(places, words, strict=False)]


@dataclass(frozen=True)
class Scheduling:
    """How long a job runs, on which machines, and what starts again when a replica fails."""

    timeout: float  # seconds
    strategy: str  # STANDARD, SPOT, FLEX_START; ON_DEMAND and LOW_COST in old messages
    restart_together: bool
    disable_retries: bool


@dataclass(frozen=True)
class Parameter:
    """One parameter, and those that there are only where it has certain values.

    It has an outer value, the one that the trainer gets, and an inner one, optuna's. They differ where
    optuna knows no such parameter: discrete values go by their index, and on a reverse logarithmic
    scale the distance from the top is what is searched on a logarithmic one.
    """

    id: str  # the trainer's flag, without its hyphens
    key: str  # optuna's name: the id, numbered where two branches have parameters of one id
    kind: str  # double, integer, discrete, categorical
    scale: str  # linear, log, reverse log; of a list of values it has no meaning
    low: float  # inner bounds, both included
    high: float
    values: tuple[Value, ...]  # of a discrete or categorical one
    children: tuple[tuple[frozenset, Parameter], ...]  # (values of this one, what they bring)

    def outer(self, inner: Value) -> Value:
        if self.kind == "discrete":
            return self.values[inner]
        if self.scale == "reverse log":  # rounding must not lead out of the bounds
            return min(max(self.low + self.high - inner, self.low), self.high)
        return inner

    def inner(self, outer: Value) -> Value:
        if self.kind == "discrete":
            return self.values.index(outer)
        return self.low + self.high - outer if self.scale == "reverse log" else outer

    def brings(self, outer: Value) -> list[Parameter]:
        """The parameters that there are only where this one has that value."""
        return [child for values, child in self.children if outer in values]


@dataclass(frozen=True)
class StudySpec:
    """What a study varies, what it looks for, and when it stops."""

    parameters: list[Parameter]
    metrics: tuple[str, ...]
    maximize: bool  # the first metric
    takes_best: bool  # of a trial's measurements; else the last
    stops: bool  # trials below the median
    by_time: bool  # they are compared at equal run times; else at equal steps
    cloud_only: str  # the rule of early stopping that only the service has; "" for none
    limited: bool  # has a studyStoppingConfig
    algorithm: str  # as the API names it; "" for its own choice

    @property
    def metric(self) -> str:
        """The metric that decides: the first."""
        return self.metrics[0]


@dataclass(frozen=True)
class Job:
    """A job file, or a job of the service, that has the shape of the API's message."""

    path: Path
    message: dict  # a CustomJobSpec or a HyperparameterTuningJob
    tuning: bool  # a HyperparameterTuningJob
    lines: Mapping[str, int] = field(default_factory=dict, repr=False)

    @property
    def spec(self) -> dict:
        """The CustomJobSpec: the message itself, or that of a trial."""
        return (self.message.get("trialJobSpec") or {}) if self.tuning else self.message

    @cached_property
    def pools(self) -> tuple[Pool, ...]:
        """The pools that have replicas, the chief's first."""
        specs = self.spec.get("workerPoolSpecs") or []
        places = (self.place(f"workerPoolSpecs[{i}]") for i in range(len(specs)))
        pools = list(map(_read_pool, ROLES, places, specs))
        chief = pools[0].program.foreign if pools else ""
        return tuple(
            replace(pool, takes_flags=pool.program.foreign == chief)  # not a Reduction Server
            for pool, spec in zip(pools, specs, strict=False)
            if spec  # an empty pool keeps the place of its role
        )

    @cached_property
    def scheduling(self) -> Scheduling:
        spec = self.spec.get("scheduling") or {}
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
        return _read_study(self.message.get("studySpec") or {}) if self.tuning else None

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
        return self.message.get("labels") or {}

    @property
    def output(self) -> str:
        """Where it writes, gs://…; "" where it does not say."""
        return (self.spec.get("baseOutputDirectory") or {}).get("outputUriPrefix", "")

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

    def line(self, place: str) -> int:
        """The line of "workerPoolSpecs[0].replicaCount"; of what is around it where it is missing."""
        return document.line(self.lines, place)

    def place(self, place: str) -> str:
        """A place of the CustomJobSpec, as one of the message."""
        return f"trialJobSpec.{place}" if self.tuning else place


def _read_pool(role: str, place: str, spec: Mapping) -> Pool:
    machine, disk = spec.get("machineSpec") or {}, spec.get("diskSpec") or {}
    task = "pythonPackageSpec" if "pythonPackageSpec" in spec else "containerSpec"
    return Pool(
        role=role,
        replicas=int(spec.get("replicaCount") or 1),
        machine=machine.get("machineType") or "",
        accelerator=machine.get("acceleratorType") or "",
        accelerators=int(machine.get("acceleratorCount") or 0),
        topology=machine.get("tpuTopology") or "",
        disk_type=disk.get("bootDiskType") or DISK[0],
        disk_gb=int(disk.get("bootDiskSizeGb") or DISK[1]),
        place=f"{place}.{task}",
        program=program.read(spec),
    )


def _read_study(spec: Mapping) -> StudySpec:
    metrics = spec.get("metrics") or [{}]
    return StudySpec(
        parameters=read_parameters(spec.get("parameters") or ()),
        metrics=tuple(metric.get("metricId", "") for metric in metrics),
        maximize=metrics[0].get("goal") == "MAXIMIZE",
        takes_best=spec.get("measurementSelectionType") == "BEST_MEASUREMENT",
        stops=MEDIAN in spec,
        by_time=bool(spec.get(MEDIAN, {}).get("useElapsedDuration")),
        cloud_only=next((name for name in CLOUD_ONLY if name in spec), ""),
        limited="studyStoppingConfig" in spec,
        algorithm=spec.get("algorithm", ""),
    )


def read_parameters(specs: Iterable[Mapping]) -> list[Parameter]:
    """The parameters of a StudySpec."""
    seen: dict[str, int] = {}
    return [_with_keys(_read_parameter(spec), seen) for spec in specs]


def _read_parameter(message: Mapping) -> Parameter:
    name = next(name for name in _NUMBERS if name in message)
    spec, (kind, number) = message[name], _NUMBERS[name]
    values = tuple(map(number, spec.get("values") or ()))
    if values:
        low, high, scale = 0, len(values) - 1, "linear"
    else:  # the service leaves out a bound that is 0
        low, high = number(spec.get("minValue", 0)), number(spec.get("maxValue", 0))
        scale = _SCALES.get(message.get("scaleType"), "linear")
    children = []
    for child in message.get("conditionalParameterSpecs") or ():
        wanted = next(child[name]["values"] for name in _CONDITIONS if name in child)
        children.append((frozenset(map(number, wanted)), _read_parameter(child["parameterSpec"])))
    id = message["parameterId"]
    return Parameter(id, id, kind, scale, low, high, values, tuple(children))


def _with_keys(parameter: Parameter, seen: dict[str, int]) -> Parameter:
    seen[parameter.id] = count = seen.get(parameter.id, 0) + 1
    key = parameter.id if count == 1 else f"{parameter.id} ({count})"
    children = tuple((values, _with_keys(child, seen)) for values, child in parameter.children)
    return replace(parameter, key=key, children=children)
