"""What is known of each file while shards are made, in a SQLite file: a killed run resumes from it,
and memory does not grow with the number of images.

The catalog also decides the split, from the images' contents alone: those of a class are sorted by
their hashes, the first share is for the test, the next for the evaluation (`splitting.py`). Files
with the same pixels (twins) stay together. With groups, a whole group goes to one split, and twins
in groups of two splits go to none.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator

from codec import files
from codec.errors import JobError
from codec.shards.splitting import split_groups, split_image
from codec.shards.table import SourceFile

_BATCH = 1000  # rows that are read or written at once
_TABLES = """
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;   -- safe when the process is killed, not when the machine crashes
PRAGMA cache_size = -1000;  -- KiB, of the file and of what is sorted
CREATE TABLE IF NOT EXISTS settings (text TEXT);
CREATE TABLE IF NOT EXISTS shards (
    file TEXT PRIMARY KEY, count INTEGER, content TEXT, bytes INTEGER, sha256 TEXT, places BLOB
);
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY, path BLOB, label TEXT, in_group TEXT, size INTEGER, changed INTEGER,
    listed INTEGER,
    -- Once it was read: why it is rejected; or the hashes of the file and of its pixels, and where
    -- its name and its encoded image are in a spool, one after the other, with their bytes.
    reason TEXT,
    file_hash BLOB, pixel_hash BLOB, spool TEXT, start INTEGER, name INTEGER, image INTEGER,
    -- Once all were read: its split, and the first of its twins if that is another.
    split TEXT, same_as BLOB,
    UNIQUE (path, label, in_group, size, changed)
);
"""
_UNREAD = "FROM files WHERE file_hash IS NULL AND reason IS NULL"
# Files with the same pixels are one row of `twins`, unless they are in two classes.
_FIND_TWINS = """
CREATE INDEX IF NOT EXISTS by_pixels ON files (pixel_hash);
DROP TABLE IF EXISTS twins;
CREATE TABLE twins AS
    SELECT pixel_hash, label, MIN(file_hash) AS rank, MIN(path) AS first, COUNT(*) AS files
    FROM files WHERE pixel_hash IS NOT NULL GROUP BY pixel_hash HAVING MIN(label) = MAX(label);
DROP TABLE IF EXISTS parts;
"""
# Large sets of twins come last: as the first ones they would be the whole held-out share.
_SPLIT_IMAGES = """
CREATE TABLE parts AS
    SELECT pixel_hash, first, split_of(SUM(files) OVER (PARTITION BY label ORDER BY files, rank),
                                       SUM(files) OVER (PARTITION BY label)) AS split
    FROM twins;
"""
_SPLIT_GROUPS = """
CREATE TABLE parts AS
    SELECT pixel_hash, first, MIN(split_of(in_group)) AS split
    FROM twins JOIN files USING (pixel_hash)
    GROUP BY pixel_hash HAVING MIN(split_of(in_group)) = MAX(split_of(in_group));
"""
_NOTE_SPLIT = """
CREATE INDEX part_of ON parts (pixel_hash);
UPDATE files SET (split, same_as) =
    (SELECT split, NULLIF(first, path) FROM parts WHERE parts.pixel_hash = files.pixel_hash);
"""
# Why a good image is in no split: one with the same pixels, in another class or group.
_FIND_CONFLICT = """
SELECT path, label FROM files WHERE pixel_hash = ? AND (label <> ? OR in_group <> ?)
ORDER BY label = ?, path, label LIMIT 1
"""


class Catalog:
    """A new catalog in a folder, or the one of a run that was stopped.

    Args:
        settings: work that was done with other ones is deleted.

    Raises:
        JobError: another process uses the catalog.
    """

    def __init__(self, folder: str, settings: dict):
        self.folder = folder
        text = json.dumps(settings, sort_keys=True)
        self._open()
        known = self.find("SELECT text FROM settings")
        if known and known != (text,):
            self.remove()
            self._open()
        if known != (text,):
            self._base.execute("INSERT INTO settings VALUES (?)", (text,))

    def _open(self) -> None:
        os.makedirs(self.folder, exist_ok=True)
        path = os.path.join(self.folder, "catalog.sqlite")
        self._base = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            self._base.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            self.close()
            is_locked = isinstance(error, sqlite3.OperationalError)
            advice = "are these shards being made already?" if is_locked else "remove this folder"
            raise JobError(f"{path}: {error}; {advice}") from None

    def close(self) -> None:
        self._base.close()

    def remove(self) -> None:
        self.close()
        files.remove_tree(self.folder)

    def query(self, statement: str, *values) -> Iterator[tuple]:
        cursor = self._base.execute(statement, values)
        while rows := cursor.fetchmany(_BATCH):
            yield from rows

    def find(self, statement: str, *values) -> tuple | None:
        """The first row of a query."""
        return self._base.execute(statement, values).fetchone()

    def write(self, statement: str, rows: Iterable[tuple]) -> None:
        rows = iter(rows)
        while batch := list(itertools.islice(rows, _BATCH)):
            self._base.execute("BEGIN")
            self._base.executemany(statement, batch)
            self._base.execute("COMMIT")

    def list_files(self, listed: Iterable[SourceFile]) -> str:
        """Note which files there are; return a hash that changes when a file does, or comes or goes.

        Images that were read before stay read if their files are unchanged. Rejected files are read
        again: perhaps their owner has done something about them.
        """
        self._base.execute("DELETE FROM files WHERE file_hash IS NULL")
        self._base.execute("UPDATE files SET listed = 0")
        rows = (
            (os.fsencode(f.path), "" if f.reason else f.label, f.group, f.size, f.changed, f.reason)
            for f in listed
        )
        self.write(
            "INSERT INTO files (path, label, in_group, size, changed, reason, listed) "
            "VALUES (?, ?, ?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET listed = 1",
            rows,
        )
        self._base.execute("DELETE FROM files WHERE NOT listed")
        columns = "path, label, in_group, size, changed"
        return hash_rows(self.query(f"SELECT {columns} FROM files ORDER BY 1, 2, 3, 4, 5"))

    def count_unread(self) -> int:
        return self.find(f"SELECT COUNT(*) {_UNREAD}")[0]

    def list_unread(self, at_once: int) -> Iterator[list[tuple[int, str]]]:
        """(id, path) of the files that are not read yet, `at_once` in a list."""
        last = -1
        page = f"SELECT id, path {_UNREAD} AND id > ? ORDER BY id LIMIT ?"
        while rows := list(self.query(page, last, at_once)):
            last = rows[-1][0]
            yield [(number, os.fsdecode(path)) for number, path in rows]

    def note_read(self, rows: Iterable[tuple]) -> None:
        """Note what `workers.read_images` returns."""
        self.write(
            "UPDATE files SET reason = ?, file_hash = ?, pixel_hash = ?, spool = ?, start = ?, "
            "name = ?, image = ? WHERE id = ?",
            rows,
        )

    def split(self, eval_share: float, test_share: float, by_group: bool) -> None:
        """Decide which split each image is in."""
        self._base.executescript(_FIND_TWINS)
        if by_group:
            counts = defaultdict(dict)
            for group, label, count in self.query(
                "SELECT in_group, files.label, COUNT(*) FROM files JOIN twins USING (pixel_hash) "
                "GROUP BY 1, 2"
            ):
                counts[group][label] = count
            splits = split_groups(counts, eval_share, test_share)
            self._base.create_function("split_of", 1, splits.get, deterministic=True)
        else:
            split = functools.partial(split_image, eval_share=eval_share, test_share=test_share)
            self._base.create_function("split_of", 2, split, deterministic=True)
        self._base.executescript(_SPLIT_GROUPS if by_group else _SPLIT_IMAGES)
        self._base.executescript(_NOTE_SPLIT)

    def list_images(self, split: str) -> Iterator[tuple]:
        """(path, label, file_hash, spool, start, name, image) of the images of a split in the order
        of their records, which is as good as random."""
        columns = "path, label, file_hash, spool, start, name, image"
        order = "substr(file_hash, 17), path"  # the hash's other half: the first one is the rank
        return self.query(f"SELECT {columns} FROM files WHERE split = ? ORDER BY {order}", split)

    def list_rejected(self) -> Iterator[tuple[str, str]]:
        """(path, reason), by path."""
        columns = "path, reason, pixel_hash, label, in_group"
        for path, reason, pixels, label, group in self.query(
            f"SELECT {columns} FROM files WHERE split IS NULL ORDER BY path, reason, label"
        ):
            if reason is None:
                twin, other = self.find(_FIND_CONFLICT, pixels, label, group, label)
                reason = f"in groups on both sides of the split: the same as {os.fsdecode(twin)}"
                if other != label:
                    reason = f"in two classes: the same as {os.fsdecode(twin)}, which is {other!r}"
            yield os.fsdecode(path), reason

    def list_copies(self) -> Iterator[tuple[str, str]]:
        """(path, path of the first file with the same pixels), by path."""
        query = "SELECT path, same_as FROM files WHERE same_as IS NOT NULL ORDER BY 1"
        return ((os.fsdecode(path), os.fsdecode(first)) for path, first in self.query(query))


def hash_rows(rows: Iterable[tuple]) -> str:
    hasher = hashlib.sha256()
    for row in rows:
        hasher.update(repr(row).encode("utf-8", "surrogatepass"))
    return hasher.hexdigest()
