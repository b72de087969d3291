"""Decoded images, kept where that pays: in memory while they are few, on disk where they fit.

Decoding is most of the cost of reading: from a disk, decoded images are read several times faster, and
from memory ten times. Kept images are named by the shards' digest, and never confused with others.
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
from trainer.images.lock import alone
from trainer.images.shards import Dataset

FORMAT = 1  # raise it when the files change: old ones are then no longer used
SPLITS = ("train", "eval")
FEW = 1 << 28  # bytes of pixels that each run decodes into memory
SPARE = 1 << 30  # bytes that stay free on a disk
AT_ONCE = 1 << 25  # bytes that are decoded at once
ALIGNMENT = 64  # bytes


@dataclass(frozen=True)
class Pixels:
    """The images that a run reads. None is decoded before the first `read`, because TensorFlow decodes
    them, and its strategy must be made before anything else."""

    dataset: Dataset
    kept: str  # "memory", "disk", "none"
    why: str
    folder: str  # the cache's

    def read(self, split: str, indices: np.ndarray) -> np.ndarray:
        """uint8 [n, height, width, channels], in the order of `indices`."""
        if self.kept == "none":
            return self.dataset.read(split, indices)[0]
        images = self._memory[split] if self.kept == "memory" else self._mapped(split)
        # Another mode would copy twice.
        return np.take(images, indices, 0, _allocate(len(indices), self.dataset.shape), "clip")

    def _count(self, split: str) -> int:
        return self.dataset.splits[split].count

    def _chunks(self, split: str):
        """The numbers of all images of a split, in ranges."""
        step, count = max(1, AT_ONCE // math.prod(self.dataset.shape)), self._count(split)
        return (range(start, min(start + step, count)) for start in range(0, count, step))

    @functools.cached_property
    def _memory(self) -> dict[str, np.ndarray]:
        memory = {}
        for split in SPLITS:
            memory[split] = np.empty((self._count(split), *self.dataset.shape), np.uint8)
            for rows in self._chunks(split):
                memory[split][rows.start : rows.stop] = self.dataset.read(split, rows)[0]
        return memory

    def _mapped(self, split: str) -> np.ndarray:
        """Open a new map each time: pages read through a map count as memory until it is closed."""
        shape = (self._count(split), *self.dataset.shape)
        return np.memmap(os.path.join(self._folder, split), np.uint8, "r", 0, shape)

    @functools.cached_property
    def _folder(self) -> str:
        start = time.monotonic()
        key = f"pixels-{FORMAT}-{self.dataset.digest[:20]}"
        with alone(self.folder):
            path, reused = cache.fill(self.folder, key, self._write)
        if not reused:
            print(f"images decoded to {path} in {time.monotonic() - start:.0f} s", flush=True)
        return path

    def _write(self, folder: str) -> None:
        os.makedirs(folder)
        for split in SPLITS:
            with open(os.path.join(folder, split), "wb") as file:
                for rows in self._chunks(split):
                    self.dataset.read(split, rows)[0].tofile(file)


def choose(dataset: Dataset, wish: str, folder: str) -> Pixels:
    """Decide where to keep the images of a dataset.

    Args:
        wish: --cache.
        folder: the cache's.
    """
    size = sum(dataset.splits[split].count for split in SPLITS) * math.prod(dataset.shape)
    free = _free(folder)
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
        kept, why = "none", f"they do not fit: {needs}, {megabytes(free)} free in {folder}"
    return Pixels(dataset, kept, why, folder)


def _allocate(count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """uint8 [count, *shape], aligned: TensorFlow takes it as it is, and copies NumPy's own arrays."""
    size = count * math.prod(shape)
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].reshape(count, *shape)


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count < 1e8 else f"{count / 1e9:,.1f} GB"


def _free(folder: str) -> int:
    """Bytes free where a folder is, or will be made."""
    folder = os.path.abspath(folder)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return shutil.disk_usage(folder).free
