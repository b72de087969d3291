"""Gradients of an exported network of images: TensorFlow computes them, in a process of its own."""

from __future__ import annotations

import sys

import numpy as np

from predictor.runtime import TensorFlow
from predictor.tensorflow_child import Network, main

AT_ONCE = 6  # images whose gradient is computed together: 2 GB for densenet121 with 224 pixels


class Gradients(TensorFlow):
    """A SavedModel whose child process is this file; it takes seconds, and half a gigabyte."""

    child = "predictor.gradients"

    def differentiate(self, index: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Differentiable.differentiate`.

        Raises:
            ModelError: this network has no gradients, or fails.
        """
        return self._ask("differentiate", index, points)


class Differentiable(Network):
    """The network in the child process."""

    opened: tuple = ()  # the network from floats to logits, and the type of the floats

    def differentiate(self, index: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores [rows] of a class, its logit less the mean logit of all, and their gradients.

        Args:
            index: of the class.
            points: [rows, …], what the only input of the network would be, as floats.

        Raises:
            ValueError: in this network nothing is its input as floats, or it has no logits.
        """
        tf = self.tf
        self.opened = self.opened or self._open()
        after, kind = self.opened
        scores, gradients = [], []
        for start in range(0, len(points), AT_ONCE):
            part = tf.constant(points[start : start + AT_ONCE], kind)
            with tf.GradientTape() as tape:
                tape.watch(part)
                logits = tf.cast(after(part), tf.float32)
                score = logits[:, index] - tf.reduce_mean(logits, axis=1)
            scores.append(score.numpy())
            gradients.append(tape.gradient(score, part).numpy())
        return np.concatenate(scores).astype(float), np.concatenate(gradients).astype(float)

    def _open(self) -> tuple:
        """No gradient passes whole numbers, so the network is cut behind them, and before softmax."""
        from tensorflow.python.framework.convert_to_constants import (
            convert_variables_to_constants_v2 as inline,
        )

        inlined = inline(self.function)
        outputs = dict(zip(sorted(self.function.structured_outputs), inlined.outputs, strict=True))
        tensors, floats = list(inlined.inputs), []
        for tensor in tensors:
            for op in tensor.consumers():
                if op.type == "Cast" and op.outputs[0].dtype.is_floating:
                    floats.append(op.outputs[0])
                elif op.type == "Identity":
                    tensors.append(op.outputs[0])
        last = outputs["probabilities"].op if "probabilities" in outputs else None
        while last is not None and last.type == "Identity":
            last = last.inputs[0].op
        if len(floats) != 1 or last is None or last.type != "Softmax":
            raise ValueError("its input does not become floats, or its output is no softmax")
        [cut], graph = floats, inlined.graph.as_graph_def()
        for node in graph.node:  # the order of reading variables, which are constants now
            node.input[:] = [name for name in node.input if not name.startswith("^")]

        def after(points):
            ends = {"input_map": {cut.name: points}, "return_elements": [last.inputs[0].name]}
            return self.tf.graph_util.import_graph_def(graph, **ends)[0]

        spec = self.tf.TensorSpec(cut.shape, cut.dtype)
        return self.tf.function(after, input_signature=[spec]), cut.dtype


if __name__ == "__main__":
    main(Differentiable, sys.argv[1])
