"""Tables for training: CSV files, encoded once to arrays on disk, dealt out in shuffled batches.

The arrays are memory-mapped and stay on disk, so that memory does not grow with the rows. They lie
in a cache beside the job, under a name made from all that they depend on: the next run, and every
trial of a study, finds them; a changed file or flag never does.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from trainer import files, infer, tables
from trainer.encode import encode, layout
from trainer.runtime import JobError, Runtime, join
from trainer.schema import Schema, read_hints

OWN_DATA = Path(__file__).resolve().parents[1] / "data"
OWN_TARGET = "species"

FORMAT = 1  # raise it when the encoding changes: old caches are then no longer found
DISK_BLOCK = 512  # rows that stay neighbours on disk when an epoch is shuffled
WINDOW = 1 << 16  # rows that are shuffled together in memory,
WINDOW_BYTES = 1 << 25  # or fewer where rows are wide
PARTIAL = "partial-"  # begins the name of an encoding that is still being written
ABANDONED = 24 * 3600.0  # seconds after which the work of a killed encoder is swept away


@dataclass(frozen=True)
class Table:
    """Encoded rows on disk.

    Arrays, a row each: numbers float32 [rows, width], standardised, missing values 0;
    categories int32 [rows, columns], places in the shared vocabulary; target int32 [rows] (the
    class) or float32 [rows, 1] (in the target's own unit).
    """

    path: str
    rows: int
    dropped: int  # rows left out because their target is missing
    schema: Schema

    def arrays(self) -> dict[str, np.ndarray]:
        """Opens the maps anew: pages read through an old map count as memory until it closes."""
        arrays = {}
        for name, (dtype, width) in layout(self.schema).items():
            shape = (self.rows,) if width is None else (self.rows, width)
            path = os.path.join(self.path, name)
            empty = 0 in shape  # which no operating system maps
            arrays[name] = (
                np.empty(shape, dtype) if empty else np.memmap(path, dtype, "r", 0, shape)
            )
        return arrays

    def batches(
        self,
        batch_size: int,
        seed: int | None = None,
        epoch: int = 0,
        first: int = 0,
        share: tuple[int, int, int] = (0, 1, 1),
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Deals out one epoch, many batches at a time.

        Yields `(steps, block)`: arrays [K, share of batch_size, …], of which the first `steps`
        batches count. K is the same in every block, so that a compiled loop compiles once. Batches
        are filled up with rows of weight 0: `block["weight"]` float32 [K, share of batch_size];
        `block["rows"]` float32 [K] counts the real rows of the whole batch.

        The order follows from seed and epoch alone (None: the file's order). An epoch is shuffled
        twice: blocks of neighbouring rows over the whole file, then rows within a window.

        Args:
            batch_size: rows a step, over all shards.
            first: the step to begin with, to go on in the middle of an epoch.
            share: (i, k, n): of n equal parts of every batch, the k that begin with part i.
        """
        total = self.steps(batch_size)
        per_block = self.steps_per_block(batch_size)
        order = np.arange(-(-self.rows // DISK_BLOCK))
        if seed is not None:
            order = np.random.default_rng([seed, epoch]).permutation(order)
        ends = np.cumsum(np.minimum(DISK_BLOCK, self.rows - order * DISK_BLOCK))
        for window in range(first // per_block, -(-total // per_block)):
            begin = window * per_block
            steps = min(per_block, total - begin)
            low, high = begin * batch_size, min((begin + steps) * batch_size, self.rows)
            rows = self._read(order, ends, low, high)
            if seed is not None:
                deal = np.random.default_rng([seed, epoch, window]).permutation(high - low)
            else:
                deal = np.arange(high - low)
            skip = max(0, first - begin)
            yield steps - skip, _fill(rows, deal, per_block, batch_size, skip, share)

    def steps(self, batch_size: int) -> int:
        """Batches in an epoch."""
        return -(-self.rows // batch_size)

    def steps_per_block(self, batch_size: int) -> int:
        row_bytes = 4 * (self.schema.width + len(self.schema.categories) + 1)
        rows = min(WINDOW, WINDOW_BYTES // row_bytes)
        return min(self.steps(batch_size), max(1, rows // batch_size))

    def _read(self, order, ends, low, high) -> dict[str, np.ndarray]:
        """Rows low to high of the shuffled file, read block by block."""
        arrays = self.arrays()
        pieces = []
        for i in range(int(np.searchsorted(ends, low, "right")), len(order)):
            start, stop = order[i] * DISK_BLOCK, min((order[i] + 1) * DISK_BLOCK, self.rows)
            before = ends[i] - (stop - start)
            if before >= high:
                break
            pieces.append(slice(start + max(0, low - before), stop - max(0, ends[i] - high)))
        return {k: np.concatenate([v[piece] for piece in pieces]) for k, v in arrays.items()}


def _fill(rows, deal, per_block, batch_size, skip, share) -> dict[str, np.ndarray]:
    """Lays dealt rows out as [per_block, share of a batch, …], with weights."""
    begin, count, parts = share
    width = -(-batch_size // parts)
    places = np.full(per_block * batch_size, -1)
    dealt = deal[skip * batch_size :]
    places[: len(dealt)] = dealt
    whole = places.reshape(per_block, batch_size)
    padded = np.pad(whole, ((0, 0), (0, width * parts - batch_size)), constant_values=-1)
    mine = padded[:, begin * width : (begin + count) * width]
    block = {name: np.take(array, np.maximum(mine, 0), axis=0) for name, array in rows.items()}
    block["weight"] = (mine >= 0).astype(np.float32)
    block["rows"] = (whole >= 0).sum(axis=1, dtype=np.float32)
    return block


@dataclass(frozen=True)
class Data:
    """All that the trainer needs to know of its data."""

    schema: Schema
    train: Table
    eval: Table
    manifest: dict  # for run.json: files, bytes, digests, rows
    reused: bool  # found in the cache

    def describe(self) -> str:
        """The columns and what became of them, for the log."""
        schema, train, held_out = self.schema, self.train, self.eval
        lines = [
            f"{schema.task} of {schema.target!r}: {train.rows} training rows, {held_out.rows} "
            f"held-out rows{' (encoded before, reused)' if self.reused else ''}"
        ]
        for part, table in (("training", train), ("held-out", held_out)):
            if table.dropped:
                lines.append(f"{table.dropped} {part} rows dropped: their target is missing")
        if schema.labels:
            more = ", …" if len(schema.labels) > 20 else ""
            lines.append(f"classes: {', '.join(schema.labels[:20])}{more}")
        for column in schema.columns[:50]:
            gaps = f"; {column.missing} missing" if column.missing else ""
            lines.append(f"  {column.name}: {column.kind} ({column.why}{gaps})")
        if len(schema.columns) > 50:
            lines.append(f"  … {len(schema.columns) - 50} more: all stand in schema.json")
        return "\n".join(lines)


def load(flags: argparse.Namespace, runtime: Runtime) -> Data:
    """Finds, checks and, unless the cache holds them, encodes the tables that the flags name.

    Raises:
        JobError: any fault in the flags or in the files. Nothing is left behind.
    """
    # A job that installs the trainer as a package has no data/ beside it, and is told of a copy.
    own = runtime.contract.get("OWN_DATA_URI") or str(OWN_DATA)
    train, held_out, target = _sources(flags, own)
    hints = _hints(flags, train[0].names, target)
    manifest = {
        "train": {"files": [_identity(s.path) for s in train]},
        "eval": {"files": [_identity(s.path) for s in held_out]},
    }
    depends_on = [FORMAT, manifest, target, flags.task, flags.columns, sorted(hints.items())]
    key = hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:20]
    cache = flags.cache_dir or _beside(runtime.job_dir)
    path = os.path.join(cache, key)
    reused = os.path.isdir(path)
    if not reused:
        made = _missing_folders(cache)
        try:
            os.makedirs(cache, exist_ok=True)
            _sweep(cache)
            with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=cache) as partial:
                schema = infer.infer(train, target, flags.task, hints)
                _encode_all(schema, train, held_out, partial)
                _publish(partial, path)
        except OSError as error:
            raise JobError(
                f"{cache}: the encoded data cannot be written there ({error.strerror or error}); "
                "give another folder with --cache-dir"
            ) from None
        finally:
            pa.default_memory_pool().release_unused()  # else it is kept, beside TensorFlow's own
            for folder in made:
                with contextlib.suppress(OSError):
                    os.rmdir(folder)  # only where nothing came to lie in it
    return _open(path, manifest, reused)


def _missing_folders(path: str) -> list[str]:
    """The folders that making this one will make, the innermost first."""
    missing = []
    while path and not os.path.exists(path):
        missing.append(path)
        path = os.path.dirname(path)
    return missing


def _sweep(cache: str) -> None:
    """Removes what encoders left that were killed: they had no chance to do it themselves."""
    for name in files.names(cache):
        path = os.path.join(cache, name)
        with contextlib.suppress(OSError):  # another process sweeps too
            if name.startswith(PARTIAL) and os.path.getmtime(path) < time.time() - ABANDONED:
                files.remove_tree(path)


def _sources(flags, own: str) -> tuple[list[tables.Source], list[tables.Source], str]:
    if flags.train_files is None:
        if flags.eval_files or flags.columns:
            raise JobError("--eval-files and --columns need --train-files beside them")
        train, held_out = (join(own, f"*_{part}.csv") for part in ("train", "eval"))
    else:
        train, held_out = flags.train_files, flags.eval_files
    columns = flags.columns and [name.strip() for name in flags.columns.split(",")]
    if columns and len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise JobError(f"--columns: the name {twice!r} stands there more than once")
    train = [tables.open_source(p, columns) for p in tables.expand(train, "--train-files")]
    held_out = held_out and tables.expand(held_out, "--eval-files")
    held_out = [tables.open_source(p, columns) for p in held_out or ()]
    names = train[0].names
    known = tables.listed(names)
    target = flags.target or (OWN_TARGET if flags.train_files is None else None)
    if target is None:
        raise JobError(f"--target is missing: which column is to be predicted? There are: {known}")
    if target not in names:
        close = difflib.get_close_matches(target, names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        if not columns and not close:
            hint = "; for a file without a header line give the names by --columns"
        raise JobError(f"{train[0].path}: no column {target!r}; there are: {known}{hint}")
    for source in train[1:] + held_out:
        lacking = [name for name in names if name not in source.names]
        new = [name for name in source.names if name not in names]
        if lacking or new:
            faults = [f"it lacks {tables.listed(lacking)}"] if lacking else []
            faults += [f"only it has {tables.listed(new)}"] if new else []
            raise JobError(
                f"{source.path}: not the columns of {train[0].path}: {'; '.join(faults)}"
            )
    return train, held_out, target


def _hints(flags, names, target) -> dict[str, str]:
    if not flags.schema:
        return {}
    try:
        text = files.read_text(flags.schema)
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"--schema {flags.schema}: cannot be read ({error})") from None
    hints = read_hints(text, flags.schema)
    unknown = sorted(set(hints) - set(names))
    if unknown:
        raise JobError(
            f"--schema {flags.schema}: no column {unknown[0]!r} in the data; "
            f"there are: {tables.listed(names)}"
        )
    if target in hints:
        raise JobError(
            f"--schema {flags.schema}: {target!r} is the target, which has no kind; remove it "
            "there, and say --task classification or --task regression"
        )
    return hints


def _identity(path: str) -> dict:
    """What tells this file from any other: its content, or in a bucket the object's last write."""
    if files.is_remote(path):
        digest = f"modified:{files.modified(path)}"  # objects are replaced whole, never edited
    else:
        hasher = hashlib.blake2b(digest_size=16)
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                hasher.update(chunk)
        digest = f"blake2b:{hasher.hexdigest()}"
    return {"path": path, "bytes": files.size(path), "digest": digest}


def _beside(job_dir: str | None) -> str:
    """The cache's place: beside the run, or in the machine's own temporary folder for gs://."""
    if job_dir is None:
        return os.path.join("runs", ".cache")
    if files.is_remote(job_dir) or job_dir.startswith("/gcs/"):
        return os.path.join(tempfile.gettempdir(), "encoded-tables")
    return os.path.join(os.path.dirname(os.path.abspath(job_dir)), ".cache")


def _publish(partial: str, path: str) -> None:
    """Moves a finished encoding to its name; of two writers of the same, the first one wins."""
    finished = os.path.join(partial, "finished")
    try:
        os.rename(finished, path)
    except OSError:
        if not os.path.isdir(path):
            raise


def _open(path: str, manifest: dict, reused: bool) -> Data:
    schema = Schema.from_json(files.read_text(os.path.join(path, "schema.json")))
    rows = json.loads(files.read_text(os.path.join(path, "rows.json")))
    parts = {name: Table(os.path.join(path, name), *rows[name], schema) for name in rows}
    for name, table in parts.items():
        manifest[name].update(rows=table.rows, dropped=table.dropped)
    return Data(schema, parts["train"], parts["eval"], manifest, reused)


def _encode_all(schema, train, held_out, partial) -> None:
    finished = os.path.join(partial, "finished")
    if held_out:
        parts = {"train": (train, None), "eval": (held_out, None)}
    else:
        parts = {"train": (train, False), "eval": (train, True)}
    rows = {}
    for name, (sources, part) in parts.items():
        rows[name] = encode(schema, sources, os.path.join(finished, name), part)
        if not rows[name][0]:
            raise JobError(
                f"{sources[0].path}: no row is left for {name}; "
                + ("every target is missing" if part is None else "give --eval-files")
            )
    files.write_text(os.path.join(finished, "schema.json"), schema.to_json())
    files.write_text(os.path.join(finished, "rows.json"), json.dumps(rows))
