"""What distinguishes a file of data from others, for run.json and for the name of its encoded copy."""

from __future__ import annotations

import hashlib

from codec import files


def identify(path: str) -> dict:
    """{path, bytes, digest}: of the content, or in a bucket of the object's last write."""
    if files.is_remote(path):
        digest = f"modified:{files.modified(path)}"  # objects are replaced whole, never edited
    else:
        hasher = hashlib.blake2b(digest_size=16)
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                hasher.update(chunk)
        digest = f"blake2b:{hasher.hexdigest()}"
    return {"path": path, "bytes": files.size(path), "digest": digest}
