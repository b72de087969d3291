"""Recordings as signals over time, for the report: channels, what the model says, what it looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.engine import sections
from trainer.series.answered import Answered, find_starts
from trainer.series.gradients import attribute, margin

CELLS = 60  # of a row that is coloured
CLASSES = 5  # rows of a recording: the truth, and what the model thinks likeliest
SHOWN = 8  # recordings of a section
LOOKED = 6  # windows whose attributions are shown
STRONG = 98  # percentile of the attributions from which on a map shows the full colour


def choose(groups: np.ndarray, count: int = SHOWN) -> list[int]:
    """Numbers by lot, of each group as many as of any other as long as there are; sorted by group."""
    order = np.random.default_rng(0).permutation(len(groups))
    by_group = order[np.argsort(groups[order], kind="stable")]
    _, starts, sizes = np.unique(groups[by_group], return_index=True, return_counts=True)
    turn = np.empty(len(order), int)  # of each number: how many of its group come before it
    turn[by_group] = np.arange(len(order)) - np.repeat(starts, sizes)
    chosen = order[np.argsort(turn[order], kind="stable")[:count]]
    return chosen[np.lexsort((chosen, groups[chosen]))].tolist()


def spread(values: np.ndarray, starts: np.ndarray, window: int) -> np.ndarray:
    """float [CELLS, …]: what windows say, [windows, …], as means over those that hold each moment."""
    moments = np.linspace(starts[0], starts[-1] + window - 1, CELLS)[:, np.newaxis]
    holds = (starts <= moments) & (moments < starts + window)  # [CELLS, windows]
    shares = holds / np.maximum(1, holds.sum(axis=1, keepdims=True))
    return np.tensordot(shares, values, axes=1)


def squeeze(values: np.ndarray) -> np.ndarray:
    """float [at most CELLS, …]: means of neighbours, along time."""
    parts = np.array_split(values, min(CELLS, len(values)))
    return np.stack([part.mean(axis=0) for part in parts])


def draw_shares(labels: Sequence[str], shares: np.ndarray, is_true: np.ndarray) -> list[dict]:
    """A row for each of the likeliest classes: blue where it is the truth, else orange.

    Args:
        shares: probabilities, float [cells, classes].
        is_true: how much of the truth it is, float [cells or 1, classes].
    """
    weight = shares.mean(axis=0) + is_true.mean(axis=0)
    shown = sorted(np.argsort(-weight, kind="stable")[:CLASSES])
    shades = shares * (2 * is_true - 1)
    return [sections.signal(labels[i], shades=shades[:, i]) for i in shown]


def make_item(
    examples, number: int, begin: int, end: int, rows: list, lines: list, right: bool | None = None
) -> dict:
    """An item of `sections.timelines`: the channels of a recording, and these rows below them.

    Args:
        begin, end: the samples of the recording that are shown, as far as there are any.
    """
    schema, recordings = examples.schema, examples.recordings
    samples = recordings.read(number, begin, end)
    channels = zip(schema.names, samples.T, strict=True)
    return {
        "rows": [*(sections.signal(name, values) for name, values in channels), *rows],
        "span": (begin * schema.step, (begin + len(samples) - 1) * schema.step),
        "lines": [*lines, recordings.names[number]],
        "right": right,
    }


def show_attributions(model, examples, chosen: Sequence[Answered], lines: Sequence[str]) -> dict:
    """Which moments of which channels speak for what the model says of held-out windows.

    Args:
        chosen: recordings, of which the middle window is shown; `guess` is the class that is explained,
            where the model has classes.
        lines: a text for each.
    """
    import keras

    title, schema = "What it looked at", examples.schema
    rows = np.array([(one.rows.start + one.rows.stop) // 2 for one in chosen])
    inputs, _ = examples.eval.read(rows)
    items, worst = [], 0.0
    for one, row, samples, mask, line in zip(
        chosen, rows, inputs["samples"], inputs["mask"], lines, strict=True
    ):

        def score(part, mask=mask, index=one.guess):
            masks = np.repeat(mask[np.newaxis], len(part), axis=0)
            inputs = {"samples": part, "mask": keras.ops.convert_to_tensor(masks)}
            output = model(inputs, training=False)
            return _score(schema.task, output, index)

        try:
            result = attribute(score, np.zeros(samples.shape), samples.astype(float))
        except Exception as error:  # a model of any kind may stand here: no map is worth its run
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            return sections.timelines(title, [], text=f"Nothing is shown: {why}.")
        worst = max(worst, result.error)
        cells = squeeze(result.values)  # [cells, channels]
        cells /= np.percentile(np.abs(cells), STRONG) or 1.0
        shown = np.where(mask, samples, np.nan)
        signals = [
            sections.signal(name, shown[:, c], cells[:, c]) for c, name in enumerate(schema.names)
        ]
        start = float(find_starts(examples, row)) * schema.step
        span = (start, start + (schema.window - 1) * schema.step)
        lines_ = [line, examples.recordings.names[one.number]]
        items.append({"rows": signals, "span": span, "lines": lines_})
    text = (
        "One window of a recording, as the network sees it. Blue moments of a channel speak for the "
        "answer, orange ones against it: integrated gradients, beginning from the mean of each channel.\n"
        f"Added up, they miss the difference that they explain by at most {worst:.1%}."
    )
    return sections.timelines(title, items, schema.unit, text)


def _score(task: str, output, index: int):
    """float32 [n]: what is explained of outputs [n, …]."""
    import tensorflow as tf

    output = tf.cast(output, tf.float32)
    if len(output.shape) > 2:  # moments
        output = tf.reduce_mean(output, axis=1)
    if task in ("classification", "labelling"):
        return margin(output, index)
    return tf.reduce_mean(output, axis=1)
