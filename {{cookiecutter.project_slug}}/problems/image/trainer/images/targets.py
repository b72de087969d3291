"""Images as targets: a mask for each image, in a folder of its own (`--target DIR`)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from codec import files, images
from trainer.engine.runtime import JobError, join
from trainer.images.shards import Dataset

AT_ONCE = 16  # files at a time: in a bucket each takes its time


def read(folder: str, names: Sequence[str], dataset: Dataset) -> np.ndarray:
    """uint8 [n, height, width, 1]: for each image the PNG file of the same path below the folder.

    It is made grey and resized as the images were, so that both stay in line.

    Args:
        names: paths of images, such as "cat/1.jpg", whose target is "cat/1.png".

    Raises:
        JobError: a file is missing, or is no image.
    """

    def load(name: str) -> np.ndarray:
        try:
            image = images.decode(_read_bytes(folder, name))
        except images.Rejected as rejected:
            raise JobError(f"{_path(folder, name)}: {rejected}; {name} needs a target") from None
        return np.asarray(images.fit(image, dataset.size, 1, dataset.manifest.resize))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return np.stack([*pool.map(load, names)])[..., np.newaxis]


def identify(folder: str, names: Sequence[str]) -> dict:
    """What identifies the targets of these images: where they are, bytes, and a digest of them all.

    Raises:
        JobError: a file is missing, or cannot be read.
    """

    def describe(name: str) -> tuple[int, str]:
        data = _read_bytes(folder, name)
        return len(data), hashlib.sha256(data).hexdigest()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        sizes, digests = zip(*pool.map(describe, names), strict=True)
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()
    return {"path": join(folder, "*.png"), "bytes": sum(sizes), "digest": f"sha256:{digest}"}


def _path(folder: str, name: str) -> str:
    return join(folder, os.path.splitext(name)[0] + ".png")


def _read_bytes(folder: str, name: str) -> bytes:
    path = _path(folder, name)
    try:
        with files.open(path, "rb") as file:
            return file.read()
    except OSError as error:
        problem = error.strerror or error
        raise JobError(f"{path}: cannot be read ({problem}); {name} needs a target") from None
