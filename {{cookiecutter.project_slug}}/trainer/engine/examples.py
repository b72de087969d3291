"""What the loop needs of the data: `load` in `data.py` returns `Examples`, for any kind of data.

A block is many batches that are read together: `(steps, (inputs, target))`, or with a weight for each
row `(steps, (inputs, target, weights))`, or `(steps, (inputs,))`. Inputs are a dictionary of arrays, the
target is an array or a dictionary of them, of any dtype that TensorFlow has:

    [K, rows of a batch in this process, …]

The first `steps` of the K batches count; the others fill up. K is the same in an epoch, and so the loop
compiles once. The last batch of an epoch, with the rows that are left, is a block of its own: K is 1.
`batching.arrange` decides all of this; see it before you write `batches` by hand.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from codec.base_schema import BaseSchema


@runtime_checkable
class Part(Protocol):
    """The training examples, or the held-out ones."""

    rows: int  # how many examples there are

    def batches(
        self, batch_size: int, seed: int | None, epoch: int, first: int, share: tuple[int, int, int]
    ) -> Iterator[tuple[int, tuple]]:
        """Yields the blocks of one epoch. The same arguments yield the same blocks, in any process.

        Args:
            batch_size: rows of a batch, over all replicas.
            seed: with `epoch` it decides the order; None keeps the order and every row.
            first: the batch to begin with, to resume in the middle of an epoch.
            share: (i, k, n): of n replicas, this process has the k that begin with number i. It gets
                its part of every batch; the parts are as equal as can be, and make up the batch.
        """


@runtime_checkable
class Examples(Protocol):
    """The data of one run. `model.py` reads more from it: its own `data.py` says what."""

    train: Part
    eval: Part
    manifest: dict  # for run.json: {"train": {"files": [{"path", "digest", …}], …}, "eval": …}
    schema: BaseSchema
    classes: list[str]  # the names of the classes of one categorical target; [] for any other

    def describe(self) -> str:
        """What the data is and what was decided about it, for the first lines of the log."""
