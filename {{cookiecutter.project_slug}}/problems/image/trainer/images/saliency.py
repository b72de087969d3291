"""What a model looked at in a picture: integrated gradients.

The attribution of a pixel value x_i to a score F of the picture x is

    (x_i - b_i) * integral over a from 0 to 1 of dF/dx_i at b + a (x - b)

where b is the baseline: the same picture with nothing on it. All attributions add up to F(x) - F(b),
which is how `error` checks them. Source: Sundararajan, Taly and Yan, "Axiomatic Attribution for
Deep Networks", ICML 2017, https://arxiv.org/abs/1703.01365, equation 1 and proposition 1.

F is the logit of a class less the mean logit of all classes: softmax knows no more of them, and
does not flatten it where the model is certain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

STEPS = 16  # points of the integral; by Gauss and Legendre, so few are enough
AT_ONCE = 6  # pictures whose gradient is computed together: 2 GB for densenet121 with 224 pixels
CELLS = 40  # a side of a map, at most: single pixels of a photograph would be dust
STRONG = 98  # percentile of the attributions from which on a map shows the full colour
# As elsewhere in the report: what is right is blue, what is not is orange.
FOR, AGAINST = (0, 114, 178), (213, 94, 0)


@dataclass(frozen=True)
class Attribution:
    """Of one picture, for one class."""

    values: np.ndarray  # float64 [height, width, channels]: in units of the score
    baseline: float  # the score of the baseline
    score: float  # the score of the picture

    @property
    def error(self) -> float:
        """What is missing for the attributions to add up, as a share of their sizes; 0 is exact."""
        missing = abs(self.values.sum() - (self.score - self.baseline))
        return float(missing / max(np.abs(self.values).sum(), 1e-12))


def attributions(
    model: keras.Model, pictures: np.ndarray, classes: np.ndarray, steps: int = STEPS
) -> list[Attribution]:
    """Why the model sees this class in that picture.

    Args:
        model: a functional model of {"image": uint8 [n, height, width, channels]}, to logits.
        pictures: uint8 [n, height, width, channels].
        classes: int [n], indices of logits.

    Raises:
        ValueError: the model is not functional, or nothing in it is the picture as floats.
    """
    before, after = split(model)
    ends = np.concatenate([baselines(pictures), pictures])
    begin, end = np.split(keras.ops.convert_to_numpy(before({"image": ends})).astype(float), 2)
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    way = np.array([0, *(nodes + 1) / 2, 1])  # both ends with them, for their scores
    results = []
    for base, picture, index in zip(begin, end, classes, strict=True):
        points = base + (picture - base) * way[:, None, None, None]
        scores, gradients = _scores_and_gradients(after, points, int(index))
        mean = np.tensordot(weights / 2, gradients[1:-1], axes=1)
        results.append(Attribution((picture - base) * mean, scores[0], scores[-1]))
    return results


def split(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """A model in two: pixels to floats, through which no gradient flows, and all that follows."""
    for operation in getattr(model, "operations", ()):
        output = operation.output
        if not isinstance(output, keras.KerasTensor) or output.shape != model.inputs[0].shape:
            continue
        if keras.backend.is_float_dtype(output.dtype):
            return keras.Model(model.input, output), keras.Model(output, model.output)
    raise ValueError("in this model no tensor is the picture as floats")


def baselines(pictures: np.ndarray) -> np.ndarray:
    """Pictures of one colour, the median of each one's edge: what is there where nothing is.

    Black, as it is often done, would say that nothing black was ever looked at.
    """
    edges = [pictures[:, 0], pictures[:, -1], pictures[:, 1:-1, 0], pictures[:, 1:-1, -1]]
    colours = np.median(np.concatenate(edges, axis=1), axis=1, keepdims=True)
    return np.broadcast_to(colours[:, None], pictures.shape).astype(np.uint8)


def cost(model: keras.Model) -> int:
    """About how many multiplications a picture takes, forward: a kernel's weights at every position."""
    total = 0
    for layer in model.layers:
        inside = [v for v in (layer, *vars(layer).values()) if isinstance(v, keras.Model)]
        if inside:
            total += sum(map(cost, inside))
            continue
        places = math.prod(keras.tree.flatten(layer.output)[0].shape[1:-1])
        total += places * sum(math.prod(w.shape) for w in layer.weights if len(w.shape) > 1)
    return total


def draw(picture: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The picture in faint greys, and on it the attributions: uint8 [height, width, 3].

    Blue speaks for the class, orange against it.
    """
    height, width = picture.shape[:2]
    cell = max(1, -(-max(height, width) // CELLS))
    sums = values.sum(axis=2)
    sums = np.pad(sums, [(0, -height % cell), (0, -width % cell)])
    sums = sums.reshape(sums.shape[0] // cell, cell, -1, cell).sum(axis=(1, 3))
    full = np.percentile(np.abs(sums), STRONG) or np.abs(sums).max() or 1.0
    strength = np.minimum(np.abs(sums) / full, 1)[..., None]
    colour = np.where(sums[..., None] > 0, FOR, AGAINST)
    strength, colour = (
        np.kron(array, np.ones((cell, cell, 1)))[:height, :width] for array in (strength, colour)
    )
    grey = 150 + 0.4 * picture.mean(axis=2, keepdims=True)
    return np.round(grey * (1 - strength) + colour * strength).clip(0, 255).astype(np.uint8)


def _scores_and_gradients(after: keras.Model, points: np.ndarray, index: int):
    """Scores of a class, [n], and what they change by with the points, float64 [n, …]."""
    scores, gradients = [], []
    for start in range(0, len(points), AT_ONCE):
        part = tf.constant(points[start : start + AT_ONCE], after.inputs[0].dtype)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(part)
            logits = tf.cast(after(part, training=False), tf.float32)
            score = logits[:, index] - tf.reduce_mean(logits, axis=1)
        scores += score.numpy().tolist()
        gradients.append(tape.gradient(score, part).numpy().astype(float))
    return scores, np.concatenate(gradients)
