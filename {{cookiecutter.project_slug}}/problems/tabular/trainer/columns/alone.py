"""How much each column alone says about the target, whatever the others say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from codec.schema import Schema

CELLS = 1 << 20  # of a table that are read; of more rows, runs that are evenly spaced
RUN = 1 << 9  # rows
FEWEST = 1 << 11  # rows that are read of wide tables
BINS = 256  # of a number's values, as many rows in each
SORTED = 1 << 14  # rows that settle the bins
MAX_COUNTS = 1 << 22  # in memory, for a value and a class each; a column with more is left out


@dataclass(frozen=True)
class Alone:
    """What one column alone says of held-out rows: each gets the usual target of its value.

    Attributes:
        kind: number, category or date, of which the trend counts.
        wrong: rows whose class it gets wrong; of a regression the sum of squared errors.
        usual: the same where each row gets the most frequent class, or the mean, of training.
        rows: how many there are.
    """

    kind: str
    wrong: float
    usual: float
    rows: int

    @property
    def skill(self) -> float:
        """The share of the errors that the column saves: at most 1; 0 if it says nothing."""
        return 1 - self.wrong / self.usual if self.usual else 0.0


def measure_alone(schema: Schema, train, held_out) -> dict[str, Alone]:
    """What each column says alone, by its name; of a number, what its bin among BINS says.

    Args:
        train, held_out: `data.Table`.
    """
    known, new = read_sample(train), read_sample(held_out)
    targets, new_targets = (arrays["target"].reshape(-1) for arrays in (known, new))
    measure = _measure_classes if schema.labels else _measure_means
    return {
        name: Alone(kind, *measure(schema, values, targets, new_values, new_targets, count))
        for name, kind, values, new_values, count in _number_values(schema, known, new)
        if count * max(1, len(schema.labels)) <= MAX_COUNTS
    }


def read_sample(table) -> dict[str, np.ndarray]:
    """The arrays of a table, or of as many of its rows as make CELLS."""
    arrays = table.arrays()
    width = sum(array[:1].size for array in arrays.values())
    rows = min(table.rows, max(CELLS // max(width, 1), FEWEST))
    if rows == table.rows:
        return {name: np.asarray(array) for name, array in arrays.items()}
    starts = np.linspace(0, table.rows - RUN, rows // RUN).astype(int)
    return {
        name: np.concatenate([array[start : start + RUN] for start in starts])
        for name, array in arrays.items()
    }


def _number_values(schema: Schema, known: dict, new: dict) -> Iterator[tuple]:
    """Yields (column, kind, values of known rows, of new rows, how many values): values from 0."""
    places = schema.places
    for i, column in enumerate(schema.measured):
        values, new_values = known["numbers"][:, i], new["numbers"][:, i]
        sample = values[:: -(-len(values) // SORTED)]
        edges = np.unique(sample)
        if len(edges) > BINS:
            edges = np.unique(np.quantile(sample, np.linspace(0, 1, BINS), method="inverted_cdf"))
        pair = [np.searchsorted(edges, array, "right") for array in (values, new_values)]
        if column.missing:
            for bins, arrays in zip(pair, (known, new), strict=True):
                bins[arrays["numbers"][:, places[column.name]["numbers"][-1]] > 0] = len(edges) + 1
        yield column.name, column.kind, *pair, len(edges) + 2
    for i, (column, offset) in enumerate(zip(schema.categories, schema.offsets, strict=True)):
        pair = [arrays["categories"][:, i] - offset for arrays in (known, new)]
        yield column.name, "category", *pair, len(column.categories) + 1


def _measure_classes(schema, values, targets, new_values, new_targets, count) -> tuple:
    classes = len(schema.labels)
    counts = np.bincount(values * classes + targets, minlength=count * classes)
    counts = counts.reshape(count, classes)
    usual = counts.sum(axis=0).argmax()
    guesses = np.where(counts.any(axis=1), counts.argmax(axis=1), usual)[new_values]
    wrong = (guesses != new_targets).sum(), (usual != new_targets).sum()
    return *map(int, wrong), len(new_targets)


def _measure_means(schema, values, targets, new_values, new_targets, count) -> tuple:
    targets, new_targets = (array - np.float64(schema.mean) for array in (targets, new_targets))
    counts = np.bincount(values, minlength=count)
    sums = np.bincount(values, targets, minlength=count)
    usual = targets.mean()
    guesses = np.where(counts, sums / np.maximum(counts, 1), usual)[new_values]
    wrong = ((guesses - new_targets) ** 2).sum(), ((usual - new_targets) ** 2).sum()
    return *map(float, wrong), len(new_targets)
