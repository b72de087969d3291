"""Make shards of images: `make_shards(source, target, Options())`.

1. List the files of the source in the catalog.
2. Read: processes check every new file, and put the good images into spools at their final size.
3. Split: the catalog decides, now that the hashes of all images are known.
4. Write: processes copy the images from the spools to the shards (`writing.py`).

The same images and options give the same bytes, whatever the order of the files or the number of
processes. A killed run resumes when it is started again: images that were read and shards that were
written are kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import sqlite3
import tempfile
from collections.abc import Iterable
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict

import PIL

from codec import files
from codec.errors import JobError
from codec.shards import sources, workers
from codec.shards.catalog import Catalog, hash_rows
from codec.shards.folder import ShardFolder
from codec.shards.manifest import MANIFEST, OURS, SPLITS, Manifest, Options
from codec.shards.pool import count_cores, run_in_order, start_processes
from codec.shards.table import SourceFile
from codec.shards.writing import Progress, Writer

AT_ONCE = 32  # images that a process gets at a time
ENOUGH = 500  # images for which it pays to start another process
UNFINISHED = ".unfinished"  # the folder in the target with the catalog and the spools


def make_shards(
    source: str,
    target: str,
    options: Options,
    processes: int | None = None,
    replace: bool = False,
    work_dir: str | None = None,
    progress: Progress = lambda step, done, total: None,
) -> ShardFolder:
    """Make the shards of `source` in `target`; where they are already, copy nothing.

    Args:
        source: SRC/<class>/… or a CSV of path,label; local or gs://.
        target: a folder, local or gs://.
        processes: how many (None: one a core; where there is little to do, none but this one).
        replace: overwrite shards of other images, or with other options.
        work_dir: where images wait for their shard, with as much space as all shards take
            (None: in the target; for a bucket, in the machine's temporary folder).
        progress: is called with "list", "read" or "write", the images done, and all of them.

    Raises:
        JobError: no images; shards of something else, or other files of their names; a bucket that
            cannot be written.
    """
    source, target = source.rstrip("/") or "/", target.rstrip("/") or "/"
    _check_apart(source, target)
    listed = sources.list_files(source, options.group)
    before = _read_manifest(target, options, replace)
    in_bucket = files.is_remote(target) or target.startswith("/gcs/")
    is_new = not in_bucket and not os.path.exists(target)
    work = _choose_work_folder(target, in_bucket, work_dir)
    if not os.path.exists(work):
        _refuse_foreign(target)
    whole = source if files.is_remote(source) else os.path.abspath(source)
    settings = asdict(options) | {"source": whole, "pillow": PIL.__version__}
    catalog = Catalog(work, settings)
    try:
        writer = Writer(catalog, source, target, work if in_bucket else target, options, progress)
        with contextlib.ExitStack() as stack:
            _fill(writer, listed, before, replace, processes, stack)
        catalog.remove()
    except (JobError, OSError):
        if not catalog.find("SELECT 1 FROM files WHERE file_hash IS NOT NULL"):
            catalog.remove()
            if is_new:
                with contextlib.suppress(OSError):
                    os.rmdir(target)
        raise
    except sqlite3.Error as error:
        raise JobError(f"{work}: {error}") from None
    except BrokenProcessPool:
        why = "a process that writes shards was killed, perhaps because memory ran out"
        raise JobError(f"{target}: {why}; the same command resumes") from None
    finally:
        catalog.close()
    return ShardFolder.open(target)


def _fill(
    writer: Writer,
    listed: Iterable[SourceFile],
    before: Manifest | None,
    replace: bool,
    processes: int | None,
    stack: contextlib.ExitStack,
) -> None:
    """Steps 1 to 4; `before` is the manifest of shards that may be kept."""
    catalog, source, target, options = writer.catalog, writer.source, writer.target, writer.options
    writer.progress("list", 0, 0)
    fingerprint = catalog.list_files(listed)
    if before and before.source["fingerprint"] == fingerprint and _is_whole(target, before):
        return
    writer.begin()
    pool = _read(writer, processes, stack)
    catalog.split(options.eval_share, options.test_share, bool(options.group))
    _check_split(writer)
    content = {split: hash_rows(row[:3] for row in catalog.list_images(split)) for split in SPLITS}
    is_same = before is not None and before.source["content"] == content
    if before and not (is_same or replace):
        raise JobError(
            f"{target}: holds shards of other images than {source} has now; --replace makes new "
            "ones, or name another folder"
        )
    if is_same and _is_whole(target, before):
        splits = before.splits
    else:
        files.remove(f"{target}/{MANIFEST}")  # without it the shards count as unfinished
        splits = writer.write_shards(content, processes, pool)
    writer.end(splits, {"fingerprint": fingerprint, "content": content})


def _read(writer: Writer, processes: int | None, stack: contextlib.ExitStack) -> Executor | None:
    """Read the unread files; after a process died, one at a time for a while: an image may be the
    reason, or too many of them for the memory.

    Returns:
        The processes that read, which end with the stack; None where this one did.
    """
    catalog, careful, pool = writer.catalog, 0, None  # careful: files to be read one at a time
    [total] = catalog.find("SELECT COUNT(*) FROM files")
    while unread := catalog.count_unread():
        writer.progress("read", total - unread, total)
        count = 1 if careful else processes or max(1, min(count_cores(), unread // ENOUGH))
        lists = itertools.islice(catalog.list_unread(1 if careful else AT_ONCE), careful or None)
        tasks = ((writer.source, todo, writer.options, catalog.folder) for todo in lists)
        has_pool = processes or careful or count > 1
        stack.close()  # ends those of the round before
        pool = stack.enter_context(start_processes(count)) if has_pool else None
        try:
            ahead = 0 if careful else 3 * count
            for rows in run_in_order(pool, workers.read_images, tasks, ahead):
                catalog.note_read(rows)
                unread -= len(rows)
                writer.progress("read", total - unread, total)
            careful = 0
        except BrokenProcessPool:
            pool = None
            if careful:
                [(number, _)] = next(catalog.list_unread(1))
                reason = "broken: the process that read it died"
                catalog.note_read([(reason, *[None] * 6, number)])
            careful = careful or 3 * count * AT_ONCE
    return pool


def _is_whole(target: str, manifest: Manifest) -> bool:
    try:
        ShardFolder(target, manifest).check_sizes()
    except JobError:
        return False
    return True


def _check_split(writer: Writer) -> None:
    catalog, options = writer.catalog, writer.options
    if not writer.labels:
        [total] = catalog.find("SELECT COUNT(*) FROM files")
        first = next(catalog.list_rejected(), None)
        problem = f"no image among {total} files; {': '.join(first)}" if first else "no files"
        raise JobError(f"{writer.source}: {problem}; expected SRC/<class>/*.jpg")
    if options.group and options.eval_share and not writer.count_groups("eval"):
        raise JobError(
            f"--group {options.group}: no group can be held out, since each has more than half of "
            "the images of a class; group by something smaller, or write --eval-share 0"
        )


def _check_apart(source: str, target: str) -> None:
    one, two = (
        path.rstrip("/") + "/"
        if files.is_remote(path)
        else os.path.realpath(path).rstrip(os.sep) + os.sep
        for path in (source, target)
    )
    if one.startswith(two) or two.startswith(one):
        raise JobError(f"{target}: must be apart from the images, which are in {source}")


def _refuse_foreign(target: str) -> None:
    """Raises JobError where shards would be written over what no shards of ours are, or delete it."""
    names = files.names(target)
    if MANIFEST in names or UNFINISHED in names:
        return
    for name in names:
        if OURS.fullmatch(name):
            raise JobError(
                f"{target}: holds a {name}, and no {MANIFEST} says that it is of shards; name another "
                "folder"
            )


def _read_manifest(target: str, options: Options, replace: bool) -> Manifest | None:
    """The manifest of finished shards that may be kept.

    Raises:
        JobError: there are shards with other options.
    """
    path = f"{target}/{MANIFEST}"
    if not files.exists(path):
        return None
    try:
        manifest = Manifest.from_json(files.read_text(path), path)
    except JobError:
        if replace:
            return None
        raise
    wanted = asdict(options)
    others = [name for name, value in wanted.items() if getattr(manifest, name) != value]
    if others and not replace:
        differences = (
            f"{name} {getattr(manifest, name)!r}, not {wanted[name]!r}" for name in others
        )
        raise JobError(
            f"{target}: holds shards with {'; '.join(differences)}; --replace makes new ones, or "
            "name another folder"
        )
    return None if others else manifest


def _choose_work_folder(target: str, in_bucket: bool, work_dir: str | None) -> str:
    if not (work_dir or in_bucket):
        return os.path.join(target, UNFINISHED)
    whole = target if in_bucket else os.path.abspath(target)
    key = hashlib.sha256(whole.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return os.path.join(work_dir or tempfile.gettempdir(), f"unfinished-shards-{key}")
