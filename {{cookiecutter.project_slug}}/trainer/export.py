"""The exported model: what a client sends goes in, answers in the client's words come out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import keras
import tensorflow as tf

from codec.schema import Schema
from trainer import files
from trainer.inputs import Inputs
from trainer.runtime import join


def write(model: keras.Model, schema: Schema, path: str) -> None:
    """Writes a SavedModel; `inputs.Inputs` says what its signatures take.

    Answers, classification: class string [batch], probabilities float32 [batch, classes], labels
    string [batch, classes] (the classes' names, in the order of the probabilities); regression:
    value float32 [batch].
    """
    exported = tf.Module()  # what the signatures use must hang on it, or it is not saved
    exported.model, exported.inputs = model, Inputs(schema)

    def serving(prepare: Callable, takes: dict[str, tf.TensorSpec]):
        def serve(raw):
            return answer(schema, exported.model(prepare(raw), training=False))

        return tf.function(serve, input_signature=[takes])

    signatures = {name: serving(*how) for name, how in exported.inputs.signatures().items()}
    with tempfile.TemporaryDirectory() as folder:
        # In a bucket TensorFlow would take 75 requests, and leave half a model when it is killed.
        local = folder if files.is_remote(path) else path
        tf.saved_model.save(exported, local, signatures=signatures)
        # TensorFlow leaves this folder to us: what a client must know goes with the model.
        files.write_text(join(local, "assets.extra", "schema.json"), schema.to_json())
        if files.is_remote(path):
            files.upload(folder, path, last="saved_model.pb")


def answer(schema: Schema, output) -> dict[str, tf.Tensor]:
    """A model's output in a client's words."""
    if schema.task == "regression":
        return {"value": output[:, 0]}
    labels = tf.constant(schema.labels)
    rows = tf.shape(output)[0]
    return {
        "class": tf.gather(labels, tf.argmax(output, axis=1)),
        "probabilities": tf.nn.softmax(output),
        "labels": tf.tile(labels[tf.newaxis], [rows, 1]),
    }
