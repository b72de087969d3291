"""Which examples make which batch: one epoch, dealt out for one process and for many.

The order follows from seed and epoch alone. So a run that goes on in the middle of an epoch, and
each replica of a cluster, knows it without being told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

WHOLE = (0, 1, 1)  # the share of one who is alone


@dataclass(frozen=True)
class Deal:
    """Many batches in one: what is read together, and where it goes.

    places: int64 [K, share of a batch], each a row of `pieces` laid end to end; -1 fills up. Of the
    K batches the first `steps` count; K is the same in every deal of an epoch, so that a compiled
    loop compiles once.
    """

    steps: int
    pieces: list[slice]  # of the rows as they are stored
    places: np.ndarray
    rows: np.ndarray  # float32 [K]: the real rows of each whole batch

    def indices(self) -> np.ndarray:
        """int64 [K, share of a batch]: the same rows by their number in storage; -1 fills up."""
        stored = np.concatenate([np.arange(piece.start, piece.stop) for piece in self.pieces])
        return np.where(self.places < 0, -1, stored[self.places])

    def block(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays with what every step needs beside them: `weight`, float32 [K, share of a
        batch], is 0 for rows that fill up, and `rows`, float32 [K], counts all others."""
        return {**arrays, "weight": (self.places >= 0).astype(np.float32), "rows": self.rows}


def steps(rows: int, batch_size: int) -> int:
    """Batches in an epoch."""
    return -(-rows // batch_size)


def deal(
    rows: int,
    batch_size: int,
    at_once: int,
    neighbours: int,
    seed: int | None = None,
    epoch: int = 0,
    first: int = 0,
    share: tuple[int, int, int] = WHOLE,
) -> Iterator[Deal]:
    """Deals out one epoch.

    It is shuffled twice: runs of neighbouring rows over all that is stored, then rows within a deal.

    Args:
        batch_size: rows a step, over all shares.
        at_once: batches a deal.
        neighbours: rows of a run: what storage reads well in one go.
        seed: None for the order in which rows are stored.
        first: the step to begin with, to go on in the middle of an epoch.
        share: (i, k, n): of n equal parts of every batch, the k that begin with part i.
    """
    total = steps(rows, batch_size)
    runs = np.arange(-(-rows // neighbours))
    if seed is not None:
        runs = np.random.default_rng([seed, epoch]).permutation(runs)
    ends = np.cumsum(np.minimum(neighbours, rows - runs * neighbours))
    for number in range(first // at_once, -(-total // at_once)):
        begin = number * at_once
        batches = min(at_once, total - begin)
        low, high = begin * batch_size, min((begin + batches) * batch_size, rows)
        if seed is not None:
            order = np.random.default_rng([seed, epoch, number]).permutation(high - low)
        else:
            order = np.arange(high - low)
        skip = max(0, first - begin)
        whole = np.full(at_once * batch_size, -1)
        dealt = order[skip * batch_size :]
        whole[: len(dealt)] = dealt
        whole = whole.reshape(at_once, batch_size)
        yield Deal(
            batches - skip,
            _pieces(runs, ends, neighbours, rows, low, high),
            _part(whole, share),
            (whole >= 0).sum(axis=1, dtype=np.float32),
        )


def _pieces(runs, ends, neighbours, rows, low, high) -> list[slice]:
    """Where rows low to high of the shuffled runs are stored."""
    pieces = []
    for i in range(int(np.searchsorted(ends, low, "right")), len(runs)):
        start, stop = runs[i] * neighbours, min((runs[i] + 1) * neighbours, rows)
        before = ends[i] - (stop - start)
        if before >= high:
            break
        pieces.append(slice(start + max(0, low - before), stop - max(0, ends[i] - high)))
    return pieces


def _part(whole: np.ndarray, share: tuple[int, int, int]) -> np.ndarray:
    """Of [K, batch], the columns that are this share's."""
    begin, count, parts = share
    width = -(-whole.shape[1] // parts)
    padded = np.pad(whole, ((0, 0), (0, width * parts - whole.shape[1])), constant_values=-1)
    return padded[:, begin * width : (begin + count) * width]
