"""Recordings at equal steps, on disk: what windows are cut from."""

from __future__ import annotations

import bisect
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import numpy as np

from codec.errors import JobError
from codec.recordings.facts import Decided, collect_facts, decide
from codec.recordings.roles import Roles
from codec.recordings.rows import NO_LABEL, Rows, collect_rows
from codec.recordings.store import Recordings
from codec.recordings.tables import Source
from codec.recordings.targets import read_targets
from codec.resample import (
    CHUNK,
    count_steps,
    find_nearest,
    find_step,
    interpolate,
    is_even,
)
from codec.windows import drop_zeros, measure, merge

# As a least or greatest value, most often a code: nines, or those of an EyeLink.
CODES = re.compile(r"9{3,5}|32768|1e\+08")
MIXED = 0.05  # of a step, at most: recordings whose steps differ by more have other rates


def encode(
    sources: Sequence[Source],
    roles: Roles,
    rate: float | None,
    task: str | None,
    folder: str,
    hold_out: Callable[[Sequence[tuple]], np.ndarray],
    decided: Decided | None = None,
) -> None:
    """Read files, and write their recordings to a folder, which `Recordings.open` opens.

    Args:
        rate: samples a second; None keeps that of the files.
        hold_out: of keys of recordings, bool [R]: which are held out.
        decided: what holds for all recordings; None: what those say that are not held out.

    Raises:
        JobError: a fault in a file, rates that differ, no recording that can be used.
    """
    os.makedirs(folder)
    rows = collect_rows(sources, roles, folder)
    faults, notes = _find_nameless(rows, roles), [*roles.notes]
    used, about = _choose_channels(rows, roles)
    channels = [roles.channels[i] for i in used]
    facts = collect_facts(rows, roles, used, faults)
    good = np.array([i for i in range(len(rows.keys)) if i not in faults], np.int64)
    if not len(good):
        raise _refuse_all(rows, faults)
    if decided is None:
        train = ~hold_out([rows.keys[i] for i in good])
        decided, _ = decide(facts.choose(good), train, roles, channels, task, rate)
    notes += [*_compare_steps(rows, facts.steps, roles, rate, decided), *about]
    if roles.recording and len({file for *_, file in rows.keys}) > 1:
        notes.append(
            "recordings of different files are different, whatever their names: no column names "
            f"{'their participants' if roles.time else 'the times of samples'}"
        )
    if rows.is_scattered:
        notes.append("rows of a recording lie apart in the files: all were sorted by time")
    notes += _warn_of_spellings(rows)
    targets, wrong = read_targets(facts, roles.target, decided.task, decided.labels)
    faults |= wrong | faults
    blinks = [channels.index(name) for name in decided.blinks]
    columns = used if len(used) < len(roles.channels) else slice(None)  # a list is slower
    kept, lengths, measures = [], [], []
    with (
        open(os.path.join(folder, "samples"), "wb") as samples,
        open(os.path.join(folder, "labels"), "wb") as labels,
    ):
        for i, recording in enumerate(rows.read_each()):
            if i in faults:
                continue
            before, length, parts = samples.tell(), 0, []
            try:
                for values, texts in _read(
                    recording, bool(roles.time), decided.step, columns, blinks
                ):
                    samples.write(values)
                    length += len(values)
                    parts.append(measure(values))
                    if decided.task == "labelling":
                        classes = np.where(texts == NO_LABEL, NO_LABEL, targets[texts])
                        labels.write(classes.astype(np.int32))
                measured = merge(np.array(parts)) if len(parts) > 1 else parts[0]
                if not measured[0].any():
                    raise ValueError("all its values are lost")
            except ValueError as error:
                faults[i] = str(error)
                samples.seek(before)
                samples.truncate()
                labels.seek(before // (4 * len(used)) * 4 * (decided.task == "labelling"))
                labels.truncate()
                continue
            kept.append(i)
            lengths.append(length)
            measures.append(measured)
    os.remove(rows.path)
    if not kept:
        raise _refuse_all(rows, faults)
    is_whole = decided.task in ("classification", "regression")
    facts.choose(kept).save(folder)
    Recordings.write(
        folder,
        channels=channels,
        keys=[rows.keys[i] for i in kept],
        lengths=lengths,
        measures=np.array(measures),
        targets=targets[rows.first[kept]] if is_whole else None,
        about={
            **asdict(decided),
            "notes": notes,
            "rejected": [[*rows.keys[i], faults[i]] for i in sorted(faults)],
        },
    )


def _find_nameless(rows: Rows, roles: Roles) -> dict[int, str]:
    """Recordings of which the files do not say whose they are, or which: they would mix several."""
    names = {roles.participant: 0, ", ".join(roles.recording): 1}
    return {
        i: f"{column!r} is empty"
        for i, key in enumerate(rows.keys)
        for column, part in names.items()
        if column and not key[part].strip(", ")
    }


def _warn_of_spellings(rows: Rows) -> list[str]:
    """Names that only capitals or blanks tell apart: one person would be trained on and held out."""
    spellings: dict[str, str] = {}
    for name, *_ in rows.keys:
        other = spellings.setdefault("".join(name.split()).casefold(), name)
        if other != name:
            return [
                f"warning: {other!r} and {name!r} count as two participants; if they are one, write one name"
            ]
    return []


def _choose_channels(rows: Rows, roles: Roles) -> tuple[list[int], list[str]]:
    """The channels that vary, and a note on each of the others.

    Raises:
        JobError: --channels names one that does not, or none is left.
    """
    used = np.flatnonzero(rows.low < rows.high).tolist()
    about = []
    for i in sorted(set(range(len(roles.channels))) - set(used)):
        name, value = roles.channels[i], rows.low[i]
        why = "has no value in any row" if np.isnan(value) else f"is {value:g} in all rows"
        if roles.is_chosen or not used:
            raise JobError(f"--channels: {name!r} {why}: nothing to learn from; leave it out")
        about.append(f"channel {name!r} {why}: left out")
    for i in used:
        if codes := [v for v in (rows.low[i], rows.high[i]) if CODES.fullmatch(f"{abs(v):g}")]:
            about.append(
                f"warning: channel {roles.channels[i]!r} goes to {codes[0]:g}; if that stands for a lost sample, "
                "leave it empty in the files"
            )
    return used, about


def _read(
    recording: np.ndarray, has_time: bool, step: float, used: list | slice, blinks: list[int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the samples of a recording at equal steps, and the numbers of their labels, in parts.

    Of the channels only those that are used: predictions see no others.

    Raises:
        ValueError: time jumps; before anything was yielded.
    """
    time = recording["time"]
    if not has_time or is_even(time, step):
        for start in range(0, len(recording), CHUNK):
            part = recording[start : start + CHUNK]
            values = np.ascontiguousarray(part["values"][:, used])
            drop_zeros(values, blinks)
            yield values, part["label"]
        return
    own, count = find_step(time), count_steps(time, step)
    for start in range(0, count, CHUNK):
        grid = time[0] + step * np.arange(start, min(start + CHUNK, count))
        low = bisect.bisect_left(range(len(time)), grid[0] - step, key=time.__getitem__)
        high = bisect.bisect_right(range(len(time)), grid[-1] + step, key=time.__getitem__)
        part = np.array(recording[max(0, low - 1) : high + 1])
        values = np.ascontiguousarray(part["values"][:, used])
        drop_zeros(values, blinks)
        values = interpolate(part["time"], values, step, own, grid)
        nearest = find_nearest(part["time"], grid, max(step, own))
        yield values, np.where(nearest < 0, NO_LABEL, part["label"][nearest])


def _compare_steps(
    rows: Rows, steps: np.ndarray, roles: Roles, rate: float | None, decided: Decided
) -> list[str]:
    """Notes on the steps of recordings, float64 [R].

    Raises:
        JobError: recordings have different rates, and no flag says which one to take.
    """
    usual, known = decided.own_step, np.flatnonzero(np.isfinite(steps))
    others = known[np.abs(steps[known] - usual) > MIXED * usual] if usual else known[:0]
    if rate is not None and usual:
        about = f"resampled to {rate:g} samples a second: their own steps are {steps[known].min():.6g} to "
        about += f"{steps[known].max():.6g} of {roles.time!r}"
        return [about] if abs(decided.step - usual) > 1e-6 * usual or len(others) else []
    if len(others):
        raise JobError(
            f"{len(others)} of {len(known)} recordings have other rates: a sample each "
            f"{steps[others[0]]:.6g} of {roles.time!r} in {name_recording(rows.keys[others[0]])}, each "
            f"{usual:.6g} in most; resample them with --rate, in samples a second"
        )
    return []


def name_recording(key: Sequence[str]) -> str:
    """A recording in words: "p03, 2"; or the name of its file."""
    participant, recording, file = key
    return (
        ", ".join(filter(None, (participant, recording, os.path.basename(file)))) or "the recording"
    )


def _refuse_all(rows: Rows, faults: dict[int, str]) -> JobError:
    i, why = next(iter(faults.items()))
    more = f"; so are {len(faults) - 1} others" if len(faults) > 1 else ""
    if why.startswith("time"):
        more += "; --recording names the columns that tell recordings apart"
    return JobError(f"no recording can be used: {name_recording(rows.keys[i])}: {why}{more}")
