"""Whether the trainer takes what a job file passes to it: flags in args, and what a study varies.

The launcher never imports the trainer. Where trainer/task.py has a line `DESCRIBES = True`, it runs
`python -m trainer.task --describe` once for a job file and gives it flags in JSON on stdin. The answer
is one line of JSON; without TensorFlow it takes a tenth of a second.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence

from launcher.jobfile import program
from launcher.jobfile.job import Job, Pool
from launcher.jobfile.program import CONTRACT, MODULE
from launcher.jobfile.schema import Problem, suggest, walk
from launcher.jobfile.study import KINDS
from launcher.project.settings import ROOT

PATIENCE = 10  # seconds for an answer
HELP = f"python -m {MODULE} --help explains each flag"
LATER = re.compile(rf"\$\(({CONTRACT.pattern})\)")  # a value that only a running replica knows
Flag = list[tuple[str, str]]  # a flag and its values: (path in the message, word)
_hangs: list[bool] = []  # whether the trainer gave no answer in time: it is not run again


def check_flags(job: Job, flags: Sequence[str] = ()) -> Iterator[Problem]:
    """Find problems of the flags of all pools that run the trainer, and of what a study varies."""
    pools = [pool for pool in job.pools if pool.program.is_trainer]
    if not pools:
        return
    words = [flag for pool in pools for flag in _list_flags(pool, flags)]
    # The chief gets the parameters as flags.
    study = job.message.get("studySpec", {}) if job.tuning and pools[0].index == 0 else {}
    for path, _, message in walk(study, "StudySpec", "studySpec"):
        words += [[pair] for pair in _list_values(path, message)]
    questions = tuple(dict.fromkeys(map(_join, words)))
    description = ask_trainer(questions)
    if description is None:
        return
    answers = dict(zip(questions, description["answers"], strict=True))
    reported: set[tuple[str, str]] = set()  # (pool or parameter, name of an unknown flag)
    for flag in words:
        if (answer := answers.pop(_join(flag), None)) is not None:  # equal flags: once
            yield from _check_flag(flag, answer, description["flags"], reported)
    metrics = description["metrics"]
    tasks = re.findall(r"--task[= ](\S+)", " ".join(map(" ".join, questions)))[-1:] or metrics
    known = dict.fromkeys(name for task in tasks for name in metrics.get(task, ()))
    for i, metric in enumerate(study.get("metrics", [])):
        name = metric.get("metricId")
        if name and known and name not in known:
            what, hint = f"the trainer reports no {name}", suggest(name, known)
            yield f"studySpec.metrics[{i}].metricId", what, hint


def _list_flags(pool: Pool, flags: Sequence[str]) -> list[Flag]:
    """The args of a pool, each flag with its values; `$(VAR)` is expanded by the pool's own env."""
    known = program.expand_all(pool.program.env, {})
    groups: list[Flag] = []
    for path, word in pool.args(flags):
        if word.startswith("--") or not groups:
            groups.append([])
        groups[-1].append((path, _hyphenate(program.expand(word, known))))
    return groups


def _list_values(path: str, spec: dict) -> Iterator[tuple[str, str]]:
    """The flag of a parameter with each value that is known beforehand: (path, word)."""
    for kind in filter(spec.get, KINDS):
        values = spec[kind]
        pairs = [(key, values[key]) for key in ("minValue", "maxValue") if key in values]
        pairs += [(f"values[{i}]", value) for i, value in enumerate(values.get("values", []))]
        for key, value in pairs:
            word = f"--{spec.get('parameterId', '')}={value}"
            yield f"{path}.{kind}.{key}", _hyphenate(word)


def _join(flag: Flag) -> tuple[str, ...]:
    """The words of a flag, without their paths."""
    return tuple(word for _, word in flag)


def _check_flag(
    flag: Flag, answer: str | list[str], known: dict, reported: set[tuple[str, str]]
) -> Iterator[Problem]:
    """Find problems of one flag.

    Args:
        answer: the trainer's complaint, or the words that are no flags of it.
        known: the trainer's flags, without their hyphens.
        reported: the unknown flags so far, each of which is reported once.
    """
    if isinstance(answer, str):
        # A flag that is missing may still come from the command line.
        if answer.startswith("argument ") and not any(map(LATER.search, _join(flag))):
            yield flag[0][0], f"the trainer says: {answer}", HELP
        return
    unknown = [word for word in answer if word.startswith("-")] or answer[:1]
    for path, word in flag:
        name = word.partition("=")[0]
        if word not in unknown or (where := (path.rpartition("[")[0], name)) in reported:
            continue
        reported.add(where)
        if not name.startswith("--"):
            yield path, f"{word} is no flag", "write each flag with its value: --name=value"
            continue
        hint = suggest(name, [f"--{flag}" for flag in known], 0.7) if len(name) > 5 else ""
        if path.startswith("studySpec."):
            path = re.sub(r"\.\w+ValueSpec\b.*", ".parameterId", path)
            hint = hint.replace("--", "").replace("-", "_")
        yield path, f"the trainer has no flag {name}", hint or HELP


def _hyphenate(word: str) -> str:
    """As the trainer takes it: `--learning_rate=1` is `--learning-rate=1`."""
    name, equals, value = word.partition("=")
    return (name.replace("_", "-") if name.startswith("--") else name) + equals + value


def names_data(words: list[str]) -> bool:
    """Whether one of these flags says which data to train on; without, the trainer takes its own."""
    sources = (ask_trainer(()) or {}).get("sources", ())
    names = (_hyphenate(word).partition("=")[0] for word in words)
    return any(name.removeprefix("--") in sources for name in names)


@functools.lru_cache(maxsize=64)
def ask_trainer(questions: tuple[tuple[str, ...], ...]) -> dict | None:
    """What the trainer says of itself, with an answer to each list of flags; None for no answer.

    Variables of a job in which this runs, such as TF_CONFIG, do not reach it.
    """
    if not _describes() or _hangs:
        return None
    try:
        done = subprocess.run(
            [sys.executable, "-m", MODULE, "--describe"],
            cwd=ROOT,
            env={**program.drop_contract(os.environ), "PYTHONIOENCODING": "utf-8"},
            input=json.dumps(questions),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE,
        )
        answer = json.loads(done.stdout)
        complete = {"flags", "metrics", "sources", "answers"} <= set(answer)
        return answer if complete and len(answer["answers"]) == len(questions) else None
    except subprocess.TimeoutExpired:
        _hangs.append(True)
        print(f"warning: {MODULE} --describe hangs: flags are not checked", file=sys.stderr)
    except (OSError, ValueError, TypeError, subprocess.SubprocessError):
        pass
    return None


def _describes() -> bool:
    """Whether the trainer's text says that it may be run for that; it is not imported."""
    path = ROOT.joinpath(*MODULE.split(".")).with_suffix(".py")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return bool(re.search(r"^DESCRIBES(: [\w.\[\]]+)? = True *(#.*)?$", text, flags=re.MULTILINE))
