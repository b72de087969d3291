"""Which examples make which batch: one epoch, for one replica or for many.

The order depends on seed and epoch alone. So each replica of a cluster computes it by itself, and
so does a run that resumes in the middle of an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

WHOLE = (0, 1, 1)  # the share of a process that is alone


@dataclass(frozen=True)
class Batches:
    """Many batches of one epoch, which are read together.

    positions: int64 [K, share of a batch], each a row of `pieces` laid end to end. Of the K batches the
    first `steps` count, and the others fill up: K is the same in an epoch, so that a compiled loop
    compiles once. Only an epoch's last batch comes alone, with the rows that are left.
    """

    steps: int
    pieces: list[slice]  # of the rows as they are stored
    positions: np.ndarray

    def indices(self) -> np.ndarray:
        """int64 [K, share of a batch]: the same rows by their number in storage."""
        stored = np.concatenate([np.arange(piece.start, piece.stop) for piece in self.pieces])
        return stored[self.positions]


def steps(rows: int, batch_size: int, replicas: int = 1) -> int:
    """Batches in an epoch: the last one, of the rows that are left, has a row for each replica."""
    return rows // batch_size + (rows % batch_size >= replicas)


def arrange(
    rows: int,
    batch_size: int,
    at_once: int,
    neighbours: int,
    seed: int | None = None,
    epoch: int = 0,
    first: int = 0,
    share: tuple[int, int, int] = WHOLE,
) -> Iterator[Batches]:
    """Puts the rows of one epoch into batches.

    They are shuffled twice: runs of neighbouring rows over all that is stored, then rows within
    what is read together. Replicas share a batch as equally as can be; `share_weights` says by how
    much that changes the mean. A training step needs a row for each replica: where fewer are left
    for the last batch, they sit out this epoch. In evaluation (no seed) every row counts.

    Args:
        batch_size: rows a step, over all replicas.
        at_once: batches that are read together.
        neighbours: rows of a run: what storage reads well in one go.
        seed: None for the order in which rows are stored.
        first: the step to begin with, to resume in the middle of an epoch.
        share: (i, k, n): of n replicas, the k of this process, which begin with replica i.
    """
    runs = np.arange(-(-rows // neighbours))
    if seed is not None:
        runs = np.random.default_rng([seed, epoch]).permutation(runs)
    ends = np.cumsum(np.minimum(neighbours, rows - runs * neighbours))
    window = at_once * batch_size
    for number in range(first // at_once, -(-rows // window)):
        low, high = number * window, min((number + 1) * window, rows)
        order = np.arange(high - low)
        if seed is not None:
            order = np.random.default_rng([seed, epoch, number]).permutation(high - low)
        pieces = _pieces(runs, ends, neighbours, rows, low, high)
        full, skipped = (high - low) // batch_size, max(0, first - number * at_once)
        if skipped < full:
            positions = np.zeros((at_once, batch_size), np.int64)
            positions[: full - skipped] = order[skipped * batch_size : full * batch_size].reshape(
                -1, batch_size
            )
            yield Batches(full - skipped, pieces, _columns(positions, share))
        left = order[full * batch_size :]
        if seed is not None and len(left) < share[2]:
            left = left[:0]
        if len(left) and skipped <= full:
            yield Batches(1, pieces, _columns(left[np.newaxis], share))


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


def _columns(positions: np.ndarray, share: tuple[int, int, int]) -> np.ndarray:
    """Of [K, batch], the columns of this process."""
    begin, count, replicas = share
    return positions[:, part(positions.shape[1], begin // count, replicas // count)]


def part(rows: int, number: int, parts: int) -> slice:
    """Part `number` of rows that are divided into parts as equal as can be."""
    return slice(rows * number // parts, rows * (number + 1) // parts)


def share_weights(columns: int, here: int, rows: int, replicas: int) -> np.ndarray | None:
    """float32 [columns]: a weight for each row of a batch in this process; None if all are 1.

    Keras takes the mean over the rows of each replica, and then over replicas. With these sample
    weights that is the mean over all rows, also where one replica has a row more than another.

    Args:
        columns: rows of the batch in this process.
        here: replicas in this process.
        rows: rows of the batch in all processes.
        replicas: replicas in all processes.
    """
    if rows % replicas == 0:
        return None
    sizes = [len(range(*part(columns, number, here).indices(columns))) for number in range(here)]
    return np.repeat(np.float32(sizes) * np.float32(replicas / rows), sizes)


def ahead(blocks: Iterator) -> Iterator:
    """Prepares the next block in a thread while the caller computes on this one."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = thread.submit(next, blocks, None)
            yield block
