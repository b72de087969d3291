"""The exported model: raw named features in, just as a client sends them, named answers out."""

from __future__ import annotations

import tempfile

import keras
import tensorflow as tf

from trainer import files
from trainer.runtime import join
from trainer.schema import FARTHEST, Schema


class Features(keras.layers.Layer):
    """Raw columns to model inputs, in the graph: `encode.Encoder` for what a client sends.

    Takes {input: float64 [batch] or string [batch]}; NaN and texts in `schema.missing` are missing
    values. Gives what `model.build` takes. The arithmetic is the encoder's, to the last bit.
    """

    def __init__(self, schema: Schema):
        super().__init__(dtype="float32", autocast=False)  # float64 stays float64
        self.schema = schema
        self.lookups = []
        for column in schema.categories:
            # Neither can be a stripped text, so neither takes a category's place.
            lookup = keras.layers.StringLookup(
                vocabulary=column.categories or [" "], oov_token="\n"
            )
            lookup.build((None,))
            self.lookups.append(lookup)
        self.built = True

    def call(self, raw):
        schema, rows = self.schema, tf.shape(raw[self.schema.features[0].input])[0]
        # All number columns at once: operations for each would make a graph of thousands.
        values = _columns([raw[c.input] for c in schema.numbers], rows, tf.float64)
        mean, std = ([getattr(c, k) for c in schema.numbers] for k in ("mean", "std"))
        present = tf.math.is_finite(values)
        scaled = (values - tf.constant(mean, tf.float64)) / tf.constant(std, tf.float64)
        scaled = tf.clip_by_value(scaled, -FARTHEST, FARTHEST)
        numbers = tf.cast(tf.where(present, scaled, tf.zeros_like(scaled)), tf.float32)
        indicated = [i for i, c in enumerate(schema.numbers) if c.missing]
        missing = tf.gather(tf.cast(~present, tf.float32), tf.constant(indicated, tf.int32), axis=1)
        categories = []
        for column, lookup, offset in zip(
            schema.categories, self.lookups, schema.offsets, strict=True
        ):
            place = lookup(tf.strings.strip(raw[column.input]))
            categories.append(tf.cast(place, tf.int32) + offset)
        return {
            "numbers": tf.concat([numbers, missing], axis=1),
            "categories": _columns(categories, rows, tf.int32),
        }


def _columns(vectors, rows, dtype):
    return tf.stack(vectors, axis=1) if vectors else tf.zeros((rows, 0), dtype)


def write(model: keras.Model, schema: Schema, path: str) -> None:
    """Writes a SavedModel whose `serving_default` takes a vector for each feature.

    Answers, classification: class string [batch], probabilities float32 [batch, classes], labels
    string [batch, classes] (the classes' names, in the order of the probabilities); regression:
    value float32 [batch].
    """
    features = Features(schema)

    def serve(raw):
        return answer(schema, model(features(raw), training=False))

    signature = {
        c.input: tf.TensorSpec([None], tf.float64 if c.kind == "number" else tf.string, c.input)
        for c in schema.features
    }
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.track(features)
    archive.add_endpoint("serve", serve, input_signature=[signature])
    with tempfile.TemporaryDirectory() as folder:
        # In a bucket TensorFlow would take 75 requests, and leave half a model when it is killed.
        local = folder if files.is_remote(path) else path
        archive.write_out(local, verbose=False)
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
