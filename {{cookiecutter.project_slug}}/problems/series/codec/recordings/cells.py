"""Values in the columns of files: numbers, dates and texts, and how messages show them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from codec.schema import MISSING

NUMBERS = pa.float64()  # null where it is lost
TEXTS = pa.dictionary(pa.int32(), pa.string())
# Become NUMBERS, seconds since 1970: dates as they are written, and with their zone.
DATES, ZONED = pa.timestamp("ns"), pa.timestamp("ns", "UTC")
_SWAP = str.maketrans(",.", ".,")
_NUMBER = re.compile(r"\s*[-+]?((\d+\.?\d*|\.\d+)(e[-+]?\d+)?|nan)\s*", re.ASCII | re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[-+]\d\d:?\d\d)?", re.ASCII)


def is_number(text: str, decimal: str) -> bool:
    """Whether a value is a number, with this decimal mark."""
    return bool(_NUMBER.fullmatch(text.translate(_SWAP) if decimal == "," else text))


def read_date(text: str) -> pa.DataType | None:
    """How a date is written: DATES, ZONED, or None where it is none."""
    match = _DATE.fullmatch(text)
    return match and (ZONED if match[3] else DATES)


def find_fault(text: str, kind: pa.DataType, decimal: str) -> str:
    """What is wrong with a cell of a column of numbers or dates; "" for nothing."""
    if text in MISSING or (
        is_number(text, decimal) if kind == NUMBERS else read_date(text) == kind
    ):
        return ""
    if kind == NUMBERS:
        return (
            f"expected a number, got {show(text)}; leave it empty where a sample is lost, or leave the "
            "column out with --channels"
        )
    how = "with its zone" if kind == ZONED else "without a zone"
    return f"expected a date {how}, as the first ones are, got {show(text)}"


def convert(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """A column as NUMBERS, or as TEXTS without blanks around them, of which each is there once.

    Raises:
        pa.ArrowInvalid: a value is no number, no date as `kind` says, or no text.
    """
    if kind != TEXTS:
        return _to_numbers(column, kind)
    if not pa.types.is_dictionary(column.type):
        column = pc.cast(column, pa.string()).dictionary_encode()
    texts = pa.concat_arrays([pc.cast(column.dictionary, pa.string()), pa.array([""])])
    values = pc.utf8_trim_whitespace(texts)
    values = pc.if_else(pc.is_in(values, pa.array(MISSING)), "", values).dictionary_encode()
    indices = pc.fill_null(pc.cast(column.indices, pa.int32()), len(texts) - 1)
    indices = values.indices.take(indices)
    return pa.DictionaryArray.from_arrays(indices, values.dictionary)


def _to_numbers(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):  # of Parquet
        column = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
        lost = pa.scalar(None, pa.string())
        column = pc.cast(pc.if_else(pc.is_in(column, pa.array(MISSING)), lost, column), kind)
    if kind == NUMBERS:  # integers of over 53 bits are rounded, as those of a CSV are
        return column if column.type == NUMBERS else pc.cast(column, NUMBERS, safe=False)
    if pa.types.is_timestamp(column.type) and bool(column.type.tz) != bool(kind.tz):
        raise pa.ArrowInvalid("dates with a zone and dates without one do not go together")
    dates = pc.cast(column, pa.timestamp("us", kind.tz), safe=False)
    return pc.divide(pc.cast(dates, pa.int64()).cast(NUMBERS), 1e6)


def shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def show(text: str, limit: int = 40) -> str:
    """A value as it stands in a message: in quotes, on one line, short."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def join_names(names: Sequence[str], limit: int = 20) -> str:
    """Names as they stand in a message."""
    more = f", … ({len(names)} in all)" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
