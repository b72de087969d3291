"""Your model: a step changes it, and it can learn a batch by heart.

A model that fails here has a loss that does not reach its weights: a layer left out, labels that do
not belong to the rows, a learning rate of nothing.
"""

import keras
import numpy as np
import own
import pytest
from conftest import load

from trainer import task
from trainer.engine import runtime
from trainer.engine.training import Training

STEPS = 50


@pytest.fixture(scope="module")
def training(tmp_path_factory) -> Training:
    """A new model and its data, as the loop gets them."""
    run = str(tmp_path_factory.mktemp("model") / "run")
    flags = task.parse(["--job-dir", run, "--strategy", "one-device", *own.FLAGS])
    return Training(flags, runtime.read(run), load(run, *own.FLAGS))


def read_weights(model: keras.Model) -> list[np.ndarray]:
    return [weight.numpy() for weight in model.trainable_weights]


def measure_loss(training: Training, block, rows: int) -> float:
    training.model.reset_metrics()
    training.steps.test(block, 1, rows)
    return training.steps.results()["loss"]


def test_a_step_changes_the_weights(training):
    _, rows, block = next(training.blocks(0))
    before = read_weights(training.model)

    next(training.steps.train(block, 1, rows))

    after = read_weights(training.model)
    assert any(np.any(a != b) for a, b in zip(after, before, strict=True))
    assert all(np.isfinite(weight).all() for weight in after)


def test_the_loss_of_a_batch_falls_when_it_is_seen_again_and_again(training):
    _, rows, block = next(training.blocks(0))
    before = measure_loss(training, block, rows)

    for _ in range(STEPS):
        next(training.steps.train(block, 1, rows))

    assert measure_loss(training, block, rows) < before
