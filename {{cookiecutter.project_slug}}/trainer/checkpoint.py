"""Checkpoints that survive being torn: two files each, and the small one, written last, counts.

`step-00001200.index/.data-…` hold the variables (TensorFlow's format, checksummed);
`step-00001200.json` holds the progress and says that the rest is complete.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import tensorflow as tf

from trainer import files
from trainer.runtime import JobError, join

KEEP = 2  # the newest, and the one before for the case that the newest is torn
NAME = re.compile(r"step-(\d{8,})\.json")


class Checkpoints:
    """The checkpoints of one run.

    Raises:
        JobError: the directory holds checkpoints of a run with other settings.

    Args:
        directory: local or gs://.
        variables: everything that training changes: weights, optimizer state, metrics, seeds.
        settings: the flags that a continued run must share with the one before.
    """

    def __init__(self, directory: str, variables: Sequence[tf.Variable], settings: dict):
        self.directory = directory
        self.settings = settings
        self._checkpoint = tf.train.Checkpoint(variables=list(variables))
        self._refuse_others()

    def save(self, step: int, progress: dict) -> None:
        """Writes a checkpoint, then forgets the ones before the last `KEEP`."""
        files.make_dirs(self.directory)
        prefix = join(self.directory, f"step-{step:08d}")
        self._checkpoint.write(prefix)
        text = json.dumps({"settings": self.settings, "progress": progress})
        files.write_text(prefix + ".json", text + "\n")
        for old in self._names()[:-KEEP]:
            # The record goes first: without it, half a checkpoint is none.
            for name in sorted(self._parts(old), key=lambda n: not n.endswith(".json")):
                files.remove(join(self.directory, name))

    def restore(self) -> dict | None:
        """Loads the newest whole checkpoint; returns its progress, or None where there is none."""
        for name in reversed(self._names()):
            prefix = join(self.directory, name)
            try:
                saved = json.loads(files.read_text(prefix + ".json"))
                reader = tf.train.load_checkpoint(prefix)
                for key in reader.get_variable_to_shape_map():
                    reader.get_tensor(key)  # checks the checksum: a torn file must change nothing
                self._checkpoint.read(prefix).assert_consumed()
                return saved["progress"]
            except (
                ValueError,
                KeyError,
                TypeError,
                OSError,
                AssertionError,
                tf.errors.OpError,
            ) as e:
                reason = str(e).splitlines()[0] if str(e) else type(e).__name__
                print(f"checkpoint {prefix} is torn ({reason}); falling back to the one before")
        return None

    def _refuse_others(self) -> None:
        for name in self._names():
            try:
                text = files.read_text(join(self.directory, name + ".json"))
                settings = json.loads(text)["settings"]
            except (ValueError, KeyError, TypeError, OSError):
                continue  # torn: restore says so
            for key in sorted(settings.keys() | self.settings.keys()):
                before, now = settings.get(key), self.settings.get(key)
                if before != now:
                    raise JobError(
                        f"{self.directory} holds a run with --{key} {before}, this one has {now}; "
                        "give another --job-dir, or the flags of that run to go on with it"
                    )

    def _names(self) -> list[str]:
        found = filter(None, map(NAME.fullmatch, files.names(self.directory)))
        return [m[0][: -len(".json")] for m in sorted(found, key=lambda m: int(m[1]))]

    def _parts(self, name: str) -> list[str]:
        return [n for n in files.names(self.directory) if n.startswith(name + ".")]
