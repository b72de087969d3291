"""What a study varies: parameters as an optuna trial chooses them, and as flags of the trainer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from launcher.jobfile.study import Parameter, Value


def everything(space: Sequence[Parameter]) -> Iterator[Parameter]:
    """Yield each parameter, followed by those below it."""
    for parameter in space:
        yield parameter
        yield from everything([child for _, child in parameter.children])


def suggest(space: Sequence[Parameter], trial) -> dict[str, Value]:
    """Let an optuna trial choose a value of each parameter that there is: {id: outer value}."""
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
    """Yield every point, as {key: inner value}; the last parameter changes fastest."""
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
