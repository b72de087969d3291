"""What a column of a table holds, in one block or in all of them.

Memory stays flat: a column keeps running sums, and counts of its values up to a limit.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codec.values import is_number
from trainer.columns import blocks

MAX_COUNTED = 100_000  # distinct values; a column with more is an id or a free text
MAX_BYTES = 1_000  # so is one with longer values
_is_number = functools.lru_cache(1 << 12)(is_number)  # most blocks have the same few texts


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
        """Adds what the next block holds."""
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

    def is_misread(self, limit: float) -> bool:
        """Whether texts are numbers, but for this share of words at most; or numbers are not."""
        return self.values > 0 and self.text == (self.words <= limit * self.values)

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
    """The profile of a column in one block; `counted`: also how often each value occurs."""
    column = block.columns[name]
    if column.type == blocks.TEXTS:
        return _look_at_texts(name, column, counted)
    values, ends = column.to_numpy(zero_copy_only=False), block.ends
    finite = np.isfinite(values)
    if not finite.all():
        values, ends = values[finite], np.cumsum(finite)[ends - 1]
    words = sum(block.words.get(name, {}).values())
    filled = len(column) - column.null_count
    profile = Profile(name, False, len(column), len(values), words, filled + words)
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
    indices, counts = pc.value_counts(column.indices).flatten()
    texts = column.dictionary.take(indices)
    if (pc.max(pc.binary_length(texts)).as_py() or 0) > MAX_BYTES:
        profile = Profile(name, True, len(column), uncounted=f"values of over {MAX_BYTES:,} bytes")
    else:
        profile = Profile(name, True, len(column))
    if counted and not profile.uncounted:
        profile.counts = _to_dict(texts, counts)
        missing = profile.counts.pop("", 0)
        profile.words = sum(n for text, n in profile.counts.items() if not _is_number(text))
    else:
        missing = _sum(counts, pc.equal(texts, ""))
        profile.words = len(column) - missing - _sum(counts, blocks.match_numbers(texts))
    profile.present = profile.values = len(column) - missing
    return profile


def _to_dict(values: pa.Array, counts: pa.Array) -> dict:
    return dict(zip(values.to_pylist(), counts.to_pylist(), strict=True))


def _sum(counts: pa.Array, chosen: pa.Array) -> int:
    return pc.sum(counts.filter(chosen)).as_py() or 0
