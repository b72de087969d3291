"""What turns flags into steps: the optimizer, its learning rate over time, the classes' weights."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from trainer.runtime import JobError
from trainer.schema import Schema


@dataclass(frozen=True)
class Phase:
    """A part of a run: what it trains, for how long, how fast. `model.phases` lists them."""

    name: str
    epochs: int  # at most: --early-stopping may end it before
    learning_rate: float
    weights: list  # the Keras variables that it changes; all others stay as they are

    def describe(self) -> str:
        """What it does, for the log."""
        count = sum(math.prod(weight.shape) for weight in self.weights)
        return (
            f"{self.name}, at most {self.epochs} epochs; {count:,} numbers learn, at a rate of "
            f"{self.learning_rate:g}"
        )


def make_optimizer(flags, phase: Phase, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Adam, with the learning rate that --schedule and --warmup describe."""
    rate = learning_rate(flags, phase.learning_rate, steps_per_epoch * phase.epochs)
    optimizer = keras.optimizers.Adam(rate)
    if flags.precision == "mixed_float16":  # small gradients vanish in float16 unless scaled up
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def learning_rate(flags, rate: float, steps: int):
    """`rate`, or a schedule over `steps` steps: a linear warm-up to it, then constant or a cosine."""
    warmup = round(flags.warmup * steps)
    if flags.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            max(1, steps - warmup),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    if warmup:
        return keras.optimizers.schedules.PolynomialDecay(0.0, warmup, rate)
    return rate


def class_weights(wish: str, counts: Callable, schema: Schema) -> np.ndarray | None:
    """float32 [classes], or None for equal weights.

    "balanced" gives each class the same sum of weights: rows / (classes × rows of the class).

    Args:
        counts: gives the rows of each class, int64 [classes]; called only where it is needed.

    Raises:
        JobError: weights for a regression, or for classes that do not exist.
    """
    if wish == "none":
        return None
    if schema.task != "classification":
        raise JobError("--class-weights is for classification; this target is a number")
    labels = schema.labels
    if wish == "balanced":
        rows = counts()
        return (rows.sum() / (len(labels) * np.maximum(rows, 1))).astype(np.float32)
    weights = np.ones(len(labels), np.float32)
    for pair in wish.split(","):
        label, equals, weight = pair.rpartition("=")
        if not equals:
            near = difflib.get_close_matches(pair, ["balanced", "none", *labels], 1)
            example = f"{near[0] if near else labels[0]}=2"
            if near and near[0] not in labels:
                example = near[0]
            hint = f"did you mean {example}?" if near else f"write balanced, none, or {example},…"
            raise JobError(f"--class-weights: {pair!r} is not NAME=WEIGHT; {hint}")
        if label not in labels:
            near = difflib.get_close_matches(label, labels, 1)
            hint = f"did you mean {near[0]!r}?" if near else "write balanced, or NAME=WEIGHT,…"
            more = f", … ({len(labels)} in all)" if len(labels) > 20 else ""
            raise JobError(
                f"--class-weights: no class {label!r}; {hint} The classes are: "
                f"{', '.join(labels[:20])}{more}"
            )
        try:
            weights[labels.index(label)] = number = float(weight)
        except ValueError:
            number = math.nan
        if not 0 <= number < math.inf:
            raise JobError(
                f"--class-weights: {pair!r}: {weight!r} is not a weight, a number from 0 up"
            )
    return weights
