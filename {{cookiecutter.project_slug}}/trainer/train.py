"""The training loop, for one process and for many: read it top to bottom.

Data arrives in blocks of many batches (`data.Table.batches`); one compiled call trains on a whole
block. Keras brings the model, the optimizer, the losses and the metrics; `fit` is not used, because
it fails across processes and is ten times slower on small models.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

import keras
import numpy as np
import tensorflow as tf

from trainer import model as modelling
from trainer.checkpoint import Checkpoints
from trainer.data import Data
from trainer.record import Record, timed
from trainer.runtime import JobError, Runtime, join


class Preempted(Exception):
    """The platform takes the machine away: the checkpoint is written, start the job again."""


@dataclass
class Progress:
    """Where a run stands; with the variables, all that it needs to go on."""

    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps of the epoch after them
    history: list[dict] = field(default_factory=list)  # a row an epoch


class Trainer:
    """One model, its optimizer, and the two compiled functions that run it."""

    def __init__(self, flags, data: Data):
        self.flags, self.data, self.schema = flags, data, data.schema
        keras.utils.set_random_seed(flags.seed)
        self.strategy = tf.distribute.get_strategy()
        with self.strategy.scope():
            self.model = modelling.build(self.schema, flags)
            self.optimizer = keras.optimizers.Adam(flags.learning_rate)
            self.optimizer.build(self.model.trainable_variables)
            self.metrics = [keras.metrics.Mean("loss"), *modelling.metrics(self.schema)]
            _create_variables(self.metrics, self.model, data.eval)
        jit = modelling.JIT_ON_CPU
        self._train_block = tf.function(self._train_block, jit_compile=jit, reduce_retracing=True)
        self._eval_block = tf.function(self._eval_block, jit_compile=jit, reduce_retracing=True)

    @property
    def variables(self) -> list[tf.Variable]:
        """Everything that training changes."""
        metrics = [v for metric in self.metrics for v in metric.variables]
        return [v.value for v in self.model.variables + self.optimizer.variables + metrics]

    def train_step(self, batch) -> None:
        """One step: a batch's gradient, its update, its metrics."""
        target, weight = batch.pop("target"), batch.pop("weight")
        with tf.GradientTape() as tape:
            output = self.model(batch, training=True)
            losses = modelling.loss(self.schema, target, output)
            loss = tf.reduce_sum(losses * weight) / tf.reduce_sum(weight)
        weights = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self._count(target, output, losses, weight)

    def eval_step(self, batch) -> None:
        target, weight = batch.pop("target"), batch.pop("weight")
        output = self.model(batch, training=False)
        self._count(target, output, modelling.loss(self.schema, target, output), weight)

    def _count(self, target, output, losses, weight) -> None:
        self.metrics[0].update_state(losses, weight)
        for metric in self.metrics[1:]:
            metric.update_state(target, output, weight)

    def _train_block(self, block, steps):
        for i in tf.range(steps):
            self.strategy.run(self.train_step, (_batch(block, i),))

    def _eval_block(self, block, steps):
        for i in tf.range(steps):
            self.strategy.run(self.eval_step, (_batch(block, i),))

    def train_epoch(self, progress: Progress) -> Iterator[int]:
        """Trains the rest of an epoch; yields the steps done after each block."""
        table, size = self.data.train, self.flags.batch_size
        first, epoch = progress.step, progress.epoch
        if first == 0:
            self.reset_metrics()
        for steps, block in _ahead(table.batches(size, self.flags.seed, epoch, first)):
            self._train_block(_tensors(block), tf.constant(steps))
            progress.step += steps
            if not math.isfinite(float(self.metrics[0].result())):
                raise JobError(
                    f"the loss is not a number any more in epoch {epoch + 1}, by step "
                    f"{progress.step} of {table.steps(size)}: try a smaller --learning-rate (it is "
                    f"{self.flags.learning_rate:g}), and look for extreme values in the data"
                )
            yield steps

    def evaluate(self) -> dict[str, float]:
        """Metrics over all held-out rows."""
        self.reset_metrics()
        for steps, block in _ahead(self.data.eval.batches(self.flags.batch_size)):
            self._eval_block(_tensors(block), tf.constant(steps))
        return self.results()

    def predict(self, rows: int = 1024) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(target, output) for the held-out rows, in the file's order, some rows at a time."""
        for steps, block in self.data.eval.batches(rows):
            for i in range(steps):
                batch = _batch(block, i)
                real = batch.pop("weight") > 0
                target = batch.pop("target")[real]
                yield target, self.model(batch, training=False).numpy()[real]

    def reset_metrics(self) -> None:
        for metric in self.metrics:
            metric.reset_state()

    def results(self) -> dict[str, float]:
        # By way of str: 0.72 as float32 is 0.72 in history.csv, not 0.7200000286102295.
        return {m.name: float(str(np.float32(m.result()))) for m in self.metrics}


def run(
    flags, runtime: Runtime, trainer: Trainer, checkpoints: Checkpoints, record: Record
) -> Progress:
    """Trains to the last epoch, from the newest checkpoint where there is one.

    Raises:
        JobError: the loss is not a number any more.
        Preempted: SIGTERM came; the checkpoint is written.
    """
    progress = Progress(**(checkpoints.restore() or {}))
    if progress.epoch or progress.step:
        print(f"goes on after epoch {progress.epoch}, step {progress.step} of the next")
    per_epoch = trainer.data.train.steps(flags.batch_size)
    saved = time.monotonic()
    times = record.timings

    def save() -> None:
        nonlocal saved
        with timed(times, "checkpoint"):
            checkpoints.save(progress.epoch * per_epoch + progress.step, asdict(progress))
            record.write_history(progress.history, final=True)
        saved = time.monotonic()

    with Terminated() as terminated, _Scalars(runtime.log_dir) as scalars:
        while progress.epoch < flags.epochs:
            epoch = trainer.train_epoch(progress)
            while True:
                with timed(times, "train"):
                    steps = next(epoch, None)
                if steps is None:
                    break
                if terminated() or time.monotonic() - saved >= flags.checkpoint_every:
                    save()
                if terminated():
                    raise Preempted
            row = {"epoch": progress.epoch + 1, **trainer.results()}
            with timed(times, "evaluate"):
                row.update({f"val_{k}": v for k, v in trainer.evaluate().items()})
            scalars.write(row)
            print(line(row, flags.epochs), flush=True)
            progress.history.append(row)
            progress.epoch, progress.step = progress.epoch + 1, 0
            record.write_history(progress.history)
        save()
    return progress


def line(row: dict, epochs: int) -> str:
    """An epoch in a job's log."""
    values = "  ".join(f"{k} {v:.4g}" for k, v in row.items() if k != "epoch")
    return f"epoch {row['epoch']}/{epochs}  {values}"


class Terminated:
    """Notes a SIGTERM instead of dying of it; the loop asks between blocks."""

    def __enter__(self):
        self.received = False
        self.before = signal.signal(signal.SIGTERM, self._note)
        return lambda: self.received

    def _note(self, *_):
        self.received = True

    def __exit__(self, *_):
        signal.signal(signal.SIGTERM, self.before)


class _Scalars:
    """TensorBoard scalars: logs/train and logs/eval share their tags, so curves overlay."""

    def __init__(self, log_dir: str):
        self.log_dir = log_dir

    def __enter__(self):
        self.train = tf.summary.create_file_writer(join(self.log_dir, "train"))
        self.eval = tf.summary.create_file_writer(join(self.log_dir, "eval"))
        return self

    def write(self, row: dict) -> None:
        for name, value in row.items():
            if name != "epoch":
                tag, writer = name.removeprefix("val_"), self.train
                writer = self.eval if tag != name else self.train
                with writer.as_default(step=row["epoch"]):
                    tf.summary.scalar(tag, value)

    def __exit__(self, *_):
        self.train.close()
        self.eval.close()


def _batch(block, i):
    return {name: array[i] for name, array in block.items()}


def _tensors(block):
    return {name: tf.constant(array) for name, array in block.items()}


def _ahead(blocks: Iterator) -> Iterator:
    """Prepares the next block in a thread while the caller computes on this one."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = thread.submit(next, blocks, None)
            yield block


def _create_variables(metrics, model, table) -> None:
    """Some Keras metrics create their variables at the first update: checkpoints want them now."""
    _, block = next(table.batches(1))
    batch = {name: array[0] for name, array in block.items()}
    target, weight = batch.pop("target"), batch.pop("weight")
    output = model(batch, training=False)
    for metric in metrics[1:]:
        metric.update_state(target, output, weight)
        metric.reset_state()
