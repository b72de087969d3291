"""The process in which `runtime.TensorFlow` runs a SavedModel: python -m predictor.tensorflow_child DIR

It reads pickles from standard input, (name of a method of `Network`, its arguments), and writes for each
a pickle to standard output: (what the method returns, None) or (None, why it fails). The first one says
that the model is loaded. It ends when standard input does.
"""

import os
import pickle
import sys

SIGNATURE = "encoded"


class Network:
    """A SavedModel. TensorFlow is imported here."""

    def __init__(self, model_dir: str):
        import tensorflow as tf

        self.tf = tf
        self.model = tf.saved_model.load(model_dir)  # which holds the variables
        self.function = self.model.signatures.get(SIGNATURE)

    def call(self, inputs: dict) -> dict:
        """The outputs by name, of inputs by name: arrays [rows, …]."""
        specs = self.function.structured_input_signature[1]
        tensors = {n: self.tf.constant(inputs[n], spec.dtype) for n, spec in specs.items()}
        return {name: value.numpy() for name, value in self.function(**tensors).items()}


def main(kind: type[Network], model_dir: str) -> None:
    """Answer until standard input ends, and then end the process."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anyone prints must not get among the answers

    def send(result, error: str | None) -> None:
        pickle.dump((result, error), answers)
        answers.flush()

    try:
        network = kind(model_dir)
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
            os._exit(0)  # TensorFlow takes 0.8 s to tear itself down, for nothing
        try:
            send(getattr(network, method)(*arguments), None)
        except Exception as error:
            send(None, f"the network fails ({_shorten(error)})")


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


if __name__ == "__main__":
    main(Network, sys.argv[1])
