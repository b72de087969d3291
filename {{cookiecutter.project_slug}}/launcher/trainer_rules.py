"""Whether the trainer takes what a job file hands it: flags in args, and what a study varies.

The launcher never imports the trainer. It asks `python -m trainer.task --describe`, which checks the
flags that stand beside it and answers in one line of JSON, without TensorFlow, in a tenth of a
second.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from launcher.machine_rules import Said
from launcher.shape import did_you_mean
from launcher.study_rules import parameters

ROOT = Path(__file__).resolve().parents[1]
MODULE = "trainer.task"
PATIENCE = 30  # seconds for an answer
MOST_FAULTS = 20  # of one list of flags: each costs a question
HELP = f"python -m {MODULE} --help explains each flag"
# What a study puts behind the args, as (place in the message, word); "" where args are no study's.
Word = tuple[str, str]


def custom_job(spec: dict) -> Iterator[Said]:
    """Faults of the args of all pools; the same list of args is told of once."""
    seen = set()
    for i, pool in enumerate(spec.get("workerPoolSpecs") or []):
        key = "pythonPackageSpec" if "pythonPackageSpec" in pool else "containerSpec"
        task = pool.get(key) or {}
        args = task.get("args") or []
        if _runs_the_trainer(task) and tuple(args) not in seen:
            seen.add(tuple(args))
            place = f"workerPoolSpecs[{i}].{key}.args"
            yield from _words([(f"{place}[{k}]", word) for k, word in enumerate(args)])


def study(job: dict) -> Iterator[Said]:
    """Faults of what a study varies and looks at: parameters that are no flags, and the like."""
    pools = (job.get("trialJobSpec") or {}).get("workerPoolSpecs") or [{}]
    task = pools[0].get("pythonPackageSpec") or pools[0].get("containerSpec") or {}
    if not _runs_the_trainer(task):
        return
    yield from _words([word for place, spec in parameters(job) for word in _trials(place, spec)])
    answer = _ask(())
    if not isinstance(answer, dict):
        return
    known = dict.fromkeys(
        name
        for task_name, names in answer["metrics"].items()
        if task_name in (_value_of("--task", task.get("args") or []) or task_name)
        for name in names
    )
    for i, metric in enumerate((job.get("studySpec") or {}).get("metrics") or []):
        name = metric.get("metricId")
        if name and name not in known:
            what = f"the trainer reports no {name}"
            yield f"studySpec.metrics[{i}].metricId", what, did_you_mean(name, known)


def names_data(words: list[str]) -> bool:
    """Whether one of these flags says which data to train on; without, the trainer takes its own."""
    answer = _ask(())
    sources = answer.get("sources", ()) if isinstance(answer, dict) else ()
    names = (word[2:].partition("=")[0] for word in words if word.startswith("--"))
    return any(name.replace("_", "-") in sources for name in names)


def _runs_the_trainer(task: dict) -> bool:
    ours = not task.get("command") or task["command"][1:] == ["-m", MODULE]
    image = task.get("imageUri", "")
    return ours and task.get("pythonModule", MODULE) == MODULE and "reductionserver" not in image


def _trials(place: str, spec: dict) -> Iterator[Word]:
    """The flag of a parameter with each value that can be told beforehand."""
    flag = f"--{spec.get('parameterId', '')}"
    for kind, keys in (
        ("doubleValueSpec", ("minValue", "maxValue")),
        ("integerValueSpec", ("minValue", "maxValue")),
        ("discreteValueSpec", ("values",)),
        ("categoricalValueSpec", ("values",)),
    ):
        for key in keys:
            values = (spec.get(kind) or {}).get(key)
            if isinstance(values, list):
                for k, value in enumerate(values):
                    yield f"{place}.{kind}.{key}[{k}]", f"{flag}={value}"
            elif values is not None:
                yield f"{place}.{kind}.{key}", f"{flag}={values}"


def _words(words: list[Word]) -> Iterator[Said]:
    """Faults of a list of flags. The trainer stops at the first: without it, it is asked again."""
    for _ in range(MOST_FAULTS):
        answer = _ask(tuple(word for _, word in words))
        if not isinstance(answer, str):
            break
        found = _blamed(answer, [word for _, word in words])
        if found is None:
            if words:
                yield words[0][0].rpartition("[")[0], f"the trainer says: {answer}", HELP
            return
        first, last = found
        yield words[first][0], f"the trainer says: {answer}", HELP
        words = words[:first] + words[last:]
    if not isinstance(answer, dict):
        return  # it cannot be asked: that is told when it runs
    unknown = [word for word in answer["unknown"] if word.startswith("-")] or answer["unknown"][:1]
    told = set()
    for place, word in words:
        name = _hyphens(word).partition("=")[0]
        if _hyphens(word) not in unknown or name in told:
            continue
        told.add(name)
        hint = _near(name, [f"--{flag}" for flag in answer["flags"]])
        if not name.startswith("--"):
            yield place, f"{word} is no flag", "write each flag with its value: --name=value"
        elif ".parameterSpec" in place or place.startswith("studySpec"):
            where = re.sub(r"\.\w+ValueSpec\b.*", ".parameterId", place)
            hint = hint.replace("--", "").replace("-", "_")
            yield where, f"the trainer has no flag {name}", hint or HELP
        else:
            yield place, f"the trainer has no flag {name}", hint or HELP


def _blamed(answer: str, words: list[str]) -> tuple[int, int] | None:
    """The part of words, first to last, of which the trainer says that it is wrong."""
    flag = re.match(r"argument (--[\w-]+)", answer)
    if not flag:
        return None
    for i, word in enumerate(words):
        name, equals, value = _hyphens(word).partition("=")
        if name != flag[1]:
            continue
        follows = words[i + 1] if i + 1 < len(words) else ""
        if equals:
            if repr(value) in answer or "'" not in answer:
                return i, i + 1
        elif repr(follows) in answer:
            return i, i + 2
        elif "expected" in answer and (not follows or follows.startswith("--")):
            return i, i + 1
    return None


def _near(name: str, flags: list[str]) -> str:
    """ "did you mean --learning-rate?" for --lr, --learning, --learning-rates; "" for others."""
    for flag in flags:
        initials = "".join(part[0] for part in flag.split("-") if part)
        if name in (f"--{initials}", flag[: len(name)]) and len(name) > 3:
            return f"did you mean {flag}?"
    return did_you_mean(name, flags, cutoff=0.7) if len(name) > 5 else ""


def _hyphens(word: str) -> str:
    """As the trainer takes it: `--learning_rate=1` is `--learning-rate=1`."""
    name, equals, value = word.partition("=")
    return (name.replace("_", "-") if name.startswith("--") else name) + equals + value


def _value_of(flag: str, args: list[str]) -> list[str]:
    """The value of a flag, which the last one of its name gives; [] without it."""
    for i in range(len(args) - 1, -1, -1):
        name, equals, value = _hyphens(args[i]).partition("=")
        if name == flag:
            return [value] if equals else args[i + 1 : i + 2]
    return []


@functools.lru_cache(maxsize=256)
def _ask(words: tuple[str, ...]) -> dict | str | None:
    """What the trainer tells of itself; its complaint about these flags; None if it does not answer."""
    command = [sys.executable, "-m", MODULE, "--describe", *words]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE,
        )
        if done.returncode == 2 and done.stderr.startswith("error: "):
            return done.stderr.splitlines()[0].removeprefix("error: ").partition("; --help")[0]
        answer = json.loads(done.stdout)
        return answer if {"flags", "metrics", "unknown"} <= set(answer) else None
    except (OSError, ValueError, TypeError, subprocess.SubprocessError):
        return None
