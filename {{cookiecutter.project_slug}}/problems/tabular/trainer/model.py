"""The model: the file to edit first. Layers, loss and metrics; its flags stand in `options.py`.

A model sees encoded columns (`data.Table`): `export.py` puts the encoding of raw values before it.
"""

from __future__ import annotations

import argparse

import keras
from keras import layers

from trainer.optimize import Phase
from trainer.schema import METRICS, Schema

# Where XLA makes this kind of model faster, on a CPU several times: there it is the default.
JIT = ("CPU", "GPU")
AT_ONCE = 1024  # rows that are predicted together when training is over


def build(schema: Schema, flags: argparse.Namespace) -> keras.Model:
    """A multi-layer perceptron over the numbers and the embedded categories.

    Takes {"numbers": float32 [batch, width], "categories": int32 [batch, columns]}; gives float32
    logits [batch, classes], or values [batch, 1] in the target's unit.
    """
    numbers = keras.Input((schema.width,), name="numbers")
    categories = keras.Input((len(schema.categories),), dtype="int32", name="categories")
    if schema.categories:
        # One table for all columns: each has its own rows in it, so one gather serves them all.
        embedded = layers.Embedding(schema.vocabulary, flags.embedding_dim)(categories)
        embedded = layers.Flatten()(embedded)
    else:
        embedded = keras.ops.cast(categories, "float32")  # no column wide
    x = layers.Concatenate()([numbers, embedded])
    for units in flags.hidden_units:
        x = layers.Dense(units, activation="relu")(x)
        x = layers.Dropout(flags.dropout)(x) if flags.dropout else x
    # Losses are taken in float32 even where --precision makes the layers before it smaller.
    if schema.task == "classification":
        output = layers.Dense(len(schema.labels), dtype="float32", name="logits")(x)
    else:
        x = layers.Dense(1, dtype="float32")(x)
        output = layers.Rescaling(schema.std, schema.mean, dtype="float32", name="value")(x)
    return keras.Model({"numbers": numbers, "categories": categories}, output)


def load_weights(model: keras.Model, flags: argparse.Namespace) -> None:
    """Weights to begin with, such as those of another training; here the random ones stay."""


def phases(model: keras.Model, flags: argparse.Namespace) -> list[Phase]:
    """What is trained one after the other, --epochs in all; here everything at once."""
    weights = model.trainable_variables
    return [Phase("training", flags.epochs, flags.learning_rate, weights)]


def loss(schema: Schema, flags: argparse.Namespace, target, output):
    """Loss of each row, float32 [batch]. Regression: in units of the target's variance."""
    if schema.task == "classification":
        return keras.losses.sparse_categorical_crossentropy(target, output, from_logits=True)
    return keras.ops.mean(keras.ops.square((output - target) / schema.std), axis=-1)


def metrics(schema: Schema) -> list[keras.metrics.Metric]:
    """What is reported beside the loss, in the order of `schema.METRICS`: a new one goes there too."""
    known = {
        "accuracy": keras.metrics.SparseCategoricalAccuracy,
        "mae": keras.metrics.MeanAbsoluteError,
    }
    return [known[name](name) for name in METRICS[schema.task]]
