"""The process in which `runtime.TensorFlow` runs a SavedModel: python -m predictor.tensorflow_child DIR

It reads pickles from standard input, (name of a method of `Network`, its arguments), and writes for each
a pickle to standard output: (what the method returns, None) or (None, why it fails). The first one says
that the model is loaded. It ends when standard input does.
"""

import os
import pickle
import sys

import numpy as np

SIGNATURE = "encoded"
AT_ONCE = 6  # examples whose gradient is computed together: 2 GB for densenet121 with 224 pixels


class Network:
    """A SavedModel. TensorFlow is imported here."""

    def __init__(self, model_dir: str):
        import tensorflow as tf

        self.tf = tf
        self.model = tf.saved_model.load(model_dir)  # which holds the variables
        self.function = self.model.signatures.get(SIGNATURE)
        self.opened: tuple = ()  # the network from floats to logits, and the type of the floats

    def call(self, inputs: dict) -> dict:
        """The outputs by name, of inputs by name: arrays [rows, …]."""
        specs = self.function.structured_input_signature[1]
        tensors = {n: self.tf.constant(inputs[n], spec.dtype) for n, spec in specs.items()}
        return {name: value.numpy() for name, value in self.function(**tensors).items()}

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


def main(model_dir: str) -> None:
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anyone prints must not get among the answers

    def send(result, error: str | None) -> None:
        pickle.dump((result, error), answers)
        answers.flush()

    try:
        network = Network(model_dir)
    except Exception as error:  # TensorFlow raises its own, and Python's
        return send(None, f"TensorFlow cannot load it ({_shorten(error)})")
    if network.function is None:
        why = f"the model has no signature {SIGNATURE!r}; train it again, or predict with the code"
        return send(None, why + " that trained it")
    send(None, None)
    while True:
        try:
            method, arguments = pickle.load(requests)
        except EOFError:
            return None
        try:
            send(getattr(network, method)(*arguments), None)
        except Exception as error:
            send(None, f"the network fails ({_shorten(error)})")


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


if __name__ == "__main__":
    main(sys.argv[1])
    os._exit(0)  # TensorFlow takes 0.8 s to tear itself down, for nothing
