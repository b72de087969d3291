"""Write files under another name first, so that they are whole or absent; hash them; read JSON."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

PARTIAL = ".partial"  # at the end of the name of a file that is being written


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to within the block; its file takes the place of `path` at the end.

    After an error in the block `path` is as it was, and nothing else is left.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def update_hash(digest, path: Path) -> None:
    """Feed a file of any size to a hash of `hashlib`, a part at a time."""
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)


def digest(path: Path) -> str:
    """16 hexadecimal digits: of a file its content; of a folder the names, sizes and times in it."""
    total = hashlib.sha256()
    if path.is_file():
        update_hash(total, path)
    for file in sorted(path.rglob("*")):
        facts = file.stat()
        total.update(f"{file.name}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode())
    return total.hexdigest()[:16]


def read_json(path: Path) -> dict:
    """The object in a JSON file; {} where the file is missing, cannot be read or holds no object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_file(path: Path, data: bytes | str) -> None:
    """Write a file, text as UTF-8; readers see the old content or the new, never a part of it."""
    with replacing(path) as partial:
        partial.write_bytes(data.encode() if isinstance(data, str) else data)
