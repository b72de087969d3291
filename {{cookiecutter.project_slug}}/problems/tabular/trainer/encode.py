"""Rows of text and numbers in, arrays on disk out: what the model's inputs are made of."""

from __future__ import annotations

import contextlib
import os

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer import infer, tables
from trainer.runtime import JobError
from trainer.schema import FARTHEST, Schema


def layout(schema: Schema) -> dict[str, tuple[type, int | None]]:
    """Arrays of a table: dtype and columns (None: a vector)."""
    return {
        "numbers": (np.float32, schema.width),
        "categories": (np.int32, len(schema.categories)),
        "target": (np.int32, None) if schema.task == "classification" else (np.float32, 1),
    }


def encode(schema: Schema, sources, path: str, part: bool | None) -> tuple[int, int]:
    """Writes one table; returns its rows, and the rows dropped for want of a target.

    Args:
        part: True for the held-out fifth of the rows, False for the others, None for all.
    """
    os.makedirs(path)
    encoder = Encoder(schema)
    seen = rows = dropped = 0
    with contextlib.ExitStack() as stack:
        out = {
            name: stack.enter_context(open(os.path.join(path, name), "wb"))
            for name in layout(schema)
        }
        for source in sources:
            for batch in tables.batches(source, encoder.types, schema.missing):
                keep = np.ones(len(batch), bool) if part is None else _held_out(seen, batch) == part
                seen += len(batch)
                has_target = encoder.has_target(batch, source)
                dropped += int((keep & ~has_target).sum())
                batch = batch.filter(pa.array(keep & has_target))
                rows += len(batch)
                for name, array in encoder(batch).items():
                    array.tofile(out[name])
    return rows, dropped


def _held_out(seen: int, batch) -> np.ndarray:
    """bool [rows]: one row of five, by a fixed hash of its number: the same rows in every run."""
    with np.errstate(over="ignore"):
        number = np.arange(seen, seen + len(batch), dtype=np.uint64)
        number = (number + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        number = (number ^ (number >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return (number >> np.uint64(40)) % np.uint64(5) == 0


class Encoder:
    """Record batches of text and numbers in, arrays out. `inputs.Inputs` does it in a graph.

    Arithmetic is in float64 up to the last step in both, so that training and serving agree to the
    last bit, and a column of large numbers (years, ids, timestamps) keeps its small differences.
    """

    def __init__(self, schema: Schema):
        self.schema = schema
        self.classes = None
        numeric = schema.task == "regression"
        if schema.labels:
            numeric = all(tables.is_number(label) for label in schema.labels)
            values = [float(label) for label in schema.labels] if numeric else schema.labels
            self.classes = pa.array(values)
        self.types = {
            c.name: pa.float64() if c.kind == "number" else pa.string() for c in schema.features
        }
        self.types[schema.target] = pa.float64() if numeric else pa.string()
        self.vocabularies = [pa.array(c.categories, pa.string()) for c in schema.categories]

    def __call__(self, batch: pa.RecordBatch) -> dict[str, np.ndarray]:
        schema = self.schema
        numbers = np.zeros((len(batch), schema.width), np.float32)
        indicator = len(schema.numbers)
        for i, column in enumerate(schema.numbers):
            values = batch.column(column.name).to_numpy(zero_copy_only=False)
            present = np.isfinite(values)
            with np.errstate(over="ignore", invalid="ignore"):
                scaled = np.clip((values - column.mean) / column.std, -FARTHEST, FARTHEST)
            numbers[:, i] = np.where(present, scaled, 0)
            if column.missing:
                numbers[:, indicator] = ~present
                indicator += 1
        categories = np.zeros((len(batch), len(schema.categories)), np.int32)
        for i, (column, offset) in enumerate(zip(schema.categories, schema.offsets, strict=True)):
            place = pc.index_in(batch.column(column.name), self.vocabularies[i])
            place = pc.fill_null(place, -1)
            categories[:, i] = place.to_numpy(zero_copy_only=False) + 1 + offset
        target = batch.column(schema.target)
        if self.classes is not None:
            target = pc.index_in(target, self.classes).to_numpy(zero_copy_only=False)
        else:
            target = target.to_numpy(zero_copy_only=False)[:, np.newaxis]
        return {
            "numbers": numbers,
            "categories": categories,
            "target": target.astype(layout(schema)["target"][0]),
        }

    def has_target(self, batch, source: tables.Source) -> np.ndarray:
        """bool [rows]: the target is there.

        Raises:
            JobError: a class that the training data does not have.
        """
        values = batch.column(self.schema.target)
        present = pc.is_valid(values)
        if pa.types.is_floating(values.type):
            present = pc.and_(present, pc.fill_null(pc.is_finite(values), False))
        if self.classes is not None:
            unknown = pc.and_(present, pc.invert(pc.is_in(values, self.classes)))
            if pc.any(unknown).as_py():
                value = values.filter(unknown)[0].as_py()
                self._refuse(source, infer.label(value))
        return present.to_numpy(zero_copy_only=False)

    def _refuse(self, source, unknown: str) -> None:
        def same(text: str) -> bool:
            return text == unknown or (
                tables.is_number(text) and infer.label(float(text)) == unknown
            )

        line, _ = tables.find(source, self.schema.target, same)
        raise JobError(
            f"{source.path}:{line}: target {self.schema.target!r} is {tables.shown(unknown)}, "
            f"which no training row has; the classes are: {tables.listed(self.schema.labels)}"
        )
