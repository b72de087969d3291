"""The straight line through a table: ridge regression, or logistic regression with a ridge, in NumPy.

`model.py` begins with it. So a small table gets at once what a linear model gets from it, and the
network only has to learn what is not straight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trainer.columns.alone import read_sample

ROWS, PLACES = 20_000, 500  # the most rows to fit to, and the most frequent places to have weights
WORK = 2e9  # the most multiplications, about a second: wide tables and many classes use fewer rows
RIDGES = 10.0 ** np.arange(-1, 3.6, 0.5)
STEPS, ENOUGH = 200, 1e-5  # the most steps, and the length of one that is not worth another


class Line(NamedTuple):
    """Outputs are numbers @ kernel + bias + the sum of the rows of `places`, one for each category."""

    kernel: np.ndarray  # float32 [numbers, outputs]
    places: np.ndarray  # float32 [vocabulary, outputs]
    bias: np.ndarray  # float32 [outputs]: a logit for each class, or the standardised value


def fit_line(examples) -> Line:
    """The line that fits the training rows best; of many rows, a sample's."""
    size = examples.numbers + min(examples.vocabulary, PLACES)
    outputs = len(examples.classes) or 1
    most = min(max(WORK / size**2, np.sqrt(WORK / size)), WORK / size / outputs / 10)
    sample = read_sample(examples.train)
    every = -(-len(sample["target"]) // min(ROWS, int(most) + 1))
    numbers, categories, target = (sample[n][::every] for n in ("numbers", "categories", "target"))
    counts = np.bincount(categories.ravel(), minlength=examples.vocabulary)
    kept = np.argsort(-counts, kind="stable")[:PLACES]
    chosen = [(categories == number).any(axis=1) for number in kept]  # a column of 0 and 1 for each
    features = np.column_stack([numbers.astype(np.float64), *chosen])
    means = features.mean(axis=0)
    features -= means
    # Turned to where no two columns have anything in common, each weight has an equation of its own.
    squares, turn = _turn(features)
    if examples.classes:
        target = np.eye(len(examples.classes))[target]
        weights, bias = _fit_classes(features @ turn, squares, target)
    else:
        target = np.clip(target.astype(np.float64), examples.schema.low, examples.schema.high)
        target = (target - examples.mean) / examples.std
        weights, bias = _fit_values(features @ turn, squares, target)
    weights = turn @ weights
    places = np.zeros((examples.vocabulary, len(bias)), np.float32)
    places[kept] = weights[examples.numbers :]
    kernel, bias = weights[: examples.numbers], bias - means @ weights
    return Line(kernel.astype(np.float32), places, bias.astype(np.float32))


def _turn(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues [n] and eigenvectors [columns, n] of features' features."""
    if features.shape[1] <= len(features):
        squares, turn = np.linalg.eigh(features.T @ features)
        return np.maximum(squares, 0), turn
    squares, rows = np.linalg.eigh(features @ features.T)  # the smaller product has the same ones
    used = squares > 1e-9 * squares[-1]
    return squares[used], features.T @ rows[:, used] / np.sqrt(squares[used])


def _fit_values(features, squares, target) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression with the ridge that predicts each row best from all others."""
    bias, best = target.mean(axis=0), np.inf
    for ridge in RIDGES:
        fitted = features.T @ (target - bias) / (squares + ridge)[:, None]
        # A row that is left out misses by more, the further it pulls the line to itself.
        pull = 1 / len(target) + np.square(features) @ (1 / (squares + ridge))
        missed = (target - bias - features @ fitted) / np.maximum(1 - pull, 1e-6)[:, None]
        if np.square(missed).mean() < best:
            best, weights = np.square(missed).mean(), fitted
    return weights, bias


def _fit_classes(features, squares, target) -> tuple[np.ndarray, np.ndarray]:
    """Logistic regression with a ridge of 1; target is [rows, classes].

    The curvature is nowhere above half of the squares (Böhning, 1992), so a step of that length
    never goes too far; each also continues a bit in the direction of the one before (Nesterov).
    """
    weights = before = np.zeros((len(squares) + 1, target.shape[1]))  # the last row is the bias
    features = np.column_stack([features, np.ones(len(target))])
    ridge = np.append(np.ones(len(squares)), 0.0)[:, None]
    lengths = 1 / (np.append(squares, len(target))[:, None] / 2 + ridge)
    for step in range(int(np.clip(WORK / features.size / target.shape[1], 10, STEPS))):
        ahead = weights + step / (step + 3) * (weights - before)
        logits = features @ ahead
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        slope = features.T @ (target - shares) - ridge * ahead
        before, weights = weights, ahead + lengths * slope
        if np.abs(lengths * slope).max() < ENOUGH:
            break
    return weights[:-1], weights[-1]
