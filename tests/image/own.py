"""What the tests know of images: some on the spot, the trainer as its flags reach it, a trained model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Trained, train
from PIL import Image

from trainer import data, task
from trainer.engine import runtime

MISTAKE = (
    ["--data", "nothing"],
    "nothing: no such file or folder; expected SRC/<class>/*.jpg, or a CSV",
)


def write_images(folder: str, size: int = 8, **counts: int) -> str:
    """PNG files of random pixels in class folders, the same ones each time; returns the folder."""
    for number, (label, count) in enumerate(counts.items()):
        (Path(folder) / label).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = np.random.default_rng([number, i]).integers(0, 256, (size, size, 3), np.uint8)
            Image.fromarray(pixels).save(f"{folder}/{label}/{i:04d}.png")
    return folder


def load(*flags: str) -> data.Examples:
    """What the trainer makes of these flags, up to the point where it would import TensorFlow."""
    parsed = task.parse(["--job-dir", "runs/a", *flags])
    return data.load(parsed, runtime.read(parsed.job_dir))


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> Trained:
    """A classifier of the data that came with this project's template."""
    return train(tmp_path_factory.mktemp("digits") / "run")
