"""Rows of a table to the arrays that a model takes: the one encoder, for training and predictions.

`trainer/inputs.py` repeats it in a graph, for clients that send raw values to an exported model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
        self.types = {
            c.name: pa.string() if c.kind == "category" else pa.float64() for c in schema.features
        }
        self._vocabularies = [pa.array(c.categories, pa.string()) for c in schema.categories]

    def encode_rows(self, rows: Sequence[Mapping[str, float | str | None]]) -> dict:
        """`encode` of some rows, a float, a text or None for each feature by its name."""
        columns = {}
        for column in self.schema.features:
            values = [row[column.name] for row in rows]
            if column.kind == "date":
                columns[column.name] = dates.parse(pa.array(values, pa.string()), column.form)
            else:
                columns[column.name] = pa.array(values, self.types[column.name])
        return self.encode(pa.record_batch(columns))

    def encode(self, batch: pa.RecordBatch) -> dict[str, np.ndarray]:
        """Inputs of the model from columns of `types`, null where a value is missing; dates as days.

        Returns:
            numbers float32 [rows, schema.width]: cut off at each column's low and high,
                standardised, 0 where a value is missing, then the waves of dates, then an indicator
                for each column that lacked values in training;
            categories int32 [rows, columns]: places in the vocabulary that all columns share.
        """
        schema = self.schema
        numbers = np.zeros((len(batch), schema.width), np.float32)
        places = schema.places
        for column in schema.measured:
            values = batch.column(column.name).to_numpy(zero_copy_only=False)
            present = are_present(values, column.codes)
            scaled = (np.clip(values, column.low, column.high) - column.mean) / column.std
            waves = (np.sin(dates.find_angle(values, *wave)) for wave in column.waves)
            parts = [np.where(present, part, 0) for part in (scaled, *waves)]
            parts += [~present] if column.missing else []
            for i, part in zip(places[column.name]["numbers"], parts, strict=True):
                numbers[:, i] = part
        categories = np.zeros((len(batch), len(schema.categories)), np.int32)
        for i, (column, offset) in enumerate(zip(schema.categories, schema.offsets, strict=True)):
            texts, vocabulary = batch.column(column.name), self._vocabularies[i]
            if isinstance(texts, pa.DictionaryArray):  # looked up once for each different text
                index = pc.index_in(texts.dictionary, vocabulary).take(texts.indices)
            else:
                index = pc.index_in(texts, vocabulary)
            index = pc.fill_null(index, -1)
            categories[:, i] = index.to_numpy(zero_copy_only=False) + 1 + offset
        return {"numbers": numbers, "categories": categories}
