"""What recordings mean to a model: their channels, their rate, the windows that it takes; schema.json."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np

from codec.base_schema import BaseSchema

TASKS = ("classification", "regression", "labelling", "forecasting")
SPLITS = ("participant", "folder", "file", "recording", "row")
NORMALIZE = ("training", "recording")
UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}  # of time, how many make a second

# Spellings of a lost sample, without white space around them. Eye trackers write a dot.
MISSING = ("", ".", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NAN", "NULL", "null", "None", "none", "-", "?")  # fmt: skip
MISSING_IN_WORDS = f"empty, or one of {' '.join(MISSING[1:])}"


@dataclass
class Channel:
    """A column that the network sees, in the unit of the files."""

    name: str
    mean: float = 0.0  # of the training recordings
    std: float = 1.0
    lost: int = 0  # training samples without a value
    blinks: bool = False  # a zero beside a lost value is lost, too


@dataclass
class Schema(BaseSchema):
    """The channels, the time between samples, the windows, the target."""

    target: str  # a column; in a forecast, the channels that it is about
    task: str
    channels: list[Channel]
    window: int  # samples; a shorter recording is padded
    hop: int  # samples from one window of a recording to the next
    step: float = 1.0  # between samples, in the unit of the time column
    own_step: float = 0.0  # between samples of the training files, before --rate; 0: unknown
    time: str = ""  # the time column; "": samples follow each other evenly
    unit: str = ""  # of time, a key of UNITS; "": nobody said it
    normalize: str = NORMALIZE[0]
    labels: list[str] = field(default_factory=list)  # classification, labelling: sorted
    horizon: int = 0  # forecasting: steps
    outputs: list[str] = field(default_factory=list)  # forecasting: channels
    mean: float = 0.0  # regression: of the training recordings
    std: float = 1.0
    participant: str = ""  # a column, "" for none
    recording: list[str] = field(default_factory=list)  # columns
    missing: tuple[str, ...] = MISSING
    notes: list[str] = field(default_factory=list)  # what was decided, for log and report

    @property
    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the channels, float32 [channels], twice."""
        pairs = [(channel.mean, channel.std) for channel in self.channels]
        return tuple(np.array(pairs, np.float32).T)

    @property
    def names(self) -> list[str]:
        """The channels, in the order in which the network takes them."""
        return [channel.name for channel in self.channels]

    def describe_step(self) -> str:
        """The rate in words: "25 samples a second", or "a sample each 2 of timestamp"."""
        if self.unit:
            return f"{UNITS[self.unit] / self.step:.6g} samples a second"
        return f"a sample each {self.step:.6g} of {self.time!r}" if self.time else "no time column"

    @classmethod
    def from_json(cls, text: str) -> Schema:
        fields = json.loads(text)
        fields["channels"] = [Channel(**channel) for channel in fields["channels"]]
        fields["missing"] = tuple(fields["missing"])
        if isinstance(fields["recording"], str):  # of a model that an earlier version trained
            fields["recording"] = [name for name in fields["recording"].split(", ") if name]
        return cls(**fields)
