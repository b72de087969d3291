"""The schema of a run: what is held out, how long windows are, on which scale channels lie."""

from __future__ import annotations

import argparse
import csv
import functools
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from codec import files
from codec.recordings.cells import join_names
from codec.recordings.encode import encode, name_recording
from codec.recordings.facts import Decided, decide
from codec.recordings.roles import Roles
from codec.recordings.store import Recordings
from codec.recordings.tables import Source
from codec.recordings.targets import describe_counts
from codec.schema import Channel, Schema
from codec.windows import merge, to_scale
from trainer.engine import cache
from trainer.engine.runtime import JobError
from trainer.series.choose import (
    Key,
    choose_split,
    hold_out,
    warn_of_split,
    write_windows,
)

WHOLE = 1_000  # samples: recordings that are not longer are taken whole
WINDOW = 256  # of longer ones
SHOWN = 3  # recordings that were left out, in the log
FEW_VALUES = 20  # different ones: recordings with fewer may be equal by chance
ROUNDS = 4  # in which recordings are encoded: those that cannot be used then change who is held out


@dataclass(frozen=True)
class Prepared:
    """Encoded recordings, and which of them are held out.

    Attributes:
        held_out: bool [R]; by_row: windows are split instead, and no recording is held out.
        key: of the cache.
        reused: they were there.
    """

    recordings: Recordings
    held_out: np.ndarray
    by_row: bool
    notes: list[str]
    key: str
    reused: bool

    @property
    def decided(self) -> Decided:
        """What the training recordings say."""
        return self.recordings.decided


def encode_recordings(
    sources: Sequence[Source],
    roles: Roles,
    task: str | None,
    flags: argparse.Namespace,
    folder: str,
    key: str,
) -> Prepared:
    """Find the recordings in the cache, or encode them, as those for training decide.

    Raises:
        JobError: a fault in the files, or in the flags.
    """
    if flags.split == "participant" and not roles.participant:
        raise JobError(
            "--split participant: no column names the participants; name it with --participant"
        )

    def choose(keys: Sequence[Key]) -> tuple[np.ndarray, str]:
        return hold_out(keys, flags.split or choose_split(keys), flags.folds, flags.fold)

    decided, own_key = None, key
    for _ in range(ROUNDS):
        write = functools.partial(encode, sources, roles, flags.rate, task)
        how = {"hold_out": lambda keys: choose(keys)[0], "decided": decided}
        path, reused = cache.fill(folder, own_key, functools.partial(write, **how))
        recordings = Recordings.open(path)
        held_out, line = choose(recordings.keys)
        about = roles, recordings.channels, task, flags.rate
        decided, notes = decide(recordings.facts, ~held_out, *about)
        if decided == recordings.decided:
            break
        # They were encoded for another fold, or some could not be used.
        depends_on = json.dumps([key, asdict(decided)])
        own_key = hashlib.sha256(depends_on.encode()).hexdigest()[:20]
    by = flags.split or choose_split(recordings.keys)
    notes += [line] if line else []
    notes += warn_of_split(recordings.keys, held_out, by) + _warn_of_copies(recordings, held_out)
    return Prepared(recordings, held_out, by == "row", notes, own_key, reused)


def _warn_of_copies(recordings: Recordings, held_out: np.ndarray) -> list[str]:
    """Warn of held-out recordings that are in training, too, under another name."""
    sides, copies, count = ({}, {}), [], 0
    for i, measures in enumerate(recordings.measures):  # equal samples have equal ones
        key = recordings.lengths[i], measures.tobytes()
        sides[int(held_out[i])].setdefault(key, []).append(i)
    for key in sides[0].keys() & sides[1].keys():
        one, other = (side[key][0] for side in sides)
        samples = recordings.read(one)
        is_short = len(np.unique(samples)) < FEW_VALUES  # and may be equal by chance
        if not is_short and np.array_equal(samples, recordings.read(other), equal_nan=True):
            count += len(sides[1][key])
            copies.append((recordings.names[other], recordings.names[one]))
    if not count:
        return []
    return [
        f"warning: {count} held-out recordings have the same samples as one in training, such as "
        f"{' as '.join(min(copies))}: the model may know them by heart; remove the copies"
    ]


def settle_schema(
    prepared: Prepared, roles: Roles, flags: argparse.Namespace
) -> tuple[Schema, dict[str, np.ndarray]]:
    """Settle what the network takes; and the numbers of the recordings of {"train", "eval"}.

    Raises:
        JobError: recordings that are all shorter than a window, and the like.
    """
    recordings, held_out, decided = prepared.recordings, prepared.held_out, prepared.decided
    notes = [*recordings.about["notes"], *prepared.notes]
    horizon, longest = flags.horizon or 0, int(recordings.lengths[~held_out].max())
    is_whole = flags.window is None and longest <= WHOLE and not horizon
    window = flags.window or (longest if is_whole else min(WINDOW, max(1, longest // 2)))
    hop = flags.hop or max(1, window // 2)
    if hop > window and decided.task == "labelling":
        raise JobError(
            f"--hop {hop}: samples between windows of {window} would have no label; write at most {window}"
        )
    notes.append(
        f"whole recordings, of up to {window} samples (--window cuts them)"
        if is_whole
        else f"windows of {window} samples, one each {hop} (--window, --hop)"
    )
    schema = Schema(
        target=roles.target,
        task=decided.task,
        channels=[],
        window=window,
        hop=hop,
        step=decided.step,
        own_step=decided.own_step,
        time=roles.time,
        unit=roles.unit,
        normalize=flags.normalize,
        labels=decided.labels,
        horizon=horizon,
        participant=roles.participant,
        recording=list(roles.recording),
        notes=notes,
    )
    notes.append(f"{schema.describe_step()}; channels: {', '.join(recordings.channels)}")
    if horizon:
        _settle_forecast(recordings, schema, flags)
    shortest = (1 if is_whole else window) + horizon
    too_short = recordings.lengths < shortest
    faults = {
        i: f"{recordings.lengths[i]} samples, fewer than a window's {shortest}"
        for i in np.flatnonzero(too_short)
    }
    train, held_out = ~held_out & ~too_short, (held_out | prepared.by_row) & ~too_short
    if not train.any():
        ahead = f" and {horizon} to forecast" if horizon else ""
        raise JobError(
            f"--window {window}{ahead}: the longest training recording has {longest} samples; write "
            f"{'smaller ones' if horizon else 'a smaller one'}"
        )
    _settle_target(recordings, schema, train, held_out, faults)
    _settle_channels(recordings, schema, train)
    recordings.faults.update(faults)
    _describe_rejected(recordings, schema)
    return schema, {"train": np.flatnonzero(train), "eval": np.flatnonzero(held_out)}


def _settle_target(
    recordings: Recordings,
    schema: Schema,
    train: np.ndarray,
    held_out: np.ndarray,
    faults: dict[int, str],
) -> None:
    """The scale of numbers; and what is held out and cannot be judged, which leaves `held_out`."""
    facts, targets = recordings.facts, recordings.targets

    def leave_out(is_known: np.ndarray, why: str) -> None:
        for i in np.flatnonzero(held_out & ~is_known):
            faults[i] = why.format(facts.texts[facts.first[i]])
        held_out[:] &= is_known

    if schema.task == "classification":
        leave_out(np.isin(targets, targets[train]), "no training recording has its class, {!r}")
        schema.notes.append(
            f"training recordings: {describe_counts(schema.labels, targets[train])}"
        )
        if len(np.unique(targets[train])) < 2:
            raise JobError(
                f"--target {schema.target}: training recordings have one class; try another --fold"
            )
    elif schema.task == "regression":
        leave_out(np.isfinite(targets), "with its target, {!r}, no network computes")
        schema.mean, std = float(targets[train].mean()), float(targets[train].std())
        schema.std = std or 1.0
    elif schema.task == "labelling":
        new = [text for text in facts.list_texts(held_out) if text not in schema.labels]
        if new:
            schema.notes.append(
                f"held-out samples count as without a label, since no training recording has theirs: "
                f"{join_names([repr(text) for text in new])}"
            )


def _settle_forecast(recordings: Recordings, schema: Schema, flags: argparse.Namespace) -> None:
    """The channels that are forecast: those of --target, or all."""
    names = [name.strip() for name in (flags.target or "").split(",") if name.strip()]
    schema.outputs = names or list(recordings.channels)
    schema.target = ", ".join(schema.outputs)
    if unknown := [name for name in schema.outputs if name not in recordings.channels]:
        known = ", ".join(recordings.channels)
        raise JobError(f"--target {unknown[0]}: with --horizon it is a channel, one of {known}")
    if flags.normalize == "recording":
        raise JobError(
            "--normalize recording: the mean of a recording knows the samples to forecast; leave it out"
        )


def _settle_channels(recordings: Recordings, schema: Schema, train: np.ndarray) -> None:
    """The mean and standard deviation of each channel in the training recordings."""
    measures = merge(recordings.measures[train])
    mean, std = to_scale(measures)
    samples = recordings.lengths[train].sum()
    still = (recordings.scales[1][train] == 1).all(axis=0)  # which stands for a single value
    for i, name in enumerate(recordings.channels):
        count, middle, spread = measures[:, i]
        if not count or not spread:
            why = f"is always {middle:g}" if count else "has no value"
            raise JobError(
                f"channel {name!r} {why} in the training recordings; leave it out with --channels"
            )
        lost, blinks = int(samples - count), name in recordings.decided.blinks
        channel = Channel(name, float(mean[i]), float(std[i]), lost, blinks)
        schema.channels.append(channel)
        if still[i] and recordings.lengths[train].max() > 1:
            schema.notes.append(
                f"warning: channel {name!r} never changes within a recording: the network may recognise people, or "
                "the answer, by it; leave it out with --channels"
            )
        if channel.lost:
            schema.notes.append(
                f"channel {name!r}: {channel.lost / samples:.1%} of training samples are lost"
            )


def _describe_rejected(recordings: Recordings, schema: Schema) -> None:
    """Say which recordings were left out, by the encoder and now."""
    if rejected := recordings.list_rejected():
        lines = [f"{name_recording(key)}: {why}" for *key, why in rejected[:SHOWN]]
        count = len(rejected)
        more = f"; … {count - SHOWN} more" if count > SHOWN else ""
        schema.notes.append(
            f"recordings left out: {count}, listed in rejected.csv: {'; '.join(lines)}{more}"
        )


def open_windows(
    recordings: Recordings,
    schema: Schema,
    numbers: dict[str, np.ndarray],
    flags,
    folder: str,
    key: str,
) -> tuple[dict[str, int], str]:
    """Find the windows in the cache, or write them; return how many there are, and their folder.

    Raises:
        JobError: a side has none.
    """
    settings = [
        schema.window,
        schema.hop,
        schema.horizon,
        schema.outputs,
        flags.split == "row",
        flags.folds,
    ]
    chosen = [part.tolist() for part in numbers.values()]
    depends_on = json.dumps([key, settings, flags.fold, chosen])
    key = hashlib.sha256(depends_on.encode()).hexdigest()[:20]

    def write(path: str) -> None:
        folds = (flags.folds, flags.fold) if flags.split == "row" else None
        rows = write_windows(recordings, [*numbers.values()], schema, folds, path)
        for part, count in rows.items():
            if not count:
                side = "training" if part == "train" else "held out"
                why = "all are too short, or without a value or label"
                why = next(iter(recordings.faults.values()), why)
                raise JobError(f"no window is left that is {side}: {why}")
        with open(os.path.join(path, "rejected.csv"), "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["participant", "recording", "file", "reason"])
            writer.writerows(recordings.list_rejected())
        files.write_text(os.path.join(path, "rows.json"), json.dumps(rows))

    path, _ = cache.fill(folder, key, write)
    schema.notes[:] = [
        n.replace("rejected.csv", os.path.join(path, "rejected.csv")) for n in schema.notes
    ]
    return json.loads(files.read_text(os.path.join(path, "rows.json"))), path
