"""One pass over the training files: which column is a number, a category, or nothing to learn from.

Memory stays flat: a column keeps running sums, and counts of its values up to a limit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer import tables
from trainer.runtime import JobError
from trainer.schema import MISSING, Column, Schema, name_inputs

MAX_COUNTED = 100_000  # distinct values; a column with more is an id or a free text
MAX_CATEGORIES = 10_000  # the most frequent are kept, the rest count as unseen
MAX_CLASSES = 1_000
MAX_NUMERIC_CLASSES = 20  # a target of at most this many whole numbers is taken for classes


class _Text(Exception):
    """A column that looked like numbers holds a text: the pass must start again."""


class _Profile:
    """What has been seen of one column so far."""

    def __init__(self, name: str, text: bool, counted: bool):
        self.name, self.text = name, text
        self.missing = self.present = 0
        self.mean = self.spread = 0.0  # spread: sum of squared distances to the mean
        self.counts: Counter | None = Counter() if text or counted else None

    def add(self, values: pa.Array) -> None:
        self.missing += values.null_count
        values = pc.utf8_trim_whitespace(pc.drop_null(values))
        if not self.text:
            try:
                values = pc.cast(values, pa.float64())
            except pa.ArrowInvalid:
                raise _Text(self.name) from None
            self._add_numbers(values.to_numpy())
        else:
            self.present += len(values)
        if self.counts is not None:
            for pair in pc.value_counts(values).tolist():
                self.counts[pair["values"]] += pair["counts"]
            if len(self.counts) > MAX_COUNTED:
                self.counts = None

    def _add_numbers(self, numbers: np.ndarray) -> None:
        finite = numbers[np.isfinite(numbers)]
        self.missing += len(numbers) - len(finite)
        if not len(finite):
            return
        # Chan's parallel update: exact for any block size, no catastrophic cancellation.
        with np.errstate(over="ignore", invalid="ignore"):
            mean, spread = finite.mean(), finite.var() * len(finite)
            total = self.present + len(finite)
            delta = mean - self.mean
            self.mean += delta * len(finite) / total
            self.spread += spread + delta**2 * self.present * len(finite) / total
        self.present = total

    @property
    def std(self) -> float:
        std = math.sqrt(self.spread / self.present) if self.present else 0.0
        return std if math.isfinite(std) else 1.0


def infer(
    sources: Sequence[tables.Source], target: str, task: str | None, hints: Mapping[str, str]
) -> Schema:
    """Reads all training rows once (again, for each column that turns to text half-way).

    Raises:
        JobError: a fault in a file, or a target that nothing can be learned for.
    """
    names = sources[0].names
    text = {name for name, kind in hints.items() if kind == "category"}
    while True:
        try:
            profiles = _scan(sources, names, target, text)
            break
        except _Text as found:
            name = str(found)
            if hints.get(name) == "number" or (name == target and task == "regression"):
                raise _not_a_number(sources, name) from None
            text.add(name)
    columns = [_column(p, hints.get(name)) for name, p in profiles.items() if name != target]
    name_inputs(columns)
    if all(column.kind == "ignore" for column in columns):
        reasons = "; ".join(f"{c.name}: {c.why}" for c in columns)
        raise JobError(f"no column is left to learn from ({reasons}); settle kinds with --schema")
    return _with_target(Schema(target, task or "", columns), profiles[target])


def _scan(sources, names, target, text) -> dict[str, _Profile]:
    profiles = {
        name: _Profile(name, text=name in text, counted=name == target) for name in names if name
    }
    types = dict.fromkeys(profiles, pa.string())
    for source in sources:
        for batch in tables.batches(source, types, MISSING):
            for name, profile in profiles.items():
                profile.add(batch.column(name))
    return profiles


def _not_a_number(sources, name) -> JobError:
    for source in sources:
        line = tables.find(source, name, lambda v: v not in MISSING and not tables.is_number(v))
        if line:
            return JobError(
                f"{source.path}:{line}: column {name!r} must be a number, but is a text"
            )
    return JobError(f"column {name!r} must be a number, but holds text")


def _column(profile: _Profile, hint: str | None) -> Column:
    kind, why = _kind(profile)
    if hint:
        kind, why = hint, "given with --schema"
    column = Column(profile.name, kind, why, profile.missing)
    if kind == "number":
        column.mean, column.std = float(profile.mean), float(profile.std) or 1.0
    elif kind == "category":
        if profile.counts is None:
            raise JobError(f"column {profile.name!r}: over {MAX_COUNTED} values; not a category")
        ranked = sorted(profile.counts.items(), key=lambda item: (-item[1], item[0]))
        column.categories = [value for value, _ in ranked[:MAX_CATEGORIES]]
    return column


def _kind(profile: _Profile) -> tuple[str, str]:
    if not profile.present:
        return "ignore", "no row has a value"
    if not profile.text:
        if profile.std == 0:
            return "ignore", f"always {profile.mean:g}"
        return "number", "every value is a number"
    if profile.counts is None:
        return "ignore", f"text with over {MAX_COUNTED} different values"
    distinct = len(profile.counts)
    if distinct == 1 and not profile.missing:
        return "ignore", f"always {next(iter(profile.counts))!r}"
    if distinct > 20 and distinct > profile.present / 2:
        return "ignore", f"text, and {distinct} of {profile.present} rows differ: an id?"
    return "category", f"text with {distinct} different values"


def _with_target(schema: Schema, profile: _Profile) -> Schema:
    """Settles the task, and the classes or the scale."""
    name, counts = profile.name, profile.counts
    if not profile.present:
        raise JobError(f"target {name!r}: no row has a value; choose another --target")
    if not schema.task:
        few = not profile.text and counts is not None and len(counts) <= MAX_NUMERIC_CLASSES
        classes = few and all(float(value).is_integer() for value in counts if math.isfinite(value))
        schema.task = "classification" if profile.text or classes else "regression"
    if schema.task == "regression":
        if profile.std == 0:
            raise JobError(f"target {name!r} is always {profile.mean:g}: nothing to learn")
        schema.mean, schema.std = float(profile.mean), float(profile.std)
        return schema
    limit = min(MAX_CLASSES, max(2, profile.present // 2))
    if counts is None or len(counts) > limit:
        raise JobError(
            f"target {name!r} has {len(counts or ()) or f'over {MAX_COUNTED}'} classes in "
            f"{profile.present} rows (at most {limit}); an id? Else try --task regression"
        )
    values = sorted(value for value in counts if profile.text or math.isfinite(value))
    if len(values) < 2:
        raise JobError(f"target {name!r} has one class, {label(values[0])!r}: nothing to learn")
    schema.labels = [label(value) for value in values]
    return schema


def label(value: str | float) -> str:
    """A class by its name: 1.0 and 1 are the same class, "1"."""
    if isinstance(value, str):
        return value
    return str(int(value)) if value.is_integer() else repr(value)
