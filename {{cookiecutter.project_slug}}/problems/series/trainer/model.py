"""EDIT THIS FILE: the model. Build, compile and return an ordinary Keras model.

Whatever Keras can compile can stand here: any layers, loss, metrics, optimizer, learning-rate
schedule, regularizers, `add_loss`, a subclass with its own `train_step`. Flags: `options.py`.
"""

from __future__ import annotations

import argparse

import keras
from keras import layers, ops

from trainer.data import Examples

JIT = ("GPU",)  # where XLA makes this model faster; () for models it slows down
PATCH = 4  # samples of a transformer's token


def build(examples: Examples, flags: argparse.Namespace) -> keras.Model:
    """A network over time, --model, and the answers of a task on top of it.

    Args:
        examples: what the data looks like: `window` samples of `channels` channels; `schema.task`, and
            `classes`, `schema.labels`, the target's `schema.mean` and `std`, or `schema.horizon`.
    """
    shape, labels = (examples.window, examples.channels), examples.schema.labels
    samples = keras.Input(shape, name="samples")  # [batch, window, channels], normalised
    mask = keras.Input(shape, dtype="bool", name="mask")  # false: lost, or beyond the end
    known = ops.where(mask, samples, 0.0)  # whatever stands under the mask
    present = ops.cast(mask, samples.dtype)
    x = layers.Concatenate()([known, present])  # [batch, window, 2 * channels]
    there = ops.max(present, axis=-1, keepdims=True)  # [batch, window, 1]: 0 where all is lost
    is_pooled = examples.schema.task != "labelling"
    x, there = NETWORKS[flags.model](x, there, flags, is_pooled)  # [batch, window or less, units]
    if is_pooled:
        mean = ops.sum(x, axis=1) / ops.maximum(ops.sum(there, axis=1), 1.0)
        x = layers.Concatenate()([mean, ops.max(x, axis=1)])  # [batch, 2 * units]
    x = layers.Dropout(flags.dropout)(x)
    # The last layer computes in float32, even where --precision makes the others smaller.
    if labels:  # logits of a window, [batch, labels], or of each sample, [batch, window, labels]
        outputs = layers.Dense(len(labels), dtype="float32")(x)
    else:
        outputs = predict_numbers(examples, x, known, mask)
    model = keras.Model({"samples": samples, "mask": mask}, outputs)
    loss, metrics = judge(examples)
    settings = {"learning_rate": flags.learning_rate}
    optimizer = keras.optimizers.get({"class_name": flags.optimizer, "config": settings})
    model.compile(optimizer, loss, metrics=metrics)
    return model


def convolve(x, there, flags: argparse.Namespace, is_pooled: bool):
    """Convolutions: each sees twice as far as the one before, on half as many samples if pooled."""
    for i, units in enumerate(flags.hidden_units):
        far = {} if is_pooled else {"dilation_rate": 2**i}
        layer = layers.Conv1D(units, flags.kernel, padding="same", activation="relu", **far)
        x = layer(x) * there
        if is_pooled and x.shape[1] > 1:
            x, there = (layers.MaxPooling1D(2, padding="same")(value) for value in (x, there))
    return x, there


def recur(x, there, flags: argparse.Namespace, is_pooled: bool):
    """Gated recurrent units, which remember what they have seen of the window."""
    for units in flags.hidden_units:
        x = layers.GRU(units, return_sequences=True)(x) * there
    return x, there


def attend(x, there, flags: argparse.Namespace, is_pooled: bool):
    """A transformer's encoder: each width in --hidden-units adds a block, as wide as the first."""
    width = 4 * max(1, flags.hidden_units[0] // 4)
    if is_pooled:  # tokens of a few samples: attention takes the square of their number
        x = layers.Conv1D(width, flags.kernel, PATCH, padding="same")(x)
        there = layers.MaxPooling1D(PATCH, padding="same")(there)
    places = layers.Embedding(x.shape[1], width)(ops.arange(x.shape[1]))
    x = layers.Dense(width)(x) + places  # [batch, tokens, width]
    seen = ops.transpose(there, (0, 2, 1)) > 0  # [batch, 1, tokens]: lost ones are not looked at
    for _ in flags.hidden_units:
        y = layers.LayerNormalization()(x)
        x += layers.MultiHeadAttention(4, width // 4)(y, y, attention_mask=seen)
        y = layers.Dense(2 * width, activation="relu")(layers.LayerNormalization()(x))
        x += layers.Dense(width)(layers.Dropout(flags.dropout)(y))
    return layers.LayerNormalization()(x) * there, there


NETWORKS = {"conv": convolve, "gru": recur, "transformer": attend}  # of --model


def predict_numbers(examples: Examples, x, samples, mask):
    """The number, [batch, 1], or the next samples, [batch, horizon, outputs], in their own unit."""
    schema = examples.schema
    if schema.task == "regression":
        x = layers.Dense(1, kernel_initializer="zeros", dtype="float32")(x)
        return layers.Rescaling(schema.std, schema.mean, dtype="float32")(x)
    # Training begins at a forecast that nothing changes: each step is the last value that is known.
    times = ops.cast(mask, "float32") * ops.arange(1.0, examples.window + 1)[:, None]
    is_last = ops.cast((times == ops.max(times, axis=1, keepdims=True)) & mask, "float32")
    last = ops.sum(samples * is_last, axis=1)  # [batch, channels]
    places = [schema.names.index(name) for name in schema.outputs]
    last = ops.take(last, places, axis=1)[:, None]  # [batch, 1, outputs]
    size = schema.horizon * len(places)
    x = layers.Dense(size, kernel_initializer="zeros", dtype="float32")(x)
    x = layers.Reshape((schema.horizon, len(places)))(x) + last
    mean, std = (list(map(float, values[places])) for values in schema.scale)
    return layers.Rescaling(std, mean, dtype="float32")(x)


def judge(examples: Examples):
    """The loss and the metrics of a task.

    A loss gives one number for each window, [batch]: workers that share a batch weigh windows by it.
    """
    schema = examples.schema
    if schema.task == "classification":
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True), [Accuracy("accuracy")]
    if schema.task == "labelling":
        return compute_label_loss, [Accuracy("accuracy")]
    std = schema.std
    if schema.horizon:
        places = [schema.names.index(name) for name in schema.outputs]
        std = schema.scale[1][places]  # errors of all channels count alike

    def loss(y_true, y_pred):
        """Squared error in units of the variance."""
        squares = ops.square((y_pred - y_true) / std)  # [batch, 1] or [batch, horizon, outputs]
        return ops.mean(squares, axis=range(1, len(squares.shape)))

    return loss, [keras.metrics.MeanAbsoluteError("mae")]


def compute_label_loss(y_true, y_pred):
    """Cross-entropy, the mean over the labelled samples of a window; a target of -1 has no label."""
    is_label = ops.cast(ops.greater_equal(y_true, 0), y_pred.dtype)
    losses = ops.sparse_categorical_crossentropy(ops.maximum(y_true, 0), y_pred, from_logits=True)
    return ops.sum(losses * is_label, axis=1) / ops.maximum(ops.sum(is_label, axis=1), 1.0)


class Accuracy(keras.metrics.SparseCategoricalAccuracy):
    """The share of labels that are predicted right; a target of -1 has none."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        is_label = ops.cast(ops.greater_equal(y_true, 0), "float32")
        return super().update_state(ops.maximum(y_true, 0), y_pred, is_label)
