"""How many steps one compiled call takes: short calls cost time, long ones hold up a checkpoint."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

CALL_SECONDS = 0.5  # about so long a call should take; nothing else can happen in it


class Pace:
    """Steps a call, adapted to how long calls take; the first one takes one step."""

    def __init__(self, total: Callable[[float], float]):
        """`total` adds up a number over all processes, which must choose the same pace."""
        self.total, self.processes = total, round(total(1))
        self.steps = self.most = 1

    def calls(self, steps: int) -> Iterator[tuple[int, int]]:
        """(first, last) of each call for a block."""
        self.most, done = max(self.most, steps), 0  # an epoch's last block has only one
        while done < steps:
            last = min(done + self.steps, steps)
            yield done, last
            done = last

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Takes the time of a call, and adapts the number of steps of the next."""
        start = time.monotonic()
        yield
        seconds = self.total(time.monotonic() - start) / self.processes
        if seconds < CALL_SECONDS / 2:
            self.steps = min(self.steps * 2, self.most)
        elif seconds > CALL_SECONDS * 2:
            self.steps = max(self.steps // 2, 1)
