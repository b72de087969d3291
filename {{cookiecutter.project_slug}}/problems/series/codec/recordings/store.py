"""Recordings on disk: written once, read through maps that are opened for each use."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from codec import files
from codec.recordings.facts import Decided, Facts
from codec.windows import to_scale


@dataclass(frozen=True)
class Recordings:
    """Samples at equal steps, one recording after another.

    Attributes:
        lengths: samples of each, int64 [R]; begins: where each begins among all.
        measures: float64 [R, 3, channels], see `windows.measure`.
        targets: int32 or float32 [R]; None where it is no matter of a whole recording.
        participants, names: of each; "" where nobody has a name.
        facts: of each, see `facts.py`.
        about: what was decided, notes, rejected.
    """

    path: str
    channels: list[str]
    keys: list[tuple[str, str, str]]
    lengths: np.ndarray
    measures: np.ndarray
    targets: np.ndarray | None
    facts: Facts
    about: dict
    # Those that a run leaves out, and why.
    faults: dict[int, str] = field(default_factory=dict)

    @functools.cached_property
    def decided(self) -> Decided:
        """What the recordings were encoded by."""
        return Decided(**{name: self.about[name] for name in Decided.__dataclass_fields__})

    @functools.cached_property
    def scales(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each recording, float32 [R, channels]."""
        return to_scale(self.measures)

    @functools.cached_property
    def begins(self) -> np.ndarray:
        return np.cumsum(self.lengths) - self.lengths

    @functools.cached_property
    def participants(self) -> list[str]:
        return [participant for participant, *_ in self.keys]

    @functools.cached_property
    def names(self) -> list[str]:
        """For people: "p03, 2", or the name of a file."""
        return [
            ", ".join(filter(None, (p, r, os.path.basename(f)))) or "all" for p, r, f in self.keys
        ]

    def samples(self) -> np.ndarray:
        """float32 [samples, channels], NaN where they are lost: a new map of all of them."""
        shape = int(self.lengths.sum()), len(self.channels)
        return np.asarray(
            np.memmap(os.path.join(self.path, "samples"), np.float32, "r", shape=shape)
        )

    def all_labels(self) -> np.ndarray:
        """int32 [samples], -1 where there is none: the class of each, where that is the task."""
        return np.asarray(np.memmap(os.path.join(self.path, "labels"), np.int32, "r"))

    def read(self, i: int, begin: int = 0, end: int | None = None) -> np.ndarray:
        """float32 [n, channels]: the samples of a recording, or some of them, in the unit of its channels."""
        end = self.lengths[i] if end is None else min(end, self.lengths[i])
        return np.array(self.samples()[self.begins[i] + begin : self.begins[i] + end])

    def labels(self, i: int) -> np.ndarray:
        """int32 [n]: the labels of a recording."""
        return np.array(self.all_labels()[self.begins[i] : self.begins[i] + self.lengths[i]])

    def list_rejected(self) -> list[list[str]]:
        """[participant, recording, file, reason] of those left out: by the encoder, and by the run."""
        return self.about["rejected"] + [[*self.keys[i], why] for i, why in self.faults.items()]

    @staticmethod
    def write(
        folder: str,
        channels: Sequence[str],
        keys: Sequence[tuple],
        lengths: Sequence[int],
        measures: np.ndarray,
        targets: np.ndarray | None,
        about: dict,
    ) -> None:
        """Write all but samples, labels and facts."""
        arrays = {"lengths": np.array(lengths, np.int64), "measures": measures}
        arrays |= {} if targets is None else {"targets": targets}
        np.savez(os.path.join(folder, "recordings.npz"), **arrays)
        text = json.dumps({"channels": channels, "keys": keys, "about": about})
        files.write_text(os.path.join(folder, "recordings.json"), text)

    @classmethod
    def open(cls, folder: str) -> Recordings:
        text = json.loads(files.read_text(os.path.join(folder, "recordings.json")))
        keys = [tuple(key) for key in text["keys"]]
        with np.load(os.path.join(folder, "recordings.npz")) as arrays:
            return cls(
                folder,
                text["channels"],
                keys,
                arrays["lengths"],
                arrays["measures"],
                arrays.get("targets"),
                Facts.load(folder),
                text["about"],
            )
