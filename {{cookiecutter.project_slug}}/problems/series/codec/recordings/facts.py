"""What files say of each recording, and what the training recordings alone decide for all.

Recordings are encoded once for all folds, and those that one fold holds out train in the others. So each
fold decides from these facts what training settles: the task, its classes, the step, the blinks. Where it
decides otherwise than the fold that encoded the recordings, it encodes them for itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codec import files
from codec.recordings.roles import Roles
from codec.recordings.rows import NO_LABEL, Rows
from codec.recordings.targets import MAX_CLASSES, settle_task
from codec.resample import CHUNK, check_time, find_step
from codec.schema import UNITS

RARE = 0.01  # zeros elsewhere for one beside lost values: with more of them, zero is a value
MAX_TEXTS = 4 * MAX_CLASSES  # of a target: with more, its samples have no classes


@dataclass(frozen=True)
class Facts:
    """What files say of each recording.

    Attributes:
        first, last: int32 [R]: the least and the greatest number of a text of the target, -1 for none.
        owner, text: int32 [pairs]: the recordings with several texts, and all texts of each.
        steps: float64 [R]: between samples, in the unit of time; NaN where nobody can tell.
        zeros: int64 [R, 2, channels]: in samples with lost values, and in others; without channels where
            none has the former.
        texts: of the target.
    """

    first: np.ndarray
    last: np.ndarray
    owner: np.ndarray
    text: np.ndarray
    steps: np.ndarray
    zeros: np.ndarray
    texts: list[str]

    @property
    def has_label(self) -> np.ndarray:
        return self.last != NO_LABEL

    @property
    def has_two(self) -> np.ndarray:
        return self.first != self.last

    def list_texts(self, chosen: np.ndarray) -> list[str]:
        """The texts of the target in some recordings, bool [R]."""
        several = self.text[chosen[self.owner]]
        used = np.concatenate([self.first[chosen], self.last[chosen], several])
        return [self.texts[i] for i in np.unique(used[used != NO_LABEL])]

    def choose(self, recordings: Sequence[int]) -> Facts:
        """The facts of some recordings, which get the numbers from 0 on."""
        places = np.full(len(self.first), -1, np.int32)
        places[recordings] = np.arange(len(recordings))
        kept = places[self.owner] >= 0
        return Facts(
            self.first[recordings],
            self.last[recordings],
            places[self.owner][kept],
            self.text[kept],
            self.steps[recordings],
            self.zeros[recordings],
            self.texts,
        )

    def save(self, folder: str) -> None:
        arrays = {name: value for name, value in vars(self).items() if name != "texts"}
        np.savez(os.path.join(folder, "facts.npz"), **arrays)
        files.write_text(os.path.join(folder, "texts.json"), json.dumps(self.texts))

    @classmethod
    def load(cls, folder: str) -> Facts:
        texts = json.loads(files.read_text(os.path.join(folder, "texts.json")))
        with np.load(os.path.join(folder, "facts.npz")) as arrays:
            return cls(**arrays, texts=texts)


@dataclass(frozen=True)
class Decided:
    """What holds for all recordings, since those for training say it.

    Attributes:
        step: between samples, in the unit of time; own_step: that of most files, 0 where unknown.
        blinks: the channels in which a zero beside lost values is lost, too.
    """

    task: str
    labels: list[str]
    step: float
    own_step: float
    blinks: list[str]


def collect_facts(rows: Rows, roles: Roles, used: Sequence[int], faults: dict[int, str]) -> Facts:
    """Read all recordings but those with faults. Times that do not ascend become faults.

    Args:
        used: the numbers of the channels.
    """
    count, has_blinks = len(rows.keys), bool(rows.zeros[0, used].any())
    steps = np.full(count, np.nan)
    zeros = np.zeros((count, 2, len(used) if has_blinks else 0), np.int64)
    owner, text = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    has_several = (rows.first != rows.last) & (len(rows.labels) <= MAX_TEXTS)
    for i, recording in enumerate(rows.read_each()):
        if i in faults:
            continue
        if roles.time:
            try:
                check_time(recording["time"])
            except ValueError as error:
                faults[i] = str(error)
                continue
            if len(recording) > 1:
                steps[i] = find_step(recording["time"])
        if not (has_blinks or has_several[i]):
            continue
        own = set()
        for start in range(0, len(recording), CHUNK):
            part = recording[start : start + CHUNK]
            if has_blinks:
                values = part["values"][:, used]
                is_lost, is_zero = np.isnan(values).any(axis=1), values == 0
                zeros[i] += [is_zero[is_lost].sum(axis=0), is_zero[~is_lost].sum(axis=0)]
            own.update(np.unique(part["label"]).tolist())
        if has_several[i]:
            own.discard(NO_LABEL)
            owner.append(np.full(len(own), i, np.int32))
            text.append(np.array(sorted(own), np.int32))
    return Facts(
        rows.first,
        rows.last,
        np.concatenate(owner),
        np.concatenate(text),
        steps,
        zeros,
        rows.labels,
    )


def decide(
    facts: Facts,
    train: np.ndarray,
    roles: Roles,
    channels: Sequence[str],
    task: str | None,
    rate: float | None,
) -> tuple[Decided, list[str]]:
    """What the training recordings, bool [R], decide; and notes on it.

    Raises:
        JobError: nothing can be learned for the task.
    """
    task, labels, notes = settle_task(facts, train, roles.target, task)
    step, own_step = _settle_step(facts.steps[train], roles, rate)
    beside, elsewhere = facts.zeros[train].sum(axis=0)  # [channels]
    blinks = np.flatnonzero((beside > 0) & (elsewhere <= RARE * beside))
    notes += [
        f"channel {channels[i]!r}: {facts.zeros[:, 0, i].sum()} zeros beside lost values count as lost, as in "
        "a blink"
        for i in blinks
    ]
    return Decided(task, labels, step, own_step, [channels[i] for i in blinks]), notes


def _settle_step(steps: np.ndarray, roles: Roles, rate: float | None) -> tuple[float, float]:
    """The time between samples, and that of most files."""
    if not roles.time:
        return (1.0 if rate is None else 1 / rate), 0.0
    second, steps = UNITS.get(roles.unit, 0.0), steps[np.isfinite(steps)]
    if not len(steps):
        return (second / rate if rate else 1.0), 0.0
    usual = float(f"{np.median(steps):.9g}")
    return (usual if rate is None else second / rate), usual
