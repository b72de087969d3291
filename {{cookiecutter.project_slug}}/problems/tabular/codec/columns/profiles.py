"""What a column of a table holds, in one block or in all of them.

Memory stays flat: a column keeps running sums, and counts of its values up to a limit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codec.columns import blocks

MAX_COUNTED = 100_000  # distinct values; a column with more is an id or a free text
MAX_BYTES = 1_000  # so is one with longer values


@dataclass
class Profile:
    """What a column holds, in one block or in all of them."""

    name: str
    text: bool  # read as texts, not as numbers
    rows: int = 0
    present: int = 0
    words: int = 0
    values: int = 0  # cells that are not empty: present, words, and in a column of numbers inf
    low: float = math.inf
    high: float = -math.inf
    mean: float = 0.0
    spread: float = 0.0  # sum of squared distances to the mean
    moments: Sequence[tuple[int, float, float]] = ()  # of each MiB in a block: count, mean, spread
    counts: Counter | None = field(default_factory=Counter)  # of texts, and of a target's numbers
    uncounted: str = ""  # why counting was given up

    def merge(self, block: Profile) -> None:
        """Add what the next block holds."""
        # Chan's parallel update: exact for any block size, no catastrophic cancellation.
        before = self.present
        with np.errstate(over="ignore", invalid="ignore"):
            for count, mean, spread in block.moments:
                delta = mean - self.mean
                self.mean += delta * count / (before + count)
                self.spread += spread + delta**2 * before * count / (before + count)
                before += count
        self.low, self.high = min(self.low, block.low), max(self.high, block.high)
        for count in ("rows", "present", "words", "values"):
            setattr(self, count, getattr(self, count) + getattr(block, count))
        if self.counts is None:
            return
        for value, count in block.counts.items():
            self.counts[value] += count
        if len(self.counts) > MAX_COUNTED:
            self.counts, self.uncounted = None, f"over {MAX_COUNTED:,} different values"
        if block.uncounted:
            self.counts, self.uncounted = None, block.uncounted

    @property
    def missing(self) -> int:
        return self.rows - self.present

    @property
    def constant(self) -> bool:
        # Not by the spread: rounding gives 0.1, 0.1, 0.1 a mean beside 0.1.
        return not self.text and self.low == self.high

    @property
    def std(self) -> float:
        return 0.0 if self.constant else math.sqrt(self.spread / self.present)


def look_at(name: str, block: blocks.Block, counted: bool) -> Profile:
    """Profile a column in one block; `counted`: also how often each value occurs."""
    column = block.columns[name]
    if column.type == blocks.TEXTS:
        return _look_at_texts(name, column, counted)
    values, ends = column.to_numpy(zero_copy_only=False), block.ends
    finite = np.isfinite(values)
    if not finite.all():
        values, ends = values[finite], blocks.count_true(finite, ends)
    words = pc.count(block.words[name]).as_py() if name in block.words else 0
    filled = len(column) - column.null_count + words
    profile = Profile(name, False, len(column), len(values), words, filled)
    if len(values):
        profile.low, profile.high = values.min(), values.max()
    with np.errstate(over="ignore", invalid="ignore"):
        profile.moments = [
            (len(part), part.mean(), part.var() * len(part))
            for part in np.split(values, ends[:-1])
            if len(part)
        ]
    if counted:
        profile.counts = _to_dict(*pc.value_counts(pa.array(values)).flatten())
    return profile


def _look_at_texts(name: str, column: pa.DictionaryArray, counted: bool) -> Profile:
    texts = column.dictionary
    counts = pa.array(np.bincount(column.indices.to_numpy(), minlength=len(texts)))
    filled = pc.and_(pc.not_equal(texts, ""), pc.greater(counts, 0))
    texts, counts = texts.filter(filled), counts.filter(filled)
    present = pc.sum(counts).as_py() or 0
    numbers = pc.sum(counts.filter(blocks.match_numbers(texts))).as_py() or 0
    profile = Profile(name, True, len(column), present, present - numbers, present)
    if (pc.max(pc.binary_length(texts)).as_py() or 0) > MAX_BYTES:
        profile.uncounted = f"values of over {MAX_BYTES:,} bytes"
    elif counted:
        profile.counts = _to_dict(texts, counts)
    return profile


def _to_dict(values: pa.Array, counts: pa.Array) -> dict:
    return dict(zip(values.to_pylist(), counts.to_pylist(), strict=True))
