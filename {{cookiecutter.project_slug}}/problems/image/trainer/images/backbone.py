"""A network of keras.applications under a head of ours, with its own preprocessing before it."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings

import keras

from codec import files
from trainer.engine.runtime import JobError


class Backbone(keras.layers.Layer):
    """Pixels from 0 to 255, RGB or grey, to one vector of features an image.

    It stays in inference mode while its weights are trained, too: the statistics of its batch
    normalisation are those of the millions of images that it has seen, and not of a few batches.
    (Given as an argument in a functional model, training=False would be overruled by the model's.)

    Raises:
        JobError: images too small for this network.
    """

    def __init__(self, name_of: str, size: int, **how):
        super().__init__(dtype="float32", **how)
        self.name_of, self.size = name_of, size
        self.network = self._make(weights=None)

    def _make(self, weights: str | None) -> keras.Model:
        make = _application(self.name_of)
        try:
            shape = (self.size, self.size, 3)
            return make(include_top=False, weights=weights, input_shape=shape, pooling="avg")
        except ValueError as error:
            if weights:
                raise
            raise JobError(
                f"--backbone {self.name_of}: {_line(error)} Give larger images: --image-size, or "
                "for shards scripts/data.py shards --size"
            ) from None

    def call(self, pixels):
        if pixels.shape[-1] == 1:
            pixels = keras.ops.repeat(pixels, 3, axis=-1)
        module = sys.modules[_application(self.name_of).__module__]
        return self.network(module.preprocess_input(pixels), training=False)

    def unfreeze(self, count: int) -> None:
        """Makes the last `count` layers that have weights trainable, and no others."""
        self.trainable = True  # and every layer inside; the others are frozen again, one by one
        weighted = [layer for layer in self.network.layers if layer.trainable_variables]
        for layer in weighted[: max(0, len(weighted) - count)]:
            layer.trainable = False

    def load(self, source: str) -> None:
        """Takes over weights: "imagenet", or a file that Keras has written, local or gs://….

        Raises:
            JobError: they cannot be had, or are another network's.
        """
        if source == "imagenet":
            self._download()
            return
        if not files.exists(source):
            raise JobError(f"--weights {source}: no such file")
        try:
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # of each part that is not in the file; then it fails
                path = source
                if files.is_remote(source):
                    path = os.path.join(folder, os.path.basename(source))
                    with open(path, "wb") as file:
                        files.read_into(source, file)
                self.network.load_weights(path)
        except (OSError, ValueError, KeyError) as error:
            raise JobError(
                f"--weights {source}: cannot be loaded into {self.name_of} ({_line(error)}); save "
                f"them with keras.applications.{_application(self.name_of).__name__}("
                "include_top=False).save_weights('NAME.weights.h5')"
            ) from None

    def _download(self) -> None:
        try:
            donor = self._make("imagenet")
        except Exception as error:  # whatever stops a download: Keras raises it as it comes
            raise JobError(
                f"--weights imagenet: the download failed ({_line(error)}); without it, give a file "
                "that Keras has written, --weights FILE, local or gs://…, or begin with random "
                "weights, --weights none"
            ) from None
        self.network.set_weights(donor.get_weights())


def _application(name: str):
    """The function of keras.applications behind a name of any case."""
    applications = vars(keras.applications).items()
    functions = {key.lower(): value for key, value in applications if callable(value)}
    return functions[name]


def _line(error: Exception) -> str:
    """An error's text on one line."""
    return " ".join(str(error).split())[:300]
