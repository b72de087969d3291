"""The training loop, for one process and for many: read it top to bottom.

Data arrives in blocks of many batches (`data.train.batches`); one compiled call trains on a whole
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
from trainer import strategy as spread
from trainer.checkpoint import Checkpoints
from trainer.data import Data
from trainer.optimize import Phase, class_weights, make_optimizer
from trainer.record import Record, timed
from trainer.runtime import JobError, Runtime
from trainer.telemetry import Telemetry

CALL_SECONDS = 0.5  # about so long is a compiled call, in which nothing else can happen


class Preempted(Exception):
    """The platform takes the machine away: the checkpoint is written, start the job again."""


@dataclass
class Progress:
    """Where a run stands; with the variables, all that it needs to go on."""

    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps of the epoch after them
    history: list[dict] = field(default_factory=list)  # a row an epoch
    best: int = 0  # the epoch with the lowest val_loss; 0 before the first one
    ends: list[int] = field(default_factory=list)  # the last epoch of each phase that is over

    @property
    def rows(self) -> dict[int, dict]:
        return {row["epoch"]: row for row in self.history}


class Trainer:
    """One model, its optimizer, and the compiled functions that run them."""

    def __init__(self, flags, runtime: Runtime, data: Data, strategy: tf.distribute.Strategy):
        self.flags, self.data, self.schema, self.strategy = flags, data, data.schema, strategy
        self.share = spread.share(strategy, runtime)
        self.trained = 0  # examples, by this process; padding included
        self.steps = data.train.steps(flags.batch_size)  # an epoch
        keras.utils.set_random_seed(flags.seed)
        keras.config.set_dtype_policy(flags.precision)
        with strategy.scope():
            self.model = modelling.build(self.schema, flags)
            modelling.load_weights(self.model, flags)
            self.phases = modelling.phases(self.model, flags)
            self.optimizers = [make_optimizer(flags, phase, self.steps) for phase in self.phases]
            for optimizer, phase in zip(self.optimizers, self.phases, strict=True):
                optimizer.build(phase.weights)
            self.metrics = [keras.metrics.Mean("loss"), *modelling.metrics(self.schema)]
            _create_variables(self.metrics, self.model, data.eval)
            weights = class_weights(flags.class_weights, data.train.class_counts, self.schema)
            self.class_weights = None if weights is None else tf.constant(weights, tf.float32)
            kept = self.model.variables if flags.early_stopping else []
            self.best = [tf.Variable(v.value) for v in kept]
        self.jit = _use_xla(flags.jit, strategy)
        self._eval_steps = tf.function(self.eval_steps, jit_compile=self.jit)
        self.begin(0)
        self.processes = round(self.total(1))
        self.pace = 1  # steps a call: see _set_pace

    @property
    def variables(self) -> list[tf.Variable]:
        """Everything that training changes."""
        metrics = [v for metric in self.metrics for v in metric.variables]
        states = [v for optimizer in self.optimizers for v in optimizer.variables]
        used = self.model.variables + states + metrics
        return [v.value for v in used] + self.best

    def begin(self, number: int) -> None:
        """Goes over to a phase: from now on a step trains its weights, by its own optimizer."""
        self.phase, self.optimizer = self.phases[number], self.optimizers[number]
        self._train_steps = tf.function(self.train_steps, jit_compile=self.jit)

    def train_step(self, block, i) -> None:
        """One step: a batch's gradient, computed in parts, its update, its metrics."""
        batch = _batch(block, i)
        parts = [_part(batch, p, self.flags.accumulate) for p in range(self.flags.accumulate)]
        gradients, weights = None, self.phase.weights
        for part in parts:
            target, weight = part.pop("target"), part.pop("weight")
            with tf.GradientTape() as tape:
                output = self.model(part, training=True)
                losses = modelling.loss(self.schema, self.flags, target, output)
                counted = losses * weight
                if self.class_weights is not None:
                    counted *= tf.gather(self.class_weights, target)
                # Divided by the rows of the whole batch: replicas and parts then simply add up.
                loss = self.optimizer.scale_loss(tf.reduce_sum(counted) / block["rows"][i])
            # Dense, because Keras's Adam squares an embedding's sparse gradient row by row, before
            # rows that were looked up twice are added.
            found = [tf.convert_to_tensor(g) for g in tape.gradient(loss, weights)]
            gradients = list(map(tf.add, gradients, found)) if gradients else found
            self._count(target, output, losses, weight)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))

    def eval_step(self, block, i) -> None:
        batch = _batch(block, i)
        target, weight = batch.pop("target"), batch.pop("weight")
        output = self.model(batch, training=False)
        losses = modelling.loss(self.schema, self.flags, target, output)
        self._count(target, output, losses, weight)

    def _count(self, target, output, losses, weight) -> None:
        self.metrics[0].update_state(losses, weight)
        for metric in self.metrics[1:]:
            metric.update_state(target, output, weight)

    # Written with while: XLA would compile tf.range(first, last) anew for each pair of numbers.
    def train_steps(self, block, first, last):
        i = first
        while i < last:
            self.strategy.run(self.train_step, (block, i))
            i += 1

    def eval_steps(self, block, first, last):
        i = first
        while i < last:
            self.strategy.run(self.eval_step, (block, i))
            i += 1

    def call(self, function, block, first: int, last: int) -> None:
        """Runs steps first to last of a block in one compiled call."""
        function(block, tf.constant(first), tf.constant(last))

    def place(self, block):
        """Moves a block to the devices."""
        return spread.distribute(self.strategy, block, self.share[1])

    def train_epoch(self, progress: Progress) -> Iterator[int]:
        """Trains the rest of an epoch; yields the steps done in each call."""
        size, seed = self.flags.batch_size, self.flags.seed
        first, epoch = progress.step, progress.epoch
        if first == 0:
            self.reset_metrics()
        for steps, block in _ahead(self.data.train.batches(size, seed, epoch, first, self.share)):
            block, done = self.place(block), 0
            while done < steps:
                last = min(done + self.pace, steps)
                start = time.monotonic()
                self.call(self._train_steps, block, done, last)
                loss = float(self.metrics[0].result())
                self._set_pace(time.monotonic() - start)
                progress.step += last - done
                self.trained += (last - done) * size
                if not math.isfinite(loss):
                    raise JobError(
                        f"the loss is not a number any more in epoch {epoch + 1}, by step "
                        f"{progress.step} of {self.steps}: try a smaller --learning-rate (it is "
                        f"{self.phase.learning_rate:g}), and look for extreme values in the data"
                    )
                yield last - done
                done = last

    def _set_pace(self, seconds: float) -> None:
        """More steps a call while calls are short; fewer where a call would hold up a checkpoint."""
        mean = self.total(seconds) / self.processes  # all processes must choose the same
        if mean < CALL_SECONDS / 2:
            self.pace = min(self.pace * 2, self.data.train.steps_per_block(self.flags.batch_size))
        elif mean > CALL_SECONDS * 2 and self.pace > 1:
            self.pace //= 2

    def evaluate(self) -> dict[str, float]:
        """Metrics over all held-out examples."""
        self.reset_metrics()
        batches = self.data.eval.batches(self.flags.batch_size, share=self.share)
        for steps, block in _ahead(batches):
            self.call(self._eval_steps, self.place(block), 0, steps)
        return self.results()

    def plain_model(self) -> keras.Model:
        """The trained model outside of the strategy. Every process of a cluster calls this."""
        weights = [variable.numpy() for variable in self.model.variables]
        model = modelling.build(self.schema, self.flags)
        for variable, value in zip(model.variables, weights, strict=True):
            variable.assign(value)
        return model

    def total(self, value: float) -> float:
        """The sum over all processes: what they must decide together."""
        return spread.total(self.strategy, value, self.share[1])

    def keep_best(self) -> None:
        for kept, variable in zip(self.best, self.model.variables, strict=True):
            kept.assign(variable.value)

    def use_best(self) -> None:
        for kept, variable in zip(self.best, self.model.variables, strict=True):
            variable.assign(kept)

    def reset_metrics(self) -> None:
        for metric in self.metrics:
            metric.reset_state()

    def results(self) -> dict[str, float]:
        # By way of str: 0.72 as float32 is 0.72 in history.csv, not 0.7200000286102295.
        return {m.name: float(str(np.float32(m.result()))) for m in self.metrics}


def resume(flags, trainer: Trainer, checkpoints: Checkpoints) -> Progress:
    """Loads the newest checkpoint into the trainer; a new run's progress where there is none.

    Raises:
        JobError: the checkpoint is of another run, or replicas do not see the same one.
    """
    progress = Progress(**(checkpoints.restore() or {}))
    done = progress.epoch * trainer.steps + progress.step
    if trainer.total(done) != done * trainer.processes:
        raise JobError(
            f"this replica goes on from step {done}, others from another: the checkpoint directory "
            "must be one that all replicas share, gs://… or a network folder"
        )
    if done:
        print(f"goes on after epoch {progress.epoch}, step {progress.step} of the next", flush=True)
    return progress


def run(
    flags,
    trainer: Trainer,
    progress: Progress,
    checkpoints: Checkpoints,
    record: Record,
    telemetry: Telemetry,
) -> None:
    """Trains to the last epoch, moving `progress` on.

    Raises:
        JobError: the loss is not a number any more.
        Preempted: SIGTERM or Ctrl-C came; the checkpoint is written.
    """
    times = record.timings
    saved = time.monotonic()

    def save() -> None:
        nonlocal saved
        with timed(times, "checkpoint"):
            checkpoints.save(progress.epoch * trainer.steps + progress.step, asdict(progress))
            record.write_history(progress.history, final=True)
            telemetry.flush()
        saved = time.monotonic()

    def train_epoch() -> None:
        epoch = trainer.train_epoch(progress)
        while True:
            with timed(times, "train"):
                steps = next(epoch, None)
            if steps is None:
                return
            telemetry.step(progress.step, trainer.steps)
            # A replica's clock is its own: they save together when any of them wants to.
            due = time.monotonic() - saved >= flags.checkpoint_every
            told = trainer.total(1 if terminated() else 0)
            if told or trainer.total(1 if due else 0):
                save()
            if told:
                raise Preempted

    def end_epoch() -> None:
        row = {"epoch": progress.epoch + 1, **trainer.results()}
        with timed(times, "evaluate"):
            row.update({f"val_{k}": v for k, v in trainer.evaluate().items()})
        progress.history.append(row)
        progress.epoch, progress.step = progress.epoch + 1, 0
        lowest = progress.rows[progress.best]["val_loss"] if progress.best else math.nan
        if row["val_loss"] < lowest or not math.isfinite(lowest):
            progress.best = progress.epoch
            if flags.early_stopping:
                trainer.keep_best()
        telemetry.epoch(row, flags.epochs, trainer.model)
        record.write_history(progress.history)

    with Terminated() as terminated:
        while True:
            trainer.begin(len(progress.ends))
            if len(trainer.phases) > 1:
                number = f"{len(progress.ends) + 1} of {len(trainer.phases)}"
                print(f"phase {number}: {trainer.phase.describe()}", flush=True)
            while not _is_over(flags, trainer.phase, progress):
                telemetry.begin(progress.epoch + 1, flags.epochs)
                train_epoch()
                end_epoch()
            save()
            if flags.early_stopping:
                trainer.use_best()
            following = trainer.phases[len(progress.ends) + 1 :]
            if not any(phase.epochs for phase in following):
                return
            progress.ends.append(progress.epoch)


def _is_over(flags, phase: Phase, progress: Progress) -> bool:
    """Whether a phase has had all its epochs, or as many without a lower val_loss as
    --early-stopping allows."""
    began = progress.ends[-1] if progress.ends else 0
    patience, idle = flags.early_stopping, progress.epoch - max(progress.best, began)
    stopped = bool(patience and progress.best and idle >= patience)
    return stopped or progress.epoch - began >= phase.epochs


class Terminated:
    """Notes a SIGTERM or a Ctrl-C instead of dying of it; the loop asks between calls.

    A second one has its usual effect.
    """

    def __enter__(self):
        self.received = False
        signals = (signal.SIGTERM, signal.SIGINT)
        self.before = {number: signal.signal(number, self._note) for number in signals}
        return lambda: self.received

    def _note(self, *_):
        self.received = True
        self._restore()

    def _restore(self):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def __exit__(self, *_):
        self._restore()


def _use_xla(jit: str, strategy) -> bool:
    """XLA compiles for one device at a time here; where it pays, the model's file says."""
    if jit != "auto" or not isinstance(strategy, type(tf.distribute.get_strategy())):
        return jit == "on"
    return ("GPU" if tf.config.list_physical_devices("GPU") else "CPU") in modelling.JIT


def _batch(block, i):
    return {name: array[i] for name, array in block.items() if name != "rows"}


def _part(batch, part: int, parts: int):
    """Every `parts`-th row: the parts of a batch are as mixed as the batch."""
    return {name: array[part::parts] for name, array in batch.items()} if parts > 1 else batch


def _ahead(blocks: Iterator) -> Iterator:
    """Prepares the next block in a thread while the caller computes on this one."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = thread.submit(next, blocks, None)
            yield block


def _create_variables(metrics, model, examples) -> None:
    """Some Keras metrics create their variables at the first update: checkpoints want them now."""
    _, block = next(examples.batches(1))
    batch = _batch(block, 0)
    target, weight = batch.pop("target"), batch.pop("weight")
    output = model(batch, training=False)
    for metric in metrics[1:]:
        metric.update_state(target, output, weight)
        metric.reset_state()
