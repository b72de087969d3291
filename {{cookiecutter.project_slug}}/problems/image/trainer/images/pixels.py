"""Decoded pictures, kept where that pays: in memory while they are few, on disk where they fit.

Decoding is what reading costs: kept on disk, pictures come several times faster, and in memory ten
times. What is kept bears the name of the shards' own digest: other shards are never taken for them.
"""

from __future__ import annotations

import functools
import math
import os
import shutil
import time
from dataclasses import dataclass

import numpy as np

from codec import files
from trainer.engine import cache
from trainer.images.shards import Dataset

FORMAT = 1  # raise it when the files change: old ones are then no longer found
SPLITS = ("train", "eval")
FEW = 1 << 28  # bytes of pixels that are decoded anew by each run, into memory
SPARE = 1 << 30  # bytes that stay free on a disk
AT_ONCE = 1 << 25  # bytes that are decoded in one go


@dataclass(frozen=True)
class Pixels:
    """The pictures that a run reads. Nothing is decoded before the first `read`.

    Not sooner, because TensorFlow decodes, and its strategy must be made before all else.
    """

    dataset: Dataset
    kept: str  # "memory", "disk", "none"
    why: str
    place: str  # the cache's folder

    def read(self, split: str, indices: np.ndarray) -> np.ndarray:
        """uint8 [n, height, width, channels], in the order asked for."""
        if self.kept == "none":
            return self.dataset.read(split, indices)[0]
        if self.kept == "memory":
            return np.take(self._memory[split], indices, axis=0)
        return np.take(self._mapped(split), indices, axis=0)

    def _count(self, split: str) -> int:
        return self.dataset.splits[split].count

    def _chunks(self, split: str):
        """The numbers of all pictures of a split, some at a time."""
        some, count = max(1, AT_ONCE // math.prod(self.dataset.shape)), self._count(split)
        return (range(start, min(start + some, count)) for start in range(0, count, some))

    @functools.cached_property
    def _memory(self) -> dict[str, np.ndarray]:
        found = {}
        for split in SPLITS:
            found[split] = np.empty((self._count(split), *self.dataset.shape), np.uint8)
            for rows in self._chunks(split):
                self.dataset.read(split, rows, found[split][rows.start : rows.stop])
        return found

    def _mapped(self, split: str) -> np.ndarray:
        """Opens the map anew: pages read through an old map count as memory until it closes."""
        shape = (self._count(split), *self.dataset.shape)
        return np.memmap(os.path.join(self._folder, split), np.uint8, "r", 0, shape)

    @functools.cached_property
    def _folder(self) -> str:
        start = time.monotonic()
        key = f"pixels-{FORMAT}-{self.dataset.digest[:20]}"
        with cache.alone(self.place):
            path, reused = cache.fill(self.place, key, self._write)
        if not reused:
            print(f"pictures decoded to {path} in {time.monotonic() - start:.0f} s", flush=True)
        return path

    def _write(self, folder: str) -> None:
        os.makedirs(folder)
        for split in SPLITS:
            with open(os.path.join(folder, split), "wb") as file:
                for rows in self._chunks(split):
                    self.dataset.read(split, rows)[0].tofile(file)


def choose(dataset: Dataset, wish: str, place: str) -> Pixels:
    """Where to keep the pictures of a dataset.

    Args:
        wish: --cache.
        place: the cache's folder.
    """
    size = sum(dataset.splits[split].count for split in SPLITS) * math.prod(dataset.shape)
    free = _free(place)
    needs = f"{megabytes(size)} of pixels"
    if wish != "auto":
        kept, why = wish, "--cache says so"
    elif size <= FEW:
        kept, why = "memory", f"they are few: {needs}"
    elif dataset.manifest.encoding == "raw" and not files.is_remote(dataset.path):
        kept, why = "none", "the shards hold them decoded"
    elif size + SPARE <= free:
        kept, why = "disk", f"they fit: {needs}, {megabytes(free)} free"
    else:
        kept, why = "none", f"they do not fit: {needs}, {megabytes(free)} free in {place}"
    return Pixels(dataset, kept, why, place)


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count < 1e8 else f"{count / 1e9:,.1f} GB"


def _free(folder: str) -> int:
    """Bytes free where a folder is, or will be made."""
    folder = os.path.abspath(folder)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return shutil.disk_usage(folder).free
