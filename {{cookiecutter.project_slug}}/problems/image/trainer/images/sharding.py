"""Makes shards of pictures: `make(source, target, Options())`.

1. List the source, in the ledger.
2. Read: processes check every new picture, and put the good ones into spools at their final size.
3. Split: the ledger decides, now that the hashes of all are known.
4. Write: processes copy from the spools to the shards, in an order that is as good as random
   (`writing.py`). The manifest comes last.

The same pictures and options give the same bytes, whatever the order of the files or the number of
workers. A killed run goes on when it is started again: read pictures and finished shards stay.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import sqlite3
import tempfile
from collections.abc import Iterable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass

import PIL

from codec import files
from trainer.engine.runtime import JobError
from trainer.images import shards, sources, spool
from trainer.images.ledger import Ledger, Read
from trainer.images.manifest import SPLITS, Manifest
from trainer.images.parallel import cores, in_order, processes
from trainer.images.shards import MANIFEST
from trainer.images.writing import Options, Progress, Writer

AT_ONCE = 32  # pictures that a worker gets at a time
ENOUGH = 500  # pictures for which it pays to start another process
UNFINISHED = ".unfinished"  # the folder in the target with the ledger and the spools


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
        workers: processes (None: one a core; where there is little to do, none beside this one).
        replace: take the place of shards of other pictures, or with other options.
        work_dir: where pictures wait for their shard, with as much space as all shards take
            (None: in the target; for a bucket, in the machine's own temporary folder).
        progress: is told what is done, how many of it, and of how many.

    Raises:
        JobError: no pictures; shards of something else; a bucket that does not take them.
    """
    source, target = source.rstrip("/") or "/", target.rstrip("/") or "/"
    _check_apart(source, target)
    found = sources.find(source, options.group)
    before = _before(target, options, replace)
    remote = files.is_remote(target) or target.startswith("/gcs/")
    new = not remote and not os.path.exists(target)
    work = _work_folder(target, remote, work_dir)
    whole = source if files.is_remote(source) else os.path.abspath(source)
    settings = asdict(options.look) | {"source": whole, "pillow": PIL.__version__, "ledger": 2}
    ledger = Ledger(work, settings)
    try:
        writer = Writer(ledger, work if remote else target, target, options, progress)
        _Job(source, target, ledger, options, progress, writer).run(found, workers, before, replace)
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
class _Job:
    source: str
    target: str
    ledger: Ledger
    options: Options
    progress: Progress
    writer: Writer

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
        self.writer.begin()
        self._read(workers)
        self.ledger.split(
            self.options.eval_share, self.options.test_share, bool(self.options.group)
        )
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
            splits = self.writer.write(content, workers)
        about = {"path": self.source, "fingerprint": fingerprint, "content": content}
        self.writer.end(splits, about)

    def _is_whole(self, manifest: Manifest) -> bool:
        try:
            shards.Dataset(self.target, manifest).check()
        except JobError:
            return False
        return True

    def _read(self, workers: int | None) -> None:
        total, _ = self.ledger.size()
        while unread := self.ledger.unread():
            self.progress("read", total - unread, total)
            count = workers or max(1, min(cores(), unread // ENOUGH))
            tasks = ((self.source, some, *self._how) for some in self.ledger.to_read(AT_ONCE))
            try:
                with contextlib.ExitStack() as stack:
                    pool = stack.enter_context(processes(count)) if workers or count > 1 else None
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
        how = self.options
        if self.ledger.labels():
            if how.group and how.eval_share and not self.ledger.groups("eval"):
                raise JobError(
                    f"--group {how.group}: no group can be held out, since each has more than half of "
                    "the images of a class; group by something smaller, or write --eval-share 0"
                )
            return
        total, _ = self.ledger.size()
        first = next(self.ledger.rejected(), None)
        why = f"no picture among {total} files; {first[0]}: {first[1]}" if first else "no files"
        raise JobError(f"{self.source}: {why}; expected SRC/<class>/*.jpg")


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
        differences = (
            f"{name} {getattr(manifest, name)!r}, not {asked[name]!r}" for name in others
        )
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
