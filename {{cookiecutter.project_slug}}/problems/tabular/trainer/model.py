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
FAR = 10  # standard deviations: errors of a target beyond it count linearly, not squared


def build(examples: Examples, flags: argparse.Namespace) -> keras.Model:
    """A straight line, plus a multi-layer perceptron that learns what the line leaves over.

    Args:
        examples: what the data looks like: `numbers` number columns, `categories` category
            columns with places in one `vocabulary`; `classes`, or the target's `mean` and `std`;
            `line`, the straight line that fits the training rows best.
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

    # Last weights of 0: training begins at the line. The last layers compute in float32, even where
    # --precision makes the others smaller.
    width = len(examples.classes) or 1
    outputs = layers.Dense(width, kernel_initializer="zeros", dtype="float32")(x)
    outputs += straight_line(examples, numbers, categories)  # [batch, classes or 1]
    if examples.classes:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        metrics = [keras.metrics.SparseCategoricalAccuracy("accuracy")]
    else:  # standardised like the inputs, up to here
        outputs = layers.Rescaling(examples.std, examples.mean, dtype="float32")(outputs)
        metrics = [keras.metrics.MeanAbsoluteError("mae")]

        def loss(y_true, y_pred):
            """Squared error in units of the target's variance, [batch]; far out it grows linearly."""
            return 2 * keras.losses.huber(0.0, (y_pred - y_true) / examples.std, FAR)

    model = keras.Model({"numbers": numbers, "categories": categories}, outputs)
    model.compile(optimizer(flags), loss, metrics=metrics)
    return model


def straight_line(examples: Examples, numbers, categories):
    """What the line says of each row, [batch, outputs]. Its weights stay as they were fitted."""
    kernel, places, bias = examples.line
    size, fixed = len(bias), {"trainable": False, "dtype": "float32"}
    # The bias is the weight of a column of ones: on a CPU, TensorFlow crashes without any column.
    kernel = keras.initializers.Constant([*kernel.tolist(), bias.tolist()])
    layer = layers.Dense(size, use_bias=False, kernel_initializer=kernel, **fixed)
    line = layer(keras.ops.pad(numbers, ((0, 0), (0, 1)), constant_values=1))
    if examples.categories:
        places = keras.initializers.Constant(places)
        weights = layers.Embedding(examples.vocabulary, size, places, **fixed)(categories)
        line += keras.ops.sum(weights, axis=1)  # over the columns
    return line


def optimizer(flags: argparse.Namespace) -> keras.optimizers.Optimizer:
    """The Keras optimizer that --optimizer names."""
    settings = {"learning_rate": flags.learning_rate, "weight_decay": flags.weight_decay or None}
    return keras.optimizers.get({"class_name": flags.optimizer, "config": settings})
