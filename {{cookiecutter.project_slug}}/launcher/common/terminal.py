"""Ask whoever sits at the terminal, print tables, and show how far work is."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence

from launcher.common.document import SpecError


def confirm(question: str, refused: str, instead: str) -> None:
    """Ask a question, and return if the answer is yes.

    Args:
        refused: what did not happen then, for the errors.
        instead: what to do where there is no terminal, and so no answer.

    Raises:
        SpecError: the answer is another one, or there is no terminal.
    """
    if not sys.stdin.isatty():
        raise SpecError(f"{question} There is no terminal to ask on; {refused}: {instead}")
    print(f"{question} [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise SpecError(refused)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], align=str.ljust) -> None:
    """Print plain columns, so that a name can be copied whatever the width of the terminal is."""
    rows = [header, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        print("  ".join(align(cell, width) for cell, width in cells).rstrip())


def printable(text: str) -> str:
    """Without what would steer a terminal: others may name their jobs as they like."""
    return "".join(c if c.isprintable() else "?" for c in text)


def new_bars(*columns):
    """Progress bars of rich on stderr, with these columns in the middle; none where it is a file."""
    from rich import progress
    from rich.console import Console

    console, text = Console(stderr=True), progress.TextColumn("{task.description}")
    columns = text, progress.BarColumn(), *columns, progress.TimeRemainingColumn()
    return progress.Progress(*columns, console=console, disable=not console.is_terminal)


@contextlib.contextmanager
def show_steps() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function of a step's name, of what of it is done, and of all: it moves a bar."""
    from rich.progress import MofNCompleteColumn

    tasks = {}

    def show(step: str, done: int, total: int) -> None:
        if step not in tasks:
            tasks[step] = bars.add_task(step, total=None)
        bars.update(tasks[step], completed=done, total=total or None)

    with new_bars(MofNCompleteColumn()) as bars:
        yield show
