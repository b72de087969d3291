"""Whether the trainer takes what a job file hands it: flags in args, and what a study varies.

The launcher never imports the trainer. Where trainer/task.py declares `DESCRIBES = True`, it runs
`python -m trainer.task --describe` once for a job file and gives it flags in JSON on stdin. The answer
is one line of JSON; without TensorFlow it takes a tenth of a second.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from launcher.jobfile import program
from launcher.jobfile.machine_rules import Said
from launcher.jobfile.program import CONTRACT, MODULE
from launcher.jobfile.shape import did_you_mean
from launcher.jobfile.study_rules import parameters
from launcher.project.settings import ROOT

if TYPE_CHECKING:
    from launcher.jobfile.job import Job, Pool

PATIENCE = 10  # seconds for an answer
_hangs: list[bool] = []  # whether the trainer gave no answer in time: it is not run again
HELP = f"python -m {MODULE} --help explains each flag"
LATER = re.compile(rf"\$\(({CONTRACT.pattern})\)")  # a value that only a running replica knows
Word = tuple[str, str]  # a place in the message, and what stands there
Chunk = tuple[Word, ...]  # a flag with its values


def check(job: Job, flags: Sequence[str] = ()) -> Iterator[Said]:
    """Faults of the flags of all pools that run the trainer, and of what a study tunes.

    Args:
        flags: of a command line, after the args of the pools.
    """
    pools = [pool for pool in job.pools if pool.program.is_trainer]
    groups = [list(_flags(pool, flags)) for pool in pools]
    together = list(map(_join, groups))
    tunes = job.tuning and pools and pools[0].index == 0  # the chief has the parameters as flags
    if tunes:
        tuned = parameters(job.message)
        groups.append([(word,) for place, spec in tuned for word in _trials(place, spec)])
    questions = [_texts(chunk) for group in groups for chunk in group]
    questions = tuple(dict.fromkeys([*questions, *together]))
    description = _ask(questions) if pools else None
    if not description:
        return
    answers = dict(zip(questions, description["answers"], strict=True))
    alone = [answers[_texts(chunk)] for group in groups for chunk in group]
    for group in groups:
        reported: set[str] = set()
        for chunk in group:
            if (answer := answers.pop(_texts(chunk), None)) is not None:  # equal flags: once
                yield from _faults(chunk, answer, description["flags"], reported)
    for group, words in zip(groups, together, strict=False):
        answer = answers.pop(words, None)
        if isinstance(answer, str) and answer not in alone:
            yield from _conflicts(group, answer)
    if tunes:
        task = _value_of("--task", _join(groups[0]))
        yield from _metrics(job.message, task, description["metrics"])


def names_data(words: list[str]) -> bool:
    """Whether one of these flags says which data to train on; without, the trainer takes its own."""
    sources = (_ask(()) or {}).get("sources", ())
    names = (word[2:].partition("=")[0] for word in words if word.startswith("--"))
    return any(name.replace("_", "-") in sources for name in names)


def _flags(pool: Pool, flags: Sequence[str]) -> Iterator[Chunk]:
    """The args of a pool, each flag with its values; `$(VAR)` is expanded by the pool's own env."""
    known = program.expand_all(pool.program.env, {})
    chunk: list[Word] = []
    for where, word in pool.args(flags):
        if word.startswith("--") and chunk:
            yield tuple(chunk)
            chunk = []
        chunk.append((where, program.expand(word, known)))
    if chunk:
        yield tuple(chunk)


def _texts(chunk: Chunk) -> tuple[str, ...]:
    return tuple(word for _, word in chunk)


def _join(group: list[Chunk]) -> tuple[str, ...]:
    return tuple(word for chunk in group for word in _texts(chunk))


def _metrics(message: dict, task: list[str], metrics: dict[str, list[str]]) -> Iterator[Said]:
    """Metrics that the trainer does not report, for its task where the args name one."""
    known = [name for kind in task or metrics for name in metrics.get(kind, ())]
    for i, metric in enumerate((message.get("studySpec") or {}).get("metrics") or []):
        name = metric.get("metricId")
        if name and known and name not in known:
            what = f"the trainer reports no {name}"
            hint = did_you_mean(name, dict.fromkeys(known))
            yield f"studySpec.metrics[{i}].metricId", what, hint


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


def _conflicts(group: list[Chunk], complaint: str) -> Iterator[Said]:
    """A flag that is right alone, and wrong beside the others: of two that exclude each other."""
    flag = re.match(r"argument (?:-\w/)?(--[\w-]+)", complaint)
    for chunk in reversed(group):
        place, word = chunk[0]
        if flag and _hyphens(word).partition("=")[0] == flag[1]:
            yield place, f"the trainer says: {complaint}", HELP
            return


def _faults(
    chunk: Chunk, answer: str | list[str], known: dict, reported: set[str]
) -> Iterator[Said]:
    """Faults of a flag.

    Args:
        answer: the trainer's complaint, or the words that are no flags of it.
        reported: the names of unknown flags, each of which is reported once.
    """
    if isinstance(answer, str):
        # A flag that is missing may still come from the command line.
        if answer.startswith("argument ") and not any(map(LATER.search, _texts(chunk))):
            yield chunk[0][0], f"the trainer says: {answer}", HELP
        return
    unknown = [word for word in answer if word.startswith("-")] or answer[:1]
    for place, word in chunk:
        name = _hyphens(word).partition("=")[0]
        if _hyphens(word) not in unknown or name in reported:
            continue
        reported.add(name)
        hint = _near(name, [f"--{flag}" for flag in known])
        if not name.startswith("--"):
            yield place, f"{word} is no flag", "write each flag with its value: --name=value"
        elif ".parameterSpec" in place or place.startswith("studySpec"):
            where = re.sub(r"\.\w+ValueSpec\b.*", ".parameterId", place)
            hint = hint.replace("--", "").replace("-", "_")
            yield where, f"the trainer has no flag {name}", hint or HELP
        else:
            yield place, f"the trainer has no flag {name}", hint or HELP


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


def _value_of(flag: str, args: Sequence[str]) -> list[str]:
    """The value of a flag, which the last one of its name gives; [] without it."""
    for i in range(len(args) - 1, -1, -1):
        name, equals, value = _hyphens(args[i]).partition("=")
        if name == flag:
            return [value] if equals else args[i + 1 : i + 2]
    return []


def _describes() -> bool:
    """Whether the trainer declares that it may be asked, in its text; it is not imported for that."""
    try:
        tree = ast.parse(ROOT.joinpath(*MODULE.split(".")).with_suffix(".py").read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    texts = (
        ast.unparse(node) for node in tree.body if isinstance(node, (ast.Assign, ast.AnnAssign))
    )
    return any(re.fullmatch(r"DESCRIBES(: [\w.\[\]]+)? = True", text) for text in texts)


@functools.lru_cache(maxsize=64)
def _ask(questions: tuple[tuple[str, ...], ...]) -> dict | None:
    """What the trainer says of itself, with an answer to each list of flags; None for no answer.

    Variables of a job in which this runs, such as TF_CONFIG, do not reach it.
    """
    if not _describes() or _hangs:
        return None
    env = {name: value for name, value in os.environ.items() if not CONTRACT.fullmatch(name)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", MODULE, "--describe"],
            cwd=ROOT,
            env={**env, "PYTHONIOENCODING": "utf-8"},
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
