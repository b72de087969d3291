"""What is known of each picture while shards are made: a SQLite file, so that a killed process goes
on where it was, and memory does not grow with the pictures.

It decides the split, too, from the pictures' contents alone: in each class, they stand in the order
of their hashes; the first share is for the test, the next one for the evaluation (`splitting.py`).
Files with the same pixels go together. With groups, whole groups go to a split, and files with the
same pixels in groups of two splits go to none.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from codec import files
from trainer.engine.runtime import JobError
from trainer.images.sources import Found
from trainer.images.splitting import split_groups, split_of

_BATCH = 1000  # rows that are read or written in one go
_SETTINGS = (
    "locking_mode = EXCLUSIVE",
    "journal_mode = WAL",
    "synchronous = OFF",  # whole after a kill; after a crash of the machine it may begin anew
    "cache_size = -1000",  # KiB, of the file and of what is sorted
)
_TABLES = """
CREATE TABLE IF NOT EXISTS work (settings TEXT, runs INTEGER);
CREATE TABLE IF NOT EXISTS shards (file TEXT PRIMARY KEY, plan TEXT, bytes INTEGER, sha256 TEXT);
CREATE TABLE IF NOT EXISTS pictures (
    id INTEGER PRIMARY KEY, path BLOB, label TEXT, in_group TEXT, size INTEGER, changed INTEGER,
    seen INTEGER,
    -- Of one that was read: why it is rejected; or the hashes of the file and of its pixels, and
    -- where its name and its encoded image lie, one after the other, with their bytes.
    reason TEXT,
    file_hash BLOB, pixel_hash BLOB, spool TEXT, start INTEGER, name INTEGER, image INTEGER,
    UNIQUE (path, label, in_group, size, changed)
);
"""
# Twins: all files of the same pixels. Where they are in two classes, they are in no split.
_TWINS = """
CREATE INDEX IF NOT EXISTS by_pixels ON pictures (pixel_hash);
DROP TABLE IF EXISTS twins;
CREATE TABLE twins AS
    SELECT pixel_hash, MIN(label) AS label, MAX(label) AS other_label, MIN(file_hash) AS rank,
           MIN(path) AS path, COUNT(*) AS files
    FROM pictures WHERE file_hash IS NOT NULL GROUP BY pixel_hash;
CREATE INDEX twins_of ON twins (pixel_hash);
"""
_GOOD = "FROM pictures JOIN twins USING (pixel_hash) WHERE twins.label = other_label"
_SPLIT = """
DROP TABLE IF EXISTS parts;
CREATE TABLE parts AS
    SELECT pixel_hash,
           split_of(SUM(files) OVER up_to_it, SUM(files) OVER in_class) AS split
    FROM twins WHERE label = other_label
    WINDOW in_class AS (PARTITION BY label),
           -- Many twins come last: as the first ones they would be the whole held-out share.
           up_to_it AS (PARTITION BY label ORDER BY files, rank ROWS UNBOUNDED PRECEDING);
CREATE INDEX part_of ON parts (pixel_hash);
"""
_SPLIT_GROUPS = f"""
DROP TABLE IF EXISTS parts;
CREATE TABLE parts AS
    SELECT pixel_hash, MIN(split_of(in_group)) AS split {_GOOD}
    GROUP BY pixel_hash HAVING MIN(split_of(in_group)) = MAX(split_of(in_group));
CREATE INDEX part_of ON parts (pixel_hash);
"""
_IN_SPLIT = "FROM pictures JOIN parts USING (pixel_hash) WHERE split = ?"
_REJECTED = """
SELECT path, reason, NULL, NULL FROM pictures WHERE reason IS NOT NULL
UNION ALL
SELECT one.path, NULL, MIN(two.path), two.label
    FROM pictures AS one JOIN pictures AS two USING (pixel_hash)
    WHERE one.label <> two.label GROUP BY one.id
UNION ALL
SELECT one.path, NULL, MIN(two.path), NULL
    FROM pictures AS one JOIN twins USING (pixel_hash) JOIN pictures AS two USING (pixel_hash)
    WHERE twins.label = other_label AND one.in_group <> two.in_group
        AND pixel_hash NOT IN (SELECT pixel_hash FROM parts) GROUP BY one.id
ORDER BY 1, 2
"""
_COPIES = """
FROM pictures JOIN parts USING (pixel_hash) JOIN twins USING (pixel_hash)
WHERE files > 1 AND pictures.path <> twins.path
"""


class Read(NamedTuple):
    """What became of a picture that was read; of a rejected one, the reason and nothing more."""

    id: int
    reason: str | None
    file_hash: bytes | None = None
    pixel_hash: bytes | None = None
    spool: str | None = None  # the file that holds its name and its encoded image
    start: int | None = None
    name: int | None = None  # bytes
    image: int | None = None  # bytes


class Planned(NamedTuple):
    """A record to be."""

    path: bytes
    label: str
    file_hash: bytes
    spool: str
    start: int
    name: int
    image: int


class Ledger:
    """Begins, or goes on with, the ledger in a folder.

    Args:
        settings: work that was begun with other ones is thrown away.

    Raises:
        JobError: another process is at work there.
    """

    def __init__(self, folder: str, settings: dict):
        self.folder = folder
        text = json.dumps(settings, sort_keys=True)
        self._open()
        known = self._one("SELECT settings FROM work")
        if known and known != text:
            self.close()
            files.remove_tree(folder)
            self._open()
        if known != text:
            self._do("INSERT INTO work VALUES (?, 0)", text)
        self._do("UPDATE work SET runs = runs + 1")
        self.run = self._one("SELECT runs FROM work")

    def _open(self) -> None:
        os.makedirs(self.folder, exist_ok=True)
        place = os.path.join(self.folder, "ledger.sqlite")
        self._base = sqlite3.connect(place, timeout=0, isolation_level=None)
        try:
            for setting in _SETTINGS:
                self._base.execute(f"PRAGMA {setting}")
            self._base.executescript(_TABLES)
        except sqlite3.OperationalError as error:
            self.close()
            raise JobError(f"{place}: {error}; are these shards being made already?") from None
        except sqlite3.DatabaseError as error:
            self.close()
            raise JobError(f"{place}: {error}; remove this folder, and begin anew") from None

    def close(self) -> None:
        self._base.close()

    def remove(self) -> None:
        self.close()
        files.remove_tree(self.folder)

    def list(self, found: Iterable[Found]) -> None:
        """Notes which files there are. Of those that were read before, the good ones stay read if
        they are as they were; for the others something may have been done."""
        self._do("DELETE FROM pictures WHERE file_hash IS NULL")
        self._do("UPDATE pictures SET seen = 0")
        rows = (
            (os.fsencode(f.path), "" if f.reason else f.label, f.group, f.size, f.changed, f.reason)
            for f in found
        )
        self._write(
            "INSERT INTO pictures (path, label, in_group, size, changed, reason, seen) "
            "VALUES (?, ?, ?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET seen = 1",
            rows,
        )
        self._do("DELETE FROM pictures WHERE NOT seen")

    def fingerprint(self) -> str:
        """Equal as long as no file comes, goes or changes."""
        columns = "path, label, in_group, size, changed"
        return _hash_of(self._rows(f"SELECT {columns} FROM pictures ORDER BY 1, 2, 3, 4, 5"))

    def size(self) -> tuple[int, int]:
        """Files, and their bytes."""
        count, size = self._base.execute("SELECT COUNT(*), TOTAL(size) FROM pictures").fetchone()
        return count, int(size)

    def unread(self) -> int:
        return self._one("SELECT COUNT(*) FROM pictures WHERE file_hash IS NULL AND reason IS NULL")

    def has_read(self) -> bool:
        return self._one("SELECT 1 FROM pictures WHERE file_hash IS NOT NULL") is not None

    def to_read(self, at_once: int) -> Iterator[list[tuple[int, str]]]:
        """(id, path) of the files that are still to be read, some at once."""
        last = -1
        while rows := self._base.execute(
            "SELECT id, path FROM pictures WHERE id > ? AND file_hash IS NULL AND reason IS NULL "
            "ORDER BY id LIMIT ?",
            (last, at_once),
        ).fetchall():
            last = rows[-1][0]
            yield [(number, os.fsdecode(path)) for number, path in rows]

    def note(self, read: Iterable[Read]) -> None:
        self._write(
            "UPDATE pictures SET reason = ?, file_hash = ?, pixel_hash = ?, spool = ?, start = ?, "
            "name = ?, image = ? WHERE id = ?",
            ((*one[1:], one.id) for one in read),
        )

    def split(self, eval_share: float, test_share: float, grouped: bool) -> None:
        """Decides which split each picture is in."""
        self._base.executescript(_TWINS)
        if grouped:
            counts: dict[str, dict[str, int]] = {}
            rows = self._rows(f"SELECT in_group, pictures.label, COUNT(*) {_GOOD} GROUP BY 1, 2")
            for group, label, count in rows:
                counts.setdefault(group, {})[label] = count
            splits = split_groups(counts, eval_share, test_share)
            self._base.create_function("split_of", 1, splits.get, deterministic=True)
            self._base.executescript(_SPLIT_GROUPS)
        else:
            split = functools.partial(split_of, eval_share=eval_share, test_share=test_share)
            self._base.create_function("split_of", 2, split, deterministic=True)
            self._base.executescript(_SPLIT)

    def groups(self, split: str) -> int:
        """Groups with a picture in a split."""
        return self._one(f"SELECT COUNT(DISTINCT in_group) {_IN_SPLIT}", split)

    def labels(self) -> list[str]:
        """Of the classes that have a good picture, sorted."""
        query = "SELECT DISTINCT label FROM twins JOIN parts USING (pixel_hash) ORDER BY 1"
        return [label for (label,) in self._rows(query)]

    def empty(self) -> list[str]:
        """The classes of which no picture is good, sorted."""
        query = (
            "SELECT DISTINCT label FROM pictures WHERE label <> '' "
            "EXCEPT SELECT label FROM twins JOIN parts USING (pixel_hash) ORDER BY 1"
        )
        return [label for (label,) in self._rows(query)]

    def classes(self, split: str) -> dict[str, int]:
        """Pictures by label; each label is there."""
        counted = self._rows(f"SELECT label, COUNT(*) {_IN_SPLIT} GROUP BY label", split)
        return dict.fromkeys(self.labels(), 0) | dict(counted)

    def spools(self) -> list[str]:
        """The files that hold the records, sorted."""
        query = "SELECT DISTINCT spool FROM pictures WHERE spool IS NOT NULL ORDER BY 1"
        return [name for (name,) in self._rows(query)]

    def bytes(self, split: str) -> int:
        """Of names and images."""
        return int(self._one(f"SELECT TOTAL(name + image) {_IN_SPLIT}", split))

    def planned(self, split: str) -> Iterator[Planned]:
        """The records of a split in their order, which is as good as random."""
        columns = "path, label, file_hash, spool, start, name, image"
        order = "substr(file_hash, 17), path"  # the other half of the hash: the first one ranks
        for row in self._rows(f"SELECT {columns} {_IN_SPLIT} ORDER BY {order}", split):
            yield Planned(*row)

    def content(self, split: str) -> str:
        """A hash of what will be in a split, and in which order."""
        return _hash_of((p.path, p.label, p.file_hash) for p in self.planned(split))

    def rejected(self) -> Iterator[tuple[str, str]]:
        """(path, reason), by path."""
        for path, reason, twin, label in self._rows(_REJECTED):
            if twin:
                reason = f"in groups on both sides of the split: the same as {os.fsdecode(twin)}"
            if label:
                reason = f"in two classes: the same as {os.fsdecode(twin)}, which is {label!r}"
            yield os.fsdecode(path), reason

    def copies(self) -> Iterator[tuple[str, str]]:
        """(path, path of the first file with the same pixels), by path."""
        for path, first in self._rows(f"SELECT pictures.path, twins.path {_COPIES} ORDER BY 1"):
            yield os.fsdecode(path), os.fsdecode(first)

    def shard(self, file: str, plan: str) -> tuple[int, str] | None:
        """Bytes and sha256 of a shard that was made by this plan."""
        query = "SELECT bytes, sha256 FROM shards WHERE file = ? AND plan = ?"
        return self._base.execute(query, (file, plan)).fetchone()

    def note_shard(self, file: str, plan: str, size: int, sha256: str) -> None:
        self._do("INSERT OR REPLACE INTO shards VALUES (?, ?, ?, ?)", file, plan, size, sha256)

    def _do(self, statement: str, *values) -> None:
        self._base.execute(statement, values)

    def _one(self, query: str, *values):
        row = self._base.execute(query, values).fetchone()
        return row and row[0]

    def _rows(self, query: str, *values) -> Iterator[tuple]:
        cursor = self._base.execute(query, values)
        while rows := cursor.fetchmany(_BATCH):
            yield from rows

    def _write(self, statement: str, rows: Iterable[tuple]) -> None:
        rows = iter(rows)
        while batch := list(itertools.islice(rows, _BATCH)):
            self._do("BEGIN")
            self._base.executemany(statement, batch)
            self._do("COMMIT")


def _hash_of(rows: Iterable[tuple]) -> str:
    hasher = hashlib.sha256()
    for row in rows:
        hasher.update(repr(row).encode("utf-8", "surrogatepass"))
    return hasher.hexdigest()
