"""A study from the `hyperparameters:` of AI Platform Training."""

from __future__ import annotations

import math
from collections.abc import Callable

from launcher.common.document import show
from launcher.jobfile.schema import suggest

KINDS = ("DOUBLE", "INTEGER", "CATEGORICAL", "DISCRETE")
SCALES = ("NONE", "UNIT_LINEAR_SCALE", "UNIT_LOG_SCALE", "UNIT_REVERSE_LOG_SCALE")
DEFAULT_TAG = "training/hptuning/metric"
PLACE = "hyperparameters"


def study(old: dict, refuse: Callable) -> tuple[dict, dict[str, str], list[str]]:
    """The fields of a HyperparameterTuningJob but its name and trials, with comments.

    Args:
        refuse: takes a place, what is wrong and what to write; raises SpecError.

    Returns:
        The fields; {place: comment}; comments on what stands nowhere any more.
    """
    notes, head = {}, []
    goal = old.get("goal", "MAXIMIZE")
    if goal not in ("MAXIMIZE", "MINIMIZE"):
        refuse(f"{PLACE}.goal", f"is {show(goal)}", "write MAXIMIZE or MINIMIZE")
    tag = old.get("hyperparameterMetricTag") or DEFAULT_TAG
    if tag == DEFAULT_TAG:
        tag = "val_accuracy" if goal == "MAXIMIZE" else "val_loss"
        notes["studySpec.metrics"] = (
            f"was {DEFAULT_TAG}; the trainer reports its metrics by their own names"
        )
    params = old.get("params")
    if not isinstance(params, list) or not params:
        refuse(
            f"{PLACE}.params", f"is {show(params or 'empty')}", "a list of parameters is expected"
        )
    found = [_parameter(param, f"{PLACE}.params[{i}]", refuse) for i, param in enumerate(params)]
    spec = {"metrics": [{"metricId": tag, "goal": goal}], "parameters": found}
    notes["studySpec.parameters"] = "each was in params; a trial gets it as --name value, as before"
    if old.get("algorithm") in ("GRID_SEARCH", "RANDOM_SEARCH"):
        spec["algorithm"] = old["algorithm"]
    if old.get("enableTrialEarlyStopping"):
        spec["medianAutomatedStoppingSpec"] = {"useElapsedDuration": False}
        notes["studySpec.medianAutomatedStoppingSpec"] = (
            "was enableTrialEarlyStopping; the rule is chosen now: this, or decayCurveStoppingSpec"
        )
    if old.get("resumePreviousJobId"):
        head.append(
            f"resumePreviousJobId ({old['resumePreviousJobId']}) has no successor: a study starts "
            "anew."
        )
    counts = {
        "maxTrialCount": _count(old, "maxTrials", 1, refuse),
        "parallelTrialCount": _count(old, "maxParallelTrials", 1, refuse),
    }
    if old.get("maxFailedTrials"):
        counts["maxFailedTrialCount"] = _count(old, "maxFailedTrials", 0, refuse)
    return {**counts, "studySpec": spec}, notes, head


def _count(old: dict, key: str, default: int, refuse: Callable) -> int:
    text = str(old.get(key) if old.get(key) is not None else default)
    if not text.isdigit():
        refuse(f"{PLACE}.{key}", f"is {text}", "a whole number is expected")
    return int(text)


def _parameter(old: object, place: str, refuse: Callable) -> dict:
    if not isinstance(old, dict):
        refuse(place, f"is {show(old)}", "a parameterName, a type and values are expected")
    kind = old.get("type")
    if kind not in KINDS:
        refuse(f"{place}.type", f"is {show(kind)}", suggest(str(kind), KINDS))
    name = str(old.get("parameterName") or "").lstrip("-")
    if not name:
        refuse(f"{place}.parameterName", "is missing", "write the name of a flag")
    found = {"parameterId": name, **_values(old, kind, place, refuse)}
    scale = old.get("scaleType") or "NONE"
    if scale not in SCALES:
        refuse(f"{place}.scaleType", f"is {show(scale)}", suggest(str(scale), SCALES))
    if scale != "NONE" and kind != "CATEGORICAL":
        found["scaleType"] = scale
    return found


def _values(old: dict, kind: str, place: str, refuse: Callable) -> dict:
    def listed(key: str) -> list:
        values = old.get(key) or []
        if not isinstance(values, list):
            refuse(f"{place}.{key}", f"is {show(values)}", "a list is expected")
        return values

    def number(key: str, value: object) -> int | float:
        return _number(value, f"{place}.{key}", refuse)

    if kind == "CATEGORICAL":
        return {"categoricalValueSpec": {"values": list(map(str, listed("categoricalValues")))}}
    if kind == "DISCRETE":
        values = [number("discreteValues", value) for value in listed("discreteValues")]
        return {"discreteValueSpec": {"values": values}}
    ends = {key: number(key, old.get(key, 0)) for key in ("minValue", "maxValue")}
    if kind == "INTEGER":
        return {"integerValueSpec": {key: int(value) for key, value in ends.items()}}
    return {"doubleValueSpec": ends}


def _number(value: object, place: str, refuse: Callable) -> int | float:
    try:
        number = float(value)  # YAML takes 1e-3 for a text
        if math.isfinite(number):
            return int(number) if number.is_integer() and abs(number) < 1e15 else number
    except (TypeError, ValueError, OverflowError):
        pass
    refuse(place, f"is {show(value)}", "a number is expected")
