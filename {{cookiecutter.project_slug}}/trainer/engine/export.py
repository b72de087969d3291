"""The exported model: what a client sends goes in, the answers of `outputs.py` come out."""

import tempfile
from collections.abc import Callable

import keras
import tensorflow as tf

from codec import files
from trainer import outputs
from trainer.engine.runtime import join
from trainer.inputs import Inputs


def write(model: keras.Model, examples, path: str) -> Exception | None:
    """Writes a SavedModel; `inputs.Inputs` says what its signatures take, `outputs.answer` what
    they return.

    Returns the error of an `answer` that does not fit the model: it then returns its raw outputs,
    by their names, or as `output`, `output_1`, …
    """
    _, (inputs, *_) = next(examples.eval.batches(1))  # arrays [K, 1, …] by name
    encoded = {n: tf.TensorSpec([None, *a.shape[2:]], a.dtype, n) for n, a in inputs.items()}
    exported = tf.Module()  # what the signatures use must hang on it, or it is not saved
    exported.model, exported.inputs = model, Inputs(examples.schema)

    def trace(answer: Callable) -> dict:
        def serving(prepare: Callable, takes: dict[str, tf.TensorSpec]):
            # inputs.py is written in operations of graphs: to rewrite its Python takes seconds.
            prepare = tf.autograph.experimental.do_not_convert(prepare)

            def serve(raw):
                return answer(exported.model(prepare(raw), training=False))

            return tf.function(serve, input_signature=[takes]).get_concrete_function()

        return {name: serving(*how) for name, how in exported.inputs.signatures(encoded).items()}

    failed = None
    try:
        signatures = trace(lambda output: _check(outputs.answer(examples, output)))
    except Exception as error:  # any model may have come here
        failed, signatures = error, trace(_raw)
    with tempfile.TemporaryDirectory() as folder:
        # In a bucket TensorFlow would take 75 requests, and leave half a model when it is killed.
        local = folder if files.is_remote(path) else path
        tf.saved_model.save(exported, local, signatures=signatures)
        # TensorFlow leaves this folder to us: what a client must know goes with the model.
        files.write_text(join(local, "assets.extra", "schema.json"), examples.schema.to_json())
        if files.is_remote(path):
            files.upload(folder, path, last="saved_model.pb")
    return failed


def _check(answer) -> dict:
    """A signature returns tensors by name, a row of each for every instance."""
    if not isinstance(answer, dict) or not answer:
        raise TypeError(f"it must return a dictionary of tensors, not {type(answer).__name__}")
    answer = {name: tf.convert_to_tensor(value) for name, value in answer.items()}
    if flat := [name for name, value in answer.items() if value.shape.rank == 0]:
        raise ValueError(f"{flat[0]!r} has no row for each instance")
    return answer


def _raw(output) -> dict[str, tf.Tensor]:
    if isinstance(output, dict):
        return dict(output)
    flat = keras.tree.flatten(output)
    return {f"output_{i}" if i else "output": value for i, value in enumerate(flat)}
