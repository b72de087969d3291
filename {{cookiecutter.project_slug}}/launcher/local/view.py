"""What a person sees while a job runs here: lines, or on a terminal a table of its replicas."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from launcher.local import faults
from launcher.local.contract import Replica
from launcher.local.local import Run


class View:
    """Print each line when it comes, with its replica's name where there are several.

    On a terminal, several replicas also have a table below the lines, with a row for each.
    """

    def __init__(self, replicas: Sequence[Replica]):
        self.width = max(map(len, map(str, replicas))) if len(replicas) > 1 else 0
        self.has_table = bool(self.width) and sys.stdout.isatty()

    def say(self, text: str) -> None:
        print(f"[launcher] {text}", flush=True)

    def show(self, replica: Replica, line: str) -> None:
        # The table has it, or the primary prints the same; the log has all.
        shown_once = self.has_table or (self.width and not replica.is_primary)
        if not (shown_once and faults.read_progress(line)):
            name = f"{str(replica):{self.width}} | " if self.width else ""
            print(name + line, flush=True)

    def watching(self, run: Run) -> AbstractContextManager:
        """Show the run within the block."""
        if not self.has_table:
            return contextlib.nullcontext()
        from rich.console import Console
        from rich.live import Live

        began = time.monotonic()
        console = Console(highlight=False, soft_wrap=True)  # also for what we print meanwhile
        return Live(get_renderable=lambda: _draw(run, time.monotonic() - began), console=console)


def _draw(run: Run, seconds: float):
    """The replicas as a table."""
    from rich.table import Table
    from rich.text import Text

    grid = Table("replica", "state", "epoch", "values", caption=f"{seconds:.0f} s")
    for member in run.members:
        progress = member.progress
        epoch = f"{progress.epoch}/{progress.epochs}" if progress.epoch else ""
        grid.add_row(str(member.replica), member.state, epoch, Text(progress.values))
    return grid


@contextlib.contextmanager
def interruptible(run) -> Iterator[None]:
    """Let Ctrl-C and the like stop a run, or a study, politely, and a second one firmly."""

    def stop(*_):
        run.stop(firmly=run.stopping)

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
