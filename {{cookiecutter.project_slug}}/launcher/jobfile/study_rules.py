"""The rules of a HyperparameterTuningJob around its trials: metrics, parameters, numbers of trials."""

from __future__ import annotations

import re
from collections.abc import Iterator

from launcher.jobfile.machine_rules import Said
from launcher.jobfile.scalars import write_number

KINDS = ("doubleValueSpec", "integerValueSpec", "categoricalValueSpec", "discreteValueSpec")
# The kind of a parent, by the field that names its values.
PARENTS = {
    "parentDiscreteValues": "discreteValueSpec",
    "parentIntValues": "integerValueSpec",
    "parentCategoricalValues": "categoricalValueSpec",
}
LOGARITHMIC = ("UNIT_LOG_SCALE", "UNIT_REVERSE_LOG_SCALE")
CLOSEST = 1e-10  # discrete values are at least so far apart
MOST_VALUES = 1000
LONGEST_NAME = 128
LABEL = re.compile(r"[\w-]{0,63}")


def study(job: dict) -> Iterator[Said]:
    """All faults of a HyperparameterTuningJob but those of its trialJobSpec."""
    name = job.get("displayName", "")
    if len(name) > LONGEST_NAME:
        what = f"has {len(name)} characters, and {LONGEST_NAME} are taken"
        yield "displayName", what, "write a shorter one"
    for key, value in (job.get("labels") or {}).items():
        if not all(LABEL.fullmatch(text) and text == text.lower() for text in (key, value)):
            what = f"{key}: {value} is no label"
            instead = "lower-case letters, digits, - and _ only, 63 at most"
            yield f"labels.{key}", what, instead
    yield from _trials(job)
    spec = job.get("studySpec") or {}
    yield from _metrics(spec.get("metrics") or [])
    if spec.get("observationNoise", "").endswith(("LOW", "HIGH")):
        what = "is read by Vertex AI Vizier only, not by tuning jobs"
        yield "studySpec.observationNoise", what, "remove it"
    grid = spec.get("algorithm") == "GRID_SEARCH"
    yield from _parameters("studySpec.parameters", spec.get("parameters") or [], grid)


def parameters(job: dict) -> Iterator[tuple[str, dict]]:
    """(place, ParameterSpec) of all parameters, those that hang on another's value too."""

    def walk(place: str, specs: list[dict]):
        for i, spec in enumerate(specs):
            yield f"{place}[{i}]", spec
            for k, condition in enumerate(spec.get("conditionalParameterSpecs") or []):
                below = f"{place}[{i}].conditionalParameterSpecs[{k}].parameterSpec"
                for where, child in walk("", [condition.get("parameterSpec") or {}]):
                    yield below + where.removeprefix("[0]"), child

    study_spec = job.get("studySpec") or {}
    yield from walk("studySpec.parameters", study_spec.get("parameters") or [])


def _trials(job: dict) -> Iterator[Said]:
    counts = {}
    for key in ("maxTrialCount", "parallelTrialCount"):
        counts[key] = job.get(key)
        if counts[key] is not None and int(counts[key]) < 1:
            yield key, f"is {counts[key]}", "write 1 or more"
    most, parallel = counts.values()
    if most and parallel and int(parallel) > int(most) > 0:
        what = f"is {parallel}, more than there are trials: maxTrialCount is {most}"
        yield (
            "parallelTrialCount",
            what,
            "write a few, such as 2: a search learns from finished ones",
        )
    if int(job.get("maxFailedTrialCount") or 0) < 0:
        what = f"is {job['maxFailedTrialCount']}"
        yield "maxFailedTrialCount", what, "write 1 or more, or 0 to leave it to the service"


def _metrics(metrics: list[dict]) -> Iterator[Said]:
    seen = set()
    for i, metric in enumerate(metrics):
        name = metric.get("metricId", "")
        place = f"studySpec.metrics[{i}]"
        if re.search(r"\s", name):
            yield f"{place}.metricId", f"{name!r} holds a blank", "write it without"
        if name and name in seen:
            yield f"{place}.metricId", f"{name} stands twice", "keep one of them"
        if metric.get("goal") == "GOAL_TYPE_UNSPECIFIED":
            yield f"{place}.goal", "is not given", "write MINIMIZE or MAXIMIZE"
        seen.add(name)


def _parameters(place: str, specs: list[dict], grid: bool) -> Iterator[Said]:
    seen: dict[str, str] = {}
    for i, spec in enumerate(specs):
        name, where = spec.get("parameterId", ""), f"{place}[{i}]"
        flag = name.replace("-", "_")
        if flag and flag in seen:
            what = f"{name} is tuned twice"
            if name != seen[flag]:
                what = f"{name} is the same flag as {seen[flag]}"
            yield f"{where}.parameterId", what, "keep one of them"
        seen.setdefault(flag, name)
        yield from _parameter(where, spec, grid)


def _parameter(place: str, spec: dict, grid: bool) -> Iterator[Said]:
    if re.search(r"\s", spec.get("parameterId", "")):
        what = f"{spec['parameterId']!r} holds a blank"
        yield f"{place}.parameterId", what, "write the flag's name, with _ for -"
    kind = next((kind for kind in KINDS if kind in spec), None)
    if kind is None:
        yield place, "has no values to choose from", f"write one of {', '.join(KINDS)}"
        return
    values, where = spec[kind], f"{place}.{kind}"
    if values.get("defaultValue") is not None:
        what = "is read by Vertex AI Vizier only, not by tuning jobs"
        yield f"{where}.defaultValue", what, "remove it"
    if grid and kind == "doubleValueSpec":
        what = "a GRID_SEARCH needs values that can be counted"
        yield where, what, "write discreteValueSpec: {values: […]}, or another algorithm"
    lowest = None
    if kind in ("doubleValueSpec", "integerValueSpec"):
        low, high = values.get("minValue"), values.get("maxValue")
        if low is not None and high is not None:
            lowest = float(low)
            if float(low) >= float(high):
                what = f"is {low}, not below maxValue, {high}"
                yield f"{where}.minValue", what, "swap them, or leave the parameter out"
    elif kind == "discreteValueSpec":
        found = [float(value) for value in values.get("values") or []]
        lowest = min(found, default=None)
        yield from _discrete(f"{where}.values", found)
    else:
        found = values.get("values") or []
        twice = sorted({value for value in found if found.count(value) > 1})
        if twice:
            yield f"{where}.values", f"{', '.join(twice)} stands twice", "keep one of them"
    yield from _scale(place, spec, kind, lowest)
    for i, condition in enumerate(spec.get("conditionalParameterSpecs") or []):
        below = f"{place}.conditionalParameterSpecs[{i}]"
        yield from _condition(below, condition, kind, values)
        if condition.get("parameterSpec"):
            yield from _parameter(f"{below}.parameterSpec", condition["parameterSpec"], grid)


def _discrete(place: str, values: list[float]) -> Iterator[Said]:
    if any(later - earlier < CLOSEST for earlier, later in zip(values, values[1:], strict=False)):
        ordered = ", ".join(map(write_number, sorted(set(values))))
        yield place, "must rise, each value above the one before", f"write [{ordered}]"
    if len(values) > MOST_VALUES:
        what = f"are {len(values)} values, and {MOST_VALUES} are taken"
        yield place, what, "write minValue and maxValue in a doubleValueSpec or integerValueSpec"


def _scale(place: str, spec: dict, kind: str, lowest: float | None) -> Iterator[Said]:
    scale = spec.get("scaleType", "SCALE_TYPE_UNSPECIFIED")
    if kind == "categoricalValueSpec" and scale != "SCALE_TYPE_UNSPECIFIED":
        yield f"{place}.scaleType", "categories have no scale", "remove it"
    elif scale in LOGARITHMIC and lowest is not None and lowest <= 0:
        what = f"{scale} needs values above 0, and the lowest is {lowest:g}"
        yield f"{place}.scaleType", what, "write UNIT_LINEAR_SCALE, or a lowest value above 0"


def _condition(place: str, condition: dict, kind: str, values: dict) -> Iterator[Said]:
    """A parameter that is there only for some values of its parent."""
    key = next((key for key in PARENTS if key in condition), None)
    if key is None:
        what = "does not say for which values of its parent the parameter is there"
        yield place, what, f"write one of {', '.join(PARENTS)}"
        return
    if PARENTS[key] != kind:
        right = next((k for k, parent in PARENTS.items() if parent == kind), None)
        instead = f"write {right}" if right else "no parameter can hang on a doubleValueSpec"
        yield f"{place}.{key}", f"the parent is a {kind}", instead
        return
    if not any(key in values for key in ("values", "minValue", "maxValue")):
        return
    for i, value in enumerate(condition[key].get("values") or []):
        if kind == "integerValueSpec":
            known = int(values.get("minValue", 0)) <= int(value) <= int(values.get("maxValue", 0))
        elif kind == "discreteValueSpec":
            known = any(abs(value - other) <= CLOSEST for other in values.get("values") or [])
        else:
            known = value in (values.get("values") or [])
        if not known:
            what = f"{value} is no value of the parent"
            yield f"{place}.{key}.values[{i}]", what, "write some of the values that it has"
