"""The compiled call taken apart: `python pieces.py … trainer flags` trains with pieces left out.

Every batch is dealt and placed before the clock. Prints JSON: rows a second
for each way of doing less. `limits.py` starts it, in a baked repo.
"""

import json
import os
import sys

import keras
import tensorflow as tf
from trainer import data as tables
from trainer import model, runtime, strategy, task, train
from ways import deal_before, layers, rate, train_on


class Whole(train.Trainer):
    """As it is."""


class NoMetrics(train.Trainer):
    """Neither the mean of the loss nor the accuracy is kept."""

    def _count(self, *_):
        pass


class NoLookups(NoMetrics):
    """Nor are categories looked up: their places stand in for the embeddings, as wide as these."""

    def __init__(self, flags, place, data, spread):
        build, model.build = model.build, _without_lookups
        try:
            super().__init__(flags, place, data, spread)
        finally:
            model.build = build


class PlainDescent(NoMetrics):
    """Plain gradient descent in Adam's place: two variables a weight fewer to read and write."""

    def __init__(self, flags, place, data, spread):
        adam, train.make_optimizer = train.make_optimizer, _plain
        try:
            super().__init__(flags, place, data, spread)
        finally:
            train.make_optimizer = adam


class Forward(train.Trainer):
    """The loss of each batch and its mean; no gradient, no update."""

    def train_step(self, block, i):
        batch = {name: array[i] for name, array in block.items() if name != "rows"}
        target, weight = batch.pop("target"), batch.pop("weight")
        output = self.model(batch, training=True)
        self.metrics[0].update_state(model.loss(self.schema, self.flags, target, output), weight)


class Take(train.Trainer):
    """Each batch is taken from its block and added up; no model."""

    def train_step(self, block, i):
        found = [tf.reduce_sum(tf.cast(array[i], tf.float32)) for array in block.values()]
        self.metrics[0].update_state(tf.add_n(found))


PIECES = {
    "all of it": Whole,
    "without metrics": NoMetrics,
    "without metrics and lookups": NoLookups,
    "without metrics, plain descent for Adam": PlainDescent,
    "forward and loss only": Forward,
    "batches taken and added up, no model": Take,
}
PRODUCTS = "matrix products of a step, in the same kind of loop"


def _plain(flags, *_):
    return keras.optimizers.SGD(flags.learning_rate)


def _without_lookups(schema, flags):
    """`model.build` without its embedding."""
    numbers = keras.Input((schema.width,), name="numbers")
    categories = keras.Input((len(schema.categories),), dtype="int32", name="categories")
    places = keras.ops.cast(categories, "float32") / schema.vocabulary
    x = keras.layers.Concatenate()([numbers, keras.ops.tile(places, (1, flags.embedding_dim))])
    for units in flags.hidden_units:
        x = keras.layers.Dense(units, activation="relu")(x)
    output = keras.layers.Dense(len(schema.labels), dtype="float32")(x)
    return keras.Model({"numbers": numbers, "categories": categories}, output)


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
    total, each = data.train.steps(flags.batch_size), data.train.steps_per_block(flags.batch_size)

    def epoch(_):
        for start in range(0, total, each):
            steps(x, weights, tf.constant(min(each, total - start))).numpy()

    return rate(data.train.rows, epoch)


def main(words):
    flags, place = task.parse(words), runtime.read("unused")
    data = tables.load(flags, place)
    found, kept = {}, None
    for name, kind in PIECES.items():
        trainer, progress = (
            kind(flags, place, data, strategy.create("auto", place)),
            train.Progress(),
        )
        kept = deal_before(trainer, kept)
        done = rate(data.train.rows, lambda n, t=trainer, p=progress: train_on(t, p, n))
        found[name] = done["rate"]
    found[PRODUCTS] = products(flags, data)["rate"]
    print(json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
