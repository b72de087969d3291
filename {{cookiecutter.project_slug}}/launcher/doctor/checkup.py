"""Checks that run side by side and all end in time: what `doctor` is made of.

Standard library only: what is missing may be everything else.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass

OK, WARN, WRONG, SKIPPED = "ok", "warn", "wrong", "skipped"
HERE, CLOUD = "here", "cloud"  # local work goes without what is in the cloud
ANSWER_SECONDS = 2.5  # for an answer of a service
COMMAND_SECONDS = 3.5  # for a program
ALL_SECONDS = 4.3  # for all checks together
NOT_FOUND = 127  # exit code, as of a shell: there is no such program


@dataclass(frozen=True)
class Finding:
    """The result of a check: one line, and the commands that fix what is wrong."""

    name: str
    where: str  # HERE or CLOUD
    state: str  # OK; WARN: works, but; WRONG: does not work; SKIPPED: could not be looked at
    text: str
    remedies: tuple[str, ...] = ()


class Skip(Exception):
    """A check cannot be made: why."""


class Wrong(Exception):
    """What is wrong, and the commands that fix it."""


@dataclass(frozen=True)
class Check:
    """`look` returns (state, text, remedy, …), or raises Skip or Wrong."""

    name: str
    look: Callable[[], tuple[str, ...]]
    where: str = HERE

    def run(self) -> Finding:
        try:
            state, text, *remedies = self.look()
        except Wrong as wrong:
            state, text, *remedies = WRONG, *wrong.args
        except Skip as skip:
            state, text, remedies = SKIPPED, str(skip), []
        except Exception as error:  # a fault of ours; the other checks are worth having
            state, text, remedies = SKIPPED, f"could not be checked ({error!r})", []
        return Finding(self.name, self.where, state, one_line(text), tuple(remedies))


def run(checks: Sequence[Check], seconds: float) -> Iterator[Finding]:
    """Run checks side by side; yield their findings in order, each as soon as those before it exist.

    A check that has not answered in time is skipped. Its thread may outlive this call.
    """
    end, threads = time.monotonic() + seconds, ThreadPoolExecutor(len(checks))
    for check, future in [(check, threads.submit(check.run)) for check in checks]:
        try:
            yield future.result(max(0.0, end - time.monotonic()))
        except Late:
            late = f"no answer in {seconds:.0f} s"
            yield Finding(check.name, check.where, SKIPPED, late)
    threads.shutdown(wait=False)


def command(*words: str, seconds: float = 0, cwd=None) -> tuple[int, str, str]:
    """Run a program; return its exit code or NOT_FOUND, its output, and what it wrote to its errors.

    Args:
        seconds: within which it ends; 0: COMMAND_SECONDS.

    Raises:
        Skip: it gave no answer in time, or cannot be started.
    """
    seconds = seconds or COMMAND_SECONDS
    program = shutil.which(words[0])  # with its ending: on Windows gcloud is gcloud.cmd
    if not program:
        return NOT_FOUND, "", ""
    # We search its messages, in English; gcloud must not wait for an answer.
    environ = {**os.environ, "LC_ALL": "C", "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "errors": "replace"}
    try:
        done = subprocess.run(
            [program, *words[1:]],
            timeout=seconds,
            cwd=cwd,
            env=environ,
            encoding="utf-8",
            **options,
        )
    except subprocess.TimeoutExpired:
        raise Skip(f"{words[0]} gave no answer in {seconds:.0f} s") from None
    except OSError as error:
        raise Skip(f"{words[0]} cannot be started ({error.strerror or error})") from None
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def one_line(text: str, longest: int = 300) -> str:
    """What a program wrote, fit for one line of a terminal."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
