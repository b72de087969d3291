"""The rows of a table for training, and those that are held out to judge the model."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codec import split
from codec.schema import MISSING
from trainer.columns import tables
from trainer.engine.runtime import JobError

HELD_OUT = 5  # one row of so many, or one group
_MISSING = pa.array(MISSING, pa.string())


@dataclass(frozen=True)
class Rows:
    """Some rows of some files.

    held_out: None for all rows; True for the held-out fifth, False for the others.
    group, groups: the column whose values stay on one side, and those values that are held out;
        without a group, rows are chosen by a hash of their number.
    """

    sources: Sequence[tables.Source]
    held_out: bool | None = None
    group: str = ""
    groups: frozenset[str] = frozenset()

    def read(
        self, types: Mapping[str, pa.DataType]
    ) -> Iterator[tuple[tables.Source, pa.RecordBatch, dict[str, Counter]]]:
        """Yields (file, columns of these types, words in columns of numbers): `tables.convert`."""
        columns = list(types)
        if self.group and self.held_out is not None:
            columns.append(self.group)
        first = 0
        for source in self.sources:
            for texts in tables.batches(source, columns):
                if self.held_out is not None:
                    chosen = self._choose(texts, first) == self.held_out
                    first += len(texts)
                    texts = texts.filter(pa.array(chosen))
                words = defaultdict(Counter)
                yield source, tables.convert(texts, types, _MISSING, words), words

    def _choose(self, texts: pa.RecordBatch, first: int) -> np.ndarray:
        """bool [rows]: held out; the same rows in every run, on every machine."""
        if self.group:
            names = _name_groups(texts.column(self.group))
            held_out = pc.is_in(names, pa.array(sorted(self.groups), pa.string()))
            return held_out.to_numpy(zero_copy_only=False)
        with np.errstate(over="ignore"):
            number = np.arange(first, first + len(texts), dtype=np.uint64)
            number = (number + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
            number = (number ^ (number >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        return (number >> np.uint64(40)) % np.uint64(HELD_OUT) == 0


def separate(
    train: Sequence[tables.Source], held_out: Sequence[tables.Source], group: str
) -> tuple[Rows, Rows, list[str]]:
    """The rows to train on, those to judge by, and what --group did, for the log.

    Raises:
        JobError: a single group, or a group in files of both kinds.
    """
    if not group:
        if held_out:
            return Rows(train), Rows(held_out), []
        return Rows(train, False), Rows(train, True), []
    groups = _count_groups(train, group)
    if held_out:
        others = _count_groups(held_out, group)
        both = sorted(groups.keys() & others.keys())
        if both:
            raise JobError(
                f"--group {group}: {tables.listed([tables.shown(name) for name in both], 5)} "
                f"in {train[0].path} and in {held_out[0].path}, too; keep each value in files of "
                "one kind, or leave --eval-files out"
            )
        about = f"{len(groups)} values in training, {len(others)} held out"
        return Rows(train), Rows(held_out), _describe(group, groups | others, about)
    if len(groups) < 2:
        raise JobError(
            f"--group {group}: {tables.shown(next(iter(groups), ''))} is its only value in "
            f"{train[0].path}; it takes two at least, one to train on and one to hold out"
        )
    chosen = frozenset(split.hold_out(groups, 1 / HELD_OUT))
    about = f"{len(groups) - len(chosen)} values in training, {len(chosen)} held out: "
    about += tables.listed([tables.shown(name) for name in sorted(chosen)], 5)
    rows = Rows(train, False, group, chosen)
    return rows, replace(rows, held_out=True), _describe(group, groups, about)


def _count_groups(sources: Sequence[tables.Source], group: str) -> Counter:
    counts = Counter()
    for source in sources:
        for texts in tables.batches(source, [group]):
            for pair in pc.value_counts(_name_groups(texts.column(0))).tolist():
                counts[pair["values"]] += pair["counts"]
    return counts


def _name_groups(texts: pa.Array) -> pa.Array:
    """The group of each row; rows without one make one group."""
    texts = pc.if_else(pc.is_in(texts, _MISSING), "", texts).dictionary_encode()
    names = [split.name_group(text) for text in texts.dictionary.to_pylist()]
    return pa.array(names, pa.string()).take(texts.indices)


def _describe(group: str, groups: Counter, about: str) -> list[str]:
    line = f"each value of {group!r} stays on one side (--group): {about}"
    if "" in groups:
        line += f"; {groups['']} rows without a value count as one"
    return [line]
