"""A model's raw outputs to the words of answers."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import numpy as np


def word_answers(outputs: Mapping[str, np.ndarray], top: int | None = None) -> list[dict]:
    """The answer for each row of what a model returns, arrays [rows, …] by name.

    {"class": "a", "probabilities": {"a": 0.9, "b": 0.1}}, {"value": 1.5}, or any other outputs under
    their names. `labels` are the names of `probabilities`, the same for all rows, so that its first
    row is enough; they are no part of the answer. Bytes that are no text, such as a PNG file, are
    {"b64": "…"}, as a client sends them. Numbers stay NumPy's: see `to_plain`.

    Args:
        top: keep so many probabilities, the likeliest first.
    """
    named = "labels" in outputs and "probabilities" in outputs
    columns = {}
    # Sorted: TensorFlow returns the outputs in another order in each process.
    for name, array in sorted(outputs.items()):
        if name == "probabilities" and named:
            columns[name] = _name_probabilities(array, _to_texts(outputs["labels"])[0], top)
        elif name != "labels" or not named:
            columns[name] = _to_texts(array) if array.dtype.kind in "OSU" else list(array)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _name_probabilities(shares: np.ndarray, labels: list[str], top: int | None) -> list[dict]:
    if top is None:
        return [dict(zip(labels, row, strict=True)) for row in shares]
    order = np.argsort(-shares, axis=1, kind="stable")[:, :top]
    return [{labels[i]: row[i] for i in best} for row, best in zip(shares, order, strict=True)]


def _to_texts(value):
    if isinstance(value, (np.ndarray, list)):
        return [_to_texts(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    return str(value) if isinstance(value, str) else value  # NumPy's texts are no JSON to orjson


def to_plain(value: object) -> object:
    """NumPy's numbers and arrays as `json.dumps(…, default=to_plain)` writes them.

    `orjson` with OPT_SERIALIZE_NUMPY writes the same: the shortest text that is exact in the number's
    own precision.
    """
    if isinstance(value, np.ndarray):
        return list(value)
    if isinstance(value, np.floating):
        return float(str(value))
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
