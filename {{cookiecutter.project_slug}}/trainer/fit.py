"""Training with Keras's own `fit`, on one process: the flag --fit; docs/recipes.md says when.

It runs `callbacks(model, flags)` of `model.py`, too. A checkpoint is written after each epoch only.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from itertools import count

import keras
import tensorflow as tf

from trainer import model as modelling
from trainer.engine.record import timed
from trainer.engine.steps import averaged_weights
from trainer.engine.training import Progress, Training, better, is_over
from trainer.loop import Preempted


def run(training: Training, progress: Progress, *job) -> None:
    """Trains with one call of `fit` for each phase. Arguments and errors are those of `loop.run`."""
    flags, model, held_out = training.flags, training.model, training.examples.eval
    while True:
        if not is_over(flags, training.phase, progress):
            own = modelling.callbacks(model, flags) if hasattr(modelling, "callbacks") else []
            model.jit_compile = training.steps.jit
            model.fit(
                dataset(lambda epoch: training.blocks(Progress(epoch)), progress.epoch),
                steps_per_epoch=training.steps_per_epoch,
                initial_epoch=progress.epoch,
                epochs=(progress.ends or [0])[-1] + training.phase.epochs,
                validation_data=dataset(lambda _: held_out.batches(training.batch_size)),
                validation_steps=-(-held_out.rows // training.batch_size),
                callbacks=[*own, Job(training, progress, *job)],
                shuffle=False,  # the blocks are shuffled
                verbose=0,
            )
        if not training.next_phase(progress):
            return


def dataset(read_epoch, first: int = 0) -> tf.data.Dataset:
    """The batches of all epochs from the first on; `read_epoch` yields the blocks of one."""

    def batches():
        for epoch in count(first):
            for steps, *_, block in read_epoch(epoch):
                for i in range(steps):
                    yield keras.tree.map_structure(lambda array: array[i], block)  # noqa: B023

    signature = keras.tree.map_structure(
        lambda array: tf.TensorSpec([None, *array.shape[1:]], array.dtype), next(batches())
    )
    return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(2)


class Job(keras.callbacks.Callback):
    """Keeps a job's promises between the epochs of `fit`. It comes after the model's callbacks."""

    def __init__(self, training: Training, progress: Progress, *job):
        super().__init__()
        self.training, self.progress, self.stage = training, progress, contextlib.ExitStack()
        self.checkpoints, self.record, self.telemetry, self.terminated = job

    def on_epoch_begin(self, epoch, logs=None):
        self.telemetry.begin(epoch + 1, self.training.flags.epochs)
        self.stage.enter_context(timed(self.record.timings, "train"))

    def on_train_batch_end(self, batch, logs=None):
        self.progress.step = batch + 1
        self.training.trained += self.training.batch_size
        self.training.check_loss(self.progress)
        self.telemetry.step(batch + 1, self.training.steps_per_epoch)
        if self.terminated():
            raise Preempted

    def on_test_begin(self, logs=None):
        self.stage.close()
        self.stage.enter_context(timed(self.record.timings, "evaluate"))
        self.stage.enter_context(averaged_weights(self.model))

    def on_epoch_end(self, epoch, logs=None):
        training, progress = self.training, self.progress
        row = {"epoch": epoch + 1} | {name: float(f"{v:.7g}") for name, v in logs.items()}
        progress.epoch, progress.step = epoch + 1, 0
        if better(training.flags.monitor, row, progress.rows.get(progress.best)):
            progress.best = progress.epoch
            training.keep_best()
        self.stage.close()
        progress.history.append(row)
        self.telemetry.epoch(row, training.flags.epochs, self.model)
        with timed(self.record.timings, "checkpoint"):
            steps = progress.epoch * training.steps_per_epoch
            self.checkpoints.save(steps, asdict(progress), training.values())
            self.record.write_history(progress.history, final=True)
            self.telemetry.flush()
        self.model.stop_training |= is_over(training.flags, training.phase, progress)
