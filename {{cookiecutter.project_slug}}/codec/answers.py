"""A model's raw outputs to the words of an answer, in the types of JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import numpy as np


def word_answer(outputs: Mapping[str, object]) -> dict:
    """The answer for one example, from what the model's signature returns for it.

    {"class": "a", "probabilities": {"a": 0.9, "b": 0.1}}, {"value": 1.5}, or any other outputs under
    their names. `labels` are the names of `probabilities`, and no part of the answer. Bytes that are
    no text, such as a PNG file, are {"b64": "…"}, as a client sends them.
    """
    # Sorted: TensorFlow returns the outputs in another order in each process.
    answer = {name: _to_json(value) for name, value in sorted(outputs.items())}
    if "labels" in answer and "probabilities" in answer:
        pairs = zip(answer.pop("labels"), answer["probabilities"], strict=True)
        answer["probabilities"] = dict(pairs)
    return answer


def _to_json(value):
    if isinstance(value, np.ndarray):
        return [_to_json(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, np.floating):
        return float(str(value))  # the shortest number that is exact in the value's own precision
    return value.item()
