"""From the spools to finished shards: the plan, the shards, the index, the manifest.

What goes to a bucket is written to a local folder, uploaded by threads, and read back.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import PIL
from PIL import features

from codec import files
from trainer.engine.runtime import JobError
from trainer.images import sources, spool
from trainer.images.ledger import Ledger
from trainer.images.manifest import SPLITS, File, Manifest, Split, checksum, index_name, shard_name
from trainer.images.parallel import cores, in_order, processes
from trainer.images.shards import COPIES, INDEX, MANIFEST, REJECTED

ENOUGH = 20_000  # records for which it pays to start another process
RECORD = 64  # bytes of a record beside its name and its image, about
UPLOADS, TRIES = 8, 3  # at a time; of each
MARK = ".unfinished"  # the object that shows, in a bucket, that shards are being made

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Options:
    """What shards are made like; each stands in the manifest."""

    size: int = 160  # pixels a side
    resize: str = "fit"  # codec.images.POLICIES
    channels: int = 3  # 1: grey
    encoding: str = "png"  # manifest.ENCODINGS
    quality: int = 90  # of JPEG
    eval_share: float = 0.1
    test_share: float = 0.1
    shard_mb: int = 100  # a shard's size, about and at most
    group: str = ""  # the column, or the level of the folder, whose images stay in one split

    @property
    def look(self) -> spool.Look:
        return spool.Look(self.size, self.resize, self.channels, self.encoding, self.quality)


@dataclass(frozen=True)
class _Planned:
    """A shard to be: the rows of the plan that are for it."""

    split: str
    file: str
    first: int
    count: int
    key: str  # equal as long as the same records are to be in it


@dataclass(frozen=True)
class Writer:
    """Writes what the ledger knows: `begin`, `write` unless the shards are there, `end`."""

    ledger: Ledger
    folder: str  # where files are written: the target, or for a bucket the ledger's folder
    target: str
    options: Options
    progress: Progress

    @property
    def uploads(self) -> bool:
        return self.folder != self.target

    def begin(self) -> None:
        """Raises JobError: a bucket that takes nothing, which is better known at once."""
        if self.uploads:
            files.write_text(f"{self.target}/{MARK}", "These shards are being made.\n")

    def write(self, content: dict[str, str], workers: int | None) -> dict[str, Split]:
        """Writes the shards and their indices.

        Args:
            content: a hash of what is to be in each split.
        """
        planned = self._plan(content)
        spools = [os.path.join(self.ledger.folder, name) for name in self.ledger.spools()]
        todo = [one for one in planned if not self._is_written(one)]
        total, left = (sum(one.count for one in some) for some in (planned, todo))
        count = max(1, min(workers or cores(), len(todo), left // ENOUGH))
        tasks = (
            (self._plan_file(one.split), one.first, one.count, spools, *self._places(one))
            for one in todo
        )
        with contextlib.ExitStack() as stack:
            pool = stack.enter_context(processes(count)) if count > 1 else None
            threads = stack.enter_context(ThreadPoolExecutor(UPLOADS)) if self.uploads else None
            written = in_order(pool, spool.write_shard, tasks, 2 * count)
            made = zip(todo, written, strict=True)
            for one, size, sha256 in in_order(threads, self._deliver_shard, made, UPLOADS):
                self.ledger.note_shard(one.file, one.key, size, sha256)
                left -= one.count
                self.progress("write", total - left, total)
        return {split: self._finish(split, planned) for split in SPLITS}

    def end(self, splits: dict[str, Split], about: dict) -> None:
        """Writes what stands beside the shards, the manifest last; removes what is no part of it.

        Args:
            about: the source's path, and the hashes by which a second run knows it again.
        """
        rejected = self._write_table(REJECTED, ("path", "reason"), self.ledger.rejected())
        copies = self._write_table(COPIES, ("path", "same_as"), self.ledger.copies())
        total, size = self.ledger.size()
        library = "libjpeg_turbo" if features.check_feature("libjpeg_turbo") else "jpg"
        manifest = Manifest(
            labels=tuple(self.ledger.labels()),
            **asdict(self.options),
            splits=splits,
            rejected=rejected,
            copies=copies,
            empty=tuple(self.ledger.empty()),
            groups={split: self.ledger.groups(split) for split in SPLITS if self.options.group},
            other_groups=self._other_groups(about["path"]),
            source={"files": total, "bytes": size, **about},
            made_with={
                "python": platform.python_version(),
                "numpy": np.__version__,
                "pillow": PIL.__version__,
                library: features.version(library),
            },
        )
        files.write_text(f"{self.target}/{MANIFEST}", manifest.to_json())
        self._sweep(splits)

    def _other_groups(self, source: str) -> tuple[str, ...]:
        """What may be groups, and was not kept together: the CSV's other columns, or folders below
        the classes with images both in train and held out."""
        if self.options.group:
            return ()
        if sources.is_table(source):
            return sources.unused_columns(source)
        train, *held_out = (
            {p.path.split(b"/")[1] for p in self.ledger.planned(split) if p.path.count(b"/") > 1}
            for split in SPLITS
        )
        mixed = sorted(train.intersection(set().union(*held_out)))
        return tuple(name.decode("utf-8", "backslashreplace") for name in mixed)

    def _plan(self, content: dict[str, str]) -> list[_Planned]:
        """Decides which record goes where, and leaves the rows for it in the ledger's folder."""
        labels = {label: number for number, label in enumerate(self.ledger.labels())}
        spools = {name: number for number, name in enumerate(self.ledger.spools())}
        planned = []
        for split in SPLITS:
            count = 0
            with open(self._plan_file(split), "wb") as out:
                records = self.ledger.planned(split)
                while some := list(itertools.islice(records, 1000)):
                    rows = [
                        (spools[one.spool], one.start, one.name, one.image, labels[one.label])
                        for one in some
                    ]
                    np.array(rows, spool.PLAN).tofile(out)
                    count += len(rows)
            size = self.ledger.bytes(split) + RECORD * count
            parts = -(-size // (self.options.shard_mb << 20))
            key = json.dumps([content[split], list(labels), parts])
            for part in range(parts):
                first, end = count * part // parts, count * (part + 1) // parts
                file = shard_name(split, part, parts)
                planned.append(_Planned(split, file, first, end - first, key))
        return planned

    def _is_written(self, one: _Planned) -> bool:
        """Whether a run before, that was killed, has done it."""
        known = self.ledger.shard(one.file, one.key)
        place = f"{self.target}/{one.file}"
        return known is not None and files.exists(place) and files.size(place) == known[0]

    def _deliver_shard(self, one: _Planned, made: tuple[int, str]) -> tuple[_Planned, int, str]:
        self._deliver(one.file, made[1])
        return one, *made

    def _finish(self, split: str, planned: list[_Planned]) -> Split:
        """Writes the index of a split, from its shards' parts."""
        mine = [one for one in planned if one.split == split]
        count = sum(one.count for one in mine)
        head = {"descr": INDEX.descr, "fortran_order": False, "shape": (count,)}
        name = index_name(split)
        with self._new(name, "wb") as out:
            np.lib.format.write_array_header_1_0(out, head)
            for one in mine:
                with open(self._places(one)[1], "rb") as part:
                    shutil.copyfileobj(part, out)
        place = f"{self.folder}/{name}"
        index = File(name, count, os.path.getsize(place), checksum(place))
        self._deliver(name, index.sha256)
        parts = [File(one.file, one.count, *self.ledger.shard(one.file, one.key)) for one in mine]
        return Split(count, self.ledger.classes(split), index, tuple(parts))

    def _write_table(self, name: str, head: tuple[str, str], rows: Iterator) -> int:
        count = 0
        with self._new(name, "w", encoding="utf-8", errors="backslashreplace", newline="") as out:
            table = csv.writer(out)
            table.writerow(head)
            for count, row in enumerate(rows, 1):  # noqa: B007 — it counts
                table.writerow(row)
        self._deliver(name, checksum(f"{self.folder}/{name}"))
        return count

    def _sweep(self, splits: dict[str, Split]) -> None:
        """Removes what other plans left."""
        kept = {shard.file for split in splits.values() for shard in split.shards}
        for name in files.names(self.target):
            if name not in kept and re.match(r"(train|eval|test)-\d+-of-\d+\.tfrecord", name):
                files.remove(f"{self.target}/{name}")
        if self.uploads:
            files.remove(f"{self.target}/{MARK}")

    def _plan_file(self, split: str) -> str:
        return os.path.join(self.ledger.folder, f"{split}.plan")

    def _places(self, one: _Planned) -> tuple[str, str]:
        """Where a shard is written, and its part of the index."""
        return f"{self.folder}/{one.file}", os.path.join(self.ledger.folder, f"{one.file}.index")

    @contextlib.contextmanager
    def _new(self, name: str, mode: str, **how):
        """A file that gets its name when it is whole."""
        place = f"{self.folder}/{name}"
        with open(f"{place}.partial", mode, **how) as file:
            yield file
        os.replace(f"{place}.partial", place)

    def _deliver(self, name: str, sha256: str) -> None:
        """Brings a finished file to the bucket, and makes sure that it has arrived."""
        if not self.uploads:
            return
        local, place = f"{self.folder}/{name}", f"{self.target}/{name}"
        for _ in range(TRIES):
            with open(local, "rb") as file:
                files.write_from(file, place)
            if checksum(place) == sha256:
                os.remove(local)
                return
        raise JobError(f"{place}: not what was sent, {TRIES} times over; run this again later")
