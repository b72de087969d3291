"""The manifest of shards: what is in them, and by which checksums one knows that it still is.

No count is read out of a file's name, and no label's number is left to luck.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

from codec import files
from trainer.engine.runtime import JobError

FORMAT, VERSION = "picture shards", 1
SPLITS = ("train", "eval", "test")
ENCODINGS = ("png", "raw", "jpeg")
AGAIN = "make the shards again: python scripts/data.py shards"


def shard_name(split: str, number: int, of: int) -> str:
    return f"{split}-{number:05d}-of-{of:05d}.tfrecord"


def index_name(split: str) -> str:
    return f"{split}.index.npy"


def checksum(path: str) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    hasher = hashlib.sha256()
    with files.open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.hexdigest()


@dataclass(frozen=True)
class File:
    """One of the manifest's files."""

    file: str
    count: int  # records
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Split:
    """A part of the pictures; its records are numbered from 0 to count - 1, shard after shard."""

    count: int
    classes: dict[str, int]  # records by label; every label is there
    index: File
    shards: tuple[File, ...]


@dataclass(frozen=True)
class Manifest:
    """What the writer wrote."""

    labels: tuple[str, ...]  # sorted; a record's label is a place in it
    size: int  # pixels a side
    channels: int  # 3: RGB; 1: grey
    resize: str  # the policy: codec.images.resize
    encoding: str
    quality: int  # of JPEG
    eval_share: float
    test_share: float
    shard_mb: int
    splits: dict[str, Split]
    rejected: int  # files
    copies: int  # files with the same pixels as another; they stay, in the same split
    empty: tuple[str, ...]  # classes of which every file was rejected
    source: dict  # path, files, bytes; hashes by which a second run knows them again
    made_with: dict[str, str]  # versions
    group: str = ""  # the column, or the level of the folder, whose images stay in one split
    groups: dict[str, int] = field(default_factory=dict)  # groups by split
    other_groups: tuple[str, ...] = ()  # columns, or folders on both sides, that may be groups

    def to_json(self) -> str:
        head = {"format": FORMAT, "version": VERSION}
        return json.dumps(head | asdict(self), indent=1, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str, path: str) -> Manifest:
        """Raises JobError: not a manifest, or one of another version."""
        try:
            fields = json.loads(text)
            head = fields.pop("format"), fields.pop("version")
            if head == (FORMAT, VERSION):
                for name, split in fields["splits"].items():
                    index = File(**split.pop("index"))
                    parts = tuple(File(**shard) for shard in split.pop("shards"))
                    fields["splits"][name] = Split(index=index, shards=parts, **split)
                for name in ("labels", "empty", "other_groups"):
                    fields[name] = tuple(fields.get(name, ()))
                return Manifest(**fields)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise JobError(f"{path}: not a manifest of shards; {AGAIN}") from None
        raise JobError(f"{path}: version {head[1]}, but this reads {VERSION}; {AGAIN}")
