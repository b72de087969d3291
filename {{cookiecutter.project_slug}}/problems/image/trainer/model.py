"""The model: the file to edit first. Layers, loss and metrics; its flags stand in `options.py`.

A model sees uint8 pixels (`data.Examples`): all that is done to them is inside of it. `inputs.py`
puts the decoding of a file before it.
"""

from __future__ import annotations

import argparse

import keras
from keras import layers

from trainer.augment import Augment
from trainer.backbone import Backbone
from trainer.optimize import Phase
from trainer.runtime import JobError
from trainer.schema import METRICS, Schema

# Where XLA makes this kind of model faster. On a CPU it makes convolutions slower; on a GPU nobody
# has measured it here, and it cannot compile some of the augmentations.
JIT = ()
AT_ONCE = 32  # pictures that are predicted together when training is over
SMALL = 4  # pixels a side at which convolutions end


def build(schema: Schema, flags: argparse.Namespace) -> keras.Model:
    """A small network of convolutions, or a head on a backbone.

    Takes {"image": uint8 [batch, height, width, channels]}; gives float32 logits [batch, classes].

    Raises:
        JobError: pictures too small for the backbone, or flags that do not go together.
    """
    _check(flags)
    image = keras.Input(schema.pictures.shape, dtype="uint8", name="image")
    x = keras.ops.cast(image, "float32")
    if flags.augment:
        x = Augment(flags.augment, name="augment")(x)
    if flags.backbone == "none":
        x = layers.Rescaling(1 / 255)(x)
        for width in _widths(flags.filters, schema.pictures.size):
            x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
            x = layers.MaxPooling2D()(x)
        x = layers.Flatten()(x)
    else:
        x = Backbone(flags.backbone, schema.pictures.size, name="backbone")(x)
    for units in flags.hidden_units:
        x = layers.Dense(units, activation="relu")(x)
        x = layers.Dropout(flags.dropout)(x) if flags.dropout else x
    # Losses are taken in float32 even where --precision makes the layers before it smaller.
    output = layers.Dense(len(schema.labels), dtype="float32", name="logits")(x)
    return keras.Model({"image": image}, output)


def _check(flags: argparse.Namespace) -> None:
    own = flags.weights not in ("imagenet", "none")
    if flags.backbone == "none" and (flags.fine_tune_layers or own):
        given = f"--weights {flags.weights}" if own else "--fine-tune-layers"
        raise JobError(f"{given} is for a backbone; add --backbone NAME, such as densenet121")
    if flags.fine_tune_layers and flags.head_epochs >= flags.epochs:
        raise JobError(
            f"--fine-tune-layers {flags.fine_tune_layers}: no epoch is left for it, since "
            f"--head-epochs {flags.head_epochs} takes all of --epochs {flags.epochs}; write --epochs "
            f"{flags.head_epochs + 1} or more, a smaller --head-epochs, or --fine-tune-layers 0"
        )
    moved = [name for name in flags.augment if name not in ("brightness", "contrast")]
    if flags.jit == "on" and moved:
        raise JobError(
            f"--jit on cannot compile --augment {','.join(moved)}; leave one of them out"
        )


def _widths(filters: tuple[int, ...], size: int) -> list[int]:
    """Filters of each convolution, after which the picture has half as many pixels a side."""
    widths = list(filters)
    while size >> len(widths) > SMALL:
        widths.append(widths[-1])
    return [width for i, width in enumerate(widths) if size >> i > 1]


def load_weights(model: keras.Model, flags: argparse.Namespace) -> None:
    """Weights to begin with: those of the backbone, trained on other pictures.

    Raises:
        JobError: they cannot be had, or are another network's.
    """
    if flags.backbone != "none" and flags.weights != "none":
        model.get_layer("backbone").load(flags.weights)


def phases(model: keras.Model, flags: argparse.Namespace) -> list[Phase]:
    """What is trained one after the other, --epochs in all: without a backbone everything at once,
    else the head, then the backbone's last layers with it."""
    weights, epochs = model.trainable_variables, flags.epochs
    if flags.backbone == "none":
        return [Phase("training", epochs, flags.learning_rate, weights)]
    backbone = model.get_layer("backbone")
    frozen = {id(weight) for weight in backbone.trainable_variables}
    head = [weight for weight in weights if id(weight) not in frozen]
    if not flags.fine_tune_layers:
        return [Phase("head", epochs, flags.learning_rate, head)]
    frozen -= {id(weight) for weight in backbone.last(flags.fine_tune_layers)}
    more = [weight for weight in weights if id(weight) not in frozen]
    rate = flags.fine_tune_rate or flags.learning_rate / 100
    return [
        Phase("head", flags.head_epochs, flags.learning_rate, head),
        Phase("fine-tuning", epochs - flags.head_epochs, rate, more),
    ]


def loss(schema: Schema, flags: argparse.Namespace, target, output):
    """Loss of each picture, float32 [batch]."""
    if flags.label_smoothing:
        target = keras.ops.one_hot(target, len(schema.labels))
        return keras.losses.categorical_crossentropy(
            target, output, from_logits=True, label_smoothing=flags.label_smoothing
        )
    return keras.losses.sparse_categorical_crossentropy(target, output, from_logits=True)


def metrics(schema: Schema) -> list[keras.metrics.Metric]:
    """What is reported beside the loss, in the order of `schema.METRICS`: a new one goes there too."""
    known = {"accuracy": keras.metrics.SparseCategoricalAccuracy}
    return [known[name](name) for name in METRICS[schema.task]]
