"""Files of a local folder as Cloud Storage sees them: names, sizes, checksums; what must not be written.

Many files are worked through side by side, with a progress bar; after an error all of them stop soon.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.cloud import errors, object_names
from launcher.cloud.errors import CloudError
from launcher.common.files import PARTIAL
from launcher.common.terminal import new_bars

AT_ONCE = 8  # files that are copied side by side; the storage client keeps ten connections
SHOWN = 3  # faults that a message names
# Left behind by Python and Jupyter; by macOS, Windows, copies that were interrupted, and our locks.
LITTER = r"(?:^|/)(?:(?:__pycache__|\.ipynb_checkpoints)(?:/|$)"
LITTER += r"|(?:\.DS_Store|\._[^/]*|Thumbs\.db|desktop\.ini|[^/]*\.partial"
LITTER += r"|\.(?:launcher|trainer)\.lock)$)"

Count = Callable[[Iterable[bytes]], Iterator[bytes]]  # passes parts of a file on, moves the bar


@dataclass(frozen=True)
class Entry:
    """A file: its size in bytes (None: unknown), and a checksum of its content in base64."""

    size: int | None
    checksum: str
    kind: str = "crc32c"  # which Cloud Storage keeps of each object; elsewhere md5 or sha256

    def fits(self, other: Entry | None) -> bool:
        """Whether another file has this content, as far as its size is known."""
        return other is not None and other == replace(self, size=self.size or other.size)


@contextlib.contextmanager
def disk_errors(path: str | Path) -> Iterator[None]:
    """Report what the disk refuses within the block in one line."""
    try:
        yield
    except OSError as error:
        name, reason = error.filename or path, error.strerror or error
        raise CloudError(f"{name}: {reason}; remove the cause, then try again") from None


def is_litter(name: str) -> bool:
    """Whether systems and programs leave files of this name behind: nobody's data."""
    return bool(re.search(LITTER, name))


def list_names(folder: Path) -> list[str]:
    """The files in a local folder and below it, without litter, by their names within it.

    Raises:
        CloudError: there is no such folder, or a link to a folder in it, or a name that no object
            can have.
    """
    if not folder.is_dir():
        raise CloudError(f"{folder}: is no folder; give one that exists")
    names = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() and path.is_dir():
            what = "is a link to a folder, and its files would be left out"
            raise CloudError(f"{path}: {what}; put the folder itself there")
        if not path.is_file() or is_litter(name):
            continue
        if re.search("[\r\n\ud800-\udfff]", name):  # line breaks, or bytes that are not UTF-8
            raise CloudError(f"{folder}: {name!r} cannot be an object's name; rename the file")
        names.append(name)
    return names


def refuse_names(folder: str, names: Iterable[str], what: str) -> None:
    """Look for names that no disk should have; `what` has them, for the message.

    Raises:
        CloudError: names the first few of them.
    """
    if faults := object_names.find_faults(names):
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise CloudError(
            f"{folder}: {'; '.join(faults[:SHOWN])}{more}; nothing was copied: rename or remove "
            f"{what}, then try again"
        )


def refuse_obstacles(target: Path, names: Iterable[str]) -> None:
    """Look for what stands in the way of files that are to be written to a folder.

    Raises:
        CloudError: a folder has the name of a file, or a file or a link that of a folder.
    """
    files = [target / f"{name}{end}" for name in names for end in ("", PARTIAL)]
    taken = [path for path in files if path.is_dir()]
    for folder in {parent for path in files for parent in path.parents}:
        link = folder.is_symlink() and target in folder.parents  # nothing is written through it
        if link or (os.path.lexists(folder) and not folder.is_dir()):
            taken.append(folder)
    if taken:
        raise CloudError(f"{min(taken)}: is in the way of what is to be written there; move it")


def refuse_outdated(source: str, target: Path, names: Container[str]) -> None:
    """Look for files of an exported model that its source no longer has: a server would take them.

    Raises:
        CloudError: names one of them.
    """
    for path in sorted(target.rglob("*")):
        name = path.relative_to(target).as_posix()
        unknown = path.is_file() and name not in names and not is_litter(name)
        if unknown and "assets.extra/" in name:
            what = f"{source}/{name} is gone, so this is of another model; delete it"
            raise CloudError(f"{path}: {what}")


def write_rest(
    path: Path, source: str, wanted: Entry, read: Callable[[int], Iterator[bytes]]
) -> None:
    """Write a file from where an earlier attempt ended; it is there as a whole or not at all.

    Args:
        source: where its content comes from, for messages.
        read: yields the content from an offset on.

    Raises:
        CloudError: the content is not the one that is wanted.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, start = path.with_name(path.name + PARTIAL), 0
    checksum = _new_checksum(wanted.kind)
    try:
        with open(partial, "r+b" if partial.exists() else "w+b") as file:
            for part in iter(lambda: file.read(1 << 20), b""):
                checksum.update(part)
            start = file.tell()
            if not wanted.fits(Entry(start, _encode(checksum), wanted.kind)):
                for part in read(start):
                    file.write(part)
                    checksum.update(part)
            written = Entry(file.tell(), _encode(checksum), wanted.kind)
        if wanted.fits(written):
            os.replace(partial, path)
            return
        partial.unlink()
    except BaseException as error:
        # What has arrived stays, unless the disk refuses it.
        if isinstance(error, OSError) or not partial.stat().st_size:
            partial.unlink(missing_ok=True)
        raise
    if not start:
        raise CloudError(f"download {source}: it changed meanwhile, or arrived damaged; try again")
    write_rest(path, source, wanted, read)  # the earlier attempt had another version


def compute_entry(parts: Iterable[bytes], kind: str = "crc32c") -> Entry:
    """Size and checksum of a content, from its parts."""
    checksum, size = _new_checksum(kind), 0
    for part in parts:
        checksum.update(part)
        size += len(part)
    return Entry(size, _encode(checksum), kind)


def read_file(path: Path, start: int = 0) -> Iterator[bytes]:
    """The content of a file from an offset on, part by part."""
    with open(path, "rb") as file:
        file.seek(start)
        while part := file.read(1 << 20):
            yield part


def work_through(
    title: str, sizes: Mapping[str, int | None], work: Callable[[str, Count], None]
) -> None:
    """Call `work(name, count)` for each of these files.

    Args:
        sizes: of the files, in bytes; None: unknown.
    """
    from rich.progress import DownloadColumn, TransferSpeedColumn

    bars = new_bars(DownloadColumn(), TransferSpeedColumn())
    task = bars.add_task(title, total=sum(size or 0 for size in sizes.values()) or None)
    stopped = threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise CloudError("stopped, since another file failed")

    def count(parts: Iterable[bytes]) -> Iterator[bytes]:
        check()
        for i, part in enumerate(parts):
            if i:  # a file of one part that has arrived is kept
                check()
            yield part
            bars.advance(task, len(part))

    with bars, ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for done in as_completed([pool.submit(work, name, count) for name in sizes]):
                done.result()
        except BaseException:  # Ctrl-C, too
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def hash_files(folder: Path, names: Iterable[str], kind: str = "crc32c") -> dict[str, Entry]:
    """Sizes and checksums of those of these files that are in a folder."""
    sizes = {name: (folder / name).stat().st_size for name in names if (folder / name).is_file()}
    entries = {}

    def work(name: str, count: Count) -> None:
        entries[name] = compute_entry(count(read_file(folder / name)), kind)

    work_through("comparing", sizes, work)
    return entries


def _new_checksum(kind: str):
    return errors.sdk("google_crc32c").Checksum() if kind == "crc32c" else hashlib.new(kind)


def _encode(checksum) -> str:
    return base64.b64encode(checksum.digest()).decode()
