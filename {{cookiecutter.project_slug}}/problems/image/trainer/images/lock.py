"""A lock on the cache: decoding the same images twice at once would take twice as long."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator

from trainer.engine import cache
from trainer.engine.runtime import JobError


@contextlib.contextmanager
def alone(folder: str) -> Iterator[None]:
    """Waits until no other process is at work there; a process that dies lets go.

    Raises:
        JobError: the folder cannot be written. Nothing is left behind.
    """
    path = os.path.join(folder, "lock")
    new = not os.path.exists(folder)
    with cache.made(folder):
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=1.0)) as lock:
                while not _is_locked(lock):
                    pass
                yield
        except BaseException as error:
            if new:
                with contextlib.suppress(OSError):
                    os.remove(path)
            if isinstance(error, sqlite3.Error):
                raise JobError(f"{path}: {error}; give another folder with --cache-dir") from None
            raise


def _is_locked(lock: sqlite3.Connection) -> bool:
    """Waits for a second at most, so that Ctrl-C is heard. A lock of the system's own differs from
    one system to the next; SQLite knows them all."""
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        return False
    return True
