"""What a run reports while it trains: lines or a bar, TensorBoard, the tuning service, utilisation."""

import json
import sys
import time
from collections import deque
from contextlib import ExitStack

import keras
import tensorflow as tf

from codec import files
from trainer.engine.machine import Utilisation
from trainer.engine.runtime import Runtime, join

REPORTS_KEPT = 100  # hypertune's own number
# In a bucket each flush writes the whole file again: not at every scalar, which is the default.
QUEUE, FLUSH_MILLIS = 1 << 20, 30_000


class Telemetry(ExitStack):
    """The chief reports everything; any other replica prints a line an epoch, and no more."""

    def __init__(self, runtime: Runtime, flags):
        super().__init__()
        self.runtime, self.flags = runtime, flags
        self.bar, self.profile, self.epochs = None, ExitStack(), 0
        self.started = time.monotonic()
        self.reports: deque[str] = deque(maxlen=REPORTS_KEPT)
        self.writers: dict[str, tf.summary.SummaryWriter] = {}  # by their folder

    def __enter__(self) -> "Telemetry":
        if self.runtime.is_chief:
            self.enter_context(Utilisation(self.runtime.log_dir))
            for part in ("train", "eval"):
                folder = join(self.runtime.log_dir, part)
                self.writers[part] = tf.summary.create_file_writer(folder, QUEUE, FLUSH_MILLIS)
                self.callback(self.writers[part].close)
            self.enter_context(self.profile)
        return self

    def begin(self, epoch: int) -> None:
        """Before an epoch, the first being 1: the second is traced, since the first one compiles."""
        if self.flags.profile and self.runtime.is_chief and epoch == min(2, self.flags.epochs):
            self.profile.enter_context(tf.profiler.experimental.Profile(self.runtime.log_dir))

    def step(self, done: int, steps: int) -> None:
        """After a block: a bar on a terminal, nothing in a log."""
        if self.runtime.is_chief and sys.stdout.isatty():
            if self.bar is None:
                self.bar = keras.utils.Progbar(steps, unit_name="step")
            self.bar.update(min(done, steps - 1))

    def epoch(self, row: dict, model: keras.Model) -> None:
        """After an epoch: a line, the scalars, the report to the tuning service."""
        self.profile.close()
        if self.bar is not None:
            print("\r", end="")
            self.bar = None
        took, self.started = time.monotonic() - self.started, time.monotonic()
        number, epochs = row["epoch"], self.flags.epochs
        metrics = {name: value for name, value in row.items() if name != "epoch"}
        values = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        left = f", {took * (epochs - number):.0f} s left" if self.epochs else ""
        self.epochs += 1  # the first one compiles: the others are faster
        print(f"epoch {number}/{epochs}  {values}  ({took:.1f} s{left})", flush=True)
        if self.runtime.is_chief:
            self._write_scalars(number, metrics, model)
            if self.runtime.trial:
                self._report_to_study(number, metrics)

    def _write_scalars(self, epoch: int, metrics: dict, model: keras.Model) -> None:
        """logs/train and logs/eval share their tags, so that TensorBoard overlays the curves."""
        for name, value in metrics.items():
            tag = name.removeprefix("val_")
            # Not `with writer.as_default()`: it flushes when it is left.
            self.writers["train" if tag == name else "eval"].set_as_default(epoch)
            tf.summary.scalar(tag, value)
        if self.flags.histograms:
            self.writers["train"].set_as_default(epoch)
            for weight in model.trainable_variables:
                tf.summary.histogram(weight.path, weight.value)

    def flush(self) -> None:
        """With a checkpoint, so that a run that resumes from it has all of its curves."""
        for writer in self.writers.values():
            writer.flush()

    def _report_to_study(self, epoch: int, metrics: dict) -> None:
        """In hypertune's format, whole each time: every metric under its id, as texts."""
        for name, value in metrics.items():
            report = {"timestamp": time.time(), "trial": self.runtime.trial, name: str(value)}
            report |= {"global_step": str(epoch), "checkpoint_path": ""}
            self.reports.append(json.dumps(report))
        files.write_text(self.runtime.metric_file, "\n".join(self.reports) + "\n")
