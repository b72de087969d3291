"""The compiled call taken apart: `python pieces.py … trainer flags` trains with pieces left out.

Every batch is prepared before timing starts. Prints JSON: rows a second
for each way of doing less. `limits.py` starts it, in a baked repo.
"""

import json
import os
import sys

import keras
import tensorflow as tf
from trainer import data as tables
from trainer import model, task
from trainer.engine import runtime
from ways import layers, make_training, prepare_batches, rate, train_on


def whole(flags, data):
    """As it is."""
    return make_training(flags, data)


def no_metrics(flags, data, build=model.build):
    """The loss is kept, which every model keeps, and no accuracy."""

    def build_without(examples, flags):
        net = build(examples, flags)
        net.compile(net.optimizer, net.loss)
        return net

    return _with_build(build_without, flags, data)


def no_lookups(flags, data):
    """Nor are categories looked up: their places stand in for the embeddings, as wide as these."""
    return no_metrics(flags, data, _without_lookups)


def plain_descent(flags, data):
    """Plain gradient descent in Adam's place: two variables a weight fewer to read and write."""

    def build(examples, flags):
        net = model_build(examples, flags)
        net.compile(keras.optimizers.SGD(flags.learning_rate), net.loss)
        return net

    model_build = model.build
    return _with_build(build, flags, data)


def forward(flags, data):
    """The loss of each batch and its mean; no gradient, no update."""
    return _with_step(flags, data, lambda steps, batch: steps.model.test_step(batch))


def take(flags, data):
    """Each batch is taken from its block and added up; no model."""

    def add_up(steps, batch):
        sums = [tf.reduce_sum(tf.cast(a, tf.float32)) for a in keras.tree.flatten(batch)]
        steps.model.metrics[0].update_state(tf.add_n(sums))

    return _with_step(flags, data, add_up)


PIECES = {
    "all of it": whole,
    "without metrics": no_metrics,
    "without metrics and lookups": no_lookups,
    "without metrics, plain descent for Adam": plain_descent,
    "forward and loss only": forward,
    "batches taken and added up, no model": take,
}
PRODUCTS = "matrix products of a step, in the same kind of loop"


def _with_build(build, flags, data):
    before, model.build = model.build, build
    try:
        return make_training(flags, data)
    finally:
        model.build = before


def _with_step(flags, data, step):
    """`step` in the place of the model's own `train_step`."""
    training = make_training(flags, data)
    training.model.train_step = lambda batch: step(training.steps, batch)
    training.begin(0)  # compiles the calls again
    return training


def _without_lookups(examples, flags):
    """`model.build` without its embedding."""
    numbers = keras.Input((examples.numbers,), name="numbers")
    categories = keras.Input((examples.categories,), dtype="int32", name="categories")
    places = keras.ops.cast(categories, "float32") / examples.vocabulary
    x = keras.layers.Concatenate()([numbers, keras.ops.tile(places, (1, flags.embedding_dim))])
    for units in flags.hidden_units:
        x = keras.layers.Dense(units, activation="relu")(x)
    output = keras.layers.Dense(len(examples.classes), dtype="float32")(x)
    net = keras.Model({"numbers": numbers, "categories": categories}, output)
    net.compile(
        model.optimizer(flags), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return net


def products(flags, data):
    """The floor of `ways.py`, but compiled by XLA; results go into what is used next, so that the
    compiler leaves nothing out."""
    values, weights = layers(flags, data)
    tiny = 1e-12

    @tf.function(jit_compile=True)
    def steps(x, weights, count):
        i = 0
        while i < count:
            values, changed = [x], []
            for weight in weights:
                values.append(values[-1] @ weight)
            down = values.pop()
            for weight, value in zip(weights[::-1], values[::-1], strict=True):
                changed.append(weight - tiny * (tf.transpose(value) @ down))
                down = down @ tf.transpose(weight)
            x, weights = x - tiny * down, tuple(changed[::-1])
            i += 1
        return x

    x, weights = tf.constant(values[0]), tuple(map(tf.constant, weights))
    total = -(-data.train.rows // flags.batch_size)
    each = data.train.steps_per_block(flags.batch_size)

    def epoch(_):
        for start in range(0, total, each):
            steps(x, weights, tf.constant(min(each, total - start))).numpy()

    return rate(data.train.rows, epoch)


def main(words):
    flags = task.parse(words)
    data = tables.load(flags, runtime.read("unused"))
    found, kept = {}, None
    for name, piece in PIECES.items():
        training = piece(flags, data)
        kept = prepare_batches(training, kept)
        found[name] = rate(data.train.rows, train_on(training))["rate"]
    found[PRODUCTS] = products(flags, data)["rate"]
    print(json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
