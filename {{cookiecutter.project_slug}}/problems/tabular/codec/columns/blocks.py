"""Columns of CSV files, block by block: pyarrow parses one while threads work on those before it."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codec import dates
from codec.columns import tables
from codec.schema import MISSING
from codec.values import NUMBER

NUMBERS = pa.float64()  # null for a missing value, and for a word
TEXTS = pa.dictionary(pa.int32(), pa.string())  # without white space around, "" if missing
Kind = pa.DataType | str  # NUMBERS, TEXTS, or one of dates.FORMS, whose dates are NUMBERS: days
_JOINED = 8  # MiB of a file in a block
_THREADS = min(pa.cpu_count(), 8)
_MISSING = pa.array(MISSING, pa.string())


def map_in_order(function: Callable, items: Iterable) -> Iterator:
    """`map` in threads, which are a few items ahead of what was taken, and no more."""
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > _THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@dataclass(frozen=True)
class Block:
    """Rows that follow each other in a file.

    Attributes:
        columns: of NUMBERS or TEXTS.
        rows: the number of each row over all files, uint64 [rows].
        ends: where each MiB of the file ends, in rows. Means are made of these: their last bit
            does not depend on how many MiB are in a block.
        words: texts in columns of NUMBERS, null elsewhere; of columns that have some. In a column of
            dates, all that are none.
    """

    columns: dict[str, pa.Array]
    rows: np.ndarray
    ends: np.ndarray
    words: dict[str, pa.Array]

    def __len__(self) -> int:
        return int(self.ends[-1])

    def choose(self, rows: np.ndarray) -> Block:
        """The rows where `rows`, bool [rows], is true."""
        mask = pa.array(rows)
        columns = {name: column.filter(mask) for name, column in self.columns.items()}
        words = {name: texts.filter(mask) for name, texts in self.words.items()}
        return Block(columns, self.rows[rows], count_true(rows, self.ends), words)


def count_true(rows: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """How many of `rows`, bool [rows], are true before each of `ends`."""
    return np.append(0, rows).cumsum()[ends]


def read_blocks(
    sources: Sequence[tables.Source],
    types: Mapping[str, Kind],
    work: Callable[[Block], object] = lambda block: block,
) -> Iterator:
    """Read columns as each Kind says, and yield what `work` makes of each block, in a thread.

    Raises:
        JobError: a row of another length, a quote that never ends, a text that is not UTF-8.
    """
    checked: set[tables.Source] = set()
    batches = _join_batches(sources, list(types))
    yield from map_in_order(lambda joined: work(_encode(types, checked, joined)), batches)


def read_first(
    sources: Sequence[tables.Source], names: Sequence[str], choose: Callable[[Block], Block]
) -> Block:
    """Read the first MiB of files of which `choose` leaves a row, as TEXTS."""
    first = 0
    for source in sources:
        for batch in tables.read_batches(source, names):
            block = choose(_encode(dict.fromkeys(names, TEXTS), set(), (source, first, [batch])))
            if len(block):
                return block
            first += len(batch)
    return block


def _join_batches(
    sources: Sequence[tables.Source], names: Sequence[str]
) -> Iterator[tuple[tables.Source, int, list[pa.RecordBatch]]]:
    """Yield a file, the number of a row, and a few batches from there on."""
    first = 0
    for source in sources:
        batches = tables.read_batches(source, names)
        while joined := list(itertools.islice(batches, _JOINED)):
            yield source, first, joined
            first += sum(map(len, joined))


def _encode(
    types: Mapping[str, Kind],
    checked: set[tables.Source],
    joined: tuple[tables.Source, int, list[pa.RecordBatch]],
) -> Block:
    source, first, batches = joined
    table = pa.Table.from_batches(batches)
    columns, words = {}, {}
    for name, kind in types.items():
        if kind == NUMBERS:
            columns[name], texts = _to_numbers(table.column(name))
            if texts is None:
                continue
            words[name] = texts
        else:
            encoded = table.column(name).dictionary_encode("encode").combine_chunks()
            texts, columns[name] = encoded.dictionary, _clean(encoded)
            if kind != TEXTS:
                columns[name], words[name] = _to_days(columns[name], kind)
        if source not in checked and _have_line_breaks(texts):
            checked.add(source)
            tables.check_quotes(source)
    rows = np.arange(first, first + len(table), dtype=np.uint64)
    return Block(columns, rows, np.cumsum([len(batch) for batch in batches]), words)


def _to_numbers(texts: pa.ChunkedArray) -> tuple[pa.Array, pa.Array | None]:
    """NUMBERS, and the words, if any, null elsewhere."""
    with contextlib.suppress(pa.ArrowInvalid):
        return pc.cast(texts, NUMBERS).combine_chunks(), None
    texts = pc.ascii_trim_whitespace(texts.combine_chunks())
    texts = pc.if_else(pc.is_in(texts, _MISSING), None, texts)
    with contextlib.suppress(pa.ArrowInvalid):
        return pc.cast(texts, NUMBERS), None
    are_numbers = match_numbers(texts)
    numbers = pc.cast(pc.if_else(are_numbers, texts, None), NUMBERS)
    return numbers, pc.if_else(are_numbers, None, texts)


def _to_days(texts: pa.DictionaryArray, form: str) -> tuple[pa.Array, pa.Array]:
    """NUMBERS, and the texts that are no dates, null elsewhere."""
    days = dates.parse(texts.dictionary, form)
    is_date = pc.or_(days.is_valid(), pc.equal(texts.dictionary, ""))
    words = pc.if_else(is_date, None, texts.dictionary)
    return days.take(texts.indices), words.take(texts.indices)


def _have_line_breaks(texts: pa.Array) -> bool:
    return any(pc.any(pc.match_substring(texts, end)).as_py() for end in "\n\r")


def _clean(texts: pa.DictionaryArray) -> pa.DictionaryArray:
    """Trim texts, and write "" for a missing value; each text is in the dictionary once."""
    values = pc.ascii_trim_whitespace(pc.fill_null(texts.dictionary, ""))
    values = pc.if_else(pc.is_in(values, _MISSING), "", values)
    if values.equals(texts.dictionary):
        return texts
    values = values.dictionary_encode()
    return pa.DictionaryArray.from_arrays(values.indices.take(texts.indices), values.dictionary)


def match_numbers(texts: pa.Array) -> pa.Array:
    """bool [texts]: `is_number` of each."""
    return pc.match_substring_regex(texts, f"^({NUMBER})$", ignore_case=True)
