"""One way of training the same model, in a process of its own: `python ways.py WAY … trainer flags`.

Trains one epoch to warm up and one that is timed; prints JSON: rows a second of the timed epoch,
and val_loss after both. `tabular.py` and `growth.py` start it, in a baked repo.
"""

import json
import os
import sys
import time

import numpy as np

EPOCHS = 2  # the second is timed


def rate(rows, epoch):
    """Rows a second of the last of EPOCHS calls."""
    for number in range(EPOCHS):
        start = time.perf_counter()
        epoch(number)
        seconds = time.perf_counter() - start
    return rows / seconds


def loop(flags, data):
    """The trainer's own loop."""
    trainer, progress = _trainer(flags, data)

    def epoch(number):
        progress.epoch, progress.step = number, 0
        for _ in trainer.train_epoch(progress):
            pass

    return {"rate": rate(data.train.rows, epoch), "val_loss": trainer.evaluate()["loss"]}


def memory(flags, data):
    """The trainer's own loop, with the epoch dealt and placed before the clock starts."""
    trainer, progress = _trainer(flags, data)
    kept = list(data.train.batches(flags.batch_size, flags.seed))
    data.train.__class__.batches = lambda *_: iter(kept)

    def epoch(number):
        progress.epoch, progress.step = number, 0
        for _ in trainer.train_epoch(progress):
            pass

    return {"rate": rate(data.train.rows, epoch)}


def _trainer(flags, data):
    from trainer import runtime, strategy, train

    place = runtime.read("unused")
    trainer = train.Trainer(flags, place, data, strategy.create(flags.strategy, place))
    return trainer, train.Progress()


def fit(flags, data):
    """Keras's `fit` on the same encoded arrays, the same model."""
    import keras
    from trainer import model

    keras.utils.set_random_seed(flags.seed)
    net = model.build(data.schema, flags)
    net.compile(
        keras.optimizers.Adam(flags.learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    arrays = {name: np.array(array) for name, array in data.train.arrays().items()}
    target = arrays.pop("target")
    speed = rate(
        len(target), lambda _: net.fit(arrays, target, batch_size=flags.batch_size, verbose=0)
    )
    held_out = {name: np.array(array) for name, array in data.eval.arrays().items()}
    target = held_out.pop("target")
    return {"rate": speed, "val_loss": net.evaluate(held_out, target, 1024, verbose=0)[0]}


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
    speed = rate(data.train.rows, lambda _: net.fit(rows, verbose=0))
    held_out = dataset(flags.eval_files).batch(1024)
    return {"rate": speed, "val_loss": net.evaluate(held_out, verbose=0)[0]}


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
    speed = rate(len(y), lambda _: net.partial_fit(x, y, classes=classes))
    x, y = inputs(data.eval)
    return {"rate": speed, "val_loss": float(log_loss(y, net.predict_proba(x)))}


def floor(flags, data):
    """The matrix products of a step alone, forward and backward, by numpy: no framework."""
    schema, random = data.schema, np.random.default_rng(0)
    first = schema.width + len(schema.categories) * flags.embedding_dim
    widths = [first, *flags.hidden_units, len(schema.labels)]
    size = flags.batch_size
    values = [random.normal(size=(size, width)).astype(np.float32) for width in widths]
    weights = [
        random.normal(size=shape).astype(np.float32)
        for shape in zip(widths, widths[1:], strict=False)
    ]
    down = [np.empty_like(value) for value in values]
    changes = [np.empty_like(weight) for weight in weights]

    def epoch(_):
        for _ in range(data.train.steps(size)):
            for i, weight in enumerate(weights):
                np.matmul(values[i], weight, out=down[i + 1])
            for i, weight in enumerate(weights):
                np.matmul(values[i].T, values[i + 1], out=changes[i])
                np.matmul(values[i + 1], weight.T, out=down[i])

    return {"rate": rate(data.train.rows, epoch)}


WAYS = {way.__name__: way for way in (loop, memory, fit, tutorial, scikit, floor)}

if __name__ == "__main__":
    from trainer import data as tables
    from trainer import runtime, task

    flags = task.parse(sys.argv[2:])
    found = WAYS[sys.argv[1]](flags, tables.load(flags, runtime.read("unused")))
    print(json.dumps(found), flush=True)
    os._exit(0)
