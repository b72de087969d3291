"""Columns that give the answer away: a subject, or a site, with rows on both sides of the split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from codec.schema import Schema

MAX_COUNTS = 1 << 22  # in memory, for a value and a class each; columns of few values come first
BLOCK = 1 << 16  # rows at a time
FEWEST = 3  # rows; fewer that a column gets right beyond the most frequent class may be luck


def warn_of_leaks(schema: Schema, train, held_out) -> list[str]:
    """Name the columns of texts that alone tell the class of almost every held-out row.

    A value stands for the class that most of its training rows have. Nothing is learned from a
    value that no training row has: a column whose values are not on both sides is not named.

    Args:
        train, held_out: `data.Table`.
    """
    if not schema.labels or not schema.categories:
        return []
    places = _choose_columns(schema)
    counts = [np.zeros((values, len(schema.labels)), np.int64) for _, _, values in places]
    totals = np.zeros(len(schema.labels), np.int64)
    for categories, target in _blocks(train):
        totals += np.bincount(target, minlength=len(totals))
        for (i, offset, _), count in zip(places, counts, strict=True):
            pairs = (categories[:, i] - offset) * len(totals) + target
            count += np.bincount(pairs, minlength=count.size).reshape(count.shape)
    guesses = [
        np.where(count.any(axis=1), count.argmax(axis=1), totals.argmax()) for count in counts
    ]
    usual, right = 0, [0] * len(places)
    for categories, target in _blocks(held_out):
        usual += int((target == totals.argmax()).sum())
        for k, (i, offset, _) in enumerate(places):
            right[k] += int((guesses[k][categories[:, i] - offset] == target).sum())
    return [
        f"warning: {schema.categories[i].name!r} alone gives the class of {hits} of {held_out.rows} "
        f"held-out rows (the most frequent class: {usual}), and has the same values on both sides of "
        "the split; if it names a subject or a site, keep each on one side (--group, or other "
        "files); if it repeats the answer, ignore it with --schema"
        for (i, _, _), hits in zip(places, right, strict=True)
        if _is_leak(hits, usual, held_out.rows)
    ]


def _is_leak(hits: int, usual: int, rows: int) -> bool:
    wrong = rows - hits
    return hits - usual >= FEWEST and wrong <= 0.05 * rows and wrong <= 0.2 * (rows - usual)


def _choose_columns(schema: Schema) -> list[tuple[int, int, int]]:
    """(place among the category columns, its offset, its values) of those that are looked at."""
    sizes = [len(column.categories) + 1 for column in schema.categories]
    chosen, total = [], 0
    for i in sorted(range(len(sizes)), key=sizes.__getitem__):
        total += sizes[i] * len(schema.labels)
        if total > MAX_COUNTS:
            break
        chosen.append((i, schema.offsets[i], sizes[i]))
    return sorted(chosen)


def _blocks(table) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, table.rows, BLOCK):
        arrays = table.arrays()  # opened for each block: see there
        yield tuple(arrays[name][start : start + BLOCK] for name in ("categories", "target"))
