"""All samples on disk, recording by recording, in time: files may have them in any order.

Memory stays flat. Rows are written as they come; where recordings lie scattered through the files,
they are sorted on disk, in parts that fit into memory.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pyarrow as pa

from codec import split
from codec.errors import JobError
from codec.recordings.cells import TEXTS, is_number
from codec.recordings.roles import Roles
from codec.recordings.tables import Source, convert_block, read_blocks
from codec.resample import CHUNK

SORTED = 1 << 20  # rows that are sorted at once
MAX_LABELS = 1 << 20  # different targets
NO_LABEL = -1
WHOLE = re.compile(r"^([-+]?\d+)\.0+$", re.ASCII)
THREADS = 2  # beside the one in which pyarrow parses: more would wait for it


@dataclass
class Rows:
    """Samples on disk, and the recordings that they make.

    Attributes:
        path: a file of `layout`, a row each.
        lengths: of the recordings, in their order in the file, int64 [R].
        keys: (participant, recording, file) of each.
        labels: texts of the target; `first` and `last` have for each recording the least and the
            greatest number of its labels, -1 where it has none.
        notes: what was decided.
    """

    path: str
    layout: np.dtype
    lengths: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    keys: list[tuple[str, str, str]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    first: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    last: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    is_scattered: bool = False
    zeros: np.ndarray | int = 0  # int64 [2, channels]: in samples with lost values, and in others
    low: np.ndarray | float = np.nan  # of each channel, NaN where all are lost
    high: np.ndarray | float = np.nan

    def open(self) -> np.ndarray:
        """The rows, memory-mapped: pages that were read count as memory until it closes."""
        return np.asarray(np.memmap(self.path, self.layout, "r"))

    def read_each(self) -> Iterator[np.ndarray | LongRecording]:
        """Yield the rows of each recording, memory-mapped."""
        begin = seen = 0
        table = self.open()
        for length in self.lengths.tolist():
            if seen > CHUNK:
                table, seen = self.open(), 0
            is_long = length > CHUNK
            yield LongRecording(self, begin, length) if is_long else table[begin : begin + length]
            begin, seen = begin + length, seen + length


@dataclass(frozen=True)
class LongRecording:
    """The rows of a recording, or their times: each part is copied from a map that is closed then."""

    rows: Rows
    begin: int
    length: int
    name: str = ""

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key: str | int | slice):
        if isinstance(key, str):
            return replace(self, name=key)
        part = np.array(self.rows.open()[self.begin : self.begin + self.length][key])
        return part[self.name] if self.name else part


def layout(roles: Roles) -> np.dtype:
    """A row: the number of its recording, the number of its label, its time, its channels."""
    channels = ("values", np.float32, (len(roles.channels),))
    return np.dtype([("recording", np.int32), ("label", np.int32), ("time", np.float64), channels])


def collect_rows(sources: Sequence[Source], roles: Roles, folder: str) -> Rows:
    """Read all files, and write their rows below a folder.

    A recording may lie in several files only where columns name its participant and its times: else
    equal names in two files would mix two recordings, or their samples would have no order.

    Raises:
        JobError: a fault in a file; a number that is too large; too many different targets.
    """
    rows = Rows(os.path.join(folder, "rows"), layout(roles))
    is_across_files = bool(roles.recording and roles.participant and roles.time)
    is_a_file = not is_across_files and (len(sources) > 1 or not roles.recording)
    builder = _Builder(rows, roles, is_a_file)
    with open(rows.path, "wb") as file:
        for source in sources:
            blocks = read_blocks(source, roles.types)
            for block in read_ahead(blocks, partial(_pack, source, roles)):
                builder.add(source, *block).tofile(file)
    builder.finish()
    if rows.is_scattered:
        _sort(rows)
    return rows


def _pack(
    source: Source, roles: Roles, batch: pa.RecordBatch
) -> tuple[np.ndarray, dict, np.ndarray, np.ndarray]:
    """Rows of a block without the numbers of recordings; its texts by column.

    And of each channel how many zeros, as in `Rows.zeros`, and the range, float32 [2, channels].
    """
    batch = convert_block(source, batch, roles.types)
    rows = np.empty(len(batch), layout(roles))
    values = [batch.column(name).to_numpy(zero_copy_only=False) for name in roles.channels]
    is_lost = np.logical_or.reduce([np.isnan(column) for column in values])
    zeros = np.empty((2, len(values)), np.int64)
    with np.errstate(over="ignore"):
        # Columns of float64, each in one piece: faster than all at once.
        for i, column in enumerate(values):
            rows["values"][:, i] = column
            is_zero = column == 0
            zeros[0, i] = np.count_nonzero(is_zero & is_lost)
            zeros[1, i] = np.count_nonzero(is_zero) - zeros[0, i]
        ends = [[end.reduce(column) for column in values] for end in (np.fmin, np.fmax)]
        ends = np.array(ends).astype(np.float32)
    if roles.time:
        rows["time"] = batch.column(roles.time).to_numpy(zero_copy_only=False)
    names = [name for name, kind in roles.types.items() if kind == TEXTS]
    columns = {name: batch.column(name) for name in names}
    texts = {n: (c.indices.to_numpy(), c.dictionary.to_pylist()) for n, c in columns.items()}
    return rows, texts, zeros, ends


class _Builder:
    """Numbers recordings and labels, in the order in which they first come."""

    def __init__(self, rows: Rows, roles: Roles, is_a_file: bool):
        self.rows, self.roles, self.is_a_file = rows, roles, is_a_file
        self.numbers: dict[tuple, int] = {}  # of recordings, by their keys
        self.label_numbers: dict[str, int] = {"": NO_LABEL}
        self.latest = -1  # the recording of the last row
        self.count = 0  # rows so far
        size = 1024  # arrays grow twofold
        self.lengths = np.zeros(size, np.int64)
        self.first = np.full(size, np.iinfo(np.int32).max, np.int32)
        self.last = np.full(size, NO_LABEL, np.int32)

    def add(self, source: Source, block: np.ndarray, texts: dict, zeros, ends) -> np.ndarray:
        """Fill in the numbers of a block's recordings and labels; see `_pack`."""
        self._note_range(source, *ends)
        self.rows.zeros += zeros
        by = [name for name in (self.roles.participant, *self.roles.recording) if name]
        key = np.zeros(len(block), np.int64)
        for name in by:
            indices, values = texts[name]
            key = key * len(values) + indices
        starts = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
        _, first, inverse = np.unique(key[starts], return_index=True, return_inverse=True)
        numbers = np.zeros(len(first), np.int64)
        for i in np.argsort(first):  # in the order in which they come
            row = starts[first[i]]
            numbers[i] = self._number(source, [texts[name][1][texts[name][0][row]] for name in by])
        runs = numbers[inverse]
        counts = np.diff(np.append(starts, len(block)))
        block["recording"] = np.repeat(runs, counts)
        np.add.at(self.lengths, runs, counts)
        changes = runs[np.append(runs[0] != self.latest, runs[1:] != runs[:-1])]
        # New ones have the next numbers: whatever is not one more was there before.
        expected = self.latest + 1 + np.arange(len(changes))
        self.rows.is_scattered |= not np.array_equal(changes, expected)
        is_scattered = self.rows.is_scattered
        self.latest = int(runs[-1]) if is_scattered else max(self.latest, int(runs.max()))
        if not self.roles.time:  # the order of the rows is one, too, where they are sorted
            block["time"] = np.arange(self.count, self.count + len(block))
        self.count += len(block)
        block["label"] = NO_LABEL
        if self.roles.target:
            indices, values = texts[self.roles.target]
            if source.decimal == ",":
                values = [v.replace(",", ".") if is_number(v, ",") else v for v in values]
            table = np.array([self._label(value) for value in values], np.int32)
            labels = block["label"] = table[indices]
            least = np.where(labels == NO_LABEL, np.iinfo(np.int32).max, labels)
            np.minimum.at(self.first, runs, np.minimum.reduceat(least, starts))
            np.maximum.at(self.last, runs, np.maximum.reduceat(labels, starts))
        return block

    def _note_range(self, source: Source, low: np.ndarray, high: np.ndarray) -> None:
        rows = self.rows
        rows.low, rows.high = np.fmin(rows.low, low), np.fmax(rows.high, high)  # without NaN
        if (too_large := np.isinf(rows.low) | np.isinf(rows.high)).any():
            name = self.roles.channels[int(too_large.argmax())]
            raise JobError(
                f"{source.path}: column {name!r}: a number over 3e38, or inf, with which no network "
                "computes; leave it empty where a sample is lost"
            )

    def _number(self, source: Source, names: list[str]) -> int:
        participant = split.name_group(names.pop(0)) if self.roles.participant else ""
        file = source.path if self.is_a_file else ""
        key = participant, ", ".join(map(split.name_group, names)), file
        number = self.numbers.setdefault(key, len(self.numbers))
        if number == len(self.lengths):
            more = np.full(number, np.iinfo(np.int32).max, np.int32)
            self.lengths = np.append(self.lengths, np.zeros(number, np.int64))
            self.first = np.append(self.first, more)
            self.last = np.append(self.last, np.full(number, NO_LABEL, np.int32))
        return number

    def _label(self, text: str) -> int:
        if len(self.label_numbers) > MAX_LABELS:
            raise JobError(f"--target {self.roles.target}: over {MAX_LABELS:,} different values")
        # Where a value is missing, a table writes 1.0 for 1; a letter is one however it is composed.
        text = WHOLE.sub(r"\1", unicodedata.normalize("NFC", text))
        return self.label_numbers.setdefault(text, len(self.label_numbers) - 1)

    def finish(self) -> None:
        rows, count = self.rows, len(self.numbers)
        rows.keys = list(self.numbers)
        rows.lengths, rows.last = self.lengths[:count], self.last[:count]
        rows.first = np.where(rows.last == NO_LABEL, NO_LABEL, self.first[:count])
        rows.labels = list(self.label_numbers)[1:]


def _sort(rows: Rows) -> None:
    """Sort rows by recording and time: each goes to one of several files, which are sorted one by one."""
    total = int(rows.lengths.sum())
    # NumPy compares complex numbers by their real part, then by the other.
    every = max(1, total // (1 << 16))
    sample = np.sort(_to_keys(rows.open()[::every]))
    parts = -(-total // SORTED)
    borders = sample[np.linspace(0, len(sample), parts, endpoint=False).astype(int)[1:]]
    paths = [f"{rows.path}-{i}" for i in range(parts)]
    for path in paths:
        open(path, "wb").close()
    for start in range(0, total, SORTED):
        block = np.array(rows.open()[start : start + SORTED])
        places = np.searchsorted(borders, _to_keys(block), "right")
        order = np.argsort(places, kind="stable")
        ends = np.cumsum(np.bincount(places, minlength=parts))
        for path, part in zip(paths, np.split(block[order], ends[:-1]), strict=True):
            with open(path, "ab") as file:
                part.tofile(file)
    with open(rows.path, "wb") as file:
        for path in paths:
            part = np.fromfile(path, rows.layout)
            part[np.argsort(_to_keys(part), kind="stable")].tofile(file)
            os.remove(path)


def _to_keys(rows: np.ndarray) -> np.ndarray:
    keys = rows["recording"].astype(np.complex128)
    keys.imag = np.nan_to_num(rows["time"], nan=np.inf, posinf=np.inf, neginf=-np.inf)
    return keys  # NaN would go to the end of all recordings


def read_ahead(blocks: Iterator, work: Callable) -> Iterator:
    """Yield what `work` makes of each block, in order; a few blocks are in memory, and no more.

    The next block is read by a thread of its own: pyarrow parses in the thread that wants it.
    """
    with ThreadPoolExecutor(THREADS) as pool, ThreadPoolExecutor(1) as reader:
        waiting, coming = deque(), reader.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = reader.submit(next, blocks, None)
            waiting.append(pool.submit(work, block))
            if len(waiting) > THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
