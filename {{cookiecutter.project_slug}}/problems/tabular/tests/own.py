"""EDIT THIS FILE: what the tests know of your data. All of it follows from the schema and the flags.

With data of your own, let FLAGS name a small part of it: the tests train on it several times.
"""

from __future__ import annotations

FLAGS: list[str] = []  # such as ["--train-files", str(ROOT / "data/small.csv"), "--target", "y"]
MISTAKE = (["--target", "nothing"], "no column 'nothing'; there are: ")  # flags, and their error


def make_instances(schema) -> list[dict]:
    """Make instances as a client sends them to scripts/predict.py."""
    typical = {c.name: c.mean for c in schema.numbers}
    typical |= {c.name: c.categories[0] for c in schema.categories}
    typical |= {c.name: c.example for c in schema.dates}
    return [typical, dict.fromkeys(typical)]  # and one with no value known
