"""Why a model answers as it does: integrated gradients, of any input of floats.

The attribution of an input value x_i to a score F of the input x is

    (x_i - b_i) * integral over a from 0 to 1 of dF/dx_i at b + a (x - b)

where b is the baseline: an input that says nothing. All attributions add up to F(x) - F(b),
which is how `error` checks them. Source: Sundararajan, Taly and Yan, "Axiomatic Attribution for
Deep Networks", ICML 2017, https://arxiv.org/abs/1703.01365, equation 1 and proposition 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # the launcher reads outputs.py without waiting for it
    import tensorflow as tf

STEPS = 16  # points of the integral; by Gauss and Legendre, so few are enough


@dataclass(frozen=True)
class Attribution:
    """Of one example, for one score."""

    values: np.ndarray  # float64, in the shape of the input: in units of the score
    baseline: float  # the score of the baseline
    score: float  # the score of the example

    @property
    def error(self) -> float:
        """What is missing for the attributions to add up, as a share of their sizes; 0 is exact."""
        missing = abs(self.values.sum() - (self.score - self.baseline))
        return float(missing / max(np.abs(self.values).sum(), 1e-12))


def attribute(score: Callable, begin: np.ndarray, end: np.ndarray) -> Attribution:
    """What each value of one example adds to its score.

    Args:
        score: takes inputs float32 [n, …] as a tensor, returns float32 [n].
        begin, end: the baseline and the example, float64 […].
    """
    import tensorflow as tf

    nodes, weights = np.polynomial.legendre.leggauss(STEPS)
    way = np.array([0, *(nodes + 1) / 2, 1])  # both ends with them, for their scores
    way = way.reshape(-1, *[1] * begin.ndim)
    points = tf.constant(begin + (end - begin) * way, tf.float32)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(points)
        scores = score(points)
    gradients = tape.gradient(scores, points).numpy().astype(float)
    mean = np.tensordot(weights / 2, gradients[1:-1], axes=1)
    first, *_, last = scores.numpy().tolist()
    return Attribution((end - begin) * mean, first, last)


def margin(logits: tf.Tensor, index: int) -> tf.Tensor:
    """The logit of a class less the mean logit of all classes: float32 [n].

    Softmax knows no more of them, and this does not flatten where the model is certain.
    """
    import tensorflow as tf

    logits = tf.cast(logits, tf.float32)
    return logits[:, index] - tf.reduce_mean(logits, axis=1)
