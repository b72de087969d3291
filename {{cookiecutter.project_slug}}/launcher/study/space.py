"""What a study varies: ParameterSpecs, as Vertex AI spells them, to optuna's questions and to flags.

A parameter has an outer value, the one that the trainer gets, and an inner one, optuna's. They
differ where optuna knows no such parameter: discrete values go by their place in the list, and on
a reverse logarithmic scale the distance from the top is what is searched on a logarithmic one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

Value = float | int | str

_KINDS = {
    **{"doubleValueSpec": "double", "integerValueSpec": "integer"},
    **{"discreteValueSpec": "discrete", "categoricalValueSpec": "categorical"},
}
_SCALES = {"UNIT_LOG_SCALE": "log", "UNIT_REVERSE_LOG_SCALE": "reverse log"}
_CONDITIONS = ("parentDiscreteValues", "parentIntValues", "parentCategoricalValues")


@dataclass(frozen=True)
class Parameter:
    """One parameter, and those that there are only where it has certain values."""

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
        """The parameters that there are only where this one has that value."""
        return [child for values, child in self.children if outer in values]


def read(study_spec: Mapping) -> list[Parameter]:
    """The parameters of a StudySpec that `spec.load` has checked."""
    seen: dict[str, int] = {}
    return [_with_keys(_read(each), seen) for each in study_spec["parameters"]]


def everything(space: Sequence[Parameter]) -> Iterator[Parameter]:
    """Each parameter, followed by those below it."""
    for parameter in space:
        yield parameter
        yield from everything([child for _, child in parameter.children])


def suggest(space: Sequence[Parameter], trial) -> dict[str, Value]:
    """Asks an optuna trial for a value of each parameter that there is: {id: outer value}."""
    chosen = {}
    for parameter in space:
        key, log = parameter.key, parameter.scale != "linear"
        if parameter.kind == "categorical":
            inner = trial.suggest_categorical(key, parameter.values)
        elif parameter.kind == "double":
            inner = trial.suggest_float(key, parameter.low, parameter.high, log=log)
        else:
            inner = trial.suggest_int(key, parameter.low, parameter.high, log=log)
        chosen[parameter.id] = value = parameter.outer(inner)
        chosen |= suggest(parameter.brings(value), trial)
    return chosen


def grid(space: Sequence[Parameter]) -> Iterator[dict[str, Value]]:
    """Every point, as {key: inner value}; the last parameter changes fastest."""
    if not space:
        yield {}
        return
    first, *rest = space
    choices = first.values if first.kind == "categorical" else range(first.low, first.high + 1)
    for inner in choices:
        for below in grid(first.brings(first.outer(inner))):
            for others in grid(rest):
                yield {first.key: inner, **below, **others}


def flags(chosen: Mapping[str, Value]) -> list[str]:
    """As Vertex AI passes them: two words each; a discrete 32 as 32.0, since it is a double."""
    return [word for id, value in chosen.items() for word in (f"--{id}", text(value))]


def text(value: Value) -> str:
    """With all digits: the same text gives the same run."""
    return value if isinstance(value, str) else repr(value)


def short(value: Value) -> str:
    """For people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _read(message: Mapping) -> Parameter:
    name = next(name for name in _KINDS if name in message)
    spec, kind = message[name], _KINDS[name]
    number = {"double": float, "integer": int, "discrete": float, "categorical": str}[kind]
    values = tuple(map(number, spec.get("values") or ()))
    if values:
        low, high, scale = 0, len(values) - 1, "linear"
    else:
        low, high = number(spec["minValue"]), number(spec["maxValue"])  # int64 may be a text
        scale = _SCALES.get(message.get("scaleType"), "linear")
    children = []
    for child in message.get("conditionalParameterSpecs") or ():
        wanted = next(child[name]["values"] for name in _CONDITIONS if name in child)
        children.append((frozenset(map(number, wanted)), _read(child["parameterSpec"])))
    id = message["parameterId"]
    return Parameter(id, id, kind, scale, low, high, values, tuple(children))


def _with_keys(parameter: Parameter, seen: dict[str, int]) -> Parameter:
    seen[parameter.id] = count = seen.get(parameter.id, 0) + 1
    key = parameter.id if count == 1 else f"{parameter.id} ({count})"
    children = tuple((values, _with_keys(child, seen)) for values, child in parameter.children)
    return replace(parameter, key=key, children=children)
