"""Rows of a table to the arrays that a model takes: the one encoder, for training and predictions.

`trainer/inputs.py` repeats it in a graph, for clients that send raw values to an exported model.
Plain NumPy: the image that serves a model has no Arrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from codec import dates
from codec.schema import Schema


def are_present(values: np.ndarray, codes: Sequence[float]) -> np.ndarray:
    """bool [rows]: whether each of `values`, float64 [rows], is a number and no code for missing."""
    present = np.isfinite(values)
    return present & ~np.isin(values, codes) if codes else present


class Encoder:
    """Encode the features; the schema gives their columns.

    Arithmetic is in float64 up to the last step, as in the graph, so that training and serving agree
    to the last bit, and a column of large numbers (years, ids, timestamps) keeps its small
    differences.
    """

    def __init__(self, schema: Schema):
        self.schema = schema
        self._positions = [  # a dictionary for each category column: text to position in the vocabulary
            {text: position for position, text in enumerate(column.categories, offset + 1)}
            for column, offset in zip(schema.categories, schema.offsets, strict=True)
        ]

    def encode(self, columns: Mapping[str, Sequence]) -> dict[str, np.ndarray]:
        """Inputs of the model: see `join`.

        Args:
            columns: by name, the values of each feature: numbers, where None and NaN are missing, or
                texts without white space around them, where None and "" are missing.
        """
        numbers = [np.array(columns[c.name], np.float64) for c in self.schema.numbers]
        days = [dates.parse_texts(columns[c.name], c.form) for c in self.schema.dates]
        places = [
            [known.get(text, offset) for text in columns[column.name]]
            for column, known, offset in zip(
                self.schema.categories, self._positions, self.schema.offsets, strict=True
            )
        ]
        return self.join(numbers + days, places, len(next(iter(columns.values()))))

    def join(self, values: Sequence[np.ndarray], places: Sequence, rows: int) -> dict:
        """Inputs of the model.

        Args:
            values: of each column of `schema.measured` float64 [rows], dates as days; not finite where
                a value is missing.
            places: of each category column int [rows], in the vocabulary that all columns share.

        Returns:
            numbers float32 [rows, schema.width]: cut off at each column's low and high,
                standardised, 0 where a value is missing, then the waves of dates, then an indicator
                for each column that lacked values in training;
            categories int32 [rows, columns]: the places.
        """
        schema = self.schema
        numbers = np.zeros((rows, schema.width), np.float32)
        positions = schema.places
        for column, array in zip(schema.measured, values, strict=True):
            present = are_present(array, column.codes)
            scaled = (np.clip(array, column.low, column.high) - column.mean) / column.std
            waves = (np.sin(dates.find_angle(array, *wave)) for wave in column.waves)
            parts = [np.where(present, part, 0) for part in (scaled, *waves)]
            parts += [~present] if column.missing else []
            for i, part in zip(positions[column.name]["numbers"], parts, strict=True):
                numbers[:, i] = part
        categories = np.zeros((rows, len(schema.categories)), np.int32)
        for i, column_positions in enumerate(places):
            categories[:, i] = column_positions
        return {"numbers": numbers, "categories": categories}
