"""A polite end: SIGTERM and Ctrl-C are noted, and the loop ends after it wrote a checkpoint."""

from __future__ import annotations

import signal


class Terminated:
    """Notes a SIGTERM or a Ctrl-C while it is entered; a second one has its usual effect.

    with Terminated() as terminated: … if terminated(): …
    """

    def __enter__(self):
        self.received = False
        signals = (signal.SIGTERM, signal.SIGINT)
        self.before = {number: signal.signal(number, self._note) for number in signals}
        return lambda: self.received

    def _note(self, *_):
        self.received = True
        self._restore()

    def _restore(self):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def __exit__(self, *_):
        self._restore()
