"""EDIT THIS FILE: images for training, made into shards where they are not yet, in shuffled batches.

They stay uint8 up to the model's input. The order of an epoch follows from the seed and the epoch
alone, wherever the pixels are kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from codec import files
from codec.schema import Pictures, Schema
from codec.shards.make import make_shards
from codec.shards.manifest import MANIFEST, Options
from trainer.engine import batching, cache
from trainer.engine.runtime import JobError, Runtime, join
from trainer.images import digits, targets
from trainer.images.lock import alone
from trainer.images.pixels import Pixels, choose
from trainer.images.shards import Dataset

READER = "pillow"  # the package that the shards depend on, for run.json
NEIGHBOURS = 16  # images that stay together in a shard when an epoch is shuffled
AT_ONCE = 1 << 16  # images that are shuffled together in memory,
AT_ONCE_BYTES = 1 << 25  # or fewer where they are large
DIGITS = Options(size=8, channels=1, encoding="raw", eval_share=0.2, test_share=0.0)
# By --target, the task and what is predicted; any other --target is a folder of images.
TASKS = {"class": ("classification", "class"), "none": ("reconstruction", "")}
REPORT_EVERY = 10.0  # seconds, while shards are made


@dataclass(frozen=True)
class Split:
    """The images of one split, with their targets."""

    pixels: Pixels
    split: str
    target: str = "class"  # or "none", or the folder of the target images: --target

    @property
    def rows(self) -> int:
        """Images."""
        return self.pixels.dataset.splits[self.split].count

    def batches(
        self,
        batch_size: int,
        seed: int | None = None,
        epoch: int = 0,
        first: int = 0,
        share: tuple[int, int, int] = batching.WHOLE,
    ) -> Iterator[tuple[int, tuple]]:
        """The batches of one epoch, many at a time: `batching.arrange` explains the arguments.

        Yields `(steps, (inputs, target))`, or `(steps, (inputs,))` without a target: `image` uint8
        [K, share of batch_size, height, width, channels] and `targets` [K, share of batch_size, …],
        of which the first `steps` batches count. A replica reads its own share, and no other.
        """
        at_once = self.steps_per_block(batch_size)
        order = (seed, epoch, first, share)
        for batches in batching.arrange(self.rows, batch_size, at_once, NEIGHBOURS, *order):
            rows = batches.rows()
            target = () if self.target == "none" else (batches.fill(self.targets(rows)),)
            yield batches.steps, ({"image": batches.fill(self.read(rows))}, *target)

    def steps_per_block(self, batch_size: int) -> int:
        rows = min(AT_ONCE, AT_ONCE_BYTES // math.prod(self.pixels.dataset.shape), self.rows)
        return max(1, rows // batch_size)

    def targets(self, rows: Sequence[int]) -> np.ndarray:
        """int32 [n]: the classes of these rows; or uint8 [n, height, width, 1]: their target images.

        Raises:
            JobError: a target image is missing, or cannot be read.
        """
        if self.target == "class":
            return self.pixels.dataset.targets(self.split)[rows]
        return targets.read(self.target, self.names(rows), self.pixels.dataset)

    def read(self, rows: Sequence[int]) -> np.ndarray:
        """uint8 [n, height, width, channels]: the images of these rows."""
        return self.pixels.read(self.split, np.asarray(rows))

    def names(self, rows: Sequence[int]) -> list[str]:
        """The paths of the files that these images came from."""
        return self.pixels.dataset.names(self.split, rows)

    def class_counts(self) -> np.ndarray:
        """int64 [classes]: images of each class."""
        classes = self.pixels.dataset.targets(self.split)
        return np.bincount(classes, minlength=len(self.pixels.dataset.labels))


@dataclass(frozen=True)
class Examples:
    """All that `model.py` and the loop know of the data: `engine/examples.py` says what they need."""

    schema: Schema
    train: Split
    eval: Split
    manifest: dict  # for run.json: files, bytes, digests, rows

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels of the input `image`, uint8 [batch, height, width, channels]."""
        return self.schema.pictures.shape

    @property
    def classes(self) -> list[str]:
        """Names of the classes; the target is their number, int32 [batch]. [] for other targets."""
        return self.schema.labels

    def describe(self) -> str:
        """What the data is and how it is read, for the log."""
        pixels, looks = self.train.pixels, self.schema.pictures
        lines = [
            f"{self.schema.task} of images: {self.train.rows} for training, {self.eval.rows} "
            f"held-out, {looks.size}x{looks.size} {'grey' if looks.channels == 1 else 'RGB'}",
        ]
        if self.classes:
            more = f", … ({len(self.classes)} in all)" if len(self.classes) > 20 else ""
            lines.append(f"classes: {', '.join(self.classes[:20])}{more}")
        lines += [*self.schema.notes, f"shards: {pixels.dataset.path}"]
        kept = {"none": "decoded again in each epoch"}
        lines.append(
            f"decoded images: {kept.get(pixels.kept, 'kept in ' + pixels.kept)} ({pixels.why})"
        )
        return "\n".join(lines)


def load(flags: argparse.Namespace, runtime: Runtime) -> Examples:
    """Open the shards that the flags name; make them where there are only images.

    Raises:
        JobError: any fault in the flags or in the files.
    """
    folder = flags.cache_dir or cache.beside(runtime.job_dir)
    task, target = TASKS.get(flags.target, ("segmentation", "mask"))
    if task == "segmentation" and not files.exists(flags.target):
        raise JobError(f"--target {flags.target}: no such folder; write class, none, or the folder")
    # A job that installs the trainer as a package has no data/ beside it: OWN_DATA_URI names a copy.
    own = runtime.contract.get("OWN_DATA_URI") or str(digits.OWN_DATA)
    dataset = _open_dataset(flags, folder, own)
    if task == "classification" and len(dataset.labels) < 2:
        raise JobError(
            f"{dataset.path}: one class, {dataset.labels[0]!r}; a classifier needs two: a folder "
            "for each, DIR/<class>/*.jpg"
        )
    for split, share in (("train", "a smaller --eval-share"), ("eval", "a larger --eval-share")):
        if not dataset.splits[split].count:
            raise JobError(
                f"{dataset.path}: no image is in the split {split!r}; make the shards with "
                f"{share}: python scripts/data.py shards"
            )
    looks = Pictures(dataset.size, dataset.shape[2], dataset.manifest.resize)
    pixels = choose(dataset, flags.cache, folder)
    labels = list(dataset.labels) if task == "classification" else []
    splits = {name: Split(pixels, name, flags.target) for name in ("train", "eval")}
    return Examples(
        Schema(labels, looks, target, task, dataset.remarks()),
        **splits,
        manifest={name: _identify(split) for name, split in splits.items()},
    )


def _open_dataset(flags, folder: str, own: str) -> Dataset:
    """The shards that --data names, or that are made of the images that it names."""
    if flags.data is None:
        if flags.group:
            raise JobError("--group: the digits have no groups; name images with --data")
        with alone(folder):
            source = digits.write(os.path.join(folder, "digits"), own)
            return _make(source, DIGITS, flags.image_size, folder)
    source = flags.data.rstrip("/") or "/"
    if not files.exists(join(source, MANIFEST)):
        with alone(folder):
            options = Options(group=flags.group)
            return _make(source, options, flags.image_size, folder)
    dataset = Dataset.open(source)
    if flags.group not in ("", dataset.manifest.group):
        raise JobError(
            f"--group {flags.group}: the shards in {source} have "
            f"{dataset.manifest.group or 'none'}; make others: python scripts/data.py shards SRC DST "
            f"--group {flags.group}"
        )
    if flags.image_size not in (None, dataset.size):
        raise JobError(
            f"--image-size {flags.image_size}, but the shards in {source} have {dataset.size}; "
            "leave it out, or make others: python scripts/data.py shards SRC DST --size "
            f"{flags.image_size}"
        )
    return dataset


def _make(source: str, options: Options, size: int | None, folder: str) -> Dataset:
    """Shards in the cache; where no image has changed, those of the run before."""
    if size:
        options = replace(options, size=size)
    identity = [source if files.is_remote(source) else os.path.abspath(source), repr(options)]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:20]
    target = os.path.join(folder, f"shards-{key}")
    made = make_shards(source, target, options, replace=True, progress=_report_progress())
    return Dataset(made.path, made.manifest)


def _report_progress() -> Callable[[str, int, int], None]:
    """A function that prints now and then how far the shards are."""
    last = time.monotonic()

    def report(step: str, done: int, total: int) -> None:
        nonlocal last
        if total and time.monotonic() - last > REPORT_EVERY:
            last = time.monotonic()
            print(f"making shards: {step} {done} of {total} images", flush=True)

    return report


def _identify(split: Split) -> dict:
    """What identifies the examples of this split: the checksums of its shards and of its targets."""
    dataset = split.pixels.dataset
    part = dataset.splits[split.split]
    digest = hashlib.sha256("".join(shard.sha256 for shard in part.shards).encode()).hexdigest()
    shards_ = {
        "path": join(dataset.path, f"{split.split}-*.tfrecord"),
        "bytes": sum(shard.bytes for shard in part.shards),
        "digest": f"sha256:{digest}",
    }
    own = (
        []
        if split.target in TASKS
        else [targets.identify(split.target, split.names(range(part.count)))]
    )
    return {"files": [shards_, *own], "rows": part.count, "classes": part.classes}
