"""Which run may resume from which checkpoint, and how."""

from __future__ import annotations

import argparse
import json

from trainer import options
from trainer.engine.checkpoint import Checkpoints
from trainer.engine.runtime import JobError
from trainer.engine.training import Progress, Training

# These flags may change when a run resumes; any other one would make it a different run.
# Data is compared by its contents, not by its paths.
FREE = {"job_dir", "checkpoint_every", "repeat", "epochs", "ignored"}
FREE |= {"histograms", "profile", "strategy", "jit", "export"}
FREE |= {name.replace("-", "_") for name in (*options.SOURCES, *options.PLACES)}


def describe_settings(flags: argparse.Namespace, loaded, training) -> dict:
    """What two runs must share for one to resume from the other's checkpoint."""
    settings = {k.replace("_", "-"): v for k, v in vars(flags).items() if k not in FREE}
    if training.steps.has_schedule:
        settings["epochs"] = flags.epochs  # the learning rate of every step depends on their number
    digests = [f["digest"] for part in loaded.manifest.values() for f in part["files"]]
    return json.loads(json.dumps(settings | {" and --".join(options.SOURCES): digests}))


def resume(training: Training, checkpoints: Checkpoints) -> Progress:
    """Loads the newest checkpoint; a new run's progress where there is none.

    Raises:
        JobError: the checkpoint is of another run, or replicas do not see the same one.
    """

    progress = Progress()
    if checkpoint := checkpoints.restore():
        progress = Progress(**checkpoint[0])
        for number in range(1, len(progress.ends) + 1):
            training.begin(number)
        training.restore(checkpoint[1])
    done = progress.epoch * training.steps_per_epoch + progress.step
    if training.total(done) != done * training.total(1):
        raise JobError(
            f"this replica resumes at step {done}, others at another: the checkpoint directory "
            "must be one that all replicas share, gs://… or a network folder"
        )
    if done:
        print(
            f"resuming after epoch {progress.epoch}, step {progress.step} of the next", flush=True
        )
    return progress
