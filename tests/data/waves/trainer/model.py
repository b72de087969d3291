"""EDIT THIS FILE: a network of convolutions over time."""

import keras
from keras import layers

JIT = ()


def build(examples, flags):
    samples = keras.Input((examples.schema.length,), name="samples")
    x = layers.Reshape((-1, 1))(samples)
    for units in flags.hidden_units:
        x = layers.Conv1D(units, 7, 2, activation="relu")(x)
    x = layers.Dropout(flags.dropout)(layers.GlobalAveragePooling1D()(x))
    model = keras.Model({"samples": samples}, layers.Dense(len(examples.classes))(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(flags.learning_rate), loss, metrics=["accuracy"])
    return model
