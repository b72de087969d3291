"""Which recordings are held out, and the windows of both sides."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np

from codec import split
from codec.recordings.encode import name_recording
from codec.recordings.store import Recordings
from codec.windows import find_starts
from trainer.engine.runtime import JobError

Key = tuple[str, str, str]  # participant, recording, file
AT_ONCE = 1 << 12  # windows that are looked at together


def choose_split(keys: Sequence[Key]) -> str:
    """What is held out whole where no flag says it, one of SPLITS."""
    if any(participant for participant, *_ in keys):
        return "participant"
    names = [file for *_, file in keys]
    return "file" if 1 < len(set(names)) < len(names) else "recording"


def hold_out(keys: Sequence[Key], by: str, folds: int, fold: int) -> tuple[np.ndarray, str]:
    """bool [R]: the recordings that are held out; and what was done, for the log.

    Args:
        keys: (participant, recording, file) of each.
        by: one of SPLITS; row: none is, and `write_windows` splits windows.

    Raises:
        JobError: too few of them for a split, or for so many folds.
    """
    if fold > folds:
        raise JobError(f"--fold {fold}: there are {folds}; write 1 to {folds}, or more --folds")
    if folds < 2:
        raise JobError("--folds 1: all would be held out; write 2 or more")
    if by == "row":
        return np.zeros(len(keys), bool), ""
    groups = _name_groups(keys, by)
    different = len(set(groups))
    if different < 2:
        only = "there is a single recording"
        if by != "recording":
            only = f"{groups[0]!r} is the only {by}" if groups[0] else f"there is a single {by}"
        others = "row" if by == "recording" else "recording, or row"
        raise JobError(
            f"--split {by}: {only}; one is to be held out: give more data, or --split {others}"
        )
    if different < folds and (fold > 1 or folds != 5):
        raise JobError(f"--folds {folds}: there are {different} {by}s; write at most {different}")
    chosen = split.hold_out(groups, 1 / folds, fold)
    held_out = np.array([group in chosen for group in groups])
    names = sorted(chosen)
    if by == "recording":
        names = [name_recording(keys[i]) for i in np.flatnonzero(held_out)]
    more = f", … ({len(names)} in all)" if len(names) > 5 else ""
    return held_out, f"held out by {by}: {', '.join(names[:5])}{more}"


def _name_groups(keys: Sequence[Key], by: str) -> list[str]:
    """What is held out whole with each recording. Files are named below the folder that all are in: so
    a bucket, and each machine, holds out the same ones."""
    parts = [file.replace(os.sep, "/").split("/") for *_, file in keys]
    common = len(os.path.commonprefix([path[:-1] for path in parts]))
    paths = [path[common:] for path in parts]
    if by == "participant":
        return [participant for participant, *_ in keys]
    if by == "folder":
        return ["/".join(path[:-1]) for path in paths]
    files = ["/".join(path) for path in paths]
    if by == "file":
        return files
    return ["\0".join([*key[:2], file]) for key, file in zip(keys, files, strict=True)]


def warn_of_split(keys: Sequence[Key], held_out: np.ndarray, by: str) -> list[str]:
    """Warn where what is held out is not of other people."""
    if by == "row":
        return [
            "warning: --split row holds out windows of recordings that are in training, too: held-out "
            "figures are too good. Leave it out to hold out whole participants"
        ]
    names = np.array([participant for participant, *_ in keys])
    if not names.any() and by != "folder":
        return [
            "warning: no column names the participants: who has several recordings may be held out and "
            "trained on; name it with --participant, or hold out whole folders with --split folder"
        ]
    if len({*names}) > 1 and {*names[held_out]} & {*names[~held_out]}:
        return [
            f"warning: --split {by} holds out recordings of participants who are in training, too: "
            "held-out figures say nothing of new participants"
        ]
    return []


def write_windows(
    recordings: Recordings,
    chosen: Sequence[np.ndarray],
    schema,
    folds: tuple[int, int] | None,
    folder: str,
) -> dict[str, int]:
    """Write where the windows of some recordings begin: `start` int64, among all samples, and `number`.

    Those without a value, without a label, or with lost values to forecast are left out.

    Args:
        chosen: the numbers of the recordings for training, and of those held out.
        folds: (folds, fold) where windows are split one by one: all recordings are in both then.

    Returns:
        Windows of {"train", "eval"}.
    """
    rows = {}
    for part, numbers in zip(("train", "eval"), chosen, strict=True):
        rows[part] = 0
        os.makedirs(os.path.join(folder, part))
        with (
            open(os.path.join(folder, part, "start"), "wb") as starts_file,
            open(os.path.join(folder, part, "number"), "wb") as numbers_file,
        ):
            for number in numbers:
                for starts in _choose_starts(recordings, int(number), schema):
                    if folds:
                        is_held_out = hash_numbers(starts) % np.uint64(folds[0]) == folds[1] - 1
                        starts = starts[is_held_out == (part == "eval")]
                    starts_file.write(starts)
                    numbers_file.write(np.full(len(starts), number, np.int32))
                    rows[part] += len(starts)
    return rows


def _choose_starts(recordings: Recordings, number: int, schema) -> Iterator[np.ndarray]:
    """Yield starts of windows, int64 [k], among all samples, some at a time."""
    begin, length = int(recordings.begins[number]), int(recordings.lengths[number])
    window, horizon = schema.window, schema.horizon
    all_starts = begin + find_starts(length - horizon, window, schema.hop)
    is_complete = (recordings.measures[number, 0] == length).all()
    if is_complete and schema.task != "labelling":
        yield all_starts
        return
    outputs = [recordings.channels.index(name) for name in schema.outputs]
    for first in range(0, len(all_starts), AT_ONCE):
        starts = all_starts[first : first + AT_ONCE]
        ends = np.minimum(starts + window, begin + length)
        low, high = starts[0], min(ends[-1] + horizon, begin + length)
        samples = recordings.samples()[low:high]
        good = _count(np.isfinite(samples).any(axis=1), starts - low, ends - low) > 0
        if horizon:
            is_known = np.isfinite(samples[:, outputs]).all(axis=1)
            good &= _count(is_known, ends - low, ends - low + horizon) == horizon
        if schema.task == "labelling":
            labels = recordings.all_labels()[low:high]
            good &= _count(labels >= 0, starts - low, ends - low) > 0
        yield starts[good]


def _count(is_true: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """How many are true in each span."""
    total = np.append(0, np.cumsum(is_true))
    return total[ends] - total[starts]


def hash_numbers(numbers: np.ndarray) -> np.ndarray:
    """uint64: random bits, the same for a number in every run, on every machine."""
    with np.errstate(over="ignore"):
        hashed = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        return (hashed ^ (hashed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9) >> np.uint64(32)
