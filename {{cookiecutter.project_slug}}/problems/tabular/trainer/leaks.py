"""Columns that give the answer away: a subject, or a site, with rows on both sides of the split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from trainer.schema import Schema

MAX_COUNTS = 1 << 22  # values times classes: a column with more has few rows of each
BLOCK = 1 << 20  # rows at a time
FEWEST = 3  # rows; fewer that a column gets right beyond the most frequent class may be luck


def warn_of_leaks(
    schema: Schema, train: Mapping[str, np.ndarray], held_out: Mapping[str, np.ndarray]
) -> list[str]:
    """Names the columns of texts that alone tell the class of almost every held-out row.

    A value stands for the class that most of its training rows have. Nothing is learned from a
    value that no training row has: a column whose values are not on both sides is not named.

    Args:
        train, held_out: arrays, as `data.Table.arrays` gives them.
    """
    return [
        f"warning: {column!r} alone gives the class of {right} of {len(held_out['target'])} held-out "
        f"rows (the most frequent class: {usual}), and has the same values on both sides of the "
        "split; if it names a subject or a site, keep each on one side (--group, or other files); if "
        "it repeats the answer, ignore it with --schema"
        for column, right, usual in _find_leaks(schema, train, held_out)
    ]


def _find_leaks(schema, train, held_out) -> Iterator[tuple[str, int, int]]:
    """Yields (column, held-out rows it gets right, rows the most frequent class gets right)."""
    classes = len(schema.labels)
    if not classes:
        return
    totals = np.bincount(train["target"], minlength=classes)
    rows, usual = len(held_out["target"]), int((held_out["target"] == totals.argmax()).sum())
    for i, (column, offset) in enumerate(zip(schema.categories, schema.offsets, strict=True)):
        values = len(column.categories) + 1
        if values * classes > MAX_COUNTS:
            continue
        counts = np.zeros(values * classes, np.int64)
        for value, target in _blocks(train, i, offset):
            counts += np.bincount(value * classes + target, minlength=len(counts))
        counts = counts.reshape(values, classes)
        guess = np.where(counts.any(axis=1), counts.argmax(axis=1), totals.argmax())
        right = sum(int((guess[v] == target).sum()) for v, target in _blocks(held_out, i, offset))
        wrong = rows - right
        if right - usual >= FEWEST and wrong <= 0.05 * rows and wrong <= 0.2 * (rows - usual):
            yield column.name, right, usual


def _blocks(arrays: Mapping[str, np.ndarray], column: int, offset: int) -> Iterator[tuple]:
    for start in range(0, len(arrays["target"]), BLOCK):
        block = slice(start, start + BLOCK)
        yield arrays["categories"][block, column] - offset, arrays["target"][block]
