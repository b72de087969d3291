"""EDIT THIS FILE: tables for training. CSV files, encoded once to arrays on disk, in shuffled batches.

The arrays are memory-mapped and stay on disk, so that memory does not grow with the rows. They lie
in a cache beside the job, under a name made from all that they depend on: the next run, and every
trial of a study, finds them; a changed file or flag never does.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from codec import files
from codec.columns import infer
from codec.columns.encode import encode_parts, layout
from codec.columns.hints import read_hints
from codec.columns.identity import identify
from codec.columns.rows import Part, choose_groups
from codec.schema import MISSING_IN_WORDS, Schema
from trainer.columns import leaks
from trainer.columns.line import Line, fit_line
from trainer.columns.sources import choose_group, find_sources
from trainer.engine import batching, cache
from trainer.engine.runtime import Runtime

OWN_DATA = Path(__file__).resolve().parents[1] / "data"

READER = "pyarrow"  # the package that the encoded data depends on, for run.json
FORMAT = 4  # raise it when the encoding changes: old caches are then no longer used
DISK_BLOCK = 512  # rows that stay neighbours on disk when an epoch is shuffled
WINDOW = 1 << 16  # rows that are shuffled together in memory,
WINDOW_BYTES = 1 << 25  # or fewer where rows are wide


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
        """Open new maps: pages read through an old map count as memory until it closes."""
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
        share: tuple[int, int, int] = batching.WHOLE,
    ) -> Iterator[tuple[int, tuple]]:
        """The batches of one epoch, many at a time: `batching.arrange` explains the arguments.

        Yields `(steps, (inputs, target))`: arrays [K, share of batch_size, …] of which the first
        `steps` batches count.
        """
        at_once = self.steps_per_block(batch_size)
        order = (seed, epoch, first, share)
        for batches in batching.arrange(self.rows, batch_size, at_once, DISK_BLOCK, *order):
            arrays = {}
            for name, array in self.arrays().items():
                # Read in one go from the disk, then put each row where the batch wants it.
                rows = np.concatenate([array[piece] for piece in batches.pieces])
                arrays[name] = np.take(rows, batches.positions, axis=0)
            target = arrays.pop("target")
            yield batches.steps, (arrays, target)

    def steps_per_block(self, batch_size: int) -> int:
        row_bytes = 4 * (self.schema.width + len(self.schema.categories) + 1)
        rows = min(WINDOW, WINDOW_BYTES // row_bytes, self.rows)
        return max(1, rows // batch_size)

    def class_counts(self) -> np.ndarray:
        """int64 [classes]: rows of each class."""
        classes, target = len(self.schema.labels), self.arrays()["target"]
        counts = np.zeros(classes, np.int64)
        for start in range(0, self.rows, 1 << 20):
            counts += np.bincount(target[start : start + (1 << 20)], minlength=classes)
        return counts


@dataclass(frozen=True)
class Examples:
    """All that `model.py` and the loop know of the data: `engine/examples.py` says what they need."""

    schema: Schema
    train: Table
    eval: Table
    manifest: dict  # for run.json: files, bytes, digests, rows
    reused: bool  # taken from the cache

    @property
    def numbers(self) -> int:
        """Width of the input `numbers`, float32 [batch, numbers]."""
        return self.schema.width

    @property
    def categories(self) -> int:
        """Width of the input `categories`, int32 [batch, categories]: places in the vocabulary."""
        return len(self.schema.categories)

    @property
    def vocabulary(self) -> int:
        """Places in the vocabulary that all category columns share."""
        return self.schema.vocabulary

    @property
    def classes(self) -> list[str]:
        """Names of the classes; the target is their number, int32 [batch]. [] for a regression."""
        return self.schema.labels

    @property
    def mean(self) -> float:
        """A regression's: of the target, float32 [batch, 1], over the training rows.

        Values far from all others do not count, here and in `std`: they are below `schema.low` or
        above `schema.high`.
        """
        return self.schema.mean

    @property
    def std(self) -> float:
        """A regression's: the target's standard deviation over the training rows."""
        return self.schema.std

    @functools.cached_property
    def line(self) -> Line:
        """The straight line that fits the training rows best."""
        return fit_line(self)

    def describe(self) -> str:
        """The columns and what became of them, for the log."""
        schema, train, held_out = self.schema, self.train, self.eval
        lines = [
            f"{schema.task} of {schema.target!r}: {train.rows} training rows, {held_out.rows} "
            f"held-out rows{' (encoded before, reused)' if self.reused else ''}"
        ]
        for part, table in (("training", train), ("held-out", held_out)):
            if table.dropped:
                lines.append(
                    f"{table.dropped} {part} rows dropped: their target is missing "
                    f"({MISSING_IN_WORDS})"
                )
        return "\n".join([*lines, *schema.describe()])


def load(flags: argparse.Namespace, runtime: Runtime) -> Examples:
    """Find, check and, unless the cache holds them, encode the tables that the flags name.

    Raises:
        JobError: any fault in the flags or in the files. Nothing is left behind.
    """
    # A job that installs the trainer as a package has no data/ beside it: a variable names a copy.
    own = runtime.contract.get("OWN_DATA_URI") or str(OWN_DATA)
    train, held_out, target = find_sources(flags, own)
    hints = read_hints(flags.schema, train[0].names, target)
    manifest = {
        "train": {"files": [identify(s.path) for s in train]},
        "eval": {"files": [identify(s.path) for s in held_out]},
    }
    group = choose_group(flags, train[0], target, hints)
    fold = flags.fold or 1
    settled = [target, flags.task, flags.columns, sorted(hints.items()), group, fold]
    depends_on = [FORMAT, manifest, *settled]
    key = hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:20]

    def encode_all(folder: str) -> None:
        split, about = choose_groups(train, held_out, group, fold)
        parts = [Part(train, f"{folder}-train"), Part(held_out or train, f"{folder}-eval")]
        schema = infer.infer(parts[:1] if held_out else parts, split, target, flags.task, hints)
        schema.notes += about
        rows = encode_parts(schema, *parts, bool(held_out), folder)
        tables = [Table(os.path.join(folder, name), *rows[name], schema) for name in rows]
        schema.notes += leaks.warn_of_leaks(schema, *tables)
        files.write_text(os.path.join(folder, "schema.json"), schema.to_json())
        files.write_text(os.path.join(folder, "rows.json"), json.dumps(rows))

    try:
        cache_dir = flags.cache_dir or cache.beside(runtime.job_dir)
        path, reused = cache.fill(cache_dir, key, encode_all)
    finally:
        pa.default_memory_pool().release_unused()  # else it is kept, beside TensorFlow's own
    return _open(path, manifest, reused)


def _open(path: str, manifest: dict, reused: bool) -> Examples:
    schema = Schema.from_json(files.read_text(os.path.join(path, "schema.json")))
    rows = json.loads(files.read_text(os.path.join(path, "rows.json")))
    parts = {name: Table(os.path.join(path, name), *rows[name], schema) for name in rows}
    for name, table in parts.items():
        manifest[name].update(rows=table.rows, dropped=table.dropped)
    # Which rows are held out also depends on flags. Runs with other ones must not be ranked together.
    targets = hashlib.blake2b(parts["eval"].arrays()["target"], digest_size=16)
    manifest["eval"]["targets"] = f"blake2b:{targets.hexdigest()}"
    return Examples(schema, parts["train"], parts["eval"], manifest, reused)
