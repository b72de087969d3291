"""Which column is a number, a category, or nothing to learn from: what training rows say."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from codec.schema import (
    LARGEST,
    MISSING,
    MISSING_IN_WORDS,
    SMALLEST_STD,
    Column,
    Schema,
    name_inputs,
)
from trainer.columns import blocks, dates, rows, tables
from trainer.columns.profiles import Profile, look_at
from trainer.columns.rows import Part, Split
from trainer.engine.runtime import JobError

MAX_CATEGORIES = 10_000  # the most frequent are kept, the rest count as unseen
MAX_CLASSES = 1_000
MAX_NUMERIC_CLASSES = 20  # a target of at most this many whole numbers is taken for classes
WORDS = 0.05  # of the values of a column of numbers, at most; words count as missing


def infer(
    parts: Sequence[Part], split: Split, target: str, task: str | None, hints: Mapping[str, str]
) -> Schema:
    """Read the training files, and keep their rows in `parts`, until the schema can encode them.

    They are read once, but for columns whose first block is unlike the others.

    Args:
        parts: for the rows to train on and, if they come from the same files, those held out.

    Raises:
        JobError: a fault in a file, or a target that nothing can be learned for.
    """
    train = parts[0]
    names = [name for name in train.sources[0].names if name]
    limits = {"number": 1.0, "category": -1.0, "ignore": -1.0}  # a kind that is given stays
    limits = {name: limits[hints[name]] if name in hints else WORDS for name in names}
    if task == "classification":
        limits[target] = 0  # each word is a class
    limits.pop(split.group, None)
    profiles = _read(parts, split, target, limits)
    columns = []
    for name in names:
        if name == split.group:
            columns.append(Column(name, "ignore", "the group of a row (--group), no feature"))
        elif name != target:
            columns.append(_column(profiles[name], hints.get(name), train))
    name_inputs(columns)
    if all(column.kind == "ignore" for column in columns):
        reasons = tables.listed([f"{c.name}: {c.why}" for c in columns])
        raise JobError(f"no column is left to learn from ({reasons}); settle kinds with --schema")
    return _with_target(Schema(target, task or "", columns), profiles[target], train, split)


def _read(
    parts: Sequence[Part], split: Split, target: str, limits: Mapping[str, float]
) -> dict[str, Profile]:
    """Read columns as what the first MiB shows; those that turn out to be others once more."""
    first = blocks.read_first(parts[0].sources[0], list(limits))
    profiles = {name: look_at(name, first, False) for name in limits}
    texts = {
        name
        for name, profile in profiles.items()
        if limits[name] < 0 or (profile.values and not profile.is_misread(limits[name]))
    }

    def look(block: blocks.Block) -> list[Profile]:
        counted = {n for n in (*texts, target) if profiles[n].counts is not None}
        return [look_at(n, block, n in counted) for n in block.columns if n in profiles]

    misread = list(limits)
    while misread:
        types = {name: blocks.TEXTS if name in texts else blocks.NUMBERS for name in misread}
        profiles |= {name: Profile(name, name in texts) for name in misread}
        for looked_at in rows.parse(parts, types, split, look):
            for block in looked_at:
                profiles[block.name].merge(block)
        misread = [name for name in misread if profiles[name].is_misread(limits[name])]
        texts ^= {*misread}
    return profiles


def _column(profile: Profile, hint: str | None, train: Part) -> Column:
    kind, why = _kind(profile)
    words = train.words[profile.name]
    if hint:
        kind, why = hint, "given with --schema"
    if words:
        why += f"; words, which count as missing: {tables.counted(words)}"
    column = Column(profile.name, kind, why, profile.missing)
    if kind == "number":
        if words and not profile.present:
            remedy = "make it a category, or ignore it, with --schema"
            raise tables.not_a_number(train.sources, profile.name, MISSING, remedy)
        if profile.present and not math.isfinite(profile.std):
            raise JobError(
                f"column {profile.name!r}: {_kind_of_numbers(profile)[1]}; divide the whole column by a "
                "power of ten, or ignore it with --schema"
            )
        column.words = dict(sorted(words.items()))
        if profile.present:
            column.mean, column.std = float(profile.mean), float(profile.std) or 1.0
    elif kind == "category":
        if profile.counts is None:
            raise JobError(
                f"column {profile.name!r}: {profile.uncounted}, too many for a category; "
                "make it a number, or ignore it, with --schema"
            )
        ranked = sorted(profile.counts.items(), key=lambda item: (-item[1], item[0]))
        column.categories = [value for value, _ in ranked[:MAX_CATEGORIES]]
    return column


def _kind(profile: Profile) -> tuple[str, str]:
    if not profile.present:
        return "ignore", "no row has a value"
    if not profile.text:
        return _kind_of_numbers(profile)
    numbers = profile.values - profile.words
    mixed = f"; {numbers} of {profile.values} values are numbers: --schema can make it a number"
    mixed = mixed if 2 * numbers > profile.values else ""
    if profile.counts is None:
        return "ignore", f"text with {profile.uncounted}{mixed}"
    distinct = len(profile.counts)
    if dates.are_dates(profile.counts):
        first = tables.shown(next(iter(profile.counts)))
        return "ignore", f"dates, which are not used: make numbers of them ({first})"
    if distinct == 1 and not profile.missing:
        return "ignore", f"always {tables.shown(next(iter(profile.counts)))}"
    if distinct > 20 and distinct > profile.present / 2:
        text = "numbers and words" if mixed else _resembles(profile.counts)
        return "ignore", f"{text}; {distinct} different values{mixed}"
    return "category", f"text with {distinct} different values{mixed}"


def _kind_of_numbers(profile: Profile) -> tuple[str, str]:
    if profile.constant:
        return "ignore", f"always {profile.low:g}"
    if not math.isfinite(profile.std):
        return "ignore", f"numbers up to {profile.high:g}: too large to compute with"
    if not profile.std:
        return "ignore", f"numbers close to {profile.low:g}: too close to compute with"
    if profile.words:
        return "number", f"all but {profile.words} of {profile.values} values are numbers"
    return "number", "every value is a number"


def _resembles(texts: Iterable[str]) -> str:
    """What texts that nearly all differ look like, with what to do where something can be done."""
    sample = list(itertools.islice(texts, 200))
    numbers = sum(bool(re.fullmatch(r"\W{0,3}\d[\d.,' ]*\D{0,3}", text)) for text in sample)
    if numbers > 0.9 * len(sample):
        return f"looks like numbers with a comma or a unit: write 10.4 ({sample[0]!r})"
    return "text that differs from row to row: an id?"


def _with_target(schema: Schema, profile: Profile, train: Part, split: Split) -> Schema:
    """Settle the task, and the classes or the scale."""
    name, counts = profile.name, profile.counts
    if not profile.present:
        raise JobError(f"target {name!r}: no row has a value; choose another --target")
    most = min(MAX_CLASSES, max(2, profile.present // 2))
    classes = counts is not None and 2 <= len(counts) <= most
    if not schema.task:
        few = counts is not None and len(counts) <= MAX_NUMERIC_CLASSES
        whole = not profile.text and few and all(value.is_integer() for value in counts)
        schema.task = "classification" if profile.text or whole else "regression"
        if whole and profile.words:  # a class of its own, or a mistake: dropping it may be wrong
            remedy = (
                "fix it, leave it empty where nothing is known, or, if it is a class, give "
                "--task classification"
            )
            raise tables.not_a_number(train.sources, name, MISSING, remedy)
    if schema.task == "regression":
        if profile.text:
            remedy = "choose another --target"
            if classes:
                remedy += ", or take the values for classes with --task classification"
            raise tables.not_a_number(train.sources, name, MISSING, remedy)
        if profile.constant:
            raise JobError(f"target {name!r} is always {profile.low:g}: nothing to learn")
        if max(abs(profile.low), abs(profile.high)) > LARGEST:
            raise tables.too_large(train.sources, name, lambda value: abs(value) <= LARGEST)
        if profile.std < SMALLEST_STD:
            raise JobError(
                f"target {name!r} has numbers from {profile.low:g} to {profile.high:g}, too close for "
                "float32, in which models compute; multiply the whole column by a power of ten"
            )
        schema.mean, schema.std = float(profile.mean), float(profile.std)
        return schema
    if classes:
        schema.labels = [label(value) for value in sorted(counts)]
        return schema
    if counts is not None and len(counts) < 2:
        only = tables.shown(label(next(iter(counts))))
        where = " in the training rows; choose another --group" if split.groups else ""
        missing = (
            f"; {profile.missing} rows have none ({MISSING_IN_WORDS})" if profile.missing else ""
        )
        raise JobError(f"target {name!r} has one class, {only}{where}: nothing to learn{missing}")
    values = profile.uncounted if counts is None else f"{len(counts)} classes"
    numbers = profile.values - profile.words
    remedy = "choose another --target, whose values repeat"
    if numbers >= (1 - WORDS) * profile.values:
        remedy = "an id? Else try --task regression"
    raise JobError(
        f"target {name!r} has {values} in {profile.present} training rows (at most {most} classes); "
        f"{remedy}"
    )


def label(value: str | float) -> str:
    """A class by its name: 1.0 and 1 are the same class, "1"."""
    if isinstance(value, str):
        return value
    return str(int(value)) if value.is_integer() else repr(value)
