"""The data that came with this project: handwritten digits, as PNG files in class folders.

8×8 greys, 1,797 of them; data/README.md names their authors.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from codec import files
from trainer.engine import cache
from trainer.engine.runtime import JobError, join

OWN_DATA = Path(__file__).resolve().parents[2] / "data"
PACKED = "digits.npz"
INK = 16  # the highest value there; in a PNG it is 255


def write(folder: str, own: str) -> str:
    """Write folder/<digit>/<number>.png, unless the folder exists; return the folder.

    Args:
        own: the folder of this project's data, local or gs://.

    Raises:
        JobError: the digits are missing.
    """
    if os.path.isdir(folder):
        return folder
    packed = _unpack(join(own, PACKED))
    parent = os.path.dirname(os.path.abspath(folder))
    os.makedirs(parent, exist_ok=True)
    pixels = (packed["images"] * 255.0 / INK).round().astype(np.uint8)
    with cache.new_partial(parent) as partial:
        finished = os.path.join(partial, "finished")
        for label in np.unique(packed["labels"]):
            os.makedirs(os.path.join(finished, str(label)))
        for number, (image, label) in enumerate(zip(pixels, packed["labels"], strict=True)):
            Image.fromarray(image).save(os.path.join(finished, str(label), f"{number:04d}.png"))
        try:
            os.rename(finished, folder)
        except OSError:
            if not os.path.isdir(folder):  # another process may have been faster
                raise
    return folder


def _unpack(path: str) -> dict[str, np.ndarray]:
    try:
        with files.open(path, "rb") as file:
            packed = np.load(io.BytesIO(file.read()))
        return {name: packed[name] for name in ("images", "labels")}
    except (OSError, ValueError, KeyError) as error:
        raise JobError(f"{path}: cannot be read ({error}); name your own images: --data") from None
