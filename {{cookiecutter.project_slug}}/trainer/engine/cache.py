"""Work on the data that is done once: folders whose name says all that their content depends on.

The next run, and every trial of a study, finds them; a changed file or flag never does.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator

from codec import files
from trainer.engine.runtime import JobError

PARTIAL = "partial-"  # begins the name of a folder that is still being written
ABANDONED = 24 * 3600.0  # seconds after which the work of a killed writer is swept away


def beside(job_dir: str | None) -> str:
    """The path of the cache: beside the run, or in the machine's own temporary folder for gs://."""
    if job_dir is None:
        return os.path.join("runs", ".cache")
    if files.is_remote(job_dir) or job_dir.startswith("/gcs/"):
        return os.path.join(tempfile.gettempdir(), "encoded-data")
    return os.path.join(os.path.dirname(os.path.abspath(job_dir)), ".cache")


@contextlib.contextmanager
def alone(cache: str) -> Iterator[None]:
    """Waits until no other process is at work there; a process that dies lets go."""
    made = _missing_folders(cache)
    path = os.path.join(cache, "lock")
    try:
        os.makedirs(cache, exist_ok=True)
        with contextlib.closing(sqlite3.connect(path, timeout=1.0)) as lock:
            while not _is_locked(lock):
                pass
            yield
    except BaseException as error:
        if made:  # nothing is left behind
            with contextlib.suppress(OSError):
                os.remove(path)
            _remove_empty(made)
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


def fill(cache: str, key: str, write: Callable[[str], None]) -> tuple[str, bool]:
    """The folder `cache`/`key`, and whether it was there; if not, `write` gets its path to make it.

    Raises:
        JobError: the disk does not take it; or what `write` raises. Nothing is left behind.
    """
    path = os.path.join(cache, key)
    if os.path.isdir(path):
        return path, True
    made = _missing_folders(cache)
    try:
        os.makedirs(cache, exist_ok=True)
        _sweep(cache)
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=cache) as partial:
            finished = os.path.join(partial, "finished")
            write(finished)
            _publish(finished, path)
    except OSError as error:
        raise JobError(
            f"{cache}: the encoded data cannot be written there ({error.strerror or error}); "
            "give another folder with --cache-dir"
        ) from None
    finally:
        _remove_empty(made)
    return path, False


def _missing_folders(path: str) -> list[str]:
    """The folders that making this one will make, the innermost first."""
    missing = []
    while path and not os.path.exists(path):
        missing.append(path)
        path = os.path.dirname(path)
    return missing


def _remove_empty(folders: list[str]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            os.rmdir(folder)  # only where nothing came to lie in it


def _sweep(cache: str) -> None:
    """Removes what writers left that were killed: they had no chance to do it themselves."""
    for name in files.names(cache):
        path = os.path.join(cache, name)
        with contextlib.suppress(OSError):  # another process sweeps too
            if name.startswith(PARTIAL) and os.path.getmtime(path) < time.time() - ABANDONED:
                files.remove_tree(path)


def _publish(finished: str, path: str) -> None:
    """Moves a finished folder to its name; of two writers of the same, the first one wins."""
    try:
        os.rename(finished, path)
    except OSError:
        if not os.path.isdir(path):
            raise
