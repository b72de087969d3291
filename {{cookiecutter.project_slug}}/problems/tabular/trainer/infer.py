"""One pass over the training files: which column is a number, a category, or nothing to learn from.

Memory stays flat: a column keeps running sums, and counts of its values up to a limit.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer import tables
from trainer.runtime import JobError
from trainer.schema import MISSING, Column, Schema, name_inputs

MAX_COUNTED = 100_000  # distinct values; a column with more is an id or a free text
MAX_BYTES = 1_000  # so is one with longer values
MAX_CATEGORIES = 10_000  # the most frequent are kept, the rest count as unseen
MAX_CLASSES = 1_000
MAX_NUMERIC_CLASSES = 20  # a target of at most this many whole numbers is taken for classes
TYPOS = 0.05  # a column of numbers with at most this share of texts is numbers with mistakes in it


class _Text(Exception):
    """Columns that looked like numbers hold texts: the pass must start again."""

    def __init__(self, shares: dict[str, float]):
        self.shares = shares  # by column, of the values seen so far that are no numbers


class _Profile:
    """What has been seen of one column so far."""

    def __init__(self, name: str, text: bool, counted: bool):
        self.name, self.text = name, text
        self.missing = self.present = 0
        self.mean = self.spread = 0.0  # spread: sum of squared distances to the mean
        self.low, self.high = math.inf, -math.inf
        self.counts: Counter | None = Counter() if text or counted else None
        self.uncounted = ""  # why counting was given up

    def add(self, values: pa.Array) -> None:
        self.missing += values.null_count
        values = pc.drop_null(values)
        if not self.text:
            values = self._numbers(values)
            finite = pc.is_finite(values)
            self.missing += pc.sum(pc.invert(finite)).as_py() or 0
            values = values.filter(finite)
            self._add_numbers(values.to_numpy())
        self.present += len(values)
        if self.counts is not None:
            self._count(values)

    def _numbers(self, values: pa.Array) -> pa.Array:
        try:
            return pc.cast(values, pa.float64())
        except pa.ArrowInvalid:
            texts = sum(not tables.is_number(value) for value in values.to_pylist())
            raise _Text({self.name: texts / (self.present + len(values))}) from None

    def _add_numbers(self, numbers: np.ndarray) -> None:
        if not len(numbers):
            return
        # Chan's parallel update: exact for any block size, no catastrophic cancellation.
        with np.errstate(over="ignore", invalid="ignore"):
            mean, spread = numbers.mean(), numbers.var() * len(numbers)
            total = self.present + len(numbers)
            delta = mean - self.mean
            self.mean += delta * len(numbers) / total
            self.spread += spread + delta**2 * self.present * len(numbers) / total
        self.low, self.high = min(self.low, numbers.min()), max(self.high, numbers.max())

    def _count(self, values: pa.Array) -> None:
        for pair in pc.value_counts(values).tolist():
            self.counts[pair["values"]] += pair["counts"]
        if len(self.counts) > MAX_COUNTED:
            self.uncounted = f"over {MAX_COUNTED:,} different values"
        elif self.text and (pc.max(pc.binary_length(values)).as_py() or 0) > MAX_BYTES:
            self.uncounted = f"values of over {MAX_BYTES:,} bytes"
        if self.uncounted:
            self.counts = None

    @property
    def constant(self) -> bool:
        # Not by the spread: rounding gives 0.1, 0.1, 0.1 a mean beside 0.1.
        return not self.text and self.low == self.high

    @property
    def std(self) -> float:
        return 0.0 if self.constant else math.sqrt(self.spread / self.present)


def infer(
    sources: Sequence[tables.Source], target: str, task: str | None, hints: Mapping[str, str]
) -> Schema:
    """Reads all training rows once (again, where columns turn out to hold texts).

    Raises:
        JobError: a fault in a file, or a target that nothing can be learned for.
    """
    names = sources[0].names
    text = {name for name, kind in hints.items() if kind != "number"}
    while True:
        try:
            profiles = _scan(sources, names, target, text)
            break
        except _Text as found:
            for name, share in found.shares.items():
                hint = "make the column a category with --schema"
                if name == target:
                    hint = "take the values for classes with --task classification"
                must = hints.get(name) == "number" or (name == target and task == "regression")
                likely = share <= TYPOS and not (name == target and task == "classification")
                if must or likely:
                    raise tables.not_a_number(sources, name, MISSING, hint) from None
                text.add(name)
    columns = [_column(p, hints.get(name)) for name, p in profiles.items() if name != target]
    name_inputs(columns)
    if all(column.kind == "ignore" for column in columns):
        reasons = tables.listed([f"{c.name}: {c.why}" for c in columns])
        raise JobError(f"no column is left to learn from ({reasons}); settle kinds with --schema")
    return _with_target(Schema(target, task or "", columns), profiles[target])


def _scan(sources, names, target, text) -> dict[str, _Profile]:
    profiles = {
        name: _Profile(name, text=name in text, counted=name == target) for name in names if name
    }
    types = dict.fromkeys(profiles, pa.string())
    for source in sources:
        for batch in tables.batches(source, types, MISSING):
            shares = {}  # all of a batch at once: to start again costs, above all from a bucket
            for name, profile in profiles.items():
                try:
                    profile.add(batch.column(name))
                except _Text as found:
                    shares |= found.shares
            if shares:
                raise _Text(shares)
    return profiles


def _column(profile: _Profile, hint: str | None) -> Column:
    kind, why = _kind(profile)
    if hint:
        kind, why = hint, "given with --schema"
    column = Column(profile.name, kind, why, profile.missing)
    if kind == "number" and profile.present:
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


def _kind(profile: _Profile) -> tuple[str, str]:
    if not profile.present:
        return "ignore", "no row has a value"
    if not profile.text:
        if profile.constant:
            return "ignore", f"always {profile.low:g}"
        if not math.isfinite(profile.std):
            return "ignore", f"numbers up to {profile.high:g}: too large to compute with"
        return "number", "every value is a number"
    if profile.counts is None:
        return "ignore", f"text with {profile.uncounted}"
    distinct = len(profile.counts)
    if distinct == 1 and not profile.missing:
        return "ignore", f"always {tables.shown(next(iter(profile.counts)))}"
    if distinct > 20 and distinct > profile.present / 2:
        return "ignore", f"{_resembles(profile.counts)}; {distinct} different values"
    return "category", f"text with {distinct} different values"


def _resembles(texts: Iterable[str]) -> str:
    """What texts that nearly all differ look like, with what to do where something can be done."""
    some = list(itertools.islice(texts, 200))
    for pattern, words in (
        (
            r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([ T].*)?",
            "dates, which are not used: make numbers of them",
        ),
        (r"\W{0,3}\d[\d.,' ]*\D{0,3}", "numbers with a comma or a unit: write 10.4"),
    ):
        if sum(bool(re.fullmatch(pattern, text)) for text in some) > 0.9 * len(some):
            return f"looks like {words} ({some[0]!r})"
    return "text that differs from row to row: an id?"


def _with_target(schema: Schema, profile: _Profile) -> Schema:
    """Settles the task, and the classes or the scale."""
    name, counts = profile.name, profile.counts
    if not profile.present:
        raise JobError(f"target {name!r}: no row has a value; choose another --target")
    if not schema.task:
        few = not profile.text and counts is not None and len(counts) <= MAX_NUMERIC_CLASSES
        classes = few and all(value.is_integer() for value in counts)
        schema.task = "classification" if profile.text or classes else "regression"
    if schema.task == "regression":
        if profile.constant:
            raise JobError(f"target {name!r} is always {profile.low:g}: nothing to learn")
        if not math.isfinite(profile.std):
            raise JobError(f"target {name!r} has numbers up to {profile.high:g}: rescale it")
        schema.mean, schema.std = float(profile.mean), float(profile.std)
        return schema
    limit = min(MAX_CLASSES, max(2, profile.present // 2))
    if counts is None or len(counts) > limit:
        found = profile.uncounted if counts is None else f"{len(counts)} classes"
        raise JobError(
            f"target {name!r} has {found} in {profile.present} rows (at most {limit} classes); "
            "an id? Else try --task regression"
        )
    if len(counts) < 2:
        only = label(next(iter(counts)))
        raise JobError(f"target {name!r} has one class, {tables.shown(only)}: nothing to learn")
    schema.labels = [label(value) for value in sorted(counts)]
    return schema


def label(value: str | float) -> str:
    """A class by its name: 1.0 and 1 are the same class, "1"."""
    if isinstance(value, str):
        return value
    return str(int(value)) if value.is_integer() else repr(value)
