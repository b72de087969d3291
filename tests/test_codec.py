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
    arrays = {name: np.array([value]) for name, value in outputs.items()}
    [answer] = answers.word_answers(arrays)
    assert json.dumps(answer, ensure_ascii=False, default=answers.to_plain) == expected


def test_each_row_has_its_answer_and_top_keeps_the_likeliest(answers):
    shares = np.float32([[0.2, 0.7, 0.1], [0.4, 0.2, 0.4]])
    outputs = {"probabilities": shares, "labels": np.array([["a", "b", "c"]])}
    whole = [{"a": 0.2, "b": 0.7, "c": 0.1}, {"a": 0.4, "b": 0.2, "c": 0.4}]
    likeliest = ['{"b": 0.7, "a": 0.2}', '{"a": 0.4, "c": 0.4}']

    worded = json.dumps(answers.word_answers(outputs), default=answers.to_plain)
    cut = [one["probabilities"] for one in answers.word_answers(outputs, top=2)]

    assert json.loads(worded) == [{"probabilities": row} for row in whole]
    assert [json.dumps(one, default=answers.to_plain) for one in cut] == likeliest
