"""One way of training the same model, in a process of its own: `python ways.py WAY … trainer flags`.

Trains one epoch to warm up and more that are timed; prints JSON: rows a second of these, and
val_loss after the second. `tabular.py` and `growth.py` start it, in a baked repo.
"""

import json
import os
import sys
import time
from dataclasses import fields, replace

import numpy as np

TIMED = 1.0  # seconds that are timed at least: shorter ones are noise


def rate(rows, epoch, evaluate=None):
    """Rows a second of the epochs after the first; evaluate() gives val_loss after the second.

    Args:
        epoch: trains on `rows` rows; takes the epoch's number.
    """
    epoch(0)
    seconds, count, found = 0.0, 0, {}
    while seconds < TIMED:
        count += 1
        start = time.perf_counter()
        epoch(count)
        seconds += time.perf_counter() - start
        if evaluate and count == 1:
            found["val_loss"] = evaluate()
    return {"rate": rows * count / seconds, **found}


def loop(flags, data):
    """The trainer's own loop."""
    training = make_training(flags, data)
    return rate(data.train.rows, train_on(training), lambda: training.evaluate()["val_loss"])


def ram(flags, data):
    """The same, with the encoded arrays held in memory instead of mapped from disk."""
    kept = {name: np.array(array) for name, array in data.train.arrays().items()}
    return loop(flags, _with_train(data, arrays=lambda _: kept))


def prepared(flags, data):
    """The compiled calls alone: every batch was prepared before timing starts."""
    training = make_training(flags, data)
    prepare_batches(training)
    return rate(data.train.rows, train_on(training))


def assemble(flags, data):
    """Shuffling and assembling the batches alone: no training."""

    def epoch(number):
        for _ in data.train.batches(flags.batch_size, flags.seed, number):
            pass

    return rate(data.train.rows, epoch)


def train_on(training):
    """A function that trains an epoch, given its number, as the trainer's own loop does."""

    def epoch(number):
        training.progress.epoch, training.progress.step = number, 0
        for steps, rows, block in training.blocks(number):
            for done, loss in training.steps.train(block, steps, rows):
                training.count(done, rows, loss)

    return epoch


def prepare_batches(training, kept=None):
    """Makes every epoch take these blocks on the device, or those of the first one."""
    kept = kept or list(training.blocks(0))
    training.blocks = lambda *_: iter(kept)
    return kept


def _with_train(data, **methods):
    """The data with some methods of what it trains on replaced."""
    table = data.train
    changed = type("Table", (type(table),), methods)
    return replace(data, train=changed(*(getattr(table, each.name) for each in fields(table))))


def make_training(flags, data):
    """The model and its compiled steps, as `python -m trainer.task` makes them."""
    from trainer.engine import runtime
    from trainer.engine.training import Training

    place = runtime.read("unused")
    return Training(flags, place, data)


def fit(flags, data):
    """Keras's `fit` on the same encoded arrays, the same model."""
    import keras
    from trainer import model

    keras.utils.set_random_seed(flags.seed)
    net = model.build(data, flags)
    arrays = {name: np.array(array) for name, array in data.train.arrays().items()}
    target = arrays.pop("target")
    held_out = {name: np.array(array) for name, array in data.eval.arrays().items()}
    held_out_target = held_out.pop("target")
    return rate(
        len(target),
        lambda _: net.fit(arrays, target, batch_size=flags.batch_size, verbose=0),
        lambda: net.evaluate(held_out, held_out_target, batch_size=1024, verbose=0)[0],
    )


def tutorial(flags, data):
    """As tutorials do it: each line decoded by itself, texts looked up in the graph, `fit`."""
    import keras
    import tensorflow as tf

    schema = data.schema
    columns = schema.columns
    defaults = [[0.0] if column.kind == "number" else [""] for column in columns] + [[""]]

    def decode(line):
        *values, target = tf.io.decode_csv(line, defaults)
        features = {column.name: value for column, value in zip(columns, values, strict=True)}
        return features, tf.cast(target == schema.labels[1], tf.int32)

    def dataset(path):
        return tf.data.TextLineDataset(str(path)).skip(1).map(decode)

    keras.utils.set_random_seed(flags.seed)
    inputs, encoded = {}, []
    for column in columns:
        if column.kind == "number":
            inputs[column.name] = value = keras.Input((1,), name=column.name)
            layer = keras.layers.Normalization(mean=column.mean, variance=column.std**2)
            encoded.append(layer(value))
        else:
            inputs[column.name] = value = keras.Input((1,), dtype="string", name=column.name)
            place = keras.layers.StringLookup(vocabulary=column.categories)(value)
            width = len(column.categories) + 1
            embedded = keras.layers.Embedding(width, flags.embedding_dim)(place)
            encoded.append(keras.layers.Flatten()(embedded))
    x = keras.layers.Concatenate()(encoded)
    for units in flags.hidden_units:
        x = keras.layers.Dense(units, activation="relu")(x)
    net = keras.Model(inputs, keras.layers.Dense(len(schema.labels))(x))
    net.compile(
        keras.optimizers.Adam(flags.learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    rows = dataset(flags.train_files).shuffle(10_000, seed=flags.seed)
    rows = rows.batch(flags.batch_size).prefetch(tf.data.AUTOTUNE)
    held_out = dataset(flags.eval_files).batch(1024)
    return rate(
        data.train.rows,
        lambda _: net.fit(rows, verbose=0),
        lambda: net.evaluate(held_out, verbose=0)[0],
    )


def scikit(flags, data):
    """scikit-learn's MLPClassifier; its first layer on one-hot columns is our embedding and more."""
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier

    def inputs(table):
        arrays = table.arrays()
        wide = np.zeros((table.rows, data.schema.width + data.schema.vocabulary), np.float32)
        wide[:, : data.schema.width] = arrays["numbers"]
        places = np.asarray(arrays["categories"]) + data.schema.width
        np.put_along_axis(wide, places, 1, axis=1)
        return wide, np.array(arrays["target"])

    x, y = inputs(data.train)
    net = MLPClassifier(
        flags.hidden_units,
        batch_size=flags.batch_size,
        learning_rate_init=flags.learning_rate,
        alpha=0,
        random_state=flags.seed,
    )
    classes = np.arange(len(data.schema.labels))
    held_out, answers = inputs(data.eval)
    return rate(
        len(y),
        lambda _: net.partial_fit(x, y, classes=classes),
        lambda: float(log_loss(answers, net.predict_proba(held_out))),
    )


def floor(flags, data):
    """The matrix products of a step alone, forward and backward, by numpy: no framework."""
    values, weights = layers(flags, data)
    down = [np.empty_like(value) for value in values]
    changes = [np.empty_like(weight) for weight in weights]

    def epoch(_):
        for _ in range(-(-data.train.rows // flags.batch_size)):
            for i, weight in enumerate(weights):
                np.matmul(values[i], weight, out=down[i + 1])
            for i, weight in enumerate(weights):
                np.matmul(values[i].T, values[i + 1], out=changes[i])
                np.matmul(values[i + 1], weight.T, out=down[i])

    return rate(data.train.rows, epoch)


def layers(flags, data):
    """Made-up activations float32 [batch, width] of each layer, and the weights between them."""
    schema, random = data.schema, np.random.default_rng(0)
    first = schema.width + len(schema.categories) * flags.embedding_dim
    widths = [first, *flags.hidden_units, len(schema.labels)]
    shapes = zip(widths, widths[1:], strict=False)
    values = [random.normal(size=(flags.batch_size, width)) for width in widths]
    weights = [random.normal(size=shape) for shape in shapes]
    return [v.astype(np.float32) for v in values], [w.astype(np.float32) for w in weights]


WAYS = {way.__name__: way for way in (loop, ram, prepared, assemble, fit, tutorial, scikit, floor)}

if __name__ == "__main__":
    from trainer import data as tables
    from trainer import task
    from trainer.engine import runtime
    from trainer.engine.parser import derive_defaults

    flags = task.parse(sys.argv[2:])
    data = tables.load(flags, runtime.read("unused"))
    derive_defaults(flags, data)
    found = WAYS[sys.argv[1]](flags, data)
    print(json.dumps(found), flush=True)
    os._exit(0)
