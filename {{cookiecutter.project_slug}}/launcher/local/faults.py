"""Faults on purpose, to see that a job survives: `--kill worker:1@epoch2`, `--preempt-after 30s`."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """What a trainer's line of an epoch tells."""

    epoch: int = 0  # 0: none is done
    epochs: int = 0
    values: str = ""


NONE = Progress()


def progress(line: str) -> Progress | None:
    """Reads `epoch 3/30  loss 0.1 … (0.2 s, …)`; None for any other line."""
    found = re.match(r"epoch (\d+)/(\d+)(?:\s+(.*))?$", line)
    return Progress(int(found[1]), int(found[2]), found[3] or "") if found else None


@dataclass(frozen=True)
class Moment:
    """When a fault comes: after some seconds of the job, or once an epoch is done."""

    seconds: float | None = None
    epoch: int | None = None

    def __str__(self) -> str:
        return f"epoch{self.epoch}" if self.epoch else f"{self.seconds:g}s"

    def reached(self, seconds: float, epoch: int) -> bool:
        return epoch >= self.epoch if self.epoch else seconds >= self.seconds


@dataclass(frozen=True)
class Kill:
    """`kill -9` of one replica."""

    role: str
    index: int
    when: Moment


def moment(text: str) -> Moment:
    """ "30s", "2m", "1.5" (seconds) or "epoch3".

    Raises:
        ArgumentTypeError: none of them.
    """
    if found := re.fullmatch(r"epoch([1-9]\d*)", text):
        return Moment(epoch=int(found[1]))
    if found := re.fullmatch(r"(\d+\.?\d*|\.\d+)(s|m|)", text):
        return Moment(seconds=float(found[1]) * (60 if found[2] == "m" else 1))
    raise ArgumentTypeError(f"{text!r} is no moment; write 30s, 2m or epoch3")


def kill(text: str) -> Kill:
    """ "worker:1@epoch2", "chief@10s".

    Raises:
        ArgumentTypeError: not of that form.
    """
    found = re.fullmatch(r"(chief|worker|ps|evaluator)(?::(\d+))?@(.+)", text)
    if not found:
        raise ArgumentTypeError(f"{text!r} is no fault; write worker:1@epoch2 or chief@30s")
    return Kill(found[1], int(found[2] or 0), moment(found[3]))
