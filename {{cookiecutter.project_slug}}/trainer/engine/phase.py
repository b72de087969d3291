"""A phase of a training, for `phases` in `model.py`."""

from collections.abc import Callable
from typing import NamedTuple


class Phase(NamedTuple):
    """A part of a training, such as fine-tuning.

    start: sets `layer.trainable` and calls `model.compile` again, as in Keras's own recipe for
    fine-tuning. It runs before the phase, and again when a run resumes in it.
    """

    name: str
    epochs: int  # at most; --early-stopping may end it sooner
    start: Callable[[], None] = lambda: None
