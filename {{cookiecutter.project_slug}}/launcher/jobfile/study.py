"""What a study varies, what it looks for, when it stops, and the rules for all of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from launcher.jobfile.schema import Problem, walk, write_number

Value = float | int | str
# {field with the values of a parameter: (kind, type of a value)}
KINDS = {
    "doubleValueSpec": ("double", float),
    "integerValueSpec": ("integer", int),  # int64 is a text in JSON
    "categoricalValueSpec": ("categorical", str),
    "discreteValueSpec": ("discrete", float),
}
# {field with the values of a parent for which a parameter exists: the parent's kind}
PARENTS = {
    "parentDiscreteValues": "discreteValueSpec",
    "parentIntValues": "integerValueSpec",
    "parentCategoricalValues": "categoricalValueSpec",
}
LOGARITHMIC = {"UNIT_LOG_SCALE": "log", "UNIT_REVERSE_LOG_SCALE": "reverse log"}
MEDIAN = "medianAutomatedStoppingSpec"
# Vertex AI fits Gaussian processes and regressions to the curves, in ways that are not published.
CLOUD_ONLY = ("decayCurveStoppingSpec", "convexAutomatedStoppingSpec")
CLOSEST = 1e-10  # discrete values are at least so far apart
MOST_VALUES = 1000
LONGEST_NAME = 128
LABEL = re.compile(r"[\w-]{0,63}")
VIZIER_ONLY = "is read by Vertex AI Vizier only, not by tuning jobs"


@dataclass(frozen=True)
class Parameter:
    """One parameter, and those that exist only where it has certain values.

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

    def brings(self, outer: Value) -> list[Parameter]:
        """The parameters that exist only where this one has that value."""
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


def read_study(spec: Mapping) -> StudySpec:
    metrics = spec.get("metrics") or [{}]
    return StudySpec(
        parameters=read_parameters(spec.get("parameters", ())),
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
    counts: dict[str, int] = {}
    return [_read_parameter(spec, counts) for spec in specs]


def _read_parameter(message: Mapping, counts: dict[str, int]) -> Parameter:
    field = next(field for field in KINDS if field in message)
    spec, (kind, number), id = message[field], KINDS[field], message["parameterId"]
    counts[id] = count = counts.get(id, 0) + 1
    values = tuple(map(number, spec.get("values", ())))
    if values:
        low, high, scale = 0, len(values) - 1, "linear"
    else:  # the service leaves out a bound that is 0
        low, high = number(spec.get("minValue", 0)), number(spec.get("maxValue", 0))
        scale = LOGARITHMIC.get(message.get("scaleType"), "linear")
    children = []
    for child in message.get("conditionalParameterSpecs", ()):
        wanted = next(child[field]["values"] for field in PARENTS if field in child)
        below = _read_parameter(child["parameterSpec"], counts)
        children.append((frozenset(map(number, wanted)), below))
    key = id if count == 1 else f"{id} ({count})"
    return Parameter(id, key, kind, scale, low, high, values, tuple(children))


def check_job(job: dict) -> Iterator[Problem]:
    """Find problems of names and numbers in a HyperparameterTuningJob."""
    name = job.get("displayName", "")
    if len(name) > LONGEST_NAME:
        what = f"has {len(name)} characters, and {LONGEST_NAME} are taken"
        yield "displayName", what, "write a shorter one"
    for key, value in job.get("labels", {}).items():
        if not all(LABEL.fullmatch(text) and text == text.lower() for text in (key, value)):
            instead = "lower-case letters, digits, - and _ only, 63 at most"
            yield f"labels.{key}", f"{key}: {value} is no label", instead
    for key, least in (("maxTrialCount", 1), ("parallelTrialCount", 1), ("maxFailedTrialCount", 0)):
        if int(job.get(key, least)) < least:
            yield key, f"is {job[key]}", f"write {least} or more"
    most, parallel = job.get("maxTrialCount", 0), job.get("parallelTrialCount", 0)
    if int(parallel) > int(most) > 0:
        what = f"is {parallel}, more than there are trials: maxTrialCount is {most}"
        instead = "write a few, such as 2: a search learns from finished ones"
        yield "parallelTrialCount", what, instead


def check_study(study: dict) -> Iterator[Problem]:
    """Find problems of a StudySpec's metrics, and of its parameters together."""
    if study.get("observationNoise", "").endswith(("LOW", "HIGH")):
        yield "observationNoise", VIZIER_ONLY, "remove it"
    metrics = study.get("metrics", [])
    names = [metric.get("metricId", "") for metric in metrics]
    for i, name in enumerate(names):
        if name and name in names[:i]:
            yield f"metrics[{i}].metricId", f"{name} stands twice", "keep one of them"
        if metrics[i].get("goal") == "GOAL_TYPE_UNSPECIFIED":
            yield f"metrics[{i}].goal", "is none", "write MINIMIZE or MAXIMIZE"
    flags = [p.get("parameterId", "").replace("-", "_") for p in study.get("parameters", [])]
    for i, flag in enumerate(flags):
        if flag and flag in flags[:i]:
            yield f"parameters[{i}].parameterId", f"{flag} is tuned twice", "keep one of them"
    if study.get("algorithm") == "GRID_SEARCH":
        for path, _, message in walk(study, "StudySpec"):
            if "doubleValueSpec" in message:
                what = "a GRID_SEARCH needs values that can be counted"
                instead = "write discreteValueSpec: {values: […]}, or another algorithm"
                yield f"{path}.doubleValueSpec", what, instead


def check_parameter(spec: dict) -> Iterator[Problem]:
    """Find problems of a ParameterSpec; those under a condition are checked on their own."""
    kind = next((kind for kind in KINDS if kind in spec), None)
    if kind is None:
        yield "", "has no values to choose from", f"write one of {', '.join(KINDS)}"
        return
    values = spec[kind]
    if values.get("defaultValue") is not None:
        yield f"{kind}.defaultValue", VIZIER_ONLY, "remove it"
    low, high, listed = values.get("minValue"), values.get("maxValue"), values.get("values", [])
    if low is not None and high is not None and float(low) >= float(high):
        what = f"is {low}, not below maxValue, {high}"
        yield f"{kind}.minValue", what, "swap them, or leave the parameter out"
    if kind != "categoricalValueSpec":
        yield from _check_numbers(spec, kind, listed or [low])
    else:
        if len(set(listed)) < len(listed):
            yield f"{kind}.values", "holds a value twice", "keep one of them"
        if spec.get("scaleType", "SCALE_TYPE_UNSPECIFIED") != "SCALE_TYPE_UNSPECIFIED":
            yield "scaleType", "categories have no scale", "remove it"
    for i, condition in enumerate(spec.get("conditionalParameterSpecs", [])):
        for where, what, instead in _check_condition(condition, kind, values):
            yield f"conditionalParameterSpecs[{i}]{where}", what, instead


def _check_numbers(spec: dict, kind: str, values: list) -> Iterator[Problem]:
    """Find problems of discrete values, or of the lowest one of a range."""
    values = [float(value) for value in values if value is not None]
    if any(after - before < CLOSEST for before, after in pairwise(values)):
        ordered = ", ".join(map(write_number, sorted(set(values))))
        what = "must rise, each value above the one before"
        yield f"{kind}.values", what, f"write [{ordered}]"
    if len(values) > MOST_VALUES:
        what = f"are {len(values)} values, and {MOST_VALUES} are taken"
        instead = "write minValue and maxValue in a doubleValueSpec or integerValueSpec"
        yield f"{kind}.values", what, instead
    scale = spec.get("scaleType")
    if scale in LOGARITHMIC and values and min(values) <= 0:
        what = f"{scale} needs values above 0, and the lowest is {min(values):g}"
        yield "scaleType", what, "write UNIT_LINEAR_SCALE, or a lowest value above 0"


def _check_condition(condition: dict, kind: str, values: dict) -> Iterator[Problem]:
    """Find problems of the values of a parent for which a parameter exists.

    Args:
        kind: the field with the parent's own values.
        values: what that field holds.
    """
    key = next((key for key in PARENTS if key in condition), "")
    if PARENTS.get(key) != kind:
        right = next((right for right, parent in PARENTS.items() if parent == kind), None)
        instead = f"write {right}" if right else "no parameter can hang on one of real numbers"
        what = f"does not say for which values of its parent, a {kind}, the parameter is there"
        yield f".{key}".rstrip("."), what, instead
    elif values:
        number = KINDS[kind][1]
        low, high = (int(values.get(bound, 0)) for bound in ("minValue", "maxValue"))
        known = list(map(number, values.get("values", ()))) or range(low, high + 1)
        for i, value in enumerate(condition[key].get("values", [])):
            if number(value) not in known:
                what = f"{value} is no value of the parent"
                yield f".{key}.values[{i}]", what, "write some of the values that it has"
