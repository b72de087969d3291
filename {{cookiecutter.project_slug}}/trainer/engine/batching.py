"""Which examples make which batch: one epoch, for one replica or for many.

The order depends on seed and epoch alone. So each replica of a cluster computes it by itself, and
so does a run that resumes in the middle of an epoch.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

WHOLE = (0, 1, 1)  # the share of a process that is alone


@dataclass(frozen=True)
class Batches:
    """Many batches of one epoch, which are read together; `examples.py` says what a block is.

    positions: int64 [K, share of a batch], each a row of `pieces` laid end to end.
    """

    steps: int
    pieces: list[slice]  # of the rows as they are stored
    positions: np.ndarray

    def indices(self) -> np.ndarray:
        """int64 [K, share of a batch]: the same rows by their number in storage."""
        stored = np.concatenate([np.arange(piece.start, piece.stop) for piece in self.pieces])
        return stored[self.positions]

    def rows(self) -> np.ndarray:
        """int64 [n]: those of the first `steps` batches; the others only fill the block."""
        return self.indices()[: self.steps].ravel()

    def fill(self, values: np.ndarray) -> np.ndarray:
        """Shape the values of `rows`, [n, …], as [K, share of a batch, …]; zeros fill the other batches."""
        if filler := self.positions.size - len(values):
            values = np.concatenate([values, np.zeros((filler, *values.shape[1:]), values.dtype)])
        return values.reshape(*self.positions.shape, *values.shape[1:])


def count_steps(rows: int, batch_size: int, replicas: int = 1) -> int:
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
        at_once: K, batches that are read together.
        neighbours: rows of a run: what storage reads well in one go.
        batch_size, seed, epoch, first, share: see `examples.Part.batches`.
    """
    runs = np.arange(-(-rows // neighbours))
    if seed is not None:
        runs = np.random.default_rng([seed, epoch]).permutation(runs)
    ends = np.cumsum(np.minimum(neighbours, rows - runs * neighbours))
    begins = np.concatenate([[0], ends[:-1]])
    # From a row's place in the shuffled runs to that in storage.
    shifts = runs * neighbours - begins
    window = at_once * batch_size
    for number in range(first // at_once, -(-rows // window)):
        low, high = number * window, min((number + 1) * window, rows)
        i, j = np.searchsorted(ends, low, "right"), np.searchsorted(begins, high)
        spans = zip(begins[i:j], ends[i:j], shifts[i:j], strict=True)
        pieces = [slice(max(b, low) + shift, min(e, high) + shift) for b, e, shift in spans]
        order = np.arange(high - low)
        if seed is not None:
            order = np.random.default_rng([seed, epoch, number]).permutation(high - low)
        full, skipped = (high - low) // batch_size, max(0, first - number * at_once)
        whole = order[: full * batch_size].reshape(-1, batch_size)[skipped:]
        if len(whole):
            positions = np.zeros((at_once, batch_size), np.int64)
            positions[: len(whole)] = whole
            yield Batches(len(whole), pieces, _columns(positions, share))
        left = order[full * batch_size :]
        if skipped <= full and len(left) >= (1 if seed is None else share[2]):
            yield Batches(1, pieces, _columns(left[np.newaxis], share))


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
        columns, here: rows of the batch, and replicas, in this process.
        rows, replicas: the same in all processes.
    """
    if rows % replicas == 0:
        return None
    sizes = np.diff([columns * number // here for number in range(here + 1)])
    return np.repeat(np.float32(sizes) * np.float32(replicas / rows), sizes)


def ahead(blocks: Iterator) -> Iterator:
    """Prepares the next block in a thread while the caller computes on this one."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = thread.submit(next, blocks, None)
            yield block
