"""What an exported model of tables takes: raw named features, just as a client sends them."""

from __future__ import annotations

import math

import tensorflow as tf

from codec import dates
from codec.schema import Column, Schema


class Inputs(tf.Module):
    """Raw columns to model inputs, in the graph: `codec.encoder.Encoder` for what a client sends.

    Takes {input: float64 [batch] or string [batch]}; NaN, texts in `schema.missing`, and texts that are
    no dates in a column of these, are missing values. Gives what `model.build` takes. The arithmetic
    is the encoder's, to the last bit.
    """

    def __init__(self, schema: Schema):
        super().__init__()
        self.schema = schema
        self.places = []  # a table for each category column: text to place in the vocabulary
        for column, offset in zip(schema.categories, schema.offsets, strict=True):
            texts = column.categories or [" "]  # a table may not be empty; no stripped text is " "
            places = tf.range(offset + 1, offset + 1 + len(texts))
            pairs = tf.lookup.KeyValueTensorInitializer(tf.constant(texts), places)
            self.places.append(tf.lookup.StaticHashTable(pairs, default_value=offset))
        pairs = tf.lookup.KeyValueTensorInitializer(
            dates.WORDS, tf.range(1.0, len(dates.WORDS) + 1, dtype=tf.float64)
        )
        self.words = tf.lookup.StaticHashTable(pairs, default_value=0.0)

    def signatures(self, _encoded: dict[str, tf.TensorSpec]) -> dict:
        """{name: (what prepares its inputs for the model, what they are)}, beside `encoded`.

        serving_default: a vector [batch] for each feature.
        """
        raw = {
            c.input: tf.TensorSpec([None], tf.float64 if c.kind == "number" else tf.string, c.input)
            for c in self.schema.features
        }
        return {"serving_default": (self, raw)}

    def __call__(self, raw):
        schema, rows = self.schema, tf.shape(raw[self.schema.features[0].input])[0]
        # All number columns at once: operations for each would make a graph of thousands.
        numbers = [raw[c.input] for c in schema.numbers]
        days = [self._count_days(column, raw[column.input]) for column in schema.dates]
        values = _columns(numbers + days, rows, tf.float64)
        mean, std, low, high = (
            tf.constant([getattr(c, name) for c in schema.measured], tf.float64)
            for name in ("mean", "std", "low", "high")
        )
        present = tf.math.is_finite(values)
        for i in range(max((len(c.codes) for c in schema.measured), default=0)):
            codes = [c.codes[i] if i < len(c.codes) else math.nan for c in schema.measured]
            present &= values != tf.constant(codes, tf.float64)  # NaN differs from all values
        scaled = (tf.clip_by_value(values, low, high) - mean) / std
        numbers = tf.cast(tf.where(present, scaled, tf.zeros_like(scaled)), tf.float32)
        waves = [
            tf.where(tf.math.is_finite(known), tf.sin(dates.find_angle(known, *wave)), 0.0)
            for column, known in zip(schema.dates, days, strict=True)
            for wave in column.waves
        ]
        waves = tf.cast(_columns(waves, rows, tf.float64), tf.float32)
        indicated = [i for i, c in enumerate(schema.measured) if c.missing]
        missing = tf.gather(tf.cast(~present, tf.float32), tf.constant(indicated, tf.int32), axis=1)
        categories = [
            places.lookup(tf.strings.strip(raw[column.input]))
            for column, places in zip(schema.categories, self.places, strict=True)
        ]
        return {
            "numbers": tf.concat([numbers, waves, missing], axis=1),
            "categories": _columns(categories, rows, tf.int32),
        }

    def _count_days(self, column: Column, texts):
        """`dates.parse` of texts, string [batch], in the graph: float64 [batch], NaN for no date."""
        pattern, fields = dates.FORMS[column.form], {}
        texts = tf.strings.strip(texts)
        are_dates = tf.strings.regex_full_match(texts, pattern)
        for number, name in enumerate(dates.list_fields(column.form), 1):
            text = tf.strings.lower(tf.strings.regex_replace(texts, pattern, rf"\{number}"))
            if name in dates.NAMED:
                fields[name] = self.words.lookup(text)
            else:
                text = tf.where(are_dates & (text != ""), text, dates.get_default(name))
                fields[name] = tf.strings.to_number(text, tf.float64)
        return tf.where(are_dates, dates.count_days(fields, tf.where), math.nan)


def _columns(vectors, rows, dtype):
    return tf.stack(vectors, axis=1) if vectors else tf.zeros((rows, 0), dtype)
