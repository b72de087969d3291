"""EDIT THIS FILE: your answers. `python scripts/course.py check` tests them; README.md says more."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

DATA = Path(__file__).with_name("data") / "birds.csv"


def share_of_majority(labels: list[str]) -> float:
    """The accuracy of a model that answers the most frequent label every time, from 0 to 1."""
    ### BEGIN SOLUTION
    most = max(labels.count(label) for label in set(labels))
    return most / len(labels)
    ### END SOLUTION


def find_leak(rows: list[dict[str, str]], target: str) -> str:
    """The column of numbers that gives the target away.

    It does so when no value lies between the smallest and the largest value of another label: the
    labels' ranges do not overlap. Return the name of the first such column, or "" for none.

    Args:
        rows: {column: value as text} of each row; a missing value is "".
        target: the column to predict.
    """
    ### BEGIN SOLUTION
    for column in rows[0]:
        ranges: dict[str, list[float]] = {}
        try:
            for row in rows:
                if column != target and row[column]:
                    ranges.setdefault(row[target], []).append(float(row[column]))
        except ValueError:
            continue  # a column of texts
        ends = sorted((min(values), max(values)) for values in ranges.values())
        if len(ends) > 1 and all(a[1] < b[0] for a, b in zip(ends, ends[1:], strict=False)):
            return column
    return ""
    ### END SOLUTION


def choose_columns() -> list[dict[str, str]]:
    """What the network must not see: [{"name": column, "kind": "ignore"}, …], as --schema takes it."""
    ### BEGIN SOLUTION
    return [{"name": "ring_number", "kind": "ignore"}]
    ### END SOLUTION


def get_flags() -> list[str]:
    """The flags of your training job. Add yours, such as "--hidden-units=32,16"."""
    schema = Path(tempfile.mkdtemp(), "columns.json")
    schema.write_text(json.dumps({"columns": choose_columns()}), encoding="utf-8")
    return [f"--schema={schema}"]
