"""What `outputs.evaluate` works with: predictions of the held-out part, a folder for images."""

from __future__ import annotations

import argparse
import io
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import tensorflow as tf

from codec import files
from trainer.engine.runtime import Runtime, join
from trainer.engine.sections import IMAGE

SIDE = 128  # pixels, at most: of a larger image the file has a small copy
AT_ONCE = 16  # files at a time: in a bucket each takes its time


class Context:
    """The exported model at its held-out examples.

    Attributes:
        flags: the flags of the run.
    """

    def __init__(self, model: keras.Model, examples, flags: argparse.Namespace):
        self.model, self.examples, self.flags = model, examples, flags
        self._images: dict[str, np.ndarray] = {}
        self._sums: dict[str, np.ndarray] = {}  # of a metric: rows, values, their squares
        self._shares: set[str] = set()

    def predictions(self) -> Iterator[tuple]:
        """Yields (target, output) of all held-out examples, a batch at a time, in stored order.

        Both are NumPy arrays [batch, …], or the dictionaries and lists of them that data and model
        have; the target is None where the data has none.
        """
        loss = _loss_of_rows(self.model) if "loss" not in self._sums else None
        predict = tf.function(
            lambda inputs: self.model(inputs, training=False), reduce_retracing=True
        )
        for steps, block in self.examples.eval.batches(self.flags.batch_size):
            for i in range(steps):
                inputs, *rest = keras.tree.map_structure(lambda array, i=i: array[i], block)
                output = predict(inputs)
                output = keras.tree.map_structure(keras.ops.convert_to_numpy, output)
                target = rest[0] if rest else None
                if loss is not None:
                    loss = self._add_loss(loss, target, output)
                yield target, output

    def _add_loss(self, loss, target, output):
        """Adds the losses of a batch; returns None for a loss that has no value for each row."""
        try:
            values = np.asarray(loss(target, output))
            if values.shape != (len(keras.tree.flatten(output)[0]),):
                raise ValueError("not one value for each row")
        except Exception:  # any function may stand there
            self._sums.pop("loss", None)
            return None
        self.add_rows("loss", values)
        return loss

    def add_rows(self, metric: str, values: np.ndarray) -> None:
        """Adds a metric's value for each row of a batch: run.json gets its standard error.

        Args:
            metric: a name of `model.compile`, such as accuracy.
            values: [batch]; booleans where the metric is a share, such as of correct answers.
        """
        if values.dtype == bool:
            self._shares.add(metric)
        values = values.astype(np.float64)
        sums = np.array([len(values), values.sum(), np.square(values).sum()])
        self._sums[metric] = self._sums.get(metric, 0) + sums

    def standard_errors(self) -> dict[str, float]:
        """How much held-out metrics would vary with other held-out rows, as many as these.

        The standard deviation over the rows, divided by the root of their number. A share counts one
        more row as right and one as wrong: if all 70 are right, a new one can still be wrong.
        """
        errors = {}
        for name, (rows, total, squares) in self._sums.items():
            variance = (squares - total**2 / rows) / max(1, rows - 1)
            error = math.sqrt(max(0.0, variance) / rows) if math.isfinite(variance) else math.inf
            if name in self._shares:
                share = (total + 1) / (rows + 2)
                error = math.sqrt(share * (1 - share) / (rows + 2))
            if rows > 1 and math.isfinite(error):
                errors[f"val_{name}"] = float(f"{error:.3g}")
        return errors

    def save_image(self, name: str, pixels) -> str:
        """Keeps an image for a gallery; returns its path for `sections.gallery`.

        Args:
            name: letters, digits, - and _; the same name again replaces the image.
            pixels: [height, width, 1 or 3]: uint8, or floats from 0 to 1.
        """
        path, pixels = f"gallery/{name}.png", np.asarray(pixels)
        if not IMAGE.fullmatch(path):
            raise ValueError(f"save_image: the name {name!r} may have letters, digits, - and _")
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.size:
            raise ValueError(f"save_image: pixels {pixels.shape}; expected [height, width, 1 or 3]")
        if pixels.dtype.kind == "f":
            pixels = np.round(np.nan_to_num(pixels).clip(0, 1) * 255).astype(np.uint8)
        elif pixels.dtype != np.uint8:
            raise ValueError(f"save_image: pixels are {pixels.dtype}; expected uint8 or floats")
        self._images[path] = _shrink(pixels)
        return path

    def write_images(self, runtime: Runtime) -> None:
        """Writes the images of this run, and removes those of a shorter training before."""
        files.remove_tree(join(runtime.job_dir, "gallery"))
        if not self._images:
            return
        files.make_dirs(join(runtime.job_dir, "gallery"))

        def write(path: str) -> None:
            data = tf.io.encode_png(self._images[path]).numpy()
            files.write_from(io.BytesIO(data), join(runtime.job_dir, path))

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(write, self._images))


def _loss_of_rows(model: keras.Model):
    """The compiled loss as a function that gives a value for each row; None where there is none."""
    try:
        loss = keras.losses.get(model.loss)
    except Exception:  # several outputs have several
        return None
    # Called directly, a Loss of Keras gives the mean; its method gives a value for each row.
    return getattr(loss, "call", loss) if callable(loss) else None


def _shrink(pixels: np.ndarray) -> np.ndarray:
    size = max(pixels.shape[:2])
    if size <= SIDE:
        return pixels
    shape = [max(1, round(side * SIDE / size)) for side in pixels.shape[:2]]
    smaller = tf.image.resize(pixels, shape, antialias=True)
    return tf.saturate_cast(tf.round(smaller), tf.uint8).numpy()
