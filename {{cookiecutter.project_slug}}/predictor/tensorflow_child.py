"""The process in which `runtime.TensorFlow` runs a SavedModel: python -m predictor.tensorflow_child DIR

It reads pickles from standard input, arrays by name, and writes for each a pickle to standard output:
(outputs by name, None) or (None, why there are none). The first one says that the model is loaded.
It ends when standard input does.
"""

import os
import pickle
import sys

SIGNATURE = "encoded"


def main(model_dir: str) -> None:
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anyone prints must not get among the answers

    def send(outputs: dict | None, error: str | None) -> None:
        pickle.dump((outputs, error), answers)
        answers.flush()

    import tensorflow as tf

    try:
        model = tf.saved_model.load(model_dir)
    except Exception as error:  # TensorFlow raises its own, and Python's
        return send(None, f"TensorFlow cannot load it ({_shorten(error)})")
    if SIGNATURE not in model.signatures:
        why = f"the model has no signature {SIGNATURE!r}; train it again, or predict with the code"
        return send(None, why + " that trained it")
    function = model.signatures[SIGNATURE]
    specs = function.structured_input_signature[1]
    send({}, None)
    while True:
        try:
            inputs = pickle.load(requests)
        except EOFError:
            return None
        try:
            tensors = {name: tf.constant(inputs[name], spec.dtype) for name, spec in specs.items()}
            outputs = {name: value.numpy() for name, value in function(**tensors).items()}
        except Exception as error:
            send(None, f"the network fails ({_shorten(error)})")
        else:
            send(outputs, None)


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


if __name__ == "__main__":
    main(sys.argv[1])
    os._exit(0)  # TensorFlow takes 0.8 s to tear itself down, for nothing
