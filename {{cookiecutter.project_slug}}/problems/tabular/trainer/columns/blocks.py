"""Columns of CSV files, block by block: pyarrow parses one while threads work on those before it."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codec.schema import MISSING
from codec.values import NUMBER
from trainer.columns import tables

NUMBERS = pa.float64()  # null for a missing value, and for a word
TEXTS = pa.dictionary(pa.int32(), pa.string())  # without white space around, "" if missing
MAX_WORDS = 1_000  # words of a column that are kept by name; the rest are counted as tables.OTHERS
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
        first: the number of the first row, over all files.
        ends: where each MiB of the file ends, in rows. Means are made of these: their last bit
            does not depend on how many MiB are in a block.
        words: of each column of NUMBERS that has some, with their counts.
    """

    columns: dict[str, pa.Array]
    first: int
    ends: np.ndarray
    words: dict[str, Counter] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def choose(self, rows: np.ndarray) -> Block:
        """The rows where `rows`, bool [rows], is true."""
        mask = pa.array(rows)
        columns = {name: column.filter(mask) for name, column in self.columns.items()}
        return Block(columns, self.first, np.cumsum(rows)[self.ends - 1])

    def convert(self, types: Mapping[str, pa.DataType]) -> Block:
        """These columns, of exactly these types."""
        columns, words = {}, {}
        for name, kind in types.items():
            columns[name] = column = self.columns[name]
            if kind == NUMBERS and column.type == TEXTS:
                columns[name], words[name] = _take_numbers(column)
        return Block(columns, self.first, self.ends, words)


def read_blocks(
    sources: Sequence[tables.Source],
    types: Mapping[str, pa.DataType],
    work: Callable[[Block], object] = lambda block: block,
) -> Iterator:
    """Reads columns as NUMBERS or TEXTS, and yields what `work` makes of each block, in a thread.

    In a block whose NUMBERS have words, TEXTS take their place.

    Raises:
        JobError: a row of another length, a quote that never ends, a text that is not UTF-8.
    """
    checked: set[tables.Source] = set()
    batches = _join_batches(sources, list(types))
    yield from map_in_order(lambda joined: work(_encode(types, checked, joined)), batches)


def read_first(source: tables.Source, names: Sequence[str]) -> Block:
    """Reads the first MiB of a file as TEXTS."""
    batch = next(tables.read_batches(source, names))
    return _encode(dict.fromkeys(names, TEXTS), set(), (source, 0, [batch]))


def _join_batches(
    sources: Sequence[tables.Source], names: Sequence[str]
) -> Iterator[tuple[tables.Source, int, list[pa.RecordBatch]]]:
    """Yields a file, the number of a row, and a few batches from there on."""
    first = 0
    for source in sources:
        batches = tables.read_batches(source, names)
        while joined := list(itertools.islice(batches, _JOINED)):
            yield source, first, joined
            first += sum(map(len, joined))


def _encode(
    types: Mapping[str, pa.DataType],
    checked: set[tables.Source],
    joined: tuple[tables.Source, int, list[pa.RecordBatch]],
) -> Block:
    source, first, batches = joined
    table = pa.Table.from_batches(batches)
    columns = {}
    for name, kind in types.items():
        column = table.column(name)
        columns[name] = _to_numbers(column) if kind == NUMBERS else None
        if columns[name] is None:
            texts = column.dictionary_encode("encode").combine_chunks()
            if source not in checked and _have_line_breaks(texts.dictionary):
                checked.add(source)
                tables.check_quotes(source)
            columns[name] = _clean(texts)
    return Block(columns, first, np.cumsum([len(batch) for batch in batches]))


def _to_numbers(texts: pa.ChunkedArray) -> pa.Array | None:
    """None if there are words among them, or white space around them."""
    try:
        return pc.cast(texts, NUMBERS).combine_chunks()
    except pa.ArrowInvalid:
        return None


def _have_line_breaks(texts: pa.Array) -> bool:
    return any(pc.any(pc.match_substring(texts, end)).as_py() for end in "\n\r")


def _clean(texts: pa.DictionaryArray) -> pa.DictionaryArray:
    """Trims texts, and writes "" for a missing value; each text is in the dictionary once."""
    values = pc.ascii_trim_whitespace(pc.fill_null(texts.dictionary, ""))
    values = pc.if_else(pc.is_in(values, _MISSING), "", values).dictionary_encode()
    indices = texts.indices
    if len(values.dictionary) < len(values):
        indices = values.indices.take(indices)
    return pa.DictionaryArray.from_arrays(indices, values.dictionary)


def match_numbers(texts: pa.Array) -> pa.Array:
    """bool [texts]: `is_number` of each."""
    return pc.match_substring_regex(texts, f"^({NUMBER})$", ignore_case=True)


def _take_numbers(texts: pa.DictionaryArray) -> tuple[pa.Array, Counter]:
    """NUMBERS, and the words among them with their counts."""
    values, words = texts.dictionary, Counter()
    are_numbers = match_numbers(values)
    counts = np.bincount(texts.indices, minlength=len(values)).tolist()
    for word, is_number, count in zip(
        values.to_pylist(), are_numbers.to_pylist(), counts, strict=True
    ):
        if count and word and not is_number:
            add_words(words, {word: count})
    return pc.cast(pc.if_else(are_numbers, values, None), NUMBERS).take(texts.indices), words


def add_words(words: Counter, more: Mapping[str, int]) -> None:
    """Counts words, the first MAX_WORDS by name."""
    for word, count in more.items():
        words[word if word in words or len(words) < MAX_WORDS else tables.OTHERS] += count
