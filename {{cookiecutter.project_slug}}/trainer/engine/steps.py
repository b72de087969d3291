"""A model's own `train_step` and `test_step`, many of them in one compiled call.

Keras's `fit` fails across processes and spends most of a small model's time between steps. Its
training API has neither fault: here the model's public hooks run inside one `tf.function`.
"""

import contextlib
import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from trainer.engine.parallel import Replicas
from trainer.engine.runtime import JobError

CALL_SECONDS = 0.5  # about so long a compiled call should take; nothing else can happen in it


class Steps:
    """A compiled model, ready to train on blocks (`examples.py`) once `prepare` was called."""

    def __init__(self, model: keras.Model, replicas: Replicas, jit: bool, batch_size: int):
        self.model, self.replicas, self.strategy = model, replicas, replicas.strategy
        self.jit = jit  # whether XLA compiles the calls
        self.batch_size = batch_size  # over all replicas
        self.pace = 1  # steps a compiled call: short ones cost time, long ones hold up a checkpoint

    def prepare(self, example: tuple) -> None:
        """Creates every variable that training uses; call it after each `model.compile`.

        A model that cannot be trained here raises a JobError. `example` is a batch of one row.
        """
        model, replicas = self.model, self.replicas.count
        if not model.compiled:
            raise JobError("trainer/model.py: build() returns a model that is not compiled")
        with self.strategy.scope():
            if not model.built:
                model(example[0])
            for optimizer in optimizers(model):
                if replicas > 1 and optimizer.gradient_accumulation_steps:
                    raise JobError(
                        "trainer/model.py: gradient_accumulation_steps works on one replica, and "
                        f"this job has {replicas}; remove it, or run on one machine"
                    )
            if model.optimizer is not None:
                model.optimizer.build(model.trainable_variables)
                _combine_gradients(model.optimizer, replicas)
            self.strategy.run(lambda: model.test_step(example) and None)
            model.reset_metrics()
        self._train = self._compile(self._repeat(model.train_step))
        self._test = self._compile(self._repeat(self._test_one))

    def _repeat(self, step: Callable) -> Callable:
        def take(block, i):
            step(keras.tree.map_structure(lambda array: array[i], block))

        def run(block, first, last):
            i = first
            # Not tf.range(first, last): XLA would compile it again for each pair of numbers.
            while i < last:
                self.strategy.run(take, (block, i))
                i += 1

        return run

    def _compile(self, run: Callable) -> tuple[Callable, Callable]:
        """For whole batches, and for the last one of an epoch, which may be smaller.

        XLA compiles a program for each shape. That takes a second, and a step an epoch does not
        earn it. Without XLA one trace serves batches of any size: of a deep network it takes long.
        """
        if self.jit:
            return tf.function(run, jit_compile=True), tf.function(run)
        whole = tf.function(run) if self.replicas.count > 1 else _trace_once(run)
        return whole, whole

    @property
    def variables(self) -> list[tf.Variable]:
        """Everything that training changes: weights, random seeds, optimizers' state, metrics."""
        states = [v for optimizer in optimizers(self.model) for v in optimizer.variables]
        metrics = [v for metric in self.model.metrics for v in metric.variables]
        unique = {id(v): v for v in [*self.model.variables, *states, *metrics]}
        return [v.value for v in unique.values()]

    @property
    def has_schedule(self) -> bool:
        """Whether a learning rate changes from step to step."""
        # float16 wraps the optimizer in one that scales the loss.
        held = [getattr(one, "inner_optimizer", one) for one in optimizers(self.model)]
        rates = [optimizer.get_config()["learning_rate"] for optimizer in held]
        return any(isinstance(rate, dict) for rate in rates)

    def train(self, block, steps: int, rows: int) -> Iterator[tuple[int, float]]:
        """Trains on the first `steps` batches of a block, of `rows` over all replicas each.

        Yields (steps, loss) after each compiled call; the loss is that of the epoch so far.
        """
        done = 0
        while done < steps:
            last, start = min(done + self.pace, steps), time.monotonic()
            self._call(self._train, block, done, last, rows)
            loss = self.loss
            seconds = self.replicas.mean(time.monotonic() - start)  # all must keep the same pace
            if seconds < CALL_SECONDS / 2 and self.pace < steps:
                self.pace *= 2
            elif seconds > CALL_SECONDS * 2:
                self.pace = max(self.pace // 2, 1)
            yield last - done, loss
            done = last

    def test(self, block, steps: int, rows: int) -> None:
        """Evaluates the first `steps` batches of a block in one compiled call."""
        self._call(self._test, block, 0, steps, rows)

    @property
    def loss(self) -> float:
        """The mean loss since the last `model.reset_metrics()`."""
        return float(self.model.metrics[0].result())

    def _call(self, compiled: tuple, block, first: int, last: int, rows: int) -> None:
        whole, smaller = compiled
        call = whole if rows == self.batch_size else smaller
        call(block, tf.constant(first), tf.constant(last))

    def _test_one(self, batch) -> None:
        # The last batch may have fewer rows than there are replicas; the mean of none is no number.
        if keras.tree.flatten(batch)[0].shape[0] != 0:  # None: known when it runs
            self.model.test_step(batch)

    def results(self) -> dict[str, float]:
        """The loss and the metrics by name, since the last `model.reset_metrics()`."""
        values = self.model.get_metrics_result()
        # By way of str: 0.72 as float32 is 0.72 in history.csv, not 0.7200000286102295.
        return {name: float(str(np.float32(value))) for name, value in values.items()}


def optimizers(model: keras.Model) -> list[keras.optimizers.Optimizer]:
    """The optimizer of `compile`, and those that a model with its own `train_step` keeps."""
    held = [v for v in vars(model).values() if isinstance(v, keras.optimizers.Optimizer)]
    return list({id(optimizer): optimizer for optimizer in held}.values())


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Inside, a model whose optimizer has `use_ema` holds the averages of its weights."""
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    averaged = getattr(inner, "use_ema", False)
    swap = keras.callbacks.SwapEMAWeights() if averaged else keras.callbacks.Callback()
    swap.set_model(model)
    swap.on_test_begin()
    try:
        yield
    finally:
        swap.on_test_end()


def _trace_once(steps: Callable) -> Callable:
    """Compile a call for blocks of any number of steps and of rows."""
    compiled: list[Callable] = []

    def call(block, first, last):
        if not compiled:
            signature = keras.tree.map_structure(
                lambda array: tf.TensorSpec([None, None, *array.shape[2:]], array.dtype), block
            )
            number = tf.TensorSpec([], tf.int32)
            compiled.append(tf.function(steps, input_signature=[signature, number, number]))
        compiled[0](block, first, last)

    return call


def _combine_gradients(optimizer: keras.optimizers.Optimizer, replicas: int) -> None:
    """Adds up the parts of gradients before they meet the optimizer.

    An embedding's gradient names a row once for each time that the batch looks it up. Adam squares
    those parts one by one, and `clipnorm` measures them one by one, instead of their sum. Keras also
    clips the gradient of each replica, and adds them up afterwards. Here each replica gets its equal
    share of the sum, and of the threshold: what Keras then adds up is the clipped sum.
    """
    if "apply_gradients" in vars(optimizer):  # compiled again with the same optimizer
        return
    apply, inner = optimizer.apply_gradients, getattr(optimizer, "inner_optimizer", optimizer)
    limits = ("clipnorm", "clipvalue", "global_clipnorm")
    clips = replicas > 1 and any(getattr(inner, name) for name in limits)
    for name in limits:
        if clips and getattr(inner, name):
            setattr(inner, name, getattr(inner, name) / replicas)

    def apply_dense(grads_and_vars):
        pairs = [(None if g is None else tf.convert_to_tensor(g), v) for g, v in grads_and_vars]
        if clips:
            reduce = tf.distribute.get_replica_context().all_reduce
            sums = iter(reduce("SUM", [g for g, _ in pairs if g is not None]))
            pairs = [(None if g is None else next(sums) / replicas, v) for g, v in pairs]
        return apply(pairs)

    optimizer.apply_gradients = apply_dense
