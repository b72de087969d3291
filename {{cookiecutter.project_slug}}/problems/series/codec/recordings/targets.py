"""What is predicted: a class or a number of each recording, a label of each sample, or the next samples."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from codec.errors import JobError
from codec.recordings.cells import is_number, join_names, show
from codec.recordings.rows import NO_LABEL

if TYPE_CHECKING:  # it imports this file
    from codec.recordings.facts import Facts

MAX_CLASSES = 1_000
MAX_CODES = 10  # different whole numbers: more are amounts


def settle_task(
    facts: Facts, train: np.ndarray, name: str, task: str | None
) -> tuple[str, list[str], list[str]]:
    """The task, its classes, and notes: what the training recordings alone say.

    Args:
        train: bool [R].
        name: of the target; "" in a forecast.
        task: None where no flag says it.

    Raises:
        JobError: nothing can be learned for it.
    """
    if not name:
        return "forecasting", [], []
    labelled, changing = train & facts.has_label, train & facts.has_two
    if not labelled.any():
        where = "training recordings" if facts.has_label.any() else "rows"
        raise JobError(f"--target {name}: it is empty in all {where}; choose another")
    notes = []
    if task is None and 2 * changing.sum() > labelled.sum():
        task = "labelling"
        if _are_amounts(_read_numbers(facts.list_texts(train))):
            raise JobError(
                f"--target {name}: numbers that change within recordings; to forecast it give --horizon, or "
                "--task labelling if they are classes"
            )
        notes.append(
            f"--task labelling: {name!r} changes within {changing.sum()} of {labelled.sum()} training "
            "recordings"
        )
    if task == "labelling":
        return task, _sort_classes(facts, train, name, facts.list_texts(train)), notes
    used = facts.list_texts(train & ~facts.has_two)
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
        return task, _sort_classes(facts, train, name, used), notes
    if numbers is None:
        wrong = next(text for text in used if _read_numbers([text]) is None)
        raise JobError(f"--target {name}: expected numbers, got {show(wrong)}; or is it a class?")
    if len(set(numbers)) < 2:
        raise JobError(f"--target {name} is always {numbers[0]:g}: nothing to learn")
    if max(map(abs, numbers)) > np.finfo(np.float32).max:
        raise JobError(f"--target {name}: a number over 3e38; divide the whole column")
    return task, [], notes


def _sort_classes(facts: Facts, train: np.ndarray, name: str, texts: list[str]) -> list[str]:
    """The classes in order.

    Raises:
        JobError: a single one, or too many.
    """
    if len(texts) < 2 and len(facts.list_texts(facts.has_label)) > 1:
        raise JobError(
            f"--target {name}: training recordings have one class, {show(texts[0])}; try another --fold"
        )
    if len(texts) < 2:
        raise JobError(f"--target {name} has one class, {show(texts[0])}: nothing to learn")
    if len(texts) > MAX_CLASSES:
        raise JobError(
            f"--target {name} has {len(texts)} classes, more than {MAX_CLASSES}; to predict a number in "
            "time make it a channel, and give --horizon"
        )
    numbers = _read_numbers(texts)
    return [texts[i] for i in np.argsort(numbers, kind="stable")] if numbers else sorted(texts)


def read_targets(
    facts: Facts, name: str, task: str, labels: list[str]
) -> tuple[np.ndarray, dict[int, str]]:
    """What each text of the target stands for; and {recording: why it cannot be learned from}.

    Returns:
        int32 [texts]: the number of its class, -1 where no training recording has it; of a
        regression float32 [texts]: the number that it is, not finite where no network computes with it.
    """
    if task == "regression":
        numbers = [(_read_numbers([text]) or [np.nan])[0] for text in facts.texts]
        with np.errstate(over="ignore"):
            values = np.array(numbers, np.float32)
    else:
        places = {label: i for i, label in enumerate(labels)}
        values = np.array([places.get(t, NO_LABEL) for t in facts.texts], np.int32)
    faults: dict[int, str] = {}
    if task in ("labelling", "forecasting"):
        return values, faults
    for i, (first, last) in enumerate(zip(facts.first, facts.last, strict=True)):
        text = show(facts.texts[first]) if first != NO_LABEL else ""
        if not text:
            faults[i] = f"{name!r} is empty"
        elif first != last:
            faults[i] = (
                f"{name!r} is {text} and {show(facts.texts[last])}: a recording has one; --task labelling "
                "predicts it for each sample"
            )
    return values, faults


def _read_numbers(texts: list[str]) -> list[float] | None:
    """None where a text is no number."""
    if not all(is_number(text, ".") for text in texts):
        return None
    numbers = [float(text) for text in texts]
    return numbers if np.isfinite(numbers).all() else None


def _are_amounts(numbers: list[float] | None) -> bool:
    """Whether texts are numbers, and not a few whole ones that stand for classes."""
    return numbers is not None and (len(numbers) > MAX_CODES or any(n % 1 for n in numbers))


def describe_counts(labels: list[str], classes: np.ndarray) -> str:
    """ "a (12), b (7)"."""
    counts = Counter(classes.tolist())
    return join_names([f"{label} ({counts[i]})" for i, label in enumerate(labels)])
