"""The training loop, for one process and for many: read it from top to bottom.

`model.py` builds and compiles an ordinary Keras model; `data.py` yields blocks of many batches. The
loop runs the model's own `train_step` and `test_step`, many in one compiled call (`engine/steps.py`),
and keeps what a job promises: checkpoints, resume, preemption, history, reports to a study.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from trainer.engine.checkpoint import Checkpoints
from trainer.engine.record import Record
from trainer.engine.steps import averaged_weights
from trainer.engine.telemetry import Telemetry
from trainer.engine.training import Training


class Preempted(Exception):
    """The platform takes the machine away. The message says what is saved."""


@dataclass
class Job:
    """A model in training, and where its results go."""

    training: Training
    checkpoints: Checkpoints
    record: Record
    telemetry: Telemetry
    terminated: Callable[[], bool]  # whether the platform wants this process to end
    saved: float = field(default_factory=time.monotonic)

    def save(self) -> None:
        """Writes a checkpoint, and all that must not fall behind it."""
        training = self.training
        with self.record.timed("checkpoint"):
            values = training.replicas.read(training.variables)
            self.checkpoints.save(training.steps_done, asdict(training.progress), values)
            self.record.write_history(training.progress.history, final=True)
            self.telemetry.flush()
        self.saved = time.monotonic()

    def is_checkpoint_due(self) -> bool:
        return time.monotonic() - self.saved >= self.training.flags.checkpoint_every

    def report_epoch(self) -> None:
        """Prints the last epoch, and writes it to history.csv, TensorBoard and the tuning service."""
        history = self.training.progress.history
        self.telemetry.epoch(history[-1], self.training.model)
        self.record.write_history(history)


def train_epoch(job: Job) -> None:
    """Trains for one epoch, or for what is left of it after a resume.

    Raises:
        Preempted: the platform takes the machine away; a checkpoint is written.
        JobError: the loss is not a number any more.
    """
    training, progress, replicas = job.training, job.training.progress, job.training.replicas
    job.telemetry.begin(progress.epoch + 1)
    if progress.step == 0:
        training.model.reset_metrics()
    for steps, rows, block in training.blocks(progress.epoch, progress.step):
        for done, loss in training.steps.train(block, steps, rows):
            training.count(done, rows, loss)
            job.telemetry.step(progress.step, training.steps_per_epoch)
            # Clocks of replicas differ: all of them save, or stop, when one of them must.
            stop, due = replicas.any(job.terminated()), replicas.any(job.is_checkpoint_due())
            if stop or due:
                job.save()
            if stop:
                raise Preempted("the checkpoint is written")


def evaluate_epoch(job: Job) -> None:
    """Evaluates the model on the held-out examples, and keeps it if it is the best so far."""
    training = job.training
    row = {"epoch": training.progress.epoch + 1, **training.steps.results()}
    with averaged_weights(training.model):
        training.finish_epoch(row | training.evaluate())


def run(job: Job) -> None:
    """Trains to the last epoch; raises what `train_epoch` raises, and a JobError for a --monitor
    that is no metric."""
    training = job.training
    for phase in training.start_phases():
        while not training.progress.is_over(phase, training.flags.early_stopping):
            with job.record.timed("train"):
                train_epoch(job)
            with job.record.timed("evaluate"):
                evaluate_epoch(job)
            job.report_epoch()
        job.save()
