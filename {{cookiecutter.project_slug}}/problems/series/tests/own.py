"""EDIT THIS FILE: what the tests know of your data. All of it follows from the schema and the flags.

With data of your own, let FLAGS name a small part of it: the tests train on it several times.
"""

from __future__ import annotations

FLAGS: list[str] = []  # such as ["--data", str(ROOT / "data/small.csv"), "--target", "y"]
MISTAKE = (["--target", "nothing"], "no column 'nothing'; there are: ")  # flags, and their error


def make_instances(schema) -> list[dict]:
    """Make instances as a client sends them to scripts/predict.py."""
    time = [schema.step * i for i in range(schema.window)]
    still = {channel.name: [channel.mean] * schema.window for channel in schema.channels}
    lost = {name: [*values[:-1], None] for name, values in still.items()}
    return [{"samples": still, "time": time}, {"samples": lost}]
