"""What turns flags into steps: the optimizer, its learning rate over time, the classes' weights."""

from __future__ import annotations

import keras
import numpy as np

from trainer.data import Table
from trainer.runtime import JobError
from trainer.schema import Schema


def make_optimizer(flags, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Adam, with the learning rate that --schedule and --warmup describe."""
    optimizer = keras.optimizers.Adam(learning_rate(flags, steps_per_epoch * flags.epochs))
    if flags.precision == "mixed_float16":  # small gradients vanish in float16 unless scaled up
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def learning_rate(flags, steps: int):
    """A number, or a schedule over `steps` steps: a linear warm-up, then constant or a cosine."""
    warmup = round(flags.warmup * steps)
    if flags.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else flags.learning_rate,
            max(1, steps - warmup),
            warmup_target=flags.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    if warmup:
        return keras.optimizers.schedules.PolynomialDecay(0.0, warmup, flags.learning_rate)
    return flags.learning_rate


def class_weights(wish: str, table: Table, schema: Schema) -> np.ndarray | None:
    """float32 [classes], or None for equal weights.

    "balanced" gives each class the same sum of weights: rows / (classes × rows of the class).

    Raises:
        JobError: weights for a regression, or for classes that do not exist.
    """
    if wish == "none":
        return None
    if schema.task != "classification":
        raise JobError("--class-weights is for classification; this target is a number")
    labels = schema.labels
    if wish == "balanced":
        counts = np.zeros(len(labels), np.int64)
        target = table.arrays()["target"]
        for start in range(0, table.rows, 1 << 20):
            counts += np.bincount(target[start : start + (1 << 20)], minlength=len(labels))
        return (table.rows / (len(labels) * np.maximum(counts, 1))).astype(np.float32)
    weights = np.ones(len(labels), np.float32)
    for pair in wish.split(","):
        label, _, weight = pair.rpartition("=")
        if label not in labels:
            raise JobError(
                f"--class-weights: no class {label!r}; write balanced, or name=weight,… with names "
                f"from: {', '.join(labels)}"
            )
        try:
            weights[labels.index(label)] = float(weight)
        except ValueError:
            raise JobError(f"--class-weights: {pair!r} has no number after the =") from None
    return weights
