"""Files of this repo that an image or a package is made of, and a digest of them.

Raw data is none of them: a job reads it from the bucket.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from launcher.common.files import update_hash
from launcher.project.settings import ROOT

RAW = ROOT / "data" / "raw"  # not in git
MANIFEST = ROOT / "data" / "MANIFEST.csv"  # lists the files in there; in git


def list_files(names: Sequence[str]) -> Iterator[Path]:
    """The files behind these names of files and folders, in order, without Python's caches."""
    for name in names:
        for path in sorted((ROOT / name, *(ROOT / name).rglob("*"))):
            if path.is_file() and "__pycache__" not in path.parts and RAW not in path.parents:
                yield path


def digest(names: Sequence[str], more: str = "") -> str:
    """16 hexadecimal digits of the contents of these files and folders, and of a text."""
    total = hashlib.sha256(more.encode())
    for path in list_files(names):
        total.update(f"{path.relative_to(ROOT).as_posix()}\0{path.stat().st_size}\0".encode())
        update_hash(total, path)
    return total.hexdigest()[:16]


def hash_manifest() -> str:
    """16 hexadecimal digits that name the raw data; "" where it has no manifest."""
    return hashlib.sha256(MANIFEST.read_bytes()).hexdigest()[:16] if MANIFEST.exists() else ""


def find_path(text: str) -> Path | None:
    """The file or folder of this machine that a flag's value names, relative to this repo.

    It has a /, and is there; of a pattern such as data/*.csv, it is the folder before the first
    wildcard. None for any other value.
    """
    if "/" not in text or "://" in text:
        return None
    path = Path(text)
    while re.search(r"[*?[]", str(path)) and not (ROOT / path).exists():
        path = path.parent
    return path if (ROOT / path).exists() else None
