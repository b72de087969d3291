"""EDIT THIS FILE: windows of recordings for training, cut from arrays on disk, in shuffled batches.

Recordings are encoded once, to equal steps; a window is a view of them that is gathered and normalised
when the loop takes it. The arrays lie in a cache beside the job, under names made from all that they
depend on: the next run, and every trial or fold of a study, finds them.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from codec.recordings.roles import find_roles
from codec.recordings.store import Recordings
from codec.recordings.tables import expand, identify, open_source
from codec.schema import Schema
from codec.windows import cut, normalize
from trainer.engine import batching, cache
from trainer.engine.runtime import JobError, Runtime, join
from trainer.series.settle import encode_recordings, open_windows, settle_schema

OWN_DATA = Path(__file__).resolve().parents[1] / "data"
OWN_TARGET = "exercise"

READER = "pyarrow"  # the package that the encoded data depends on, for run.json
FORMAT = 4  # raise it when the encoding changes: old caches are then no longer used
NEIGHBOURS = (
    16  # windows that stay together when an epoch is shuffled: their samples are read together
)
AT_ONCE_BYTES = 1 << 25  # of windows that are shuffled together in memory


@dataclass(frozen=True)
class Windows:
    """Windows of the recordings of one side of the split."""

    path: str
    rows: int
    recordings: Recordings
    schema: Schema

    @property
    def start(self) -> np.ndarray:
        """int64 [rows]: the first sample of each, among those of all recordings."""
        return np.memmap(os.path.join(self.path, "start"), np.int64, "r")

    @property
    def number(self) -> np.ndarray:
        """int32 [rows]: the recording of each."""
        return np.memmap(os.path.join(self.path, "number"), np.int32, "r")

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
        `steps` batches count; `read` says which.
        """
        row_bytes = 5 * self.schema.window * len(self.schema.channels)
        at_once = max(1, min(AT_ONCE_BYTES // row_bytes, self.rows) // batch_size)
        order = (seed, epoch, first, share)
        for batches in batching.arrange(self.rows, batch_size, at_once, NEIGHBOURS, *order):
            inputs, target = self.read(batches.rows())
            inputs = {name: batches.fill(array) for name, array in inputs.items()}
            yield batches.steps, (inputs, batches.fill(target))

    def read(self, rows: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Inputs and target of some windows, in this order.

        Inputs: samples float32 [n, window, channels], normalised, 0 where they are lost; mask bool, false
        there. Target: see `Schema.task`: int32 [n], float32 [n, 1], int32 [n, window] with -1 where there
        is no label, or float32 [n, horizon, outputs].
        """
        schema, recordings = self.schema, self.recordings
        starts, numbers = self.start[rows], self.number[rows]
        ends = (recordings.begins + recordings.lengths)[numbers]
        samples, spans = recordings.samples(), (starts.tolist(), ends.tolist())
        mean, std = self.scale
        if schema.normalize == "recording":
            mean, std = mean[numbers], std[numbers]
        inputs = normalize(cut(samples, *spans, schema.window), mean, std)
        if schema.task == "labelling":
            return inputs, cut(recordings.all_labels(), *spans, schema.window, -1)
        if schema.horizon:
            outputs = [recordings.channels.index(name) for name in schema.outputs]
            spans = ((starts + schema.window).tolist(), ends.tolist())
            return inputs, cut(samples, *spans, schema.horizon)[..., outputs]
        target = recordings.targets[numbers]
        return inputs, target[:, np.newaxis] if schema.task == "regression" else target

    @functools.cached_property
    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation, float32: of each channel, or [R, channels]."""
        if self.schema.normalize == "recording":
            return self.recordings.scales
        return self.schema.scale

    @functools.cached_property
    def groups(self) -> np.ndarray:
        """int [rows]: the participant of each window; without any, its file; of one alone, its recording."""
        keys = self.recordings.keys
        names = np.array([participant or file for participant, _, file in keys])[self.number]
        different, groups = np.unique(names, return_inverse=True)
        return groups if len(different) > 1 else self.number

    def class_counts(self) -> np.ndarray:
        """int64 [classes]: windows of each class; or samples, where each has a label."""
        recordings, classes = self.recordings, len(self.schema.labels)
        if self.schema.task == "labelling":
            counts = np.zeros(classes, np.int64)
            for i in np.unique(self.number):
                labels = recordings.labels(i)
                counts += np.bincount(labels[labels >= 0], minlength=classes)
            return counts
        targets = recordings.targets[self.number]
        return np.bincount(targets, minlength=classes)


@dataclass(frozen=True)
class Examples:
    """All that `model.py` and the loop know of the data: `engine/examples.py` says what they need."""

    schema: Schema
    train: Windows
    eval: Windows
    manifest: dict  # for run.json: files, bytes, digests, rows
    recordings: Recordings
    reused: bool  # taken from the cache

    @property
    def channels(self) -> int:
        """Channels of the inputs `samples` and `mask`, [batch, window, channels]."""
        return len(self.schema.channels)

    @property
    def window(self) -> int:
        """Samples of a window."""
        return self.schema.window

    @property
    def classes(self) -> list[str]:
        """Names of the classes of a recording; [] for any other target."""
        return self.schema.labels if self.schema.task == "classification" else []

    def describe(self) -> str:
        """What the data is and what became of it, for the log."""
        schema, parts = self.schema, (self.train, self.eval)
        counts = [
            f"{part.rows} windows of {len(np.unique(part.number))} recordings" for part in parts
        ]
        lines = [
            f"{schema.task} of {schema.target!r}: {counts[0]} for training, {counts[1]} held out"
            f"{' (encoded before, reused)' if self.reused else ''}"
        ]
        if schema.labels:
            more = f", … ({len(schema.labels)} in all)" if len(schema.labels) > 20 else ""
            lines.append(f"classes: {', '.join(schema.labels[:20])}{more}")
        return "\n".join([*lines, *schema.notes])


def load(flags: argparse.Namespace, runtime: Runtime) -> Examples:
    """Find, check and, unless the cache holds them, encode the recordings that the flags name.

    Raises:
        JobError: any fault in the flags or in the files. Recordings that were encoded before it stay in
            the cache; nothing else is left behind.
    """
    # A job that installs the trainer as a package has no data/ beside it: a variable names a copy.
    own = runtime.contract.get("OWN_DATA_URI") or str(OWN_DATA)
    if flags.data is None and not flags.horizon and flags.target is None:
        flags = argparse.Namespace(**{**vars(flags), "target": OWN_TARGET})
    sources = [open_source(path) for path in expand(flags.data or join(own, "*.parquet"))]
    roles = find_roles(flags, sources)
    identities = [identify(source.path) for source in sources]
    task = "forecasting" if flags.horizon else flags.task
    if (task == "forecasting") != bool(flags.horizon) or flags.task not in (None, task):
        raise JobError(
            "--horizon and --task forecasting belong together; give both, or --horizon alone"
        )
    depends_on = [FORMAT, identities, asdict(roles), flags.rate, task]
    key = hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:20]
    folder = flags.cache_dir or cache.beside(runtime.job_dir)
    try:
        prepared = encode_recordings(sources, roles, task, flags, folder, key)
    finally:
        pa.default_memory_pool().release_unused()  # else it is kept, beside TensorFlow's own
    recordings = prepared.recordings
    schema, numbers = settle_schema(prepared, roles, flags)
    parts, path = open_windows(recordings, schema, numbers, flags, folder, prepared.key)
    train, held_out = (
        Windows(join(path, n), rows, recordings, schema) for n, rows in parts.items()
    )
    manifest = {name: {"files": identities, "rows": rows} for name, rows in parts.items()}
    # Which windows are held out also depends on flags. Runs with other ones must not be ranked together.
    chosen = hashlib.blake2b(Path(path, "eval", "start").read_bytes(), digest_size=16)
    manifest["eval"]["targets"] = f"blake2b:{chosen.hexdigest()}"
    return Examples(schema, train, held_out, manifest, recordings, prepared.reused)
