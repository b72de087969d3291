"""What is predicted: a class or a number of each recording, a label of each sample, or the next samples."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from codec.errors import JobError
from codec.recordings.cells import join_names, show
from codec.recordings.roles import Roles
from codec.recordings.rows import NO_LABEL, Rows

MAX_CLASSES = 1_000
MAX_CODES = 10  # different whole numbers: more are amounts


@dataclass
class Target:
    """The task, and what becomes of the texts of the target.

    Attributes:
        values: of each text the number of its class, int32, or the number that it is, float32.
        faults: {recording: why it cannot be learned from}.
    """

    task: str
    values: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    labels: list[str] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def settle_target(rows: Rows, roles: Roles, task: str | None) -> Target:
    """Settle the task by the texts of the target.

    Raises:
        JobError: nothing can be learned for it.
    """
    if not roles.target:
        return Target("forecasting")
    name, texts = roles.target, rows.labels
    if not texts:
        raise JobError(f"--target {name}: it is empty in all rows; choose another")
    has_two = rows.first != rows.last
    changing, labelled = int(has_two.sum()), int((rows.last != NO_LABEL).sum())
    notes = []
    if task is None and 2 * changing > labelled:
        task = "labelling"
        if _are_amounts(_read_numbers(texts)):
            raise JobError(
                f"--target {name}: numbers that change within recordings; to forecast it give --horizon, or "
                "--task labelling if they are classes"
            )
        notes.append(
            f"--task labelling: {name!r} changes within {changing} of {labelled} recordings"
        )
    if task == "labelling":
        return Target(task, *_make_classes(name, texts), {}, notes)
    faults = {
        int(
            i
        ): f"{name!r} is {show(texts[rows.first[i]])} and {show(texts[rows.last[i]])}: a recording "
        "has one; --task labelling predicts it for each sample"
        for i in np.flatnonzero(has_two)
    }
    faults |= {int(i): f"{name!r} is empty" for i in np.flatnonzero(rows.last == NO_LABEL)}
    used = [texts[i] for i in np.unique(rows.first[~has_two & (rows.last != NO_LABEL)])]
    if not used:
        raise JobError(
            f"--target {name}: it changes within each recording; --task labelling predicts that"
        )
    numbers = _read_numbers(used)
    if task is None:
        task = "regression" if _are_amounts(numbers) else "classification"
        if numbers is not None and task == "classification":
            notes.append(
                f"--task classification: {name!r} has {len(used)} different whole numbers "
                "(else: --task regression)"
            )
    if task == "classification":
        why = (
            f"; recordings left out: {len(faults)}, {next(iter(faults.values()))}" if faults else ""
        )
        _, labels = _make_classes(name, used, why)
        places = {label: i for i, label in enumerate(labels)}
        values = np.array([places.get(text, NO_LABEL) for text in texts], np.int32)
        return Target(task, values, labels, faults, notes)
    if numbers is None:
        wrong = next(text for text in used if _read_numbers([text]) is None)
        raise JobError(f"--target {name}: expected numbers, got {show(wrong)}; or is it a class?")
    if len(set(numbers)) < 2:
        raise JobError(f"--target {name} is always {numbers[0]:g}: nothing to learn")
    values = np.array([(_read_numbers([text]) or [np.nan])[0] for text in texts], np.float32)
    if not np.isfinite(values[rows.first[rows.last != NO_LABEL]]).all():
        raise JobError(f"--target {name}: a number over 3e38; divide the whole column")
    return Target(task, values, [], faults, notes)


def _read_numbers(texts: list[str]) -> list[float] | None:
    """None where a text is no number."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _are_amounts(numbers: list[float] | None) -> bool:
    """Whether texts are numbers, and not a few whole ones that stand for classes."""
    return numbers is not None and (len(numbers) > MAX_CODES or any(n % 1 for n in numbers))


def _make_classes(name: str, texts: list[str], why: str = "") -> tuple[np.ndarray, list[str]]:
    """The number of each text's class, and the classes, sorted."""
    numbers = _read_numbers(texts)
    order = sorted(range(len(texts)), key=(lambda i: numbers[i]) if numbers else texts.__getitem__)
    if len(texts) < 2:
        raise JobError(f"--target {name} has one class, {show(texts[0])}: nothing to learn{why}")
    if len(texts) > MAX_CLASSES:
        raise JobError(
            f"--target {name} has {len(texts)} classes, more than {MAX_CLASSES}; to predict a number in "
            "time make it a channel, and give --horizon"
        )
    values = np.empty(len(texts), np.int32)
    values[order] = np.arange(len(texts))
    return values, [texts[i] for i in order]


def describe_counts(labels: list[str], classes: np.ndarray) -> str:
    """ "a (12), b (7)"."""
    counts = Counter(classes.tolist())
    return join_names([f"{label} ({counts[i]})" for i, label in enumerate(labels)])
