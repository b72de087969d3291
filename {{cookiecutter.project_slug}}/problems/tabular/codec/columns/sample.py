"""Some values of each column of numbers, from rows all over the files: a small table has all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codec.columns import blocks, rows

ROWS = 1 << 14
VALUES = 1 << 22  # in all columns together: the more of them, the fewer rows


class Sample:
    """Random rows, the same ones however the files are read; memory does not grow with the rows.

    Attributes:
        columns: float64 [rows], in the order of the files, NaN where a value is missing.
    """

    def __init__(self, names: Sequence[str]):
        self._size = min(ROWS, VALUES // max(1, len(names)))
        self._last, self._rows = 0, np.zeros(0, np.uint64)
        self.columns = {name: np.zeros(0) for name in names}

    def choose(self, block: blocks.Block) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """What a block gives to `add`, in any thread: rows that may still be in the sample there."""
        chosen = np.flatnonzero(self._are_chosen(block.rows, int(block.rows[:1].sum())))
        columns = {
            name: block.columns[name].take(chosen).to_numpy(zero_copy_only=False)
            for name in self.columns
        }
        return block.rows[-1:], block.rows[chosen], columns

    def add(self, last: np.ndarray, numbers: np.ndarray, columns: dict[str, np.ndarray]) -> None:
        """Add what `choose` made of the next block."""
        self._last = max(self._last, int(last.sum()))
        numbers = np.append(self._rows, numbers)
        kept = self._are_chosen(numbers, self._last)
        self._rows = numbers[kept]
        for name, values in columns.items():
            self.columns[name] = np.append(self.columns[name], values)[kept]

    def _are_chosen(self, numbers: np.ndarray, last: int) -> np.ndarray:
        """bool [rows]: whether they belong to a sample of the rows up to number `last`."""
        share = self._size / max(self._size, last + 1)
        return (rows.hash_rows(numbers) & np.uint64(0xFFFFFFFF)) < np.uint64(int(share * 2**32))
