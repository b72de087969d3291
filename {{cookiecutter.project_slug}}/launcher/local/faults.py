"""Faults on purpose, to see that a job survives: `--kill worker:1@epoch2`, `--preempt-after 30s`."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """A trainer's line about an epoch."""

    epoch: int = 0  # 0: none has ended
    epochs: int = 0
    values: str = ""


def read_progress(line: str) -> Progress | None:
    """Read `epoch 3/30  loss 0.1 … (0.2 s, …)`; None for any other line."""
    match = re.match(r"epoch (\d+)/(\d+)(?:\s+(.*))?$", line)
    return Progress(int(match[1]), int(match[2]), match[3] or "") if match else None


@dataclass(frozen=True)
class Moment:
    """When a fault happens: after some seconds of the job, or when an epoch has ended."""

    seconds: float | None = None
    epoch: int | None = None

    def __str__(self) -> str:
        return f"epoch{self.epoch}" if self.epoch else f"{self.seconds:g}s"

    def reached(self, seconds: float, epoch: int) -> bool:
        return epoch >= self.epoch if self.epoch else seconds >= self.seconds


@dataclass(frozen=True)
class Kill:
    """`kill -9` of one replica."""

    replica: str  # "worker:1"
    when: Moment


def parse_moment(text: str) -> Moment:
    """ "30s", "2m", "1.5" (seconds) or "epoch3".

    Raises:
        ArgumentTypeError: none of them.
    """
    if match := re.fullmatch(r"epoch([1-9]\d*)", text):
        return Moment(epoch=int(match[1]))
    if match := re.fullmatch(r"(\d+\.?\d*|\.\d+)(s|m|)", text):
        return Moment(seconds=float(match[1]) * (60 if match[2] == "m" else 1))
    raise ArgumentTypeError(f"{text!r} is no moment; write 30s, 2m or epoch3")


def parse_kill(text: str) -> Kill:
    """ "worker:1@epoch2", "chief@10s".

    Raises:
        ArgumentTypeError: not of that form.
    """
    match = re.fullmatch(r"(chief|worker|ps|evaluator)(?::(\d+))?@(.+)", text)
    if not match:
        raise ArgumentTypeError(f"{text!r} is no fault; write worker:1@epoch2 or chief@30s")
    return Kill(f"{match[1]}:{int(match[2] or 0)}", parse_moment(match[3]))
