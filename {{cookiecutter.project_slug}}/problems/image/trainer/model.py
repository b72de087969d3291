"""EDIT THIS FILE: the model. Build, compile and return an ordinary Keras model.

Whatever Keras can compile can stand here: any layers, loss, metrics, optimizer, learning-rate
schedule, regularizers, `add_loss`, a subclass with its own `train_step`. Flags: `options.py`.
"""

from __future__ import annotations

import argparse

import keras
from keras import layers

from trainer.data import Examples
from trainer.engine.phase import Phase
from trainer.engine.runtime import JobError
from trainer.images.augment import Augment
from trainer.images.backbone import Backbone

# Where XLA makes this model faster. On a CPU it slows convolutions down; on a GPU nobody has
# measured it here, and it cannot compile some of the augmentations.
JIT = ()
SMALL = 4  # pixels a side at which convolutions end


def build(examples: Examples, flags: argparse.Namespace) -> keras.Model:
    """A small network of convolutions, or a head on a network of keras.applications.

    Args:
        examples: what the data looks like: images of `shape`, and the names of the `classes`.

    Raises:
        JobError: images too small for the backbone, flags that exclude each other, or no classes.
    """
    if not examples.classes:
        raise JobError(
            f"--target {flags.target}: this model predicts classes; docs/recipes.md has others"
        )
    _check(flags)
    image = keras.Input(examples.shape, dtype="uint8", name="image")  # [batch, height, width, 1|3]
    x = keras.ops.cast(image, "float32")
    if flags.augment:
        x = Augment(flags.augment, name="augment")(x)
    if flags.backbone == "none":
        x = layers.Rescaling(1 / 255)(x)
        for width in _widths(flags.filters, examples.shape[0]):
            x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
            x = layers.MaxPooling2D()(x)  # [batch, half the height, half the width, width]
        x = layers.Flatten()(x)
    else:
        backbone = Backbone(flags.backbone, examples.shape[0], name="backbone")
        x = backbone(x)  # [batch, features]
        backbone.trainable = False  # the head learns first; see `phases`
        if flags.weights != "none":
            backbone.load(flags.weights)
    for units in flags.hidden_units:
        x = layers.Dense(units, activation="relu")(x)
        x = layers.Dropout(flags.dropout)(x) if flags.dropout else x
    # The last layer computes in float32, even where --precision makes the others smaller.
    logits = layers.Dense(len(examples.classes), dtype="float32", name="logits")(x)

    model = keras.Model({"image": image}, logits)
    _compile(model, flags, flags.learning_rate)
    return model


def phases(model: keras.Model, flags: argparse.Namespace) -> list[Phase]:
    """What is trained in turn, --epochs in all: the head, then the backbone's last layers, too."""
    if flags.backbone == "none":
        return [Phase("training", flags.epochs)]
    if not flags.fine_tune_layers:
        return [Phase("head", flags.epochs)]

    def fine_tune() -> None:
        model.get_layer("backbone").unfreeze(flags.fine_tune_layers)
        _compile(model, flags, flags.fine_tune_rate or flags.learning_rate / 100)

    more = flags.epochs - flags.head_epochs
    return [Phase("head", flags.head_epochs), Phase("fine-tuning", more, fine_tune)]


def _compile(model: keras.Model, flags: argparse.Namespace, learning_rate: float) -> None:
    classes = model.output_shape[-1]

    def loss(y_true, y_pred):
        """Cross-entropy of each image, [batch], with --label-smoothing."""
        y_true = keras.ops.one_hot(y_true, classes)
        return keras.losses.categorical_crossentropy(
            y_true, y_pred, from_logits=True, label_smoothing=flags.label_smoothing
        )

    settings = {"learning_rate": learning_rate, "weight_decay": flags.weight_decay or None}
    optimizer = keras.optimizers.get({"class_name": flags.optimizer, "config": settings})
    accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy")
    model.compile(optimizer, loss, metrics=[accuracy])


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
    """Filters of each convolution, after which the image has half as many pixels a side."""
    widths = list(filters)
    while size >> len(widths) > SMALL:
        widths.append(widths[-1])
    return [width for i, width in enumerate(widths) if size >> i > 1]
