"""A model, its data and its steps, ready to train; and how far a run is."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from trainer import model as modelling
from trainer import outputs
from trainer.engine.batching import ahead, count_steps, share_weights
from trainer.engine.class_weights import class_weights
from trainer.engine.examples import Examples
from trainer.engine.parallel import create_replicas
from trainer.engine.parameter_server import AsyncSteps
from trainer.engine.parser import derive_defaults
from trainer.engine.phase import Phase
from trainer.engine.runtime import JobError, Runtime
from trainer.engine.steps import Steps, averaged_weights

XLA_STEPS, ROWS_LIKE_A_STEP = 300, 800  # an epoch; see `choose_xla`


@dataclass
class Progress:
    """How far a run is. With the variables, all that it needs to resume."""

    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps of the next epoch
    history: list[dict] = field(default_factory=list)  # one row an epoch, from the first one on
    best: int = 0  # the epoch with the best --monitor so far
    ends: list[int] = field(default_factory=list)  # the last epoch of each finished phase

    @property
    def began(self) -> int:
        """The epochs before the present phase."""
        return self.ends[-1] if self.ends else 0

    def is_over(self, phase: Phase, patience: int) -> bool:
        """Whether a phase had all its epochs, or `patience` epochs (not 0) without a better one."""
        idle = self.epoch - max(self.best, self.began)
        stopped = bool(patience and self.best and idle >= patience)
        return stopped or self.epoch - self.began >= phase.epochs


class Training:
    """A model and its data, ready to train; a JobError if they, flags and cluster do not fit."""

    def __init__(self, flags, runtime: Runtime, examples: Examples):
        if (chosen := derive_defaults(flags, examples)) and runtime.is_chief:
            print(chosen, flush=True)
        self.flags, self.examples = flags, examples
        self.replicas = replicas = create_replicas(flags.strategy, runtime)
        self.batch_size, self.rows = flags.batch_size, examples.train.rows
        self.steps_per_epoch = count_steps(self.rows, self.batch_size, replicas.count)
        if min(self.batch_size, self.rows) < replicas.count:
            raise JobError(
                f"a step needs one example for each of {replicas.count} replicas: --batch-size is "
                f"{self.batch_size}, and there are {self.rows} training examples"
            )
        if flags.fit and (runtime.cluster or replicas.count > 1):
            raise JobError("--fit trains on one device of one machine; remove it, or run it there")
        if hasattr(modelling, "callbacks") and not flags.fit:
            raise JobError("trainer/model.py: only --fit runs its callbacks(); add --fit")
        keras.utils.set_random_seed(flags.seed)
        keras.config.set_dtype_policy(flags.precision)
        with replicas.strategy.scope():
            self.model = modelling.build(examples, flags)
            self.phases = [Phase("training", flags.epochs)]
            if hasattr(modelling, "phases"):
                self.phases = modelling.phases(self.model, flags)
        make = AsyncSteps if replicas.servers else Steps
        jit = choose_xla(flags.jit, replicas.strategy, self.steps_per_epoch, self.rows)
        self.steps = make(self.model, replicas, jit, self.batch_size)
        self.class_weights = class_weights(flags.class_weights, examples)
        _, block = next(examples.eval.batches(1))
        self.example = keras.tree.map_structure(lambda array: array[0], block)  # a batch of one row
        self.begin(0)
        with replicas.strategy.scope():
            self.best = [tf.Variable(v.value) for v in self.model.variables]
        self.progress = Progress()
        self.trained = 0  # examples of all replicas, since this process started

    def begin(self, number: int) -> None:
        """Starts a phase: it compiles the model again, so the optimizer starts afresh, too."""
        self.phase = self.phases[number]
        with self.replicas.strategy.scope():
            self.phase.start()
        self.steps.prepare(self.example)

    def start_phases(self) -> Iterator[Phase]:
        """Yields the present phase; then starts and yields the next one, as long as one has epochs.

        With --early-stopping a phase begins with the best weights of the epochs before it.
        """
        ends = self.progress.ends
        while True:
            if len(self.phases) > 1:
                number = f"{len(ends) + 1} of {len(self.phases)}"
                count = sum(math.prod(weight.shape) for weight in self.model.trainable_variables)
                what = f"{self.phase.name}, at most {self.phase.epochs} epochs"
                print(f"phase {number}: {what}; {count:,} numbers learn", flush=True)
            yield self.phase
            if not any(phase.epochs for phase in self.phases[len(ends) + 1 :]):
                return
            if self.flags.early_stopping:
                _assign(self.model.variables, self.best)
            ends.append(self.progress.epoch)
            self.begin(len(ends))

    @property
    def variables(self) -> list[tf.Variable]:
        """What a checkpoint of the present phase holds the values of."""
        return self.steps.variables + self.best

    def resume(self, checkpoint: tuple[dict, list[np.ndarray]] | None) -> None:
        """Takes over a checkpoint; a JobError if it is another model's, or replicas have others."""
        if checkpoint:
            recorded, values = checkpoint
            self.progress = Progress(**recorded)
            for number in range(1, len(self.progress.ends) + 1):
                self.begin(number)
            if len(values) != len(self.variables):
                raise JobError(
                    "the checkpoint is another model's: trainer/model.py or a flag has changed; give "
                    "another --job-dir, or change it back"
                )
            self.replicas.write(self.variables, values)
        done = self.steps_done
        if not math.isclose(self.replicas.mean(done), done, rel_tol=1e-6):
            raise JobError(
                f"this replica resumes at step {done}, others at another: the checkpoint directory "
                "must be one that all replicas share, gs://… or a network folder"
            )
        if done:
            epoch, step = self.progress.epoch, self.progress.step
            print(f"resuming after epoch {epoch}, step {step} of the next", flush=True)

    @property
    def steps_done(self) -> int:
        """Steps since the beginning of the run."""
        return self.progress.epoch * self.steps_per_epoch + self.progress.step

    def blocks(self, epoch: int, first: int = 0) -> Iterator[tuple]:
        """The training data of an epoch, from step `first` on, in blocks (`examples.py`) for `steps`.

        Yields (steps, examples a step over all replicas, block on the devices).
        """
        order = (self.batch_size, self.flags.seed, epoch, first, self.replicas.share)
        left = self.rows - first * self.batch_size
        for steps, block in ahead(self.examples.train.batches(*order)):
            rows = min(self.batch_size, left)
            left -= steps * rows
            yield steps, rows, self.replicas.distribute(self._with_weights(block, rows))

    def count(self, steps: int, rows: int, loss: float) -> None:
        """Counts steps of `rows` examples each; a JobError if the loss is no number any more."""
        progress = self.progress
        progress.step += steps
        self.trained += steps * rows
        if not math.isfinite(loss):
            raise JobError(
                f"the loss is not a number any more in epoch {progress.epoch + 1}, by step "
                f"{progress.step} of {self.steps_per_epoch}: try a smaller --learning-rate, and "
                "look for extreme values in the data"
            )

    def _with_weights(self, block: tuple, rows: int) -> tuple:
        """Adds sample weights where classes differ in weight, or replicas in their rows."""
        shape = keras.tree.flatten(block)[0].shape[:2]  # steps, rows of a batch here
        shares = share_weights(shape[1], self.replicas.here, rows, self.replicas.count)
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
        order = {"share": self.replicas.share}
        for steps, block in ahead(self.examples.eval.batches(self.batch_size, **order)):
            rows = min(self.batch_size, left)
            left -= steps * rows
            self.steps.test(self.replicas.distribute(block), steps, rows)
        return {f"val_{name}": value for name, value in self.steps.results().items()}

    def finish_epoch(self, row: dict) -> None:
        """Counts an epoch with this row of metrics as finished; keeps its weights if they are best.

        A JobError if --monitor names no metric, or one of which nobody says which way is better.
        """
        progress, monitor = self.progress, self.flags.monitor
        if monitor not in row:
            raise JobError(f"--monitor {monitor}: no such metric; write one of {', '.join(row)}")
        goals, name = outputs.METRICS[self.examples.schema.task], monitor.removeprefix("val_")
        if name not in goals:
            what = f"METRICS in trainer/outputs.py does not say which way {name} is better"
            raise JobError(f"--monitor {monitor}: {what}; add it there, with min or max")
        sign = -1 if goals[name][0] == "max" else 1
        best = progress.history[progress.best - 1][monitor] if progress.best else math.nan
        progress.epoch, progress.step = row["epoch"], 0
        progress.history.append(row)
        if not math.isfinite(best) or sign * row[monitor] < sign * best:
            progress.best = progress.epoch
            _assign(self.best, [v.value for v in self.model.variables])

    def exported_model(self) -> keras.Model:
        """The model to export, outside of the strategy. Every process of a cluster calls this."""
        with averaged_weights(self.model):
            kept = self.best if self.flags.export == "best" else self.model.variables
            weights = [variable.numpy() for variable in kept]
        # Weights are float32, whatever --precision computes in; so is the model that answers.
        keras.config.set_dtype_policy("float32")
        model = modelling.build(self.examples, self.flags)
        if not model.built:
            model(self.example[0])
        _assign(model.variables, weights)
        return model


def _assign(variables: list, values: list) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def choose_xla(jit: str, strategy, steps: int, rows: int) -> bool:
    """XLA compiles for one device at a time here; where a step gains by it, the model's file says.

    To compile takes 0.5 s longer (1.5 s of CPU), and saves 0.2 ms a step and 0.25 µs a row: on two
    cores batches of 8, 512, and 4,096 take 0.02, 0.35, and 1.9 ms instead of 0.23, 0.61, and 3.4. So
    it pays in the eight or more epochs of a run where one of them has 300 steps, or as many rows.
    The number of epochs has no say: a run may resume with more, and ends as if it always had them.
    """
    if jit != "auto" or not isinstance(strategy, type(tf.distribute.get_strategy())):
        return jit == "on"
    device = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    return device in modelling.JIT and steps + rows / ROWS_LIKE_A_STEP >= XLA_STEPS
