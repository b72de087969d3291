"""From the spools to finished shards: the shards, the indices, the tables, the manifest.

What goes to a bucket is written to a local folder, uploaded by threads, and read back.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import itertools
import math
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import PIL
from PIL import features

from codec import files
from codec.errors import JobError
from codec.shards import manifest, sources, table, workers
from codec.shards.catalog import Catalog, hash_rows
from codec.shards.manifest import SPLITS, File, Manifest, Options, Split, compute_checksum
from codec.shards.pool import count_cores, run_in_order, start_processes

ENOUGH = 20_000  # records for which it pays to start another process
MOST = 10_000  # records of a shard: the rows of a few shards are in memory at once
OVERHEAD = 64  # bytes of a record beside its name and its image, about
UPLOADS, TRIES = 8, 3  # files that are uploaded at once; how often each is tried
MARK = ".unfinished"  # the object that shows, in a bucket, that shards are being made

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Shard:
    """A file to write: the next `count` records of its split."""

    split: str
    file: str
    count: int
    content: str  # a hash, equal as long as the same records are to be in it


@dataclass(frozen=True)
class Writer:
    """Writes what the catalog holds: `begin`, `write_shards` unless they exist, `end`."""

    catalog: Catalog
    source: str
    target: str
    folder: str  # where files are written: the target, or for a bucket the catalog's folder
    options: Options
    progress: Progress

    @property
    def _uploads(self) -> bool:
        return self.folder != self.target

    @functools.cached_property
    def labels(self) -> list[str]:
        """The classes with an image in a split, sorted. Not before the split is decided."""
        query = "SELECT DISTINCT label FROM files WHERE split IS NOT NULL ORDER BY 1"
        return [label for (label,) in self.catalog.query(query)]

    def begin(self) -> None:
        """Raises JobError: a bucket that cannot be written; no image was read for nothing."""
        if self._uploads:
            files.write_text(f"{self.target}/{MARK}", "These shards are being made.\n")

    def write_shards(
        self, content: dict[str, str], processes: int | None, pool: Executor | None
    ) -> dict[str, Split]:
        """Write the shards and their indices, but for the shards that a stopped run wrote.

        Args:
            content: a hash of the records of each split, in their order.
            pool: the processes that read the images; None where this process did.
        """
        shards = [shard for split in SPLITS for shard in self._plan(split, content[split])]
        unwritten = [shard for shard in shards if not self._is_written(shard)]
        total, left = (sum(shard.count for shard in group) for group in (shards, unwritten))
        count = max(1, min(processes or count_cores(), len(unwritten), left // ENOUGH))
        with contextlib.ExitStack() as stack:
            if pool is None and count > 1:
                pool = stack.enter_context(start_processes(count))
            threads = stack.enter_context(ThreadPoolExecutor(UPLOADS)) if self._uploads else None
            tasks = self._list_tasks(shards, set(unwritten))
            written = run_in_order(pool, workers.write_shard, tasks, processes or count_cores())
            pairs = zip(unwritten, written, strict=True)
            for row in run_in_order(threads, self._deliver_shard, pairs, UPLOADS):
                self.catalog.write("INSERT OR REPLACE INTO shards VALUES (?, ?, ?, ?, ?, ?)", [row])
                left -= row[1]
                self.progress("write", total - left, total)
        return {
            split: self._write_index(split, [shard for shard in shards if shard.split == split])
            for split in SPLITS
        }

    def _plan(self, split: str, content: str) -> Iterator[Shard]:
        sizes = "SELECT COUNT(*), TOTAL(name + image) FROM files WHERE split = ?"
        count, size = self.catalog.find(sizes, split)
        size += OVERHEAD * count
        parts = max(math.ceil(size / (self.options.shard_mb << 20)), math.ceil(count / MOST))
        content = hash_rows([(content, self.labels, parts)])
        for part in range(parts):
            first, end = count * part // parts, count * (part + 1) // parts
            name = f"{split}-{part:05d}-of-{parts:05d}.tfrecord"
            yield Shard(split, name, end - first, content)

    def _list_tasks(self, shards: list[Shard], unwritten: set[Shard]) -> Iterator[tuple]:
        """The arguments of `workers.write_shard` for the unwritten ones of all shards."""
        labels = {label: number for number, label in enumerate(self.labels)}
        names = self.catalog.query("SELECT DISTINCT spool FROM files WHERE spool IS NOT NULL")
        spools = {name: number for number, (name,) in enumerate(names)}
        paths = [os.path.join(self.catalog.folder, name) for name in spools]
        for split, group in itertools.groupby(shards, lambda shard: shard.split):
            rows = (
                (spools[spool], start, name, image, labels[label])
                for _, label, _, spool, start, name, image in self.catalog.list_images(split)
            )
            for shard in group:
                records = np.fromiter(
                    itertools.islice(rows, shard.count), workers.RECORD, shard.count
                )
                if shard in unwritten:
                    yield records, paths, f"{self.folder}/{shard.file}.partial"

    def _find(self, shard: Shard) -> tuple[int, str, bytes] | None:
        """The bytes, sha256 and part of the index of a shard that was written."""
        query = "SELECT bytes, sha256, places FROM shards WHERE file = ? AND content = ?"
        return self.catalog.find(query, shard.file, shard.content)

    def _is_written(self, shard: Shard) -> bool:
        known, path = self._find(shard), f"{self.target}/{shard.file}"
        return known is not None and files.exists(path) and files.size(path) == known[0]

    def _deliver_shard(self, shard: Shard, written: tuple[int, str, bytes]) -> tuple:
        """Name a shard that is whole; a row of the catalog's table."""
        path = f"{self.folder}/{shard.file}"
        os.replace(f"{path}.partial", path)
        self._deliver(shard.file, written[1])
        return shard.file, shard.count, shard.content, *written

    def _write_index(self, split: str, shards: list[Shard]) -> Split:
        query = "SELECT label, COUNT(*) FROM files WHERE split = ? GROUP BY 1"
        classes = dict.fromkeys(self.labels, 0) | dict(self.catalog.query(query, split))
        count, described = sum(classes.values()), []
        head = {"descr": manifest.INDEX.descr, "fortran_order": False, "shape": (count,)}
        name = f"{split}.index.npy"
        with self._create(name, "wb") as out:
            np.lib.format.write_array_header_1_0(out, head)
            for shard in shards:
                size, sha256, places = self._find(shard)
                out.write(places)
                described.append(File(shard.file, shard.count, size, sha256))
        path = f"{self.folder}/{name}"
        index = File(name, count, os.path.getsize(path), compute_checksum(path))
        self._deliver(name, index.sha256)
        return Split(count, classes, index, tuple(described))

    def end(self, splits: dict[str, Split], hashes: dict) -> None:
        """Write the tables and, last, the manifest; remove the shards of other plans.

        Args:
            hashes: by which a second run recognises the same images.
        """
        rejected = self._write_table(
            manifest.REJECTED, ("path", "reason"), self.catalog.list_rejected()
        )
        copies = self._write_table(manifest.COPIES, ("path", "same_as"), self.catalog.list_copies())
        classes = self.catalog.query(
            "SELECT DISTINCT label FROM files WHERE label <> '' ORDER BY 1"
        )
        count, size = self.catalog.find("SELECT COUNT(*), TOTAL(size) FROM files")
        library = "libjpeg_turbo" if features.check_feature("libjpeg_turbo") else "jpg"
        content = Manifest(
            **asdict(self.options),
            labels=tuple(self.labels),
            splits=splits,
            rejected=rejected,
            copies=copies,
            empty=tuple(label for (label,) in classes if label not in self.labels),
            groups={s: self.count_groups(s) for s in SPLITS} if self.options.group else {},
            other_groups=() if self.options.group else tuple(self._find_other_groups()),
            source={"path": self.source, "files": count, "bytes": int(size), **hashes},
            made_with={
                "python": platform.python_version(),
                "numpy": np.__version__,
                "pillow": PIL.__version__,
                library: features.version(library),
            },
        )
        files.write_text(f"{self.target}/{manifest.MANIFEST}", content.to_json())
        kept = {shard.file for split in splits.values() for shard in split.shards}
        for name in files.names(self.target):
            if name not in kept and manifest.SHARD.match(name):  # or half of one, a .partial
                files.remove(f"{self.target}/{name}")
        if self._uploads:
            files.remove(f"{self.target}/{MARK}")

    def count_groups(self, split: str) -> int:
        query = "SELECT COUNT(DISTINCT in_group) FROM files WHERE split = ?"
        return self.catalog.find(query, split)[0]

    def _find_other_groups(self) -> Iterable[str]:
        """What may be groups, and was not kept together: the CSV's other columns, or folders below
        the classes with images both in train and held out."""
        if sources.is_table(self.source):
            return table.list_unused_columns(self.source)
        folders = {True: set(), False: set()}  # in train; held out
        query = "SELECT path, split = 'train' FROM files WHERE split IS NOT NULL"
        for path, in_train in self.catalog.query(query):
            folders[in_train].update(path.split(b"/")[1:-1][:1])
        return [
            name.decode("utf-8", "backslashreplace")
            for name in sorted(set.intersection(*folders.values()))
        ]

    def _write_table(self, name: str, head: tuple[str, str], rows: Iterator) -> int:
        count = 0
        with self._create(
            name, "w", encoding="utf-8", errors="backslashreplace", newline=""
        ) as out:
            writer = csv.writer(out)
            writer.writerow(head)
            for count, row in enumerate(rows, 1):  # noqa: B007 — it counts
                writer.writerow(row)
        self._deliver(name, compute_checksum(f"{self.folder}/{name}"))
        return count

    @contextlib.contextmanager
    def _create(self, name: str, mode: str, **how):
        """A file that gets its name when it is whole."""
        path = f"{self.folder}/{name}"
        with open(f"{path}.partial", mode, **how) as file:
            yield file
        os.replace(f"{path}.partial", path)

    def _deliver(self, name: str, sha256: str) -> None:
        """Upload a finished file, where the target is a bucket, and compare what arrived."""
        if not self._uploads:
            return
        local, path = f"{self.folder}/{name}", f"{self.target}/{name}"
        for _ in range(TRIES):
            with open(local, "rb") as file:
                files.write_from(file, path)
            if compute_checksum(path) == sha256:
                os.remove(local)
                return
        raise JobError(f"{path}: arrived damaged {TRIES} times; run this again later")
