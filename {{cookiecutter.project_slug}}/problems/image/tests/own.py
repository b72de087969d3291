"""EDIT THIS FILE: what the tests know of your data. All of it follows from the schema and the flags.

With data of your own, let FLAGS name a small part of it: the tests train on it several times.
"""

from __future__ import annotations

FLAGS: list[str] = []  # such as ["--data", str(ROOT / "data/small")]
MISTAKE = (  # flags, and their error
    ["--data", "nothing"],
    "nothing: no such file or folder; expected SRC/<class>/*.jpg, or a CSV",
)


def make_instances(schema) -> list[dict]:
    """Make instances as a client sends them to scripts/predict.py."""
    size = schema.pictures.size
    grey, ramp = [[128] * size] * size, [[i * 255 // size for i in range(size)]] * size
    return [{"image": pixels} for pixels in (grey, ramp)]
