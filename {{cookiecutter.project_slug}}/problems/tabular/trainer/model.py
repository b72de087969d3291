"""EDIT THIS FILE: the model. Build, compile and return an ordinary Keras model.

Whatever Keras can compile can stand here: any layers, loss, metrics, optimizer, learning-rate
schedule, regularizers, `add_loss`, a subclass with its own `train_step`. Flags: `options.py`.
"""

from __future__ import annotations

import argparse

import keras
from keras import layers

from trainer.data import Examples

JIT = ("CPU", "GPU")  # where XLA makes this model faster; () for models it slows down


def build(examples: Examples, flags: argparse.Namespace) -> keras.Model:
    """A multi-layer perceptron over numbers and embedded categories.

    Args:
        examples: what the data looks like: `numbers` number columns, `categories` category
            columns with places in one `vocabulary`; `classes`, or the target's `mean` and `std`.
    """
    numbers = keras.Input((examples.numbers,), name="numbers")  # [batch, columns], standardised
    categories = keras.Input((examples.categories,), dtype="int32", name="categories")
    if examples.categories:
        # One table for all columns: each has its own rows in it, so one lookup serves them all.
        embedded = layers.Embedding(examples.vocabulary, flags.embedding_dim)(categories)
        embedded = layers.Flatten()(embedded)  # [batch, columns * embedding_dim]
    else:
        embedded = keras.ops.cast(categories, "float32")  # [batch, 0]
    x = layers.Concatenate()([numbers, embedded])
    for units in flags.hidden_units:
        x = layers.Dense(units, activation="relu")(x)  # [batch, units]
        x = layers.Dropout(flags.dropout)(x) if flags.dropout else x

    # The last layers compute in float32, even where --precision makes the others smaller.
    if examples.classes:
        outputs = layers.Dense(len(examples.classes), dtype="float32", name="logits")(x)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        metrics = [keras.metrics.SparseCategoricalAccuracy("accuracy")]
    else:
        x = layers.Dense(1, dtype="float32")(x)  # [batch, 1], standardised like the inputs
        outputs = layers.Rescaling(examples.std, examples.mean, dtype="float32", name="value")(x)
        metrics = [keras.metrics.MeanAbsoluteError("mae")]

        def loss(y_true, y_pred):
            """Squared error in units of the target's variance, [batch]."""
            return keras.ops.mean(keras.ops.square((y_pred - y_true) / examples.std), axis=-1)

    model = keras.Model({"numbers": numbers, "categories": categories}, outputs)
    model.compile(optimizer(flags), loss, metrics=metrics)
    return model


def optimizer(flags: argparse.Namespace) -> keras.optimizers.Optimizer:
    """The Keras optimizer that --optimizer names."""
    settings = {"learning_rate": flags.learning_rate, "weight_decay": flags.weight_decay or None}
    return keras.optimizers.get({"class_name": flags.optimizer, "config": settings})
