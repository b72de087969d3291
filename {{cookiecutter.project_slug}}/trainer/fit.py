"""Training with Keras's own `fit`, on one process: the flag --fit; docs/recipes.md says when.

It runs `callbacks(model, flags)` of `model.py`, too. A checkpoint is written after each epoch only.
"""

import contextlib
from collections.abc import Callable, Iterator
from itertools import count

import keras
import tensorflow as tf

from trainer import model as modelling
from trainer.engine.steps import averaged_weights
from trainer.loop import Job, Preempted


def run(job: Job) -> None:
    """Trains with one call of `fit` for each phase; raises what `loop.run` raises."""
    training, progress = job.training, job.training.progress
    flags, model, held_out = training.flags, training.model, training.examples.eval
    for phase in training.start_phases():
        if progress.is_over(phase, flags.early_stopping):
            continue
        own = modelling.callbacks(model, flags) if hasattr(modelling, "callbacks") else []
        model.jit_compile = training.steps.jit
        model.fit(
            dataset(training.blocks, progress.epoch),
            steps_per_epoch=training.steps_per_epoch,
            initial_epoch=progress.epoch,
            epochs=progress.began + phase.epochs,
            validation_data=dataset(lambda _: held_out.batches(training.batch_size)),
            validation_steps=-(-held_out.rows // training.batch_size),
            callbacks=[*own, KeepPromises(job)],
            shuffle=False,  # the blocks are shuffled
            verbose=0,
        )


def dataset(read_epoch: Callable[[int], Iterator], first: int = 0) -> tf.data.Dataset:
    """The batches of all epochs from the first on; `read_epoch` yields the blocks of one."""

    def batches():
        for epoch in count(first):
            for steps, *_, block in read_epoch(epoch):
                for i in range(steps):
                    yield keras.tree.map_structure(lambda array: array[i], block)  # noqa: B023

    # Not the generator itself: Keras would begin each evaluation with the same two batches of it.
    signature = keras.tree.map_structure(
        lambda array: tf.TensorSpec([None, *array.shape[1:]], array.dtype), next(batches())
    )
    return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(2)


class KeepPromises(keras.callbacks.Callback):
    """Does for `fit` what the loop does between steps. It comes after the model's callbacks."""

    def __init__(self, job: Job):
        super().__init__()
        self.job, self.stage = job, contextlib.ExitStack()

    def on_epoch_begin(self, epoch, logs=None):
        self.job.telemetry.begin(epoch + 1)
        self.stage.enter_context(self.job.record.timed("train"))

    def on_train_batch_end(self, batch, logs=None):
        job, training = self.job, self.job.training
        training.count(1, training.batch_size, training.steps.loss)
        job.telemetry.step(batch + 1, training.steps_per_epoch)
        if job.terminated():
            raise Preempted(
                "--fit writes checkpoints after whole epochs, so the next start trains epoch "
                f"{training.progress.epoch + 1} from its beginning"
            )

    def on_test_begin(self, logs=None):
        self.stage.close()
        self.stage.enter_context(self.job.record.timed("evaluate"))
        self.stage.enter_context(averaged_weights(self.model))

    def on_epoch_end(self, epoch, logs=None):
        job, training = self.job, self.job.training
        row = {name: float(f"{value:.7g}") for name, value in logs.items()}
        training.finish_epoch({"epoch": epoch + 1} | row)
        self.stage.close()
        job.report_epoch()
        job.save()
        self.model.stop_training |= training.progress.is_over(
            training.phase, training.flags.early_stopping
        )
