"""The weight of each class in the loss, for one categorical target: `--class-weights`."""

import difflib

import numpy as np

from trainer.engine.runtime import JobError

LARGEST = 1e6  # a larger weight would drown every other class in the loss


def class_weights(wish: str, examples) -> np.ndarray | None:
    """float32 [classes], or None for equal weights; a JobError if there are no such classes.

    "balanced" gives each class the same sum of weights: rows / (classes × rows of the class).
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
        label, _, weight = pair.rpartition("=")
        try:
            index, number = labels.index(label), float(weight)
        except ValueError:  # no such class, or no number
            [example] = difflib.get_close_matches(label or pair, labels, 1) or labels[:1]
            raise JobError(
                f"--class-weights: {pair!r} is not CLASS=WEIGHT; write balanced, none, or "
                f"{example}=2,…; the log names all classes"
            ) from None
        if not 0 <= number <= LARGEST:
            raise JobError(f"--class-weights: {pair!r}: write a weight from 0 to {LARGEST:,.0f}")
        weights[index] = number
    return weights
