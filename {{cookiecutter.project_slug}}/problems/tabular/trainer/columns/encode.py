"""Rows of text and numbers in, arrays on disk out: what the model's inputs are made of."""

from __future__ import annotations

import contextlib
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codec.encoder import Encoder
from codec.schema import Schema
from codec.values import is_number
from trainer.columns import infer, tables
from trainer.columns.rows import Rows
from trainer.engine.runtime import JobError


def layout(schema: Schema) -> dict[str, tuple[type, int | None]]:
    """Arrays of a table: dtype and columns (None: a vector)."""
    return {
        "numbers": (np.float32, schema.width),
        "categories": (np.int32, len(schema.categories)),
        "target": (np.int32, None) if schema.task == "classification" else (np.float32, 1),
    }


@dataclass
class Encoded:
    """What became of some rows."""

    rows: int = 0
    dropped: int = 0  # rows without a target
    words: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))  # by column
    unknown: Counter = field(default_factory=Counter)  # rows of classes that training lacks

    def describe(self, part: str, schema: Schema) -> list[str]:
        """What the log says of these rows; of training columns, the schema says it."""
        lines = []
        for name, words in self.words.items():
            if name == schema.target or part != "training":
                lines.append(
                    f"{part} {name!r}: words, which count as missing: {tables.counted(words)}"
                )
        if self.unknown:
            lines.append(
                f"{self.unknown.total()} {part} rows dropped: no training row has their class: "
                f"{tables.counted(self.unknown)}"
            )
        return lines


def encode(schema: Schema, rows: Rows, path: str) -> Encoded:
    """Writes one table.

    Raises:
        JobError: a target that no training row has, in files of their own; one that is too large.
    """
    os.makedirs(path)
    encoder = TableEncoder(schema)
    done = Encoded()
    with contextlib.ExitStack() as stack:
        out = {
            name: stack.enter_context(open(os.path.join(path, name), "wb"))
            for name in layout(schema)
        }
        for source, batch, words in rows.read(encoder.types):
            for name, counts in words.items():
                if counts:
                    done.words[name].update(counts)
            present, known = encoder.check_target(batch, source)
            if not known.all():
                if rows.held_out is None:
                    raise encoder.unknown_class(batch.filter(pa.array(~known)), source)
                unknown = pc.value_counts(batch.column(schema.target).filter(pa.array(~known)))
                for pair in unknown.tolist():
                    done.unknown[infer.label(pair["values"])] += pair["counts"]
            done.dropped += int((~present).sum())
            batch = batch.filter(pa.array(present & known))
            done.rows += len(batch)
            for name, array in encoder(batch).items():
                array.tofile(out[name])
    return done


def check_words(schema: Schema, rows: Rows, done: Encoded) -> None:
    """Refuses held-out files with many words, unknown to training, in a column of numbers.

    Raises:
        JobError: of the values over 5 % are such words, or a single class.
    """
    known = {column.name: column.words for column in schema.numbers}
    for name, words in done.words.items():
        known_words = known.get(name, {})
        new = sum(n for word, n in words.items() if word not in known_words)
        limit = 0 if name == schema.target and schema.labels else infer.WORDS
        if new > limit * (done.rows + done.dropped) and tables.OTHERS not in known_words:
            remedy = "fix it, or leave it empty where nothing is known"
            if name != schema.target:
                remedy += "; or make the column a category with --schema"
            allowed = {*schema.missing, *known_words}
            raise tables.not_a_number(rows.sources, name, allowed, remedy)


class TableEncoder:
    """Record batches of text and numbers in, arrays of features and target out."""

    def __init__(self, schema: Schema):
        self.schema = schema
        self.classes = None
        numeric = schema.task == "regression"
        if schema.labels:
            numeric = all(is_number(label) for label in schema.labels)
            values = [float(label) for label in schema.labels] if numeric else schema.labels
            self.classes = pa.array(values)
        self.features = Encoder(schema)
        self.types = self.features.types | {schema.target: pa.float64() if numeric else pa.string()}

    def __call__(self, batch: pa.RecordBatch) -> dict[str, np.ndarray]:
        target = batch.column(self.schema.target)
        if self.classes is not None:
            target = pc.index_in(target, self.classes).to_numpy(zero_copy_only=False)
        else:
            target = target.to_numpy(zero_copy_only=False)[:, np.newaxis]
        target = target.astype(layout(self.schema)["target"][0])
        return self.features.encode(batch) | {"target": target}

    def check_target(
        self, batch: pa.RecordBatch, source: tables.Source
    ) -> tuple[np.ndarray, np.ndarray]:
        """bool [rows], twice: the target is there, and it is none that no training row has.

        Raises:
            JobError: a value that the model cannot compute with.
        """
        values = batch.column(self.schema.target)
        present = pc.is_valid(values)
        if pa.types.is_floating(values.type):
            present = pc.and_(present, pc.fill_null(pc.is_finite(values), False))
        known = np.ones(len(values), bool)
        present = present.to_numpy(zero_copy_only=False)
        if self.classes is not None:
            is_class = pc.is_in(values, self.classes).to_numpy(zero_copy_only=False)
            known = is_class | ~present
        else:
            numbers = values.to_numpy(zero_copy_only=False)[present]
            if not self.schema.can_compute(numbers).all():
                raise tables.too_large([source], self.schema.target, self.schema.can_compute)
        return present, known

    def unknown_class(self, batch: pa.RecordBatch, source: tables.Source) -> JobError:
        """Names the line of a class that no training row has."""
        unknown = infer.label(batch.column(self.schema.target)[0].as_py())

        def same(text: str) -> bool:
            return text == unknown or (is_number(text) and infer.label(float(text)) == unknown)

        line, _ = tables.find(source, self.schema.target, same)
        classes = tables.listed([tables.shown(name) for name in self.schema.labels])
        return JobError(
            f"{source.path}:{line}: target {self.schema.target!r} is {tables.shown(unknown)}, "
            f"which no training row has; the classes are: {classes}"
        )
