"""What a run reports while it trains: lines or a bar, TensorBoard, the tuning service, utilisation."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from pathlib import Path

import keras
import tensorflow as tf

from trainer.engine.runtime import Runtime, join
from trainer.engine.utilisation import Utilisation

REPORTS_KEPT = 100  # hypertune's own number
# In a bucket each flush writes the whole file again: not at every scalar, which is the default.
QUEUE, FLUSH_MILLIS = 1 << 20, 30_000


class Telemetry:
    """The chief reports everything; any other replica prints a line an epoch, and no more."""

    def __init__(self, runtime: Runtime, flags):
        self.runtime, self.flags = runtime, flags
        self.bar, self.profiling, self.epochs = None, False, 0
        self.started = time.monotonic()
        self.reports: deque[str] = deque(maxlen=REPORTS_KEPT)

    def __enter__(self) -> Telemetry:
        if self.runtime.is_chief:
            self.utilisation = Utilisation(self.runtime.log_dir).__enter__()
            self.writers = {
                part: tf.summary.create_file_writer(
                    join(self.runtime.log_dir, part), max_queue=QUEUE, flush_millis=FLUSH_MILLIS
                )
                for part in ("train", "eval")
            }
        return self

    def __exit__(self, *_) -> None:
        if self.runtime.is_chief:
            self._stop_profile()
            for writer in self.writers.values():
                writer.close()
            self.utilisation.__exit__()

    def begin(self, epoch: int, epochs: int) -> None:
        """Before an epoch, the first being 1: the second is traced, since the first one compiles."""
        if self.flags.profile and self.runtime.is_chief and epoch == min(2, epochs):
            tf.profiler.experimental.start(self.runtime.log_dir)
            self.profiling = True

    def _stop_profile(self) -> None:
        if self.profiling:
            tf.profiler.experimental.stop()
            self.profiling = False

    def step(self, done: int, steps: int) -> None:
        """After a block: a bar on a terminal, nothing in a log."""
        if self.runtime.is_chief and sys.stdout.isatty():
            if self.bar is None:
                self.bar = keras.utils.Progbar(steps, unit_name="step")
            self.bar.update(min(done, steps - 1))

    def epoch(self, row: dict, epochs: int, model: keras.Model) -> None:
        """After an epoch: a line, the scalars, the report to the tuning service."""
        self._stop_profile()
        if self.bar is not None:
            print("\r", end="")
            self.bar = None
        took, self.started = time.monotonic() - self.started, time.monotonic()
        values = "  ".join(f"{k} {v:.4g}" for k, v in row.items() if k != "epoch")
        left = ""
        if self.epochs:  # the first one compiles: the others are faster
            left = f", {took * (epochs - row['epoch']):.0f} s left"
        self.epochs += 1
        print(f"epoch {row['epoch']}/{epochs}  {values}  ({took:.1f} s{left})")
        sys.stdout.flush()
        if self.runtime.is_chief:
            self._scalars(row, model)
            self._report(row)

    def _scalars(self, row: dict, model: keras.Model) -> None:
        """logs/train and logs/eval share their tags, so that TensorBoard overlays the curves."""
        for name, value in row.items():
            if name != "epoch":
                tag = name.removeprefix("val_")
                # Not `with writer.as_default()`: it flushes when it is left.
                self.writers["train" if tag == name else "eval"].set_as_default(row["epoch"])
                tf.summary.scalar(tag, value)
        if self.flags.histograms:
            self.writers["train"].set_as_default(row["epoch"])
            for weight in model.trainable_variables:
                tf.summary.histogram(weight.path, weight.value)

    def flush(self) -> None:
        """With a checkpoint, so that a run that resumes from it has all of its curves."""
        if self.runtime.is_chief:
            for writer in self.writers.values():
                writer.flush()

    def _report(self, row: dict) -> None:
        """In hypertune's format, whole each time: every metric under its id, as texts."""
        if not self.runtime.trial:
            return
        for name, value in row.items():
            if name != "epoch":
                report = {
                    "timestamp": time.time(),
                    "trial": self.runtime.trial,
                    name: str(value),
                    "global_step": str(row["epoch"]),
                    "checkpoint_path": "",
                }
                self.reports.append(json.dumps(report))
        path = Path(self.runtime.metric_file)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        partial.write_text("\n".join(self.reports) + "\n")
        os.replace(partial, path)
