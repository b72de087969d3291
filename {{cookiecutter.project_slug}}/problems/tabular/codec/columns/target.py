"""Whether the target is a class or a number, and which classes there are, or on which scale it is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from codec.columns import meaning, tables
from codec.columns.profiles import Profile
from codec.columns.rows import WORDS, Part, Split
from codec.errors import JobError
from codec.schema import LARGEST, MISSING, MISSING_IN_WORDS, SMALLEST_STD, Schema

MAX_CLASSES = 1_000
MAX_CODES = {0: 10, 1: 7}  # by the first: of more whole numbers, a target is an amount, or a scale


def settle_target(
    schema: Schema,
    profile: Profile,
    values: np.ndarray | None,
    hint: Mapping,
    train: Part,
    split: Split,
) -> Schema:
    """Settle the task, and the classes or the scale.

    Args:
        values: a sample of a target of numbers.
        hint: what --schema has on it.

    Raises:
        JobError: nothing can be learned for it.
    """
    name, counts = profile.name, profile.counts
    if not profile.text:
        likely = [] if schema.task == "classification" else meaning.find_codes(values)
        schema.codes = hint.get("codes", likely)
    if schema.codes:
        codes = train.count_codes(name, schema.codes)
        schema.notes.append(
            f"target {name!r}: codes, which count as missing: {tables.counted(codes)} (--schema can "
            "settle them)"
        )
        if counts is not None:
            counts = {value: n for value, n in counts.items() if value not in schema.codes}
    if not profile.present or (counts is not None and not counts):
        raise JobError(f"target {name!r}: no row has a value; choose another --target")
    most = min(MAX_CLASSES, max(2, profile.present // 2))
    classes = counts is not None and 2 <= len(counts) <= most
    if not schema.task:
        whole = not profile.text and classes and all(value.is_integer() for value in counts)
        coded = whole and _are_codes(counts)
        schema.task = "classification" if profile.text or coded else "regression"
        if whole:
            taken, other = ("classes", "regression") if coded else ("numbers", "classification")
            schema.notes.append(
                f"target {name!r} has {len(counts)} different whole numbers from {min(counts):g} to "
                f"{max(counts):g}: taken for {taken} (else: --task {other})"
            )
        if coded and profile.words:  # a class of its own, or a mistake: dropping it may be wrong
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
        scale = meaning.find_scale(profile, values, schema.codes)
        if scale.std < SMALLEST_STD:
            raise JobError(
                f"target {name!r} has numbers from {profile.low:g} to {profile.high:g}, too close for "
                "float32, in which models compute; multiply the whole column by a power of ten"
            )
        schema.mean, schema.std = scale.mean, scale.std
        schema.low, schema.high = hint.get("low", scale.low), hint.get("high", scale.high)
        if scale.about:
            schema.notes.append(f"target {name!r}: in training, {scale.about}")
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


def _are_codes(counts: Mapping[float, int]) -> bool:
    """Whether whole numbers, with their rows, name classes: two, or a few from 0 or 1, all of them common.

    Counts and amounts begin or end anywhere, and their largest are rare.
    """
    first, consecutive = min(counts), max(counts) - min(counts) == len(counts) - 1
    even = 4 * min(counts.values()) * len(counts) >= sum(counts.values())
    most = MAX_CODES.get(first, 2) if even else 3
    return len(counts) == 2 or (first in MAX_CODES and consecutive and len(counts) <= most)


def label(value: str | float) -> str:
    """A class by its name: 1.0 and 1 are the same class, "1"."""
    if isinstance(value, str):
        return value
    return str(int(value)) if value.is_integer() else repr(value)
