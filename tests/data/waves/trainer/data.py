"""EDIT THIS FILE: waves, float32 [rows, length], in a .npy file for each shape."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from codec.errors import JobError
from codec.schema import Schema
from trainer.engine import batching

READER = "numpy"


class Waves(NamedTuple):
    samples: np.ndarray  # float32 [rows, length]
    shapes: np.ndarray  # int32 [rows]
    rows: int

    def steps_per_block(self, batch_size):
        return max(1, self.rows // batch_size)

    def batches(self, batch_size, seed=None, epoch=0, first=0, share=batching.WHOLE):
        order = (self.steps_per_block(batch_size), 1, seed, epoch, first, share)
        for b in batching.arrange(self.rows, batch_size, *order):
            yield b.steps, ({"samples": self.samples[b.indices()]}, self.shapes[b.indices()])


class Examples(NamedTuple):
    schema: Schema
    classes: list[str]
    train: Waves
    eval: Waves
    manifest: dict

    def describe(self):
        return f"waves: {self.train.rows} for training, {self.eval.rows} held out"


def load(flags, runtime):
    paths = sorted(Path(flags.data or "data").glob("*.npy"))
    if len(paths) < 2:
        raise JobError(f"{flags.data}: no two files SHAPE.npy in this folder")
    files = [{"path": str(p), "digest": hashlib.md5(p.read_bytes()).hexdigest()} for p in paths]
    waves, labels = [*map(np.load, paths)], [path.stem for path in paths]
    shapes = np.repeat(np.arange(len(waves), dtype=np.int32), [*map(len, waves)])
    samples, held_out = np.concatenate(waves), np.arange(len(shapes)) % 5 == 0
    parts = [Waves(samples[p], shapes[p], int(p.sum())) for p in (~held_out, held_out)]
    manifest = dict.fromkeys(("train", "eval"), {"files": files})
    return Examples(Schema(labels, samples.shape[1]), labels, *parts, manifest)
