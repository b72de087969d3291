"""What a person sees while a job runs here: lines, or on a terminal a table of its replicas."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator

from launcher.local import faults
from launcher.local.contract import Replica
from launcher.local.local import Run

COLOURS = ("green", "cyan", "magenta", "yellow", "blue", "bright_red")


class Lines:
    """Each line as it comes, with its replica's name where there are several."""

    def __init__(self):
        self.width = 0  # of the names; 0: one replica needs none

    def say(self, text: str) -> None:
        print(f"[launcher] {text}", flush=True)

    def show(self, replica: Replica, line: str) -> None:
        if self.width and not replica.is_primary and faults.progress(line):
            return  # as the primary's; its log has it
        name = f"{str(replica):{self.width}} | " if self.width else ""
        print(name + line, flush=True)

    @contextlib.contextmanager
    def watching(self, run: Run) -> Iterator[None]:
        if len(run.members) > 1:
            self.width = max(len(str(member.replica)) for member in run.members)
        yield


class Table(Lines):
    """On a terminal, several replicas: the lines pass by above a table with a row for each."""

    def __init__(self):
        super().__init__()
        from rich.console import Console

        self.console = Console(highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        from rich.text import Text

        self.console.print(Text(f"[launcher] {text}", "bold"))

    def show(self, replica: Replica, line: str) -> None:
        from rich.text import Text

        if faults.progress(line):
            return  # the table has it
        name = (f"{str(replica):{self.width}} | ", self.colours[str(replica)])
        self.console.print(Text.assemble(name, line))

    @contextlib.contextmanager
    def watching(self, run: Run) -> Iterator[None]:
        from rich.live import Live

        names = [str(member.replica) for member in run.members]
        self.width = max(map(len, names))
        self.colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
        self.began = time.monotonic()
        table = lambda: self._table(run)  # noqa: E731 - asked anew at each refresh
        with Live(get_renderable=table, console=self.console, refresh_per_second=4):
            yield

    def _table(self, run: Run):
        from rich.table import Table as Grid
        from rich.text import Text

        seconds = time.monotonic() - self.began
        grid = Grid("replica", "state", "epoch", "values", caption=f"{seconds:.0f} s")
        for member in run.members:
            told, name = member.progress, str(member.replica)
            epoch = f"{told.epoch}/{told.epochs}" if told.epoch else ""
            grid.add_row(Text(name, self.colours[name]), member.state, epoch, Text(told.values))
        return grid


def best(replicas: int) -> Lines:
    """What suits where the output goes."""
    return Table() if replicas > 1 and sys.stdout.isatty() else Lines()


@contextlib.contextmanager
def interruptible(run) -> Iterator[None]:
    """Ctrl-C and its like stop the run, or the study, politely; a second one firmly."""
    before = {}

    def stop(*_):
        run.stop(firmly=run.stopping)

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if number := getattr(signal, name, None):
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
