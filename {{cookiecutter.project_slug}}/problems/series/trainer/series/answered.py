"""Held-out windows, recording by recording: what the model says of each, and of whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from codec.intervals import average
from trainer.engine import sections

STRETCH = 500  # windows of a recording that are drawn: its beginning, where it is long


class Held(NamedTuple):
    """The held-out windows of a recording, as they are stored."""

    number: int  # of the recording
    rows: slice  # of the windows
    targets: np.ndarray  # [windows, …]
    outputs: np.ndarray  # [windows, …], or what a model of your own returns


def find_starts(examples, rows) -> np.ndarray:
    """int64 [windows]: the first sample of held-out windows, counted in their recordings."""
    part = examples.eval
    return part.start[rows] - examples.recordings.begins[part.number[rows]]


class Answered(NamedTuple):
    """One answer for a recording, beside the truth: names or values, and how sure the model is."""

    number: int
    rows: slice
    truth: object
    guess: object
    sure: float = 0.0  # the probability of the truth; of a value, how near it is


def read_held(examples, context) -> Iterator[Held]:
    """The predictions of `context`, recording by recording, in stored order."""
    part, kept, begin, seen = examples.eval, [], 0, 0
    ends = iter([*(np.flatnonzero(np.diff(part.number)) + 1).tolist(), part.rows])
    end = next(ends)
    for pair in context.predictions():
        kept.append(pair)
        seen += len(pair[1])
        while end is not None and end <= seen:
            targets, outputs = (np.concatenate(arrays) for arrays in zip(*kept, strict=True))
            count = end - begin
            yield Held(int(part.number[begin]), slice(begin, end), targets[:count], outputs[:count])
            kept = [(targets[count:], outputs[count:])]
            begin, end = end, next(ends, None)


def name_windows(examples, one: Held) -> dict[str, np.ndarray]:
    """Columns of predictions.csv that say which windows these are."""
    recordings, count = examples.recordings, len(one.outputs)
    start = find_starts(examples, one.rows) * examples.schema.step
    return {
        "participant": np.full(count, recordings.participants[one.number], object),
        "recording": np.full(count, recordings.names[one.number], object),
        "start": np.array([f"{value:.6g}" for value in start], object),
    }


def predict_again(examples, context, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """int [windows]: where the first windows of a recording begin; and the outputs, [windows, …]."""
    rows = np.arange(rows.start, min(rows.stop, rows.start + STRETCH))
    inputs, _ = examples.eval.read(rows)
    return find_starts(examples, rows), context.predict(inputs)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits […, classes]."""
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def find_groups(examples, done: Sequence[Answered]) -> np.ndarray:
    """The group of each recording, as `eval.groups` has it of each window."""
    return examples.eval.groups[[one.rows.start for one in done]]


def explain_groups(examples) -> str:
    """Whom the intervals are for."""
    count = len(np.unique(examples.eval.groups))
    numbers, what = np.unique(examples.eval.number), "recordings"
    if len({examples.recordings.participants[i] for i in numbers}) > 1:
        what = "participants"
    elif 1 < count < len(numbers):
        what = "files"
    if count < 2:
        return "One held-out recording says nothing of others: there are no intervals."
    return (
        f"The intervals are for other {what}, as many as these {count}: windows of one are alike, and "
        "do not count one by one."
    )


def list_participants(examples, done: Sequence[Answered], wrong: Sequence[str]) -> dict:
    """A table of the held-out participants, with what is confused for each.

    Args:
        wrong: of each recording what is wrong, such as "walk → run"; "" where nothing is.
    """
    by_name: dict[str, list[int]] = {}
    for i, one in enumerate(done):
        name = examples.recordings.participants[one.number]
        by_name.setdefault(name or examples.recordings.names[one.number], []).append(i)
    rows = []
    for name, numbers in by_name.items():
        right = np.array([not wrong[i] for i in numbers])
        confused = Counter(wrong[i] for i in numbers if wrong[i]).most_common()
        text = ", ".join(f"{what} ({count})" for what, count in confused)
        rows.append([name, len(numbers), sections.bar(*average(right)), text])
    rows.sort(key=lambda row: row[2]["bar"][0])
    names = (examples.schema.participant or "recording", "recordings", "right", "confused")
    return sections.table("Participant by participant", names, rows)


def fill_gaps(samples: np.ndarray) -> np.ndarray:
    """float [n, channels]: lost samples are the last ones before them."""
    last = np.where(np.isfinite(samples), np.arange(len(samples))[:, np.newaxis], 0)
    return np.take_along_axis(samples, np.maximum.accumulate(last, axis=0), axis=0)
