"""What `outputs.evaluate` works with: predictions of the held-out part, a folder for images."""

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

AT_ONCE = 16  # files at a time: in a bucket each takes its time


class Context:
    """The exported model at its held-out examples; `flags` are those of the run."""

    def __init__(self, model: keras.Model, examples, flags: argparse.Namespace):
        self.model, self.examples, self.flags = model, examples, flags
        self._images: dict[str, bytes] = {}
        self._sums: dict[str, np.ndarray] = {}  # of a metric: rows, values, their squares
        self._shares: set[str] = set()

    def predictions(self) -> Iterator[tuple]:
        """Yields (target, output) of all held-out examples, a batch at a time, in stored order.

        Both are NumPy arrays [batch, …], or the dictionaries and lists of them that data and model
        have; the target is None where the data has none.
        """
        adds_loss = "loss" not in self._sums
        predict = tf.function(
            lambda inputs: self.model(inputs, training=False), reduce_retracing=True
        )
        for steps, block in self.examples.eval.batches(self.flags.batch_size):
            for i in range(steps):
                inputs, *rest = keras.tree.map_structure(lambda array, i=i: array[i], block)
                output = keras.tree.map_structure(keras.ops.convert_to_numpy, predict(inputs))
                target = rest[0] if rest else None
                adds_loss = adds_loss and self._add_loss(target, output)
                yield target, output

    def _add_loss(self, target, output) -> bool:
        """Adds the losses of a batch; returns whether the loss has a value for each row."""
        try:
            loss = keras.losses.get(self.model.loss)
            # Called directly, a Loss of Keras gives the mean; its method gives a value for each row.
            values = np.asarray(getattr(loss, "call", loss)(target, output))
            if values.shape != (len(keras.tree.flatten(output)[0]),):
                raise ValueError("not one value for each row")
        except Exception:  # several outputs have several, and any function may stand there
            self._sums.pop("loss", None)
            return False
        self.add_rows("loss", values)
        return True

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

    def save_image(self, name: str, png: bytes) -> str:
        """Keeps a PNG file for a gallery; returns its path for `sections.gallery`.

        Args:
            name: letters, digits, - and _; the same name again replaces the image.
        """
        path = f"gallery/{name}.png"
        if not IMAGE.fullmatch(path):
            raise ValueError(f"save_image: the name {name!r} may have letters, digits, - and _")
        self._images[path] = png
        return path

    def write_images(self, runtime: Runtime) -> None:
        """Writes the images of this run, and removes those of a shorter training before."""
        files.remove_tree(join(runtime.job_dir, "gallery"))
        if not self._images:
            return
        files.make_dirs(join(runtime.job_dir, "gallery"))

        def write(path: str) -> None:
            files.write_from(io.BytesIO(self._images[path]), join(runtime.job_dir, path))

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(write, self._images))
