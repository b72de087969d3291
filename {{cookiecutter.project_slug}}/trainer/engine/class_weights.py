"""The weight of each class in the loss, for one categorical target (`--class-weights`)."""

import difflib
import math

import numpy as np

from trainer.engine.runtime import JobError

LARGEST = 1e6  # a larger weight would drown every other class in the loss


def class_weights(wish: str, examples) -> np.ndarray | None:
    """float32 [classes], or None for equal weights.

    "balanced" gives each class the same sum of weights: rows / (classes × rows of the class).

    Raises:
        JobError: the target is no class, or the classes do not exist.
    """
    if wish == "none":
        return None
    labels = list(examples.classes)
    if not labels:
        raise JobError("--class-weights is for one target that is a class; remove the flag")
    if wish == "balanced":
        rows = examples.train.class_counts()
        return (rows.sum() / (len(labels) * np.maximum(rows, 1))).astype(np.float32)
    weights = np.ones(len(labels), np.float32)
    for pair in wish.split(","):
        label, equals, weight = pair.rpartition("=")
        if not equals:
            near = difflib.get_close_matches(pair, ["balanced", "none", *labels], 1)
            example = near[0] if near and near[0] not in labels else f"{(near or labels)[0]}=2"
            hint = f"did you mean {example}?" if near else f"write balanced, none, or {example},…"
            raise JobError(f"--class-weights: {pair!r} is not NAME=WEIGHT; {hint}")
        if label not in labels:
            near = difflib.get_close_matches(label, labels, 1)
            hint = f"did you mean {near[0]!r}?" if near else "write balanced, or NAME=WEIGHT,…"
            raise JobError(f"--class-weights: no class {label!r}; {hint} The log names all classes")
        try:
            number = float(weight)
        except ValueError:
            number = math.nan
        if not 0 <= number <= LARGEST:
            raise JobError(
                f"--class-weights: {pair!r}: {weight!r} is not a weight, a number from 0 to {LARGEST:,.0f}"
            )
        weights[labels.index(label)] = number
    return weights
