"""A model, its data and its steps, ready to train; and how far a run is."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from trainer import model as modelling
from trainer import outputs
from trainer.engine import parallel
from trainer.engine.batching import ahead, share_weights, steps
from trainer.engine.class_weights import class_weights
from trainer.engine.examples import Examples
from trainer.engine.pace import Pace
from trainer.engine.parameter_server import AsyncSteps
from trainer.engine.phase import Phase
from trainer.engine.runtime import JobError, Runtime
from trainer.engine.steps import Steps, averaged_weights


@dataclass
class Progress:
    """How far a run is. With the variables, all that it needs to resume."""

    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps of the next epoch
    history: list[dict] = field(default_factory=list)  # one row an epoch
    best: int = 0  # the epoch with the best --monitor so far
    ends: list[int] = field(default_factory=list)  # the last epoch of each finished phase

    @property
    def rows(self) -> dict[int, dict]:
        return {row["epoch"]: row for row in self.history}


class Training:
    """A model and its data, ready to train."""

    def __init__(self, flags, runtime: Runtime, examples: Examples, strategy):
        self.flags, self.runtime, self.examples, self.strategy = flags, runtime, examples, strategy
        self.share = parallel.share(strategy, runtime)
        self.batch_size, self.rows = flags.batch_size, examples.train.rows
        self.steps_per_epoch = steps(self.rows, self.batch_size, self.share[2])
        if min(self.batch_size, self.rows) < self.share[2]:
            raise JobError(
                f"a step needs one example for each of {self.share[2]} replicas: --batch-size is "
                f"{self.batch_size}, and there are {self.rows} training examples"
            )
        keras.utils.set_random_seed(flags.seed)
        keras.config.set_dtype_policy(flags.precision)
        with strategy.scope():
            self.model = modelling.build(examples, flags)
            self.phases = [Phase("training", flags.epochs)]
            if hasattr(modelling, "phases"):
                self.phases = modelling.phases(self.model, flags)
        if flags.fit and (runtime.cluster or self.share[2] > 1):
            raise JobError("--fit trains on one device of one machine; remove it, or run it there")
        if hasattr(modelling, "callbacks") and not flags.fit:
            raise JobError("trainer/model.py: only --fit runs its callbacks(); add --fit")
        make = AsyncSteps if "ps" in runtime.cluster else Steps
        jit = _use_xla(flags.jit, strategy)
        self.steps = make(self.model, strategy, self.share[1], jit, self.batch_size)
        self.class_weights = class_weights(flags.class_weights, examples)
        self.begin(0)
        with strategy.scope():
            self.best = [tf.Variable(v.value) for v in self.model.variables]
        self.trained = 0  # examples of all replicas, since this process started

    def begin(self, number: int) -> None:
        """Starts a phase: it compiles the model again, so the optimizer starts afresh, too."""
        self.phase = self.phases[number]
        with self.strategy.scope():
            self.phase.start()
        _, block = next(self.examples.eval.batches(1))
        self.steps.prepare(block)

    def start_phases(self, progress: Progress) -> Iterator[Phase]:
        """Yields the present phase; then starts and yields the next one, as long as one has epochs.

        With --early-stopping a phase begins with the best weights of the epochs before it.
        """
        yield self._describe_phase(progress)
        while any(phase.epochs for phase in self.phases[len(progress.ends) + 1 :]):
            if self.flags.early_stopping:
                self.use_best()
            progress.ends.append(progress.epoch)
            self.begin(len(progress.ends))
            yield self._describe_phase(progress)

    def values(self) -> list[np.ndarray]:
        """What a checkpoint of the present phase holds. Every process of a cluster calls this."""
        return parallel.read_variables(self.strategy, self.steps.variables + self.best, self.share)

    def restore(self, values: list[np.ndarray]) -> None:
        """Takes over the values of a checkpoint.

        Raises:
            JobError: they are another model's.
        """
        variables = self.steps.variables + self.best
        if len(variables) != len(values):
            raise JobError(
                f"the checkpoint has {len(values)} arrays, and this model has {len(variables)}: "
                "trainer/model.py or a flag has changed; give another --job-dir, or change it back"
            )
        parallel.write_variables(variables, values, self.share)

    def blocks(self, progress: Progress):
        """The rest of an epoch's training data: (steps, examples a step, block on the devices)."""
        order = (self.batch_size, self.flags.seed, progress.epoch, progress.step, self.share)
        left = self.rows - progress.step * self.batch_size
        for count, block in ahead(self.examples.train.batches(*order)):
            rows = min(self.batch_size, left)
            left -= count * rows
            yield count, rows, self.steps.distribute(self._with_weights(block, rows))

    def calls(self, progress: Progress, pace: Pace) -> Iterator[tuple]:
        """The rest of an epoch as compiled calls: (block, first step, last step, examples a step)."""
        for count, rows, block in self.blocks(progress):
            for first, last in pace.calls(count):
                yield block, first, last, rows

    def _with_weights(self, block: tuple, rows: int) -> tuple:
        """Adds sample weights where classes differ in weight, or replicas in their rows."""
        shape = keras.tree.flatten(block)[0].shape[:2]  # steps, rows of a batch here
        shares = share_weights(shape[1], self.share[1], rows, self.share[2])
        if len(block) == 1 or (self.class_weights is None and shares is None):
            return block  # without a target, only the model knows what its loss is a mean of
        inputs, target, *given = block
        weights = [*given] if shares is None else [*given, np.broadcast_to(shares, shape)]
        if self.class_weights is not None:
            weights.append(self.class_weights[target])
        return inputs, target, math.prod(weights)

    def evaluate(self) -> dict[str, float]:
        """The loss and the metrics of all held-out examples, by their names with val_ before."""
        self.model.reset_metrics()
        left = self.examples.eval.rows
        for count, block in ahead(self.examples.eval.batches(self.batch_size, share=self.share)):
            rows = min(self.batch_size, left)
            left -= count * rows
            self.steps.test(self.steps.distribute(block), 0, count, rows)
        return {f"val_{name}": value for name, value in self.steps.results().items()}

    def keep_best(self) -> None:
        for kept, variable in zip(self.best, self.model.variables, strict=True):
            kept.assign(variable.value)

    def use_best(self) -> None:
        for kept, variable in zip(self.best, self.model.variables, strict=True):
            variable.assign(kept)

    def exported_model(self) -> keras.Model:
        """The model to export, outside of the strategy. Every process of a cluster calls this."""
        if self.flags.export == "best":
            self.use_best()
        with (
            averaged_weights(self.model)
            if self.flags.export == "last"
            else contextlib.nullcontext()
        ):
            weights = [variable.numpy() for variable in self.model.variables]
        model = modelling.build(self.examples, self.flags)
        if not model.built:
            _, block = next(self.examples.eval.batches(1))
            model(keras.tree.map_structure(lambda array: array[0], block[0]))
        for variable, value in zip(model.variables, weights, strict=True):
            variable.assign(value)
        return model

    def check_loss(self, progress: Progress) -> None:
        """Stops a run whose loss is no number any more.

        Raises:
            JobError: what to try.
        """
        loss = float(self.model.metrics[0].result())
        if not math.isfinite(loss):
            raise JobError(
                f"the loss is not a number any more in epoch {progress.epoch + 1}, by step "
                f"{progress.step} of {self.steps_per_epoch}: try a smaller --learning-rate, and "
                "look for extreme values in the data"
            )

    def _describe_phase(self, progress: Progress) -> Phase:
        if len(self.phases) > 1:
            number = f"{len(progress.ends) + 1} of {len(self.phases)}"
            count = sum(math.prod(weight.shape) for weight in self.model.trainable_variables)
            print(
                f"phase {number}: {self.phase.name}, at most {self.phase.epochs} epochs; "
                f"{count:,} numbers learn",
                flush=True,
            )
        return self.phase

    def total(self, value: float) -> float:
        """The sum over all processes: how they decide together."""
        return parallel.total(self.strategy, value, self.share[1])

    def any(self, value: bool) -> bool:
        """Whether it holds for one of the processes, or for more."""
        return self.total(1 if value else 0) > 0


def better(monitor: str, row: dict, best: dict | None) -> bool:
    """Whether an epoch is the best so far.

    Raises:
        JobError: there is no such metric.
    """
    if monitor not in row:
        raise JobError(f"--monitor {monitor}: no such metric; write one of {', '.join(row)}")
    if best is None or not math.isfinite(best[monitor]):
        return True
    known = {name: goal for names in outputs.METRICS.values() for name, (goal, _) in names.items()}
    if known.get(monitor.removeprefix("val_")) == "max":
        return row[monitor] > best[monitor]
    return row[monitor] < best[monitor]


def is_over(flags, phase: Phase, progress: Progress) -> bool:
    """Whether a phase had all its epochs, or as many without a better one as --early-stopping
    allows."""
    began = progress.ends[-1] if progress.ends else 0
    patience, idle = flags.early_stopping, progress.epoch - max(progress.best, began)
    stopped = bool(patience and progress.best and idle >= patience)
    return stopped or progress.epoch - began >= phase.epochs


def _use_xla(jit: str, strategy) -> bool:
    """XLA compiles for one device at a time here; where it pays, the model's file says."""
    if jit != "auto" or not isinstance(strategy, type(tf.distribute.get_strategy())):
        return jit == "on"
    return ("GPU" if tf.config.list_physical_devices("GPU") else "CPU") in modelling.JIT
