"""What all kinds of data share in codec/: the words of an answer."""

import importlib.util
import json

import numpy as np
import pytest

from conftest import PRODUCT


@pytest.fixture(scope="module")
def answers():
    spec = importlib.util.spec_from_file_location("answers_of_codec", PRODUCT / "codec/answers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LABELS = np.array([b"cat", "größer".encode()], object)


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (
            {"probabilities": np.float32([0.9, 0.1]), "labels": LABELS, "class": b"cat"},
            '{"class": "cat", "probabilities": {"cat": 0.9, "größer": 0.1}}',
        ),
        ({"value": np.float32(0.1)}, '{"value": 0.1}'),
        ({"value": np.float64(1e300)}, '{"value": 1e+300}'),
        (
            {"value": np.float32(2), "labels": LABELS, "probabilities": np.float32([0, 1])},
            '{"probabilities": {"cat": 0.0, "größer": 1.0}, "value": 2.0}',
        ),
        ({"mask": np.int32([[0, 1], [2, 3]])}, '{"mask": [[0, 1], [2, 3]]}'),
        ({"labels": LABELS, "seen": np.bool_(True)}, '{"labels": ["cat", "größer"], "seen": true}'),
        ({"output": np.float32([[0.1], [0.2]])}, '{"output": [[0.1], [0.2]]}'),
        ({"output": np.zeros((0, 2), np.float32)}, '{"output": []}'),
        ({"mask": b"\x89PNG\r\n"}, '{"mask": {"b64": "iVBORw0K"}}'),
    ],
)
def test_the_outputs_of_any_model_become_an_answer(answers, outputs, expected):
    assert json.dumps(answers.word_answer(outputs), ensure_ascii=False) == expected
