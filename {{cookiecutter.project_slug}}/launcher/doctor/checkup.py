"""Checks that run side by side and all end in time: what `doctor` is made of.

Standard library only, and nothing newer than Python 3.8: the wrong Python is what it looks for.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

OK, WARN, WRONG, SKIPPED = "ok", "warn", "wrong", "skipped"
COMMAND_SECONDS = 3.5  # for a program
ALL_SECONDS = 4.3  # for all checks together


@dataclass(frozen=True)
class Finding:
    """What a check found: one line, and the commands that fix it."""

    name: str
    state: str  # OK; WARN: works, but; WRONG: does not work; SKIPPED: could not be looked at
    text: str
    remedies: tuple[str, ...] = ()
    cloud: bool = False  # local work goes without


class Skip(Exception):
    """A check that cannot be made, and why."""


class Wrong(Exception):
    """Something is wrong that no command fixes."""


@dataclass(frozen=True)
class Check:
    """`look` returns (state, text, remedy, …), or raises Skip or Wrong."""

    name: str
    look: Callable[[], tuple[str, ...]]
    cloud: bool = False

    def run(self) -> Finding:
        try:
            state, text, *remedies = self.look()
        except Skip as skip:
            state, text, remedies = SKIPPED, str(skip), []
        except Wrong as wrong:
            state, text, remedies = WRONG, str(wrong), []
        except Exception as error:  # a fault of ours; the other checks are worth having
            state, text, remedies = SKIPPED, f"could not be checked ({error!r})", []
        return Finding(self.name, state, one_line(text), tuple(remedies), self.cloud)


def run(checks: Sequence[Check], seconds: float = ALL_SECONDS) -> Iterator[Finding]:
    """Yields a finding for each check, in their order, each as soon as it and those before it are
    there. What has not answered in time is skipped."""
    end = time.monotonic() + seconds
    for check, future in [(check, start(check.run)) for check in checks]:
        try:
            yield future.result(max(0.0, end - time.monotonic()))
        except concurrent.futures.TimeoutError:
            late = f"no answer in {seconds:.0f} s"
            yield Finding(check.name, SKIPPED, late, cloud=check.cloud)


def start(function: Callable[[], object]) -> Future:
    """Runs a function in a thread that no exit waits for, unlike those of an executor."""
    future = Future()
    threading.Thread(target=_settle, args=(future, function), daemon=True).start()
    return future


def once(function: Callable[[], object]) -> Callable[[], object]:
    """Runs a function at its first call only; every call gives what it returned or raised."""
    future, lock = Future(), threading.Lock()

    def call():
        with lock:
            if not future.done():
                _settle(future, function)
        return future.result()

    return call


def _settle(future: Future, function: Callable[[], object]) -> None:
    try:
        future.set_result(function())
    except Exception as error:
        future.set_exception(error)


def command(*words: str, seconds: float = COMMAND_SECONDS, **options) -> tuple[int, str, str]:
    """Runs a program: its exit code, what it wrote to its output, and to its errors.

    Raises:
        FileNotFoundError: there is no such program.
        Skip: it gave no answer in time, or cannot be started.
    """
    program = shutil.which(words[0])  # with its ending: on Windows gcloud is gcloud.cmd
    if not program:
        raise FileNotFoundError(words[0])
    try:
        child = subprocess.Popen(
            [program, *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            # What it prints is searched, in English; gcloud must not wait for an answer.
            env={**os.environ, "LC_ALL": "C", "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"},
            start_new_session=True,  # so that what it starts can be ended with it
            **options,
        )
    except OSError as error:
        raise Skip(f"{words[0]} cannot be started ({error.strerror or error})") from None
    try:
        out, err = child.communicate(timeout=seconds)
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as error:
        with contextlib.suppress(OSError):
            if os.name == "nt":
                child.kill()
            else:
                os.killpg(child.pid, signal.SIGKILL)
        if isinstance(error, KeyboardInterrupt):
            raise
        raise Skip(f"{words[0]} gave no answer in {seconds:.0f} s") from None
    return child.returncode, out.strip(), err.strip()


def one_line(text: object, most: int = 300) -> str:
    """Whatever a program said, fit for one line of a terminal."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= most else line[: most - 1] + "…"
