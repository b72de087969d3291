"""One pass over the training rows: which column is a number, a category, or nothing to learn from.

Memory stays flat: a column keeps running sums, and counts of its values up to a limit.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codec.schema import (
    KINDS,
    LARGEST,
    MISSING,
    MISSING_IN_WORDS,
    SMALLEST_STD,
    Column,
    Schema,
    name_inputs,
)
from trainer.columns import dates, tables
from trainer.columns.rows import Rows
from trainer.engine.runtime import JobError

MAX_COUNTED = 100_000  # distinct values; a column with more is an id or a free text
MAX_BYTES = 1_000  # so is one with longer values
MAX_CATEGORIES = 10_000  # the most frequent are kept, the rest count as unseen
MAX_CLASSES = 1_000
MAX_NUMERIC_CLASSES = 20  # a target of at most this many whole numbers is taken for classes
WORDS = 0.05  # of the values of a column of numbers, at most; words count as missing


def read_hints(text: str, path: str) -> dict[str, str]:
    """Reads the kinds that `--schema` gives, by column name.

    Raises:
        JobError: not JSON, not of that form, or a kind that does not exist.
    """
    try:
        columns = json.loads(text)["columns"]
        hints = {column["name"]: column["kind"] for column in columns}
    except (ValueError, KeyError, TypeError) as error:
        raise JobError(
            f'--schema {path}: expected {{"columns": [{{"name": …, "kind": …}}, …]}} ({error!r})'
        ) from None
    for name, kind in hints.items():
        if kind not in KINDS:
            raise JobError(
                f"--schema {path}: column {name!r} has kind {kind!r}; "
                f"write one of {', '.join(KINDS)}"
            )
    return hints


class _Profile:
    """What has been seen of one column so far."""

    def __init__(self, name: str, text: bool, counted: bool, limit: float):
        self.name, self.text = name, text
        self.limit = limit  # the largest share of words in a column of numbers
        self.missing = self.present = 0
        self.values = 0  # cells that are not empty; among numbers some are not present
        self.words: Counter = Counter()  # in a column of numbers; they count as missing
        self.not_numbers = 0  # in a column of texts
        self.mean = self.spread = 0.0  # spread: sum of squared distances to the mean
        self.low, self.high = math.inf, -math.inf
        self.counts: Counter | None = Counter() if text or counted else None
        self.uncounted = ""  # why counting was given up

    @property
    def numeric(self) -> bool:
        """Whether the values seen so far are numbers, but for a few words."""
        words = self.not_numbers if self.text else self.words.total()
        return self.values > 0 and words <= self.limit * self.values

    def add(self, column: pa.Array, words: Counter) -> None:
        values = pc.drop_null(column)
        self.values += len(values) + words.total()
        if self.text:
            self._count_texts(values)
        else:
            for word, count in words.items():
                known = word in self.words or len(self.words) < tables.MAX_WORDS
                self.words[word if known else tables.OTHERS] += count
            values = values.filter(pc.is_finite(values))
            self._add_numbers(values.to_numpy())
            if self.counts is not None:
                self._count(pc.value_counts(values))
        self.present += len(values)
        self.missing += len(column) - len(values)

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

    def _count_texts(self, values: pa.Array) -> None:
        if self.counts is None:
            self.not_numbers += pc.sum(pc.invert(tables.match_numbers(values))).as_py() or 0
            return
        pairs = pc.value_counts(values)
        words = pc.invert(tables.match_numbers(pairs.field(0)))
        self.not_numbers += pc.sum(pairs.field(1).filter(words)).as_py() or 0
        self._count(pairs)
        if (pc.max(pc.binary_length(values)).as_py() or 0) > MAX_BYTES:
            self.counts, self.uncounted = None, f"values of over {MAX_BYTES:,} bytes"

    def _count(self, pairs: pa.StructArray) -> None:
        for pair in pairs.tolist():
            self.counts[pair["values"]] += pair["counts"]
        if len(self.counts) > MAX_COUNTED:
            self.counts, self.uncounted = None, f"over {MAX_COUNTED:,} different values"

    @property
    def constant(self) -> bool:
        # Not by the spread: rounding gives 0.1, 0.1, 0.1 a mean beside 0.1.
        return not self.text and self.low == self.high

    @property
    def std(self) -> float:
        return 0.0 if self.constant else math.sqrt(self.spread / self.present)


def infer(
    rows: Rows, target: str, task: str | None, hints: Mapping[str, str], group: str = ""
) -> Schema:
    """Reads the training rows once (again, where columns turn out to hold texts).

    Raises:
        JobError: a fault in a file, or a target that nothing can be learned for.
    """
    names = [name for name in rows.sources[0].names if name]
    limits = {"number": 1.0, "category": -1.0, "ignore": -1.0}  # a kind that is given stays
    limits = {name: limits[hints[name]] if name in hints else WORDS for name in names}
    if task == "classification":
        limits[target] = 0  # each word is a class
    text = {name for name, limit in limits.items() if limit < 0}
    profiles = _scan(rows, [name for name in names if name != group], target, limits, text)
    columns = []
    for name in names:
        if name == group:
            columns.append(Column(name, "ignore", "the group of a row (--group), no feature"))
        elif name != target:
            columns.append(_column(profiles[name], hints.get(name), rows))
    name_inputs(columns)
    if all(column.kind == "ignore" for column in columns):
        reasons = tables.listed([f"{c.name}: {c.why}" for c in columns])
        raise JobError(f"no column is left to learn from ({reasons}); settle kinds with --schema")
    return _with_target(Schema(target, task or "", columns), profiles[target], rows)


def _scan(rows, names, target, limits, text) -> dict[str, _Profile]:
    settled: set[str] = set()  # columns that a whole pass showed to be numbers
    while True:
        profiles = {n: _Profile(n, n in text, n == target, limits[n]) for n in names}
        wrong = _read(rows, profiles, settled)
        if not wrong:
            wrong = {name for name, p in profiles.items() if p.text and p.numeric}
            settled |= wrong
        if not wrong:
            return profiles
        text ^= wrong


def _read(rows, profiles, settled) -> set[str]:
    """Fills the profiles; ends early with the columns, if any, that seem to be texts."""
    types = {name: pa.string() if p.text else pa.float64() for name, p in profiles.items()}
    for _, batch, words in rows.read(types):
        texts = set()  # all of a batch at once: to start again costs, above all from a bucket
        for name, profile in profiles.items():
            profile.add(batch.column(name), words[name])
            if not profile.text and profile.values and not profile.numeric:
                texts.add(name)
        if texts - settled:
            return texts - settled
    return set()


def _column(profile: _Profile, hint: str | None, rows: Rows) -> Column:
    kind, why = _kind(profile)
    if hint:
        kind, why = hint, "given with --schema"
    if profile.words:
        why += f"; words, which count as missing: {tables.counted(profile.words)}"
    column = Column(profile.name, kind, why, profile.missing)
    if kind == "number":
        if profile.words and not profile.present:
            remedy = "make it a category, or ignore it, with --schema"
            raise tables.not_a_number(rows.sources, profile.name, MISSING, remedy)
        if profile.present and not math.isfinite(profile.std):
            raise JobError(
                f"column {profile.name!r}: {_kind_of_numbers(profile)[1]}; divide the whole column by a "
                "power of ten, or ignore it with --schema"
            )
        column.words = dict(sorted(profile.words.items()))
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


def _kind(profile: _Profile) -> tuple[str, str]:
    if not profile.present:
        return "ignore", "no row has a value"
    if not profile.text:
        return _kind_of_numbers(profile)
    numbers = profile.values - profile.not_numbers
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


def _kind_of_numbers(profile: _Profile) -> tuple[str, str]:
    if profile.constant:
        return "ignore", f"always {profile.low:g}"
    if not math.isfinite(profile.std):
        return "ignore", f"numbers up to {profile.high:g}: too large to compute with"
    if not profile.std:
        return "ignore", f"numbers close to {profile.low:g}: too close to compute with"
    words = profile.words.total()
    if words:
        return "number", f"all but {words} of {profile.values} values are numbers"
    return "number", "every value is a number"


def _resembles(texts: Iterable[str]) -> str:
    """What texts that nearly all differ look like, with what to do where something can be done."""
    sample = list(itertools.islice(texts, 200))
    numbers = sum(bool(re.fullmatch(r"\W{0,3}\d[\d.,' ]*\D{0,3}", text)) for text in sample)
    if numbers > 0.9 * len(sample):
        return f"looks like numbers with a comma or a unit: write 10.4 ({sample[0]!r})"
    return "text that differs from row to row: an id?"


def _with_target(schema: Schema, profile: _Profile, rows: Rows) -> Schema:
    """Settles the task, and the classes or the scale."""
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
            raise tables.not_a_number(rows.sources, name, MISSING, remedy)
    if schema.task == "regression":
        if profile.text:
            remedy = "choose another --target"
            if classes:
                remedy += ", or take the values for classes with --task classification"
            raise tables.not_a_number(rows.sources, name, MISSING, remedy)
        if profile.constant:
            raise JobError(f"target {name!r} is always {profile.low:g}: nothing to learn")
        if max(abs(profile.low), abs(profile.high)) > LARGEST:
            raise tables.too_large(rows.sources, name, lambda value: abs(value) <= LARGEST)
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
        where = " in the training rows; choose another --group" if rows.group else ""
        missing = (
            f"; {profile.missing} rows have none ({MISSING_IN_WORDS})" if profile.missing else ""
        )
        raise JobError(f"target {name!r} has one class, {only}{where}: nothing to learn{missing}")
    values = profile.uncounted if counts is None else f"{len(counts)} classes"
    numbers = profile.values - profile.not_numbers
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
