"""What distinguishes a file of data from others, for run.json and for the name of its encoded copy."""

from __future__ import annotations

import hashlib

from codec import files
from codec.columns.blocks import map_in_order

HASHED = 1 << 25  # bytes of a file that a thread hashes; a larger one is hashed in pieces


def identify(path: str) -> dict:
    """{path, bytes, digest}: of the content, or in a bucket of the object's last write."""
    size = files.size(path)
    if files.is_remote(path):
        digest = f"modified:{files.modified(path)}"  # objects are replaced whole, never edited
    else:
        hashers = [*map_in_order(lambda start: _hash(path, start), range(0, size, HASHED))]
        if len(hashers) > 1:
            hashers = [hashlib.blake2b(b"".join(h.digest() for h in hashers), digest_size=16)]
        digest = f"blake2b:{hashers[0].hexdigest()}"
    return {"path": path, "bytes": size, "digest": digest}


def _hash(path: str, start: int):
    """Hash a piece of a file."""
    hasher = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        file.seek(start)
        for _ in range(0, HASHED, 1 << 20):
            hasher.update(file.read(1 << 20))
    return hasher
