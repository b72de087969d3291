"""Warnings of figures that are too good: what the model can learn that no new row will repeat."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from codec.schema import Schema
from trainer.columns.alone import Alone, measure_alone, read_sample

FEWEST = 3  # rows; fewer may be luck
FEWEST_OF_NUMBER = 20  # rows that a number gets right alone, beyond the usual; a good one may, too
CELLS = 1 << 18  # hashed at a time, so that they stay in a processor's cache
HASHED = 1 << 15  # held-out rows that are looked for in training; of more, a sample
BITS = 20  # of a hash, that most rows of training share with no row that is looked for


def warn_of_leaks(schema: Schema, train, held_out) -> list[str]:
    """Name columns that give the target away, keys that are learned, and rows on both sides.

    Args:
        train, held_out: `data.Table`.
    """
    warnings = [
        _describe_leak(schema, name, alone)
        for name, alone in measure_alone(schema, train, held_out).items()
        if alone.kind != "date" and _is_leak(schema, alone)
    ]
    warnings += [
        f"warning: {column.name!r} is nearly a key: {len(column.categories)} different values in "
        f"{train.rows} training rows; new rows have other values, of which the model knows nothing: "
        "ignore it with --schema"
        for column in schema.categories
        if len(column.categories) > max(20, train.rows / 5)
    ]
    duplicates, rows = count_duplicates(train, held_out)
    if duplicates:
        warnings.append(
            f"warning: {duplicates} of {rows} held-out rows are in training, too, with the same "
            "values and the same target: the model may know them by heart; remove duplicates from "
            "the files, or keep the rows of a subject on one side (--group)"
        )
    return warnings


def _is_leak(schema: Schema, alone: Alone) -> bool:
    is_number, saved = alone.kind == "number", alone.usual - alone.wrong
    if not schema.labels:
        enough = alone.rows >= (FEWEST_OF_NUMBER if is_number else FEWEST)
        return enough and alone.skill >= (0.99 if is_number else 0.95)
    enough = saved >= (FEWEST_OF_NUMBER if is_number else FEWEST)
    few = 0.01 if is_number else 0.05
    return enough and alone.wrong <= few * alone.rows and alone.skill >= 0.8


def _describe_leak(schema: Schema, name: str, alone: Alone) -> str:
    if schema.labels:
        usual = alone.rows - alone.usual
        what = f"the class of {alone.rows - alone.wrong} of {alone.rows} held-out rows "
        what += f"(the most frequent class: {usual})"
    else:
        what = f"{schema.target!r} of {alone.rows} held-out rows, with an R² of {alone.skill:.3f}"
    if alone.kind == "number":
        return (
            f"warning: {name!r} alone gives {what}; if it is computed from the answer, or known only "
            "after it, ignore it with --schema"
        )
    return (
        f"warning: {name!r} alone gives {what}, and has the same values on both sides of the split; "
        "if it names a subject or a site, keep each on one side (--group, or other files); if it "
        "repeats the answer, ignore it with --schema"
    )


def count_duplicates(train, held_out) -> tuple[int, int]:
    """How many held-out rows training has, too, and of how many: 0 where few, or what chance explains.

    Rows are equal if their encoded values and targets are. In a table of a few categories most new
    rows have been seen before: there it means nothing.
    """
    every = -(-held_out.rows // HASHED)
    hashes = _hash_rows([array[::every] for array in held_out.arrays().values()])
    distinct, counts = np.unique(hashes, return_counts=True)
    in_training, shift = np.zeros(len(distinct), bool), np.uint64(64 - BITS)
    likely = np.zeros(1 << BITS, bool)
    likely[distinct >> shift] = True
    for block in _hash_blocks(train):
        block = block[likely[block >> shift]]  # a search for each row would take most of the time
        positions = np.minimum(np.searchsorted(distinct, block), len(distinct) - 1)
        in_training[positions[distinct[positions] == block]] = True
    duplicates = int(counts[in_training].sum())
    many = duplicates >= max(FEWEST, len(hashes) / 100)
    if many and duplicates > 10 * len(hashes) * _expect_equal_rows(train):
        return duplicates, len(hashes)
    return 0, len(hashes)


def _expect_equal_rows(table) -> float:
    """How many rows of a table equal a new one by chance, if columns are half as free as they look."""
    sample = read_sample(table)
    _, first = np.unique(_hash_rows([*sample.values()]), return_index=True)  # copies are no chance
    rows, expected = len(first), float(table.rows)
    for array in sample.values():
        for column in array[first].reshape(rows, -1).T:
            counts = np.unique(column, return_counts=True)[1]
            expected *= math.sqrt(max(1, (counts * (counts - 1)).sum()) / rows**2)
    return expected


def _hash_blocks(table) -> Iterator[np.ndarray]:
    """Yields `_hash_rows` of all rows."""
    width = sum(array[:1].size for array in table.arrays().values())
    at_once = max(1, CELLS // width)
    for start in range(0, table.rows, at_once):
        arrays = table.arrays().values()  # opened for each block: see there
        yield _hash_rows([array[start : start + at_once] for array in arrays])


def _hash_rows(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """uint64 [rows]: random bits of everything that the model sees of a row, and of its target."""
    cells = np.hstack([array.reshape(len(array), -1).view(np.uint32) for array in arrays])
    factors = np.random.default_rng(0).integers(1 << 63, size=cells.shape[1], dtype=np.uint64)
    return cells.astype(np.uint64) @ (2 * factors + 1)
