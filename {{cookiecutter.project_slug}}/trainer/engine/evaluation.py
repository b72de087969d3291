"""What `outputs.evaluate` works with: predictions of the held-out part, a folder for images."""

import argparse
import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import tensorflow as tf

from codec import files
from codec.intervals import average
from trainer.engine.runtime import Runtime, join
from trainer.engine.sections import IMAGE

AT_ONCE = 16  # files at a time: in a bucket each takes its time
KEPT = 1 << 17  # rows of predictions.csv; where there are more, evenly spaced ones


class Context:
    """The exported model at its held-out examples; `flags` are those of the run."""

    def __init__(self, model: keras.Model, examples, flags: argparse.Namespace):
        self.model, self.examples, self.flags = model, examples, flags
        self._images: dict[str, bytes] = {}
        self._batches: dict[str, list[np.ndarray]] = {}  # what add_rows keeps
        self._counts: Counter[str] = Counter()  # rows that it was given
        self._every = -(-examples.eval.rows // KEPT)  # of so many rows it keeps one
        self._predict = None

    def predict(self, inputs):
        """The model's outputs as NumPy arrays, for any number of rows at once: [rows, …]."""
        if self._predict is None:  # one graph for batches of any size
            types = keras.tree.map_structure(
                lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), inputs
            )
            self._predict = tf.function(
                lambda inputs: self.model(inputs, training=False), input_signature=[types]
            )
        return keras.tree.map_structure(keras.ops.convert_to_numpy, self._predict(inputs))

    def predictions(self) -> Iterator[tuple]:
        """Yields (target, output) of all held-out examples, a batch at a time, in stored order.

        Both are NumPy arrays [batch, …], or the dictionaries and lists of them that data and model
        have; the target is None where the data has none.
        """
        adds_losses = not self._batches
        for steps, block in self.examples.eval.batches(self.flags.batch_size):
            for i in range(steps):
                inputs, *rest = keras.tree.map_structure(lambda array, i=i: array[i], block)
                output = self.predict(inputs)
                target = rest[0] if rest else None
                yield target, output
                adds_losses = adds_losses and self._add_losses(target, output)

    def _add_losses(self, target, output) -> bool:
        """Adds the loss of each row of a batch; returns whether the model's loss has such values."""
        try:
            loss = keras.losses.get(self.model.loss)
            # Called directly, a Loss of Keras gives the mean; its method gives a value for each row.
            values = np.asarray(getattr(loss, "call", loss)(target, output))
            if values.shape != (len(keras.tree.flatten(output)[0]),):
                raise ValueError("not one value for each row")
        except Exception:  # several outputs have several, and any function may stand there
            self._batches.pop("loss", None)
            return False
        self.add_rows(loss=values)
        return True

    def add_rows(self, **values: np.ndarray) -> None:
        """Keeps values of each row in a batch; predictions.csv gets a column of each.

        Those that have the name of a metric in `model.compile` are what it is the mean of: run.json
        gets its interval.

        Args:
            values: each [batch], of all rows: texts, numbers, or booleans, such as whether an answer
                is right.
        """
        for name, batch in values.items():
            first = -self._counts[name] % self._every
            self._batches.setdefault(name, []).append(batch[first :: self._every])
            self._counts[name] += len(batch)

    def rows(self, name: str) -> np.ndarray:
        """[rows]: what `add_rows` keeps under this name, of every n-th row where there are many."""
        return np.concatenate(self._batches[name])

    def intervals(self) -> dict[str, list[float]]:
        """{"val_NAME": [low, high]} of the mean of what `add_rows` keeps, where it is finite.

        Rows that hang together, such as a participant's, have a number in common in `eval.groups`.
        """
        intervals, groups = {}, getattr(self.examples.eval, "groups", None)
        groups = groups if groups is None else groups[:: self._every]
        for name in self._batches:
            values = self.rows(name)
            if values.dtype.kind not in "bf" or len(values) < 2 or not np.isfinite(values).all():
                continue
            _, *interval = average(values, groups)
            if np.isfinite(interval).all():
                intervals[f"val_{name}"] = [float(f"{end:.4g}") for end in interval]
        return intervals

    def write_rows(self, runtime: Runtime) -> None:
        """Writes predictions.csv: a held-out row a line, by its number from 0, with its values."""
        if not self._batches:
            return
        columns = {name: self.rows(name) for name in self._batches}
        cells = [map(_write_cell, values.tolist()) for values in columns.values()]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["row", *columns])
        writer.writerows(zip(itertools.count(0, self._every), *cells))
        files.write_text(join(runtime.job_dir, "predictions.csv"), text.getvalue())

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
        """Writes the images of this run, and removes those of a shorter training before: no others."""
        before = join(runtime.job_dir, "evaluation.json")
        text = files.read_text(before) if files.exists(before) else ""
        paths = {*re.findall(r"gallery/[\w-]+\.png", text), *self._images}
        if not paths:
            return
        files.make_dirs(join(runtime.job_dir, "gallery"))

        def update(path: str) -> None:
            target = join(runtime.job_dir, path)
            if path in self._images:
                files.write_from(io.BytesIO(self._images[path]), target)
            else:
                files.remove(target)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(update, paths))


def _write_cell(value) -> str:
    if isinstance(value, float):
        return f"{value:.7g}"  # what float32 holds
    return str(int(value)) if isinstance(value, bool) else str(value)
