"""The training loop, for one process and for many: read it from top to bottom.

`model.py` builds and compiles an ordinary Keras model; `data.py` yields blocks of many batches. The
loop runs the model's own `train_step` and `test_step`, many in one compiled call, and keeps what a
job promises: checkpoints, resume, preemption, history, reports to a study.
"""

from __future__ import annotations

import time
from dataclasses import asdict

from trainer.engine.checkpoint import Checkpoints
from trainer.engine.pace import Pace
from trainer.engine.record import Record, timed
from trainer.engine.steps import averaged_weights
from trainer.engine.telemetry import Telemetry
from trainer.engine.training import Progress, Training, better, is_over


class Preempted(Exception):
    """The platform takes the machine away: the checkpoint is written, start the job again."""


def run(
    training: Training,
    progress: Progress,
    checkpoints: Checkpoints,
    record: Record,
    telemetry: Telemetry,
    terminated,
) -> None:
    """Trains to the last epoch, moving `progress` on.

    Args:
        terminated: says whether the platform asked this process to end.

    Raises:
        JobError: the loss is no number any more, or --monitor names no metric.
        Preempted: the platform takes the machine away; the checkpoint is written.
    """
    flags, times, phases = training.flags, record.timings, training.phases
    pace = Pace(training.examples.train.steps_per_block(training.batch_size), training.total)
    saved = time.monotonic()

    def save() -> None:
        nonlocal saved
        with timed(times, "checkpoint"):
            step = progress.epoch * training.steps_per_epoch + progress.step
            checkpoints.save(step, asdict(progress), training.values())
            record.write_history(progress.history, final=True)
            telemetry.flush()
        saved = time.monotonic()

    while True:
        if len(phases) > 1:
            number = f"{len(progress.ends) + 1} of {len(phases)}"
            print(f"phase {number}: {training.describe_phase()}", flush=True)

        while not is_over(flags, training.phase, progress):
            telemetry.begin(progress.epoch + 1, flags.epochs)
            if progress.step == 0:
                training.model.reset_metrics()

            # Train one epoch, or what is left of it.
            started, saving = time.monotonic(), times.get("checkpoint", 0.0)
            for count, rows, block in training.blocks(progress):
                for first, last in pace.calls(count):
                    with pace.measure():
                        training.steps.train(block, first, last)
                        progress.step += last - first
                        training.trained += (last - first) * rows
                        training.check_loss(progress)
                    telemetry.step(progress.step, training.steps_per_epoch)
                    # A replica's clock is its own: they save together when any of them wants to.
                    stop = training.total(1 if terminated() else 0)
                    due = time.monotonic() - saved >= flags.checkpoint_every
                    if stop or training.total(1 if due else 0):
                        save()
                    if stop:
                        raise Preempted
            saving = times.get("checkpoint", 0.0) - saving
            times["train"] = times.get("train", 0.0) + time.monotonic() - started - saving

            # Evaluate it on the held-out examples.
            row = {"epoch": progress.epoch + 1, **training.steps.results()}
            with timed(times, "evaluate"), averaged_weights(training.model):
                row |= training.evaluate()
                progress.epoch, progress.step = progress.epoch + 1, 0
                if better(flags.monitor, row, progress.rows.get(progress.best)):
                    progress.best = progress.epoch
                    training.keep_best()
            progress.history.append(row)
            telemetry.epoch(row, flags.epochs, training.model)
            record.write_history(progress.history)

        save()
        if not training.next_phase(progress):
            return
