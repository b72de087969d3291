"""Makes shards of pictures: `make(source, target, Options())`.

1. List the source, in the ledger.
2. Read: processes check every new picture, and put the good ones into spools at their final size.
3. Split: the ledger decides, now that the hashes of all are known.
4. Write: processes copy from the spools to the shards, in an order that is as good as random. What
   goes to a bucket is uploaded by threads, and read back. The manifest comes last.

The same pictures and options give the same bytes, whatever the order of the files or the number of
workers. A killed run goes on when it is started again: read pictures and finished shards stay.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import itertools
import json
import os
import platform
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass

import numpy as np
import PIL
from PIL import features

from trainer import files, shards, sources, spool
from trainer.ledger import Ledger, Read
from trainer.parallel import cores, in_order, processes
from trainer.runtime import JobError
from trainer.shards import COPIES, INDEX, MANIFEST, REJECTED, SPLITS, File, Manifest, Split

AT_ONCE = 32  # pictures that a worker gets at a time
# Pictures for which it pays to start another process: to read, and to write, which is quicker.
ENOUGH, ENOUGH_TO_WRITE = 500, 20_000
UPLOADS, TRIES = 8, 3  # at a time; of each
UNFINISHED = ".unfinished"  # the folder in the target with the ledger and the spools
RECORD = 64  # bytes of a record beside its name and its image, about

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Options:
    """What shards are made like; each stands in the manifest."""

    size: int = 160  # pixels a side
    resize: str = "fit"  # pictures.POLICIES
    channels: int = 3  # 1: grey
    encoding: str = "jpeg"  # shards.ENCODINGS
    quality: int = 90  # of JPEG
    eval_share: float = 0.1
    test_share: float = 0.1
    shard_mb: int = 100  # a shard's size, about and at most

    @property
    def look(self) -> spool.Look:
        return spool.Look(self.size, self.resize, self.channels, self.encoding, self.quality)


def make(
    source: str,
    target: str,
    options: Options,
    workers: int | None = None,
    replace: bool = False,
    work_dir: str | None = None,
    progress: Progress = lambda what, done, of: None,
) -> shards.Dataset:
    """Makes the shards in `target` be those of `source`; copies nothing where they are already.

    Args:
        source: SRC/<class>/… or a CSV of path,label; local or gs://.
        target: a folder, local or gs://.
        workers: processes (None: one a core, where there is enough for them to do).
        replace: take the place of shards of other pictures, or with other options.
        work_dir: where pictures wait for their shard, with as much space as all shards take
            (None: in the target; for a bucket, in the machine's own temporary folder).
        progress: is told what is done, how many of it, and of how many.

    Raises:
        JobError: no pictures; shards of something else; a bucket that does not take them.
    """
    source, target = source.rstrip("/") or "/", target.rstrip("/") or "/"
    _check_apart(source, target)
    found = sources.find(source)
    before = _before(target, options, replace)
    remote = files.is_remote(target) or target.startswith("/gcs/")
    new = not remote and not os.path.exists(target)
    work = _work_folder(target, remote, work_dir)
    settings = asdict(options.look) | {"source": os.path.abspath(source), "pillow": PIL.__version__}
    ledger = Ledger(work, settings)
    try:
        _Job(source, target, work if remote else target, ledger, options, progress).run(
            found, workers, before, replace
        )
        ledger.remove()
    except (JobError, OSError):
        if not ledger.has_read():
            ledger.remove()
            if new:
                with contextlib.suppress(OSError):
                    os.rmdir(target)
        raise
    except sqlite3.Error as error:
        raise JobError(f"{work}: {error}") from None
    finally:
        ledger.close()
    return shards.open(target)


@dataclass(frozen=True)
class _Planned:
    """A shard to be: the rows of the plan that are for it."""

    split: str
    file: str
    first: int
    count: int
    key: str  # equal as long as the same records are to be in it


@dataclass(frozen=True)
class _Job:
    source: str
    target: str
    folder: str  # where files are written: the target, or for a bucket the ledger's folder
    ledger: Ledger
    options: Options
    progress: Progress

    def run(
        self,
        found: Iterable[sources.Found],
        workers: int | None,
        before: Manifest | None,
        replace: bool,
    ) -> None:
        self.progress("list", 0, 0)
        self.ledger.list(found)
        fingerprint = self.ledger.fingerprint()
        if before and before.source["fingerprint"] == fingerprint and self._is_whole(before):
            return
        if self._uploads:  # a bucket that takes nothing is better known now
            files.write_text(f"{self.target}/{UNFINISHED}", "These shards are being made.\n")
        self._read(workers)
        self.ledger.split(self.options.eval_share, self.options.test_share)
        self._check_any()
        content = {split: self.ledger.content(split) for split in SPLITS}
        same = before is not None and before.source["content"] == content
        if before and not (same or replace):
            raise JobError(
                f"{self.target}: holds shards of other pictures than {self.source} has now; "
                "--replace makes them anew, or name another folder"
            )
        if same and self._is_whole(before):
            splits = before.splits
        else:
            files.remove(f"{self.target}/{MANIFEST}")  # while it is gone they count as unfinished
            splits = self._write(self._plan(content), workers)
        rejected = self._write_table(REJECTED, ("path", "reason"), self.ledger.rejected())
        copies = self._write_table(COPIES, ("path", "same_as"), self.ledger.copies())
        digests = {"fingerprint": fingerprint, "content": content}
        self._write_manifest(splits, rejected, copies, digests)
        self._sweep(splits)

    @property
    def _uploads(self) -> bool:
        return self.folder != self.target

    def _is_whole(self, manifest: Manifest) -> bool:
        try:
            shards.Dataset(self.target, manifest).check()
        except JobError:
            return False
        return True

    # Read

    def _read(self, workers: int | None) -> None:
        total, _ = self.ledger.size()
        while unread := self.ledger.unread():
            self.progress("read", total - unread, total)
            count = workers or max(1, min(cores(), unread // ENOUGH))
            tasks = ((self.source, some, *self._how) for some in self.ledger.to_read(AT_ONCE))
            try:
                with contextlib.ExitStack() as stack:
                    pool = stack.enter_context(processes(count)) if count > 1 else None
                    for read in in_order(pool, spool.read_pictures, tasks, 3 * count):
                        self.ledger.note(read)
                        unread -= len(read)
                        self.progress("read", total - unread, total)
            except BrokenProcessPool:
                self._read_one_by_one(3 * count * AT_ONCE)

    def _read_one_by_one(self, count: int) -> None:
        """After a reader died: perhaps of a picture, perhaps there was no memory for so many."""
        pool = None
        for some in itertools.islice(self.ledger.to_read(1), count):
            pool = pool or processes(1)
            try:
                read = pool.submit(spool.read_pictures, self.source, some, *self._how).result()
            except BrokenProcessPool:
                pool, read = None, [Read(some[0][0], "broken: the process that read it died")]
            self.ledger.note(read)
        if pool:
            pool.shutdown()

    @property
    def _how(self) -> tuple[spool.Look, str]:
        return self.options.look, os.path.join(self.ledger.folder, f"spool-{self.ledger.run}")

    def _check_any(self) -> None:
        if self.ledger.labels():
            return
        total, _ = self.ledger.size()
        first = next(self.ledger.rejected(), None)
        why = f"no picture among {total} files; {first[0]}: {first[1]}" if first else "no files"
        raise JobError(f"{self.source}: {why}; expected SRC/<class>/*.jpg")

    # Write

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
                file = shards.shard_name(split, part, parts)
                planned.append(_Planned(split, file, first, end - first, key))
        return planned

    def _write(self, planned: list[_Planned], workers: int | None) -> dict[str, Split]:
        spools = [os.path.join(self.ledger.folder, name) for name in self.ledger.spools()]
        todo = [one for one in planned if not self._is_written(one)]
        total, left = (sum(one.count for one in some) for some in (planned, todo))
        count = max(1, min(workers or cores(), len(todo), left // ENOUGH_TO_WRITE))
        tasks = (
            (self._plan_file(one.split), one.first, one.count, spools, *self._places(one))
            for one in todo
        )
        with contextlib.ExitStack() as stack:
            pool = stack.enter_context(processes(count)) if count > 1 else None
            threads = stack.enter_context(ThreadPoolExecutor(UPLOADS)) if self._uploads else None
            written = in_order(pool, spool.write_shard, tasks, 2 * count)
            made = zip(todo, written, strict=True)
            for one, size, sha256 in in_order(threads, self._deliver_shard, made, UPLOADS):
                self.ledger.note_shard(one.file, one.key, size, sha256)
                left -= one.count
                self.progress("write", total - left, total)
        return {split: self._finish(split, planned) for split in SPLITS}

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
        name = shards.index_name(split)
        with self._new(name, "wb") as out:
            np.lib.format.write_array_header_1_0(out, head)
            for one in mine:
                out.write(np.load(self._places(one)[1]).tobytes())
        place = f"{self.folder}/{name}"
        index = File(name, count, os.path.getsize(place), shards.checksum(place))
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
        self._deliver(name, shards.checksum(f"{self.folder}/{name}"))
        return count

    def _write_manifest(self, splits, rejected: int, copies: int, digests: dict) -> None:
        total, size = self.ledger.size()
        library = "libjpeg_turbo" if features.check_feature("libjpeg_turbo") else "jpg"
        manifest = Manifest(
            labels=tuple(self.ledger.labels()),
            **asdict(self.options),
            splits=splits,
            rejected=rejected,
            copies=copies,
            empty=tuple(self.ledger.empty()),
            source={"path": self.source, "files": total, "bytes": size, **digests},
            made_with={
                "python": platform.python_version(),
                "numpy": np.__version__,
                "pillow": PIL.__version__,
                library: features.version(library),
            },
        )
        files.write_text(f"{self.target}/{MANIFEST}", manifest.to_json())

    def _sweep(self, splits: dict[str, Split]) -> None:
        """Removes what other plans left."""
        kept = {shard.file for split in splits.values() for shard in split.shards}
        for name in files.names(self.target):
            if name not in kept and re.match(r"(train|eval|test)-\d+-of-\d+\.tfrecord", name):
                files.remove(f"{self.target}/{name}")
        if self._uploads:
            files.remove(f"{self.target}/{UNFINISHED}")

    # Files

    def _plan_file(self, split: str) -> str:
        return os.path.join(self.ledger.folder, f"{split}.plan")

    def _places(self, one: _Planned) -> tuple[str, str]:
        """Where a shard is written, and its part of the index."""
        return f"{self.folder}/{one.file}", os.path.join(self.ledger.folder, f"{one.file}.npy")

    @contextlib.contextmanager
    def _new(self, name: str, mode: str, **how):
        """A file that gets its name when it is whole."""
        place = f"{self.folder}/{name}"
        with open(f"{place}.partial", mode, **how) as file:
            yield file
        os.replace(f"{place}.partial", place)

    def _deliver(self, name: str, sha256: str) -> None:
        """Brings a finished file to the bucket, and makes sure that it has arrived."""
        if not self._uploads:
            return
        local, place = f"{self.folder}/{name}", f"{self.target}/{name}"
        for _ in range(TRIES):
            with open(local, "rb") as file:
                files.write_from(file, place)
            if shards.checksum(place) == sha256:
                os.remove(local)
                return
        raise JobError(f"{place}: not what was sent, {TRIES} times over; run this again later")


def _check_apart(source: str, target: str) -> None:
    places = [
        path if files.is_remote(path) else os.path.realpath(path).rstrip(os.sep) + os.sep
        for path in (source, target)
    ]
    one, two = (place.rstrip("/") + "/" if "://" in place else place for place in places)
    if one.startswith(two) or two.startswith(one):
        raise JobError(f"{target}: must lie apart from the pictures in {source}")


def _before(target: str, options: Options, replace: bool) -> Manifest | None:
    """The manifest of finished shards that may stay.

    Raises:
        JobError: there are ones with other options.
    """
    place = f"{target}/{MANIFEST}"
    if not files.exists(place):
        return None
    try:
        manifest = Manifest.from_json(files.read_text(place), place)
    except JobError:
        if replace:
            return None
        raise
    asked = asdict(options)
    others = [name for name, value in asked.items() if getattr(manifest, name) != value]
    if others and not replace:
        differences = (f"{name} {getattr(manifest, name)}, not {asked[name]}" for name in others)
        raise JobError(
            f"{target}: holds shards with {'; '.join(differences)}; --replace makes them anew, or "
            "name another folder"
        )
    return None if others else manifest


def _work_folder(target: str, remote: bool, work_dir: str | None) -> str:
    if not (work_dir or remote):
        return os.path.join(target, UNFINISHED)
    whole = target if remote else os.path.abspath(target)
    key = hashlib.sha256(whole.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return os.path.join(work_dir or tempfile.gettempdir(), f"unfinished-shards-{key}")
