"""Files of a local folder as Cloud Storage sees them: names, sizes, checksums; what must not be written."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.cloud import errors
from launcher.cloud.errors import CloudError
from launcher.common.files import PARTIAL

# Left behind by Python and Jupyter; by macOS, Windows, and copies that were interrupted.
LITTER = r"(?:^|/)(?:(?:__pycache__|\.ipynb_checkpoints)(?:/|$)"
LITTER += r"|(?:\.DS_Store|\._[^/]*|Thumbs\.db|desktop\.ini|[^/]*\.partial)$)"


@dataclass(frozen=True)
class Entry:
    """A file: its size in bytes, and the checksum that Cloud Storage keeps of each object."""

    size: int
    crc32c: str


@contextlib.contextmanager
def disk_errors(path: str | Path) -> Iterator[None]:
    """Report what the disk refuses within the block in one line."""
    try:
        yield
    except OSError as error:
        name, reason = error.filename or path, error.strerror or error
        raise CloudError(f"{name}: {reason}; remove the cause, then try again") from None


def list_local(folder: Path) -> dict[str, Entry]:
    """The files in a local folder and below it, without litter.

    Raises:
        CloudError: there is no such folder, or a name that no object can have.
    """
    if not folder.is_dir():
        raise CloudError(f"{folder}: is no folder; give one that exists")
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*"))]
    files = read_entries(folder, [name for name in names if not re.search(LITTER, name)])
    for name in files:
        if re.search("[\r\n\ud800-\udfff]", name):  # line breaks, or bytes that are not UTF-8
            raise CloudError(f"{folder}: {name!r} cannot be an object's name; rename the file")
    return files


def read_entries(folder: Path, names: Iterable[str]) -> dict[str, Entry]:
    """Of these names those that are files in a folder."""
    return {name: compute_entry(folder / name) for name in names if (folder / name).is_file()}


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


def compute_entry(source: Path | bytes) -> Entry:
    """Size and checksum of a file, or of bytes."""
    checksum = errors.sdk("google_crc32c").Checksum()
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as stream:
        size = sum(map(len, checksum.consume(stream, 1 << 20)))
    return Entry(size, base64.b64encode(checksum.digest()).decode())
