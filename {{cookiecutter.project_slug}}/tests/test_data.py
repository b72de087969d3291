"""Your data: every example counts once an epoch, in an order that can be repeated.

If one of these fails after an edit of `trainer/data.py`, runs cannot be repeated or resumed, or
examples are lost.
"""

from collections import Counter

import keras
import numpy as np
import own
import pytest
from conftest import load, tree

from trainer.engine.examples import Examples, Part
from trainer.engine.runtime import JobError

SIZE = 7  # of a batch: the last one of an epoch is smaller


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> Examples:
    return load(tmp_path_factory.mktemp("data") / "run", *own.FLAGS)


def read_batches(part: Part, size: int = SIZE, **order) -> list[list[bytes]]:
    """The examples of each batch of an epoch, each as the bytes of its inputs and its target."""
    batches = []
    for steps, block in part.batches(size, **order):
        arrays = keras.tree.flatten(block)
        for i in range(steps):
            rows = zip(*(array[i] for array in arrays), strict=True)
            batches.append([b"".join(np.asarray(v).tobytes() for v in row) for row in rows])
    return batches


def count(batches: list[list[bytes]]) -> Counter:
    return Counter(row for batch in batches for row in batch)


def test_there_are_examples_to_train_on_and_to_hold_out(examples):
    assert isinstance(examples, Examples)
    assert isinstance(examples.train, Part) and isinstance(examples.eval, Part)
    assert examples.train.rows > 1 and examples.eval.rows > 0
    assert all(file["digest"] for part in examples.manifest.values() for file in part["files"])
    assert examples.describe()


@pytest.mark.parametrize("name", ["train", "eval"])
def test_an_epoch_has_each_example_once(examples, name):
    part = getattr(examples, name)

    stored, shuffled = read_batches(part), read_batches(part, seed=1, epoch=2)

    assert {len(batch) for batch in shuffled[:-1]} <= {SIZE}
    assert sum(map(len, stored)) == part.rows
    assert count(shuffled) == count(stored)


@pytest.mark.parametrize("name", ["train", "eval"])
def test_numbers_are_finite(examples, name):
    for _, block in getattr(examples, name).batches(SIZE):
        for array in keras.tree.flatten(block):
            assert array.dtype.kind != "f" or np.isfinite(array).all()


def test_the_order_depends_on_seed_and_epoch_alone(examples):
    order = read_batches(examples.train, seed=5, epoch=2)

    assert read_batches(examples.train, seed=5, epoch=2) == order
    assert read_batches(examples.train, seed=5, epoch=3) != order
    assert read_batches(examples.train, seed=6, epoch=2) != order


def test_an_epoch_resumes_in_the_middle(examples):
    whole = read_batches(examples.train, seed=1, epoch=4)
    half = len(whole) // 2

    assert read_batches(examples.train, seed=1, epoch=4, first=half) == whole[half:]


def test_two_replicas_share_each_batch(examples):
    """On the last batch they may not: each replica needs an example of it."""
    whole = read_batches(examples.train, seed=1)
    shares = [read_batches(examples.train, seed=1, share=(i, 1, 2)) for i in range(2)]

    together = [one + other for one, other in zip(*shares, strict=True)]
    assert together == whole[: len(together)] and len(whole) - len(together) <= 1


def test_each_run_holds_out_the_same_examples(examples):
    again = load("another/run", *own.FLAGS)

    for name in ("train", "eval"):
        assert read_batches(getattr(again, name)) == read_batches(getattr(examples, name))


def test_a_mistake_in_a_flag_is_one_line_and_leaves_nothing():
    flags, expected = own.MISTAKE

    with pytest.raises(JobError) as refused:
        load("run", *own.FLAGS, *flags)

    assert expected in str(refused.value) and "\n" not in str(refused.value)
    assert tree() == []
