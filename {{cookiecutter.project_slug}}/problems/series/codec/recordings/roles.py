"""Which column is what: said by flags, or read from the names and the first rows of a file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from codec.errors import JobError
from codec.recordings.cells import (
    DATES,
    NUMBERS,
    TEXTS,
    ZONED,
    is_number,
    join_names,
    read_date,
    show,
)
from codec.recordings.tables import Source
from codec.schema import MISSING, UNITS

_NUMBERED = r"( ?(ids?|names?|no|nr|num|number|code|index|label))?"
PARTICIPANT = re.compile(
    r"(participant|subject|subj|sub|person|patient|proband|observer|user|student|child|infant|"
    rf"animal|mouse|rat|vp|ppt){_NUMBERED}|pid"
)
RECORDING = re.compile(
    rf"(recording|record|rec|trial|session|run|block|sequence|stimulus|episode|task){_NUMBERED}"
)
TIME = re.compile(
    r"((recording|sample|sampling|system|computer|device|eye ?tracker|gaze|unix|elapsed) ?)?"
    r"(times?|time ?stamps?|t|datetime|date time|seconds?|sec|milliseconds?|msec|microseconds?|ms|us)"
    r"( ?(s|sec|seconds?|ms|msec|milliseconds?|[uµ\u03bc]s|microseconds?|ns|nanoseconds?))?"
)  # μ is also the Greek letter
UNIT = re.compile(
    r"(?:.* )?(?:(s|sec|seconds?)|(ms|msec|milliseconds?)|([uµ\u03bc]s|microseconds?)|(ns|nanoseconds?))"
)
NUMBERING = re.compile(
    rf"(row|sample|frame|line|index( level \d+)?|idx|id|unnamed( \d+)?)?{_NUMBERED}"
)


@dataclass(frozen=True)
class Roles:
    """The columns that are read, by what they are."""

    participant: str  # "" for none
    recording: tuple[str, ...]  # together they name a recording of a participant; (): a file is one
    time: str  # "": samples follow each other evenly
    unit: str  # of time; "": nobody said it
    channels: tuple[str, ...]
    target: str  # "" in a forecast
    notes: tuple[str, ...] = ()  # what was read from names, for the log
    dates: str = ""  # in the time column: plain, or zoned
    is_chosen: bool = False  # the channels were named by the flag

    @property
    def types(self) -> dict[str, pa.DataType]:
        """The columns to read, and as what."""
        texts = [self.participant, *self.recording, self.target]
        types: dict[str, pa.DataType] = {name: TEXTS for name in texts if name}
        kind = {"": NUMBERS, "plain": DATES, "zoned": ZONED}[self.dates]
        types |= {self.time: kind} if self.time else {}
        return types | dict.fromkeys(self.channels, NUMBERS)


def find_roles(flags, sources: Sequence[Source]) -> Roles:
    """Settle the columns of all files by the first one.

    Args:
        flags: with participant, recording, time, time_unit, channels, target, horizon.

    Raises:
        JobError: no such column, a column in two roles, no channel, files of other columns.
    """
    source = sources[0]
    plain = {name: simplify(name) for name in source.names}
    notes = []

    def choose(flag: str, given, pattern: re.Pattern, taken: set[str]) -> list[str]:
        """The columns of a flag, or of a list; without them, those whose names say so."""
        if given is not None:
            names = given.split(",") if isinstance(given, str) else given
            return [_check(source, flag, name.strip()) for name in names if name.strip()]
        return [n for n in source.names if n not in taken and pattern.fullmatch(plain[n])]

    target = "" if flags.horizon else flags.target or ""
    if not target and not flags.horizon:
        raise JobError(
            "--target is missing: which column is to be predicted, for a recording or for each sample? "
            f"There are: {join_names(source.names)}. To forecast the channels, give --horizon"
        )
    taken = {target} - {""}
    if target:
        _check(source, "--target", target)
    channels = flags.channels or ()
    named = {*taken, *(channels.split(",") if isinstance(channels, str) else channels)}
    participant = choose("--participant", flags.participant, PARTICIPANT, named)[:1]
    time = choose("--time", flags.time, TIME, {*named, *participant})[:1]
    recording = choose("--recording", flags.recording, RECORDING, {*named, *participant, *time})
    for flag, names in {"participant": participant, "recording": recording, "time": time}.items():
        if getattr(flags, flag) is None:
            read = f"{', '.join(map(repr, names))} by name" if names else "none"
            notes.append(f"--{flag}: {read}")
    others = {*participant, *time, *recording, *taken}
    if flags.channels is not None:
        channels = [*dict.fromkeys(choose("--channels", flags.channels, PARTICIPANT, set()))]
    else:
        left = [name for name in source.names if name and name not in others]
        why = {name: _find_reason(source, name, plain[name]) for name in left}
        channels = [name for name in left if not why[name]]
        out = join_names([f"{name} ({why[name]})" for name in left if why[name]])
        notes.append(f"--channels: {join_names(channels)}{f'; left out: {out}' if out else ''}")
    if twice := [name for name in channels if name in others]:
        raise JobError(
            f"--channels: {twice[0]!r} is the time, a name or the target; remove it there"
        )
    if not channels:
        raise JobError(
            f"{source.path}: no column of numbers is left for a channel; name them with --channels"
        )
    given = {
        flag for flag in ("participant", "recording", "time") if getattr(flags, flag) is not None
    }
    notes += _check_files(sources, {*channels, *others}, given)
    dates, unit, about = _read_unit(source, flags, time[0] if time else "")
    notes += about
    return Roles(
        participant="".join(participant),
        recording=tuple(recording),
        time="".join(time),
        unit=unit,
        channels=tuple(channels),
        target=target,
        notes=tuple(notes),
        dates=dates,
        is_chosen=flags.channels is not None,
    )


def simplify(name: str) -> str:
    """ "RecordingTimestamp [ms]" → "recording timestamp ms"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[\W_]+", " ", name).strip().lower()


def _check(source: Source, flag: str, name: str) -> str:
    if name in source.names:
        return name
    close = difflib.get_close_matches(name, source.names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise JobError(
        f"{source.path}: {flag}: no column {name!r}; there are: {join_names(source.names)}{hint}"
    )


def _find_reason(source: Source, name: str, plain: str) -> str:
    """Why a column is no channel, by its name and the first rows; "" for a channel."""
    if NUMBERING.fullmatch(plain):
        return "a number of rows"
    if TIME.fullmatch(plain):
        return "a time"
    values = [row.get(name, "").strip() for row in source.first]
    known = [value for value in values if value not in MISSING]
    if not known:
        return "no value in the first rows"
    decimals = (source.decimal, "." if source.decimal == "," else ",")
    own, other = (2 * sum(is_number(v, mark) for v in known) > len(known) for mark in decimals)
    if other and not own:
        raise JobError(
            f"{source.path}: column {name!r} has numbers such as {known[-1]}, and others have the decimal "
            f"mark {source.decimal!r}; write all alike, or name the channels with --channels"
        )
    # One text among numbers is a fault, which the parser names with its line.
    return "" if own else "text"


def _read_unit(source: Source, flags, time: str) -> tuple[str, str, list[str]]:
    """Which dates the time column has, "" for numbers; the unit of time; and notes."""
    values = [row.get(time, "").strip() for row in source.first] if time else []
    known = [value for value in values if value not in MISSING]
    if known and not is_number(known[0], source.decimal):
        if not (kind := read_date(known[0])):
            raise JobError(
                f"{source.path}: --time {time}: expected numbers, or dates as 2020-01-31 10:15:00.25, got "
                f"{show(known[0])}"
            )
        return "zoned" if kind == ZONED else "plain", "s", []
    match = UNIT.fullmatch(simplify(time))
    named = (
        next((unit for unit, text in zip(UNITS, match.groups(), strict=True) if text), "")
        if match
        else ""
    )
    unit = flags.time_unit or named
    if flags.rate and time and not unit:
        raise JobError(
            f"--rate {flags.rate:g} is in samples a second, but nobody says in which unit {time!r} counts: "
            f"add --time-unit, one of {', '.join(UNITS)}"
        )
    about = []
    if named and named != unit:
        about = [f"warning: --time-unit {unit}, but the name of {time!r} says {named}"]
    return "", unit, about


def _check_files(sources: Sequence[Source], names: set[str], given: set[str]) -> list[str]:
    """Notes on columns that the first file lacks.

    Raises:
        JobError: a file lacks a column that is read, or is the only one to name whose its samples are.
    """
    first, more = sources[0], {}
    patterns = {"participant": PARTICIPANT, "recording": RECORDING, "time": TIME}
    patterns = [pattern for flag, pattern in patterns.items() if flag not in given]
    for source in sources[1:]:
        for name in source.names:
            if name and name not in first.names:
                if any(pattern.fullmatch(simplify(name)) for pattern in patterns):
                    raise JobError(
                        f"{first.path}: it lacks {name}, which {source.path} has; name files of the same "
                        "columns"
                    )
                more.setdefault(name, source.path)
        if lacking := sorted(names.difference(source.names)):
            raise JobError(
                f"{source.path}: it lacks {join_names(lacking)}, which {sources[0].path} has; name files "
                "of the same columns"
            )
    out = [f"{name} (in {path}, not in {first.path})" for name, path in more.items()]
    return [f"left out: {join_names(out)}"] if out else []
