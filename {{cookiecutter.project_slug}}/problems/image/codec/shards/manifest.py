"""The manifest of shards: the options they were made with, what is in them, and their checksums.

No count is read from a file's name, and a label's number never depends on the order of files.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field

import numpy as np

from codec import files
from codec.errors import JobError

FORMAT, VERSION = "picture shards", 1
MANIFEST, REJECTED, COPIES = "manifest.json", "rejected.csv", "copies.csv"
SPLITS = ("train", "eval", "test")
ENCODINGS = ("png", "raw", "jpeg")
SHARD = re.compile(rf"({'|'.join(SPLITS)})-\d+-of-\d+\.tfrecord")
# What is written beside the manifest.
OURS = re.compile(rf"{SHARD.pattern}|({'|'.join(SPLITS)})\.index\.npy|{REJECTED}|{COPIES}")
REMEDY = "make the shards again: python scripts/data.py shards"
# A row for each record of a split, shard after shard: where its Example begins in the shard and its
# bytes; how many of them, at the end, are the image; the label.
INDEX = np.dtype([("offset", "<u8"), ("length", "<u4"), ("image", "<u4"), ("label", "<i4")])


def compute_checksum(path: str) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    hasher = hashlib.sha256()
    with files.open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.hexdigest()


@dataclass(frozen=True)
class Options:
    """How shards are made."""

    size: int = 160  # pixels a side
    resize: str = "fit"  # codec.images.POLICIES
    channels: int = 3  # 3: RGB; 1: grey
    encoding: str = "png"  # ENCODINGS
    quality: int = 90  # of JPEG
    eval_share: float = 0.1
    test_share: float = 0.1
    shard_mb: int = 100  # a shard's size, about and at most
    group: str = ""  # the column, or the level of the folder, whose images stay in one split


@dataclass(frozen=True)
class File:
    """One of the manifest's files."""

    file: str
    count: int  # records
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Split:
    """A part of the images; its records are numbered from 0 to count - 1, shard after shard."""

    count: int
    classes: dict[str, int]  # records by label, 0 included
    index: File
    shards: tuple[File, ...]


@dataclass(frozen=True, kw_only=True)
class Manifest(Options):
    """The content of manifest.json."""

    labels: tuple[str, ...]  # sorted; a record's label is an index into it
    splits: dict[str, Split]
    rejected: int  # files
    copies: int  # files with the same pixels as another; they stay, in the same split
    empty: tuple[str, ...]  # classes of which every file was rejected
    source: dict  # path, files, bytes; hashes by which a second run recognises the same images
    made_with: dict[str, str]  # versions
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
                    shards = tuple(File(**shard) for shard in split.pop("shards"))
                    fields["splits"][name] = Split(index=index, shards=shards, **split)
                for name in ("labels", "empty", "other_groups"):
                    fields[name] = tuple(fields.get(name, ()))
                return Manifest(**fields)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise JobError(f"{path}: not a manifest of shards; {REMEDY}") from None
        raise JobError(f"{path}: version {head[1]}, but this reads {VERSION}; {REMEDY}")
