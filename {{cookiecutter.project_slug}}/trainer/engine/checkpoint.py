"""Checkpoints that an interrupted write cannot corrupt: one file each, with a checksum for each array.

A checkpoint is a NumPy archive: the values of all variables, in order, and the run's progress as
JSON. It is not TensorFlow's own format, which takes several files and, over processes, a write by
each of them; here only the chief writes, and any cluster can read what any other has written.
"""

import argparse
import json
import re
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codec import files
from trainer import options
from trainer.engine.runtime import JobError, join

KEEP = 2  # the newest, and the one before it in case the newest is corrupt
NAME = re.compile(r"step-\d{8,}\.npz")
LEFT = re.compile(NAME.pattern + r"(\.\d+\.partial)?")  # older, or half-written and killed

# These flags may change when a run resumes; any other one would make it a different run.
# Data is compared by its contents, not by its paths.
FREE = {"job_dir", "checkpoint_every", "repeat", "epochs", "ignored"}
FREE |= {"histograms", "profile", "strategy", "jit", "export"}
FREE |= {name.replace("-", "_") for name in (*options.SOURCES, *options.PLACES)}


def describe_settings(flags: argparse.Namespace, manifest: dict, has_schedule: bool) -> dict:
    """What two runs must share for one to resume from the other's checkpoint.

    Args:
        manifest: of the data; see `examples.Examples`.
        has_schedule: whether the learning rate of a step depends on the number of all steps.
    """
    settings = {k.replace("_", "-"): v for k, v in vars(flags).items() if k not in FREE}
    if has_schedule:
        settings["epochs"] = flags.epochs
    digests = [f["digest"] for part in manifest.values() for f in part["files"]]
    return json.loads(json.dumps(settings | {" and --".join(options.SOURCES): digests}))


@dataclass
class Checkpoints:
    """The checkpoints of one run."""

    directory: str  # local or gs://
    settings: dict  # flags that a continued run must share with the one before
    writes: bool  # whether this process is the one that writes; others only read

    def save(self, step: int, progress: dict, values: Sequence[np.ndarray]) -> None:
        """Writes a checkpoint, then removes the ones before the last `KEEP`.

        `values` are all that training changes: weights, optimizer state, metrics, seeds.
        """
        if not self.writes:
            return
        files.make_dirs(self.directory)
        about = json.dumps({"settings": self.settings, "progress": progress})
        with tempfile.TemporaryFile() as file:
            np.savez(file, *values, about=np.array(about))
            file.seek(0)
            files.write_from(file, join(self.directory, f"step-{step:08d}.npz"))
        names = files.names(self.directory)
        kept = _sort(names)[-KEEP:]
        for name in filter(LEFT.fullmatch, names):
            if name not in kept:
                files.remove(join(self.directory, name))

    def restore(self) -> tuple[dict, list[np.ndarray]] | None:
        """(progress, values) of the newest whole checkpoint; None where there is none.

        A checkpoint of a run with other settings raises a JobError.
        """
        names = _sort(files.names(self.directory))
        for name in reversed(names):
            path = join(self.directory, name)
            try:
                about, values = _read(path)
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                reason = str(error).partition("\n")[0] or type(error).__name__
                print(f"{path} is corrupt ({reason}); using the one before it, if any", flush=True)
                continue
            for key in sorted(about["settings"].keys() | self.settings.keys()):
                before, now = about["settings"].get(key), self.settings.get(key)
                if before != now:
                    raise JobError(
                        f"{self.directory} holds a run with --{key} {before}, this one has {now}; "
                        "give another --job-dir, or the flags of that run to resume it"
                    )
            return about["progress"], values
        if names:
            print("no checkpoint is whole: starting from the beginning", flush=True)
        return None


def _sort(names: Sequence[str]) -> list[str]:
    """Those that are names of checkpoints, the oldest first; a ninth digit makes a later step."""
    return sorted(filter(NAME.fullmatch, names), key=lambda name: (len(name), name))


def _read(path: str) -> tuple[dict, list[np.ndarray]]:
    """Reads all before anything is changed: each array's checksum is looked at on the way."""
    with tempfile.TemporaryFile() as file:
        files.read_into(path, file)
        file.seek(0)
        with np.load(file) as archive:
            about = json.loads(str(archive["about"]))
            return about, [archive[f"arr_{i}"] for i in range(len(archive.files) - 1)]
