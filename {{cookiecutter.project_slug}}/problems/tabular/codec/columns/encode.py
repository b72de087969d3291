"""Rows of text and numbers in, arrays on disk out: what the model's inputs are made of."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codec.columns import blocks, rows, tables
from codec.columns.rows import Part
from codec.columns.target import label
from codec.encoder import Encoder, are_present
from codec.errors import JobError
from codec.schema import Column, Schema
from codec.values import is_number


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
    words: dict[str, Counter] = field(default_factory=dict)  # by column
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


def encode_parts(
    schema: Schema, train: Part, held_out: Part, own_files: bool, folder: str
) -> dict[str, tuple[int, int]]:
    """Write both tables below a folder; the schema gets notes of what became of their rows.

    Args:
        own_files: the held-out rows are in files of their own.

    Returns:
        {"train": (rows, dropped rows), "eval": …}.

    Raises:
        JobError: a table without rows; what `encode` and `check_words` refuse.
    """
    counts = {}
    for name, part in {"train": train, "eval": held_out}.items():
        own = part is held_out and own_files
        done = encode(schema, part, own, os.path.join(folder, name))
        if own:
            check_words(schema, part, done)
        if not done.rows:
            why = "every target is missing" if own_files else "give --eval-files"
            if done.unknown:
                why = "no training row has their classes; give another --group, or --eval-files"
            raise JobError(f"{part.sources[0].path}: no row is left for {name}; {why}")
        counts[name] = done.rows, done.dropped
        schema.notes += done.describe("training" if part is train else "held-out", schema)
    return counts


def encode(schema: Schema, part: Part, own_files: bool, path: str) -> Encoded:
    """Write one table.

    Args:
        own_files: the rows are held out, in files of their own, which are yet to be read.

    Raises:
        JobError: a target that no training row has, in files of their own; one that is too large.
    """
    os.makedirs(path)
    encoder = TableEncoder(schema)
    if own_files:
        for _ in rows.parse([part], encoder.types, rows.Split()):
            pass
    done = Encoded(words={name: part.words[name] for name in encoder.types if part.words[name]})

    def encode_block(columns: dict[str, pa.Array]) -> tuple:
        target = columns[schema.target]
        if schema.task == "regression":
            numbers = target.to_numpy(zero_copy_only=False)
            if not schema.can_compute(numbers[are_present(numbers, schema.codes)]).all():
                raise tables.too_large(part.sources, schema.target, schema.can_compute)
        arrays, present, known = encoder(columns)
        unknown = target.filter(pa.array(present & ~known)).to_pylist()
        if unknown and own_files:
            raise _unknown_class(schema, part.sources, label(unknown[0]))
        if not known.all():
            arrays = {name: array[known] for name, array in arrays.items()}
        return arrays, int((~present).sum()), map(label, unknown)

    with contextlib.ExitStack() as stack:
        out = {
            name: stack.enter_context(open(os.path.join(path, name), "wb"))
            for name in layout(schema)
        }
        for arrays, dropped, unknown in blocks.map_in_order(encode_block, part.read()):
            done.rows += len(arrays["target"])
            done.dropped += dropped
            done.unknown.update(unknown)
            for name, array in arrays.items():
                array.tofile(out[name])
    return done


def check_words(schema: Schema, part: Part, done: Encoded) -> None:
    """Refuse held-out files with many words, unknown to training, in a column of numbers or dates.

    Raises:
        JobError: of the values over 5 % are such words, or a single class.
    """
    measured = {column.name: column for column in schema.measured}
    for name, words in done.words.items():
        column = measured.get(name, Column(name, "number"))
        known_words = column.words
        new = sum(n for word, n in words.items() if word not in known_words)
        limit = 0 if name == schema.target and schema.labels else rows.WORDS
        if new > limit * (done.rows + done.dropped) and tables.OTHERS not in known_words:
            remedy = "fix it, or leave it empty where nothing is known"
            if name != schema.target:
                remedy += "; or make the column a category with --schema"
            allowed = {*schema.missing, *known_words}
            raise tables.not_a_number(part.sources, name, allowed, remedy, column.form)


def _unknown_class(schema: Schema, sources: Sequence[tables.Source], unknown: str) -> JobError:
    """Name the line of a class that no training row has."""

    def same(text: str) -> bool:
        return text == unknown or (is_number(text) and label(float(text)) == unknown)

    where, _ = tables.find(sources, schema.target, same)
    classes = tables.listed([tables.shown(name) for name in schema.labels])
    return JobError(
        f"{where}: target {schema.target!r} is {tables.shown(unknown)}, "
        f"which no training row has; the classes are: {classes}"
    )


class TableEncoder:
    """Columns of texts and numbers in, arrays of features and target out."""

    def __init__(self, schema: Schema):
        self.schema = schema
        numeric = all(is_number(label) for label in schema.labels)  # or a regression
        self._classes = pa.array(list(map(float, schema.labels)) if numeric else schema.labels)
        self._features = Encoder(schema)
        self._vocabularies = [pa.array(c.categories, pa.string()) for c in schema.categories]
        self.types = {
            c.name: c.form or (blocks.NUMBERS if c.kind == "number" else blocks.TEXTS)
            for c in schema.features
        }
        self.types[schema.target] = blocks.NUMBERS if numeric else blocks.TEXTS

    def __call__(
        self, columns: Mapping[str, pa.Array]
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Arrays as `layout` says; bool [rows], twice: the target is there, and can be learned."""
        column = columns[self.schema.target]
        values = column.dictionary if column.type == blocks.TEXTS else column
        is_class = self.schema.task == "classification"
        places = pc.fill_null(pc.index_in(values, self._classes), -1) if is_class else values
        if column.type == blocks.TEXTS:
            present = pc.not_equal(values, "").take(column.indices).to_numpy(zero_copy_only=False)
            places = places.take(column.indices)
        else:
            numbers = column.to_numpy(zero_copy_only=False)
            present = are_present(numbers, self.schema.codes)
        target = places.to_numpy(zero_copy_only=False)
        known = (target >= 0) & present if is_class else present
        target = target.astype(np.int32) if is_class else target.astype(np.float32)[:, np.newaxis]
        values = [columns[c.name].to_numpy(zero_copy_only=False) for c in self.schema.measured]
        places = [
            _find_places(columns[c.name], vocabulary) + offset
            for c, vocabulary, offset in zip(
                self.schema.categories, self._vocabularies, self.schema.offsets, strict=True
            )
        ]
        arrays = self._features.join(values, places, len(target))
        return arrays | {"target": target}, present, known


def _find_places(texts: pa.DictionaryArray, vocabulary: pa.Array) -> np.ndarray:
    """int [rows]: the place of each text in a vocabulary, from 1; 0 where it is in none."""
    index = pc.fill_null(pc.index_in(texts.dictionary, vocabulary), -1)  # each text once
    return (index.to_numpy() + 1)[texts.indices.to_numpy()]
