"""The rows of a table for training, and those that are held out to judge the model."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codec import split
from codec.columns import blocks, tables
from codec.errors import JobError
from codec.schema import FOLDS

WORDS = 0.05  # of the values in a column of numbers, at most; words count as missing
MAX_WORDS = 1_000  # words of a column that are kept by name; the rest are counted as tables.OTHERS


class Part:
    """Rows on one side of the split, on disk from when they are parsed until they are encoded.

    Attributes:
        sources: the files that they come from.
        words: of each column of numbers, with their counts.
    """

    def __init__(self, sources: Sequence[tables.Source], path: str):
        self.sources, self.words = sources, defaultdict(Counter)
        self._path, self._files = path, []

    def open(self, types: Mapping[str, blocks.Kind]) -> pa.ipc.RecordBatchStreamWriter:
        """Open a file for columns of these types; they take the place of earlier ones."""
        for name in types:
            self.words.pop(name, None)
        self._files.append(f"{self._path}-{len(self._files)}")
        stored = {n: kind if kind == blocks.TEXTS else blocks.NUMBERS for n, kind in types.items()}
        return pa.ipc.new_stream(self._files[-1], pa.schema(stored))

    def count_words(self, block: blocks.Block) -> None:
        for name, texts in block.words.items():
            words = self.words[name]
            for pair in pc.value_counts(pc.drop_null(texts)).tolist():
                word = pair["values"]
                named = word in words or len(words) < MAX_WORDS
                words[word if named else tables.OTHERS] += pair["counts"]

    def count_codes(self, name: str, codes: Sequence[float]) -> Counter:
        """In how many rows each of these numbers is."""
        counts = Counter()
        for columns in self.read():
            values = columns[name].to_numpy(zero_copy_only=False)
            counts.update({f"{code:g}": int((values == code).sum()) for code in codes})
        return counts

    def read(self) -> Iterator[dict[str, pa.Array]]:
        """Yield the columns, block by block."""
        for batches in zip(*map(pa.ipc.open_stream, map(pa.OSFile, self._files)), strict=True):
            yield {name: batch.column(name) for batch in batches for name in batch.schema.names}


@dataclass(frozen=True)
class Split:
    """Which rows are held out: those of some groups, or some by a hash of their number.

    groups: empty if files of their own have the other groups.
    fold: from 1 to FOLDS; each holds out other rows.
    """

    group: str = ""
    groups: frozenset[str] = frozenset()
    fold: int = 1

    def hold_out(self, block: blocks.Block) -> np.ndarray:
        """bool [rows]: the same rows in every run, on every machine."""
        if self.group:
            names = _name_groups(block.columns[self.group])
            held_out = pc.is_in(names, pa.array(sorted(self.groups), pa.string()))
            return held_out.to_numpy(zero_copy_only=False)
        return (hash_rows(block.rows) >> np.uint64(40)) % np.uint64(FOLDS) == self.fold - 1


def hash_rows(numbers: np.ndarray) -> np.ndarray:
    """uint64 [rows]: random bits, the same for a row's number in every run, on every machine."""
    with np.errstate(over="ignore"):
        hashed = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        return (hashed ^ (hashed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)


def parse(
    parts: Sequence[Part],
    types: Mapping[str, blocks.Kind],
    split: Split,
    look: Callable[[blocks.Block], object] = lambda block: None,
) -> Iterator:
    """Read files once: their rows go to one part, or to a training part and one held out.

    Yield what `look` makes of each block of the first part, in a thread.
    """
    columns = {**types, split.group: blocks.TEXTS} if split.groups else types

    def separate(block: blocks.Block) -> tuple[list[blocks.Block], object]:
        sides = [block]
        if len(parts) == 2:
            held_out = split.hold_out(block)
            sides = [block.choose(~held_out), block.choose(held_out)]
        return sides, look(sides[0])

    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(part.open(types)) for part in parts]
        for sides, looked_at in blocks.read_blocks(parts[0].sources, columns, separate):
            yield looked_at
            for part, file, side in zip(parts, files, sides, strict=True):
                part.count_words(side)
                file.write_batch(pa.record_batch({name: side.columns[name] for name in types}))


def choose_groups(
    train: Sequence[tables.Source], held_out: Sequence[tables.Source], group: str, fold: int
) -> tuple[Split, list[str]]:
    """The groups to hold out, if --eval-files does not, and what --group did, for the log.

    Raises:
        JobError: a single group, too few for another fold, or a group in files of both kinds.
    """
    if not group:
        return Split(fold=fold), []
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
        return Split(group), _describe(group, groups | others, about)
    if len(groups) < 2:
        raise JobError(
            f"--group {group}: {tables.shown(next(iter(groups), ''))} is its only value in "
            f"{train[0].path}; it takes two at least, one to train on and one to hold out"
        )
    if fold > 1 and len(groups) < FOLDS:
        raise JobError(
            f"--fold {fold}: {group!r} has {len(groups)} values in {train[0].path}; {FOLDS} folds take at "
            f"least {FOLDS}"
        )
    chosen = frozenset(split.hold_out(groups, 1 / FOLDS, fold))
    about = f"{len(groups) - len(chosen)} values in training, {len(chosen)} held out: "
    about += tables.listed([tables.shown(name) for name in sorted(chosen)], 5)
    return Split(group, chosen), _describe(group, groups, about)


def _count_groups(sources: Sequence[tables.Source], group: str) -> Counter:
    counts = Counter()
    for block in blocks.read_blocks(sources, {group: blocks.TEXTS}):
        for pair in pc.value_counts(_name_groups(block.columns[group])).tolist():
            counts[pair["values"]] += pair["counts"]
    return counts


def _name_groups(texts: pa.DictionaryArray) -> pa.Array:
    """The group of each row; rows without one make one group."""
    names = [split.name_group(text) for text in texts.dictionary.to_pylist()]
    return pa.array(names, pa.string()).take(texts.indices)


def _describe(group: str, groups: Counter, about: str) -> list[str]:
    line = f"each value of {group!r} stays on one side (--group): {about}"
    if "" in groups:
        line += f"; {groups['']} rows without a value count as one"
    return [line]
