"""What a model looked at in an image: the gradients of Keras models for `codec/saliency.py`."""

from __future__ import annotations

import math
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from codec.saliency import STEPS, Attribution, baselines, integrate

AT_ONCE = 6  # images whose gradient is computed together: 2 GB for densenet121 with 224 pixels


def attributions(
    model: keras.Model, images: np.ndarray, classes: np.ndarray, steps: int = STEPS
) -> list[Attribution]:
    """Why the model sees this class in that image.

    Args:
        model: a functional model of {"image": uint8 [n, height, width, channels]}, to logits.
        images: uint8 [n, height, width, channels].
        classes: int [n], indices of logits.

    Raises:
        ValueError: the model is not functional, or nothing in it is the image as floats.
    """
    before, after = split(model)
    ends = np.concatenate([baselines(images), images])
    begin, end = np.split(keras.ops.convert_to_numpy(before({"image": ends})).astype(float), 2)

    def explain(base: np.ndarray, image: np.ndarray, index: int) -> Attribution:
        return integrate(base, image, partial(_differentiate, after, int(index)), steps)

    return list(map(explain, begin, end, classes))


def split(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """A model in two: pixels to floats, through which no gradient flows, and all that follows."""
    for operation in getattr(model, "operations", ()):
        output = operation.output
        if not isinstance(output, keras.KerasTensor) or output.shape != model.inputs[0].shape:
            continue
        if keras.backend.is_float_dtype(output.dtype):
            return keras.Model(model.input, output), keras.Model(output, model.output)
    raise ValueError("in this model no tensor is the image as floats")


def cost(model: keras.Model) -> int:
    """About how many multiplications an image takes, forward: a kernel's weights at every position."""
    total = 0
    for layer in model.layers:
        inside = [v for v in (layer, *vars(layer).values()) if isinstance(v, keras.Model)]
        if inside:
            total += sum(map(cost, inside))
            continue
        places = math.prod(keras.tree.flatten(layer.output)[0].shape[1:-1])
        total += places * sum(math.prod(w.shape) for w in layer.weights if len(w.shape) > 1)
    return total


def _differentiate(after: keras.Model, index: int, points: np.ndarray):
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
