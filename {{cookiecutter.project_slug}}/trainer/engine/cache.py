"""Work on the data that is done once: folders whose name says all that their content depends on.

The next run, and every trial of a study, finds them; a changed file or flag never does.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from codec import files
from trainer.engine.runtime import JobError

PARTIAL = "partial-"  # begins the name of a folder that is still being written
MARK = ".of-the-trainer"  # in such a folder: nobody else's of the name is swept away
ABANDONED = 24 * 3600.0  # seconds after which the work of a killed writer is swept away
CHECKSUMS = "checksums.json"  # of the other files in a folder
BLOCK, BLOCKS = 1 << 12, 256  # bytes, and how many of a file its checksum covers: small files whole


def beside(job_dir: str | None) -> str:
    """The path of the cache: beside the run, or in the machine's own temporary folder for gs://."""
    if job_dir is None:
        return os.path.join("runs", ".cache")
    if files.is_remote(job_dir) or job_dir.startswith("/gcs/"):
        return os.path.join(tempfile.gettempdir(), "encoded-data")
    return os.path.join(os.path.dirname(os.path.abspath(job_dir)), ".cache")


def fill(cache: str, key: str, write: Callable[[str], None]) -> tuple[str, bool]:
    """The folder `cache`/`key`, and whether it was there; if not, `write` gets its path to make it.

    A folder whose files are not those that were written is deleted, and made again.

    Raises:
        JobError: the disk does not take it; or what `write` raises. Nothing is left behind.
    """
    path = os.path.join(cache, key)
    try:
        if os.path.isdir(path):
            if _is_whole(path):
                return path, True
            print(f"{path}: a file of it is missing or corrupt; the folder is made again")
        with made(cache), new_partial(cache) as partial:
            _sweep(cache)
            finished = os.path.join(partial, "finished")
            write(finished)
            files.write_text(os.path.join(finished, CHECKSUMS), json.dumps(_checksums(finished)))
            if _is_whole(path):  # another process was faster, and reads it
                return path, False
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, os.path.join(partial, "corrupt"))
            try:
                os.rename(finished, path)
            except OSError:
                if not os.path.isdir(path):  # another process was faster just now
                    raise
    except OSError as error:
        raise JobError(
            f"{cache}: the encoded data cannot be written there ({error.strerror or error}); "
            "give another folder with --cache-dir"
        ) from None
    return path, False


def _is_whole(folder: str) -> bool:
    """Whether its files are those that were written, as far as sizes and checksums show."""
    try:
        return json.loads(files.read_text(os.path.join(folder, CHECKSUMS))) == _checksums(folder)
    except (OSError, ValueError):
        return False


def _checksums(folder: str) -> dict[str, str]:
    """The checksum of each file below a folder: of its size and of blocks all over it."""
    sums = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and path.name != CHECKSUMS:
            size = path.stat().st_size
            hasher = hashlib.blake2b(str(size).encode(), digest_size=16)
            with path.open("rb") as file:
                for start in (*range(0, size, max(BLOCK, size // BLOCKS)), max(0, size - BLOCK)):
                    file.seek(start)
                    hasher.update(file.read(BLOCK))
            sums[path.relative_to(folder).as_posix()] = hasher.hexdigest()
    return sums


@contextlib.contextmanager
def made(folder: str) -> Iterator[None]:
    """Makes a folder and its parents; those of them that stay empty are removed at the end."""
    missing = [path for path in (Path(folder), *Path(folder).parents) if not path.exists()]
    try:
        os.makedirs(folder, exist_ok=True)
        yield
    finally:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()


@contextlib.contextmanager
def new_partial(folder: str) -> Iterator[str]:
    """A new folder in another one, to write to; it is removed at the end, with what is left in it."""
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=folder) as partial:
        Path(partial, MARK).touch()
        yield partial


def _sweep(cache: str) -> None:
    """Removes what writers left that were killed: they had no chance to do it themselves."""
    for mark in Path(cache).glob(f"{PARTIAL}*/{MARK}"):
        with contextlib.suppress(OSError):  # another process sweeps too
            if mark.parent.stat().st_mtime < time.time() - ABANDONED:
                files.remove_tree(str(mark.parent))
