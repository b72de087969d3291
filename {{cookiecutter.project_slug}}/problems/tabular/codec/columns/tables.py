"""CSV files in blocks of rows, with every fault named by file and line.

pyarrow reads (a million rows and more a second, in constant memory). When it refuses a file, the
standard library's csv module reads that file once more, slowly, to say which line is at fault.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import os
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv

from codec import dates, files
from codec.errors import JobError
from codec.schema import MISSING
from codec.values import is_number, strip

BLOCK_BYTES = 1 << 20  # a row must fit in a block
_OPEN_QUOTE = "is there a quote that never ends?"
csv.field_size_limit(4 * BLOCK_BYTES)  # its own limit would refuse rows that pyarrow reads
OTHERS = ""  # stands for the words of a column that are not kept by name; it is no word


def expand(patterns: str, flag: str) -> list[str]:
    """Files behind a comma-separated list of paths and globs, in order, each once.

    Raises:
        JobError: a pattern that matches no file.
    """
    paths: dict[str, None] = {}
    a_comma_in_its_name = os.path.isfile(patterns)
    for pattern in [patterns] if a_comma_in_its_name else patterns.split(","):
        pattern = pattern.strip()
        matches = files.glob(pattern)
        if not matches and os.path.isdir(pattern):
            raise JobError(
                f"{flag}: {pattern!r} is a folder; name the files in it: "
                f"'{pattern.rstrip('/')}/*.csv'"
            )
        if not matches:
            raise JobError(
                f"{flag}: no file matches {pattern!r}; "
                "write a path, a glob in quotes ('data/part-*.csv') or gs://bucket/path"
            )
        paths.update(dict.fromkeys(matches))
    return list(paths)


@dataclass(frozen=True)
class Source:
    """One CSV file: its column names in file order, and the lines before its first row."""

    path: str
    names: tuple[str, ...]
    skip: int


def open_source(path: str, columns: Sequence[str] | None = None) -> Source:
    """Read the header; `columns` gives the names for a file that has none.

    Raises:
        JobError: a file that is empty or no CSV, no rows below the header, a name that stands there
            twice, another number of columns than `columns` has.
    """
    first = []
    try:
        for line, row in rows(path):
            first.append((line, [value.strip() for value in row]))
            if len(first) == 2:
                break
    except OSError as error:
        raise JobError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise JobError(
            f"{path}: not a text in UTF-8 ({error.reason}); unpack it if it is packed, or save it "
            'again as "CSV UTF-8"'
        ) from None
    except csv.Error as error:
        raise JobError(f'{path}: not CSV ({error}); save it again as "CSV UTF-8"') from None
    if not first:
        raise JobError(f"{path}: the file is empty; expected a header line and rows")
    line, names = first[0]
    if len(names) == 1:
        raise JobError(
            f"{path}:{line}: one column only, {shown(names[0])}; expected at least two, with "
            "commas between them, not tabs or semicolons"
        )
    if columns and len(names) != len(columns):
        raise JobError(
            f"{path}:{line}: {len(names)} values, but --columns gives {len(columns)} names"
        )
    if columns and _is_header(columns, *(row for _, row in first)):
        raise JobError(
            f"{path}:{line}: with --columns, rows begin at the first line, but here it holds names: "
            f"{shown(', '.join(names))}; leave --columns out, or remove this line"
        )
    if columns:
        return Source(path, tuple(columns), line - 1)
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise JobError(
            f"{path}:{line}: column {shown(twice[0])} stands in the header more than once; "
            "rename one, or, if this is no header, give the names with --columns"
        )
    if len(first) == 1:
        raise JobError(f"{path}: a header and no rows; expected at least one row below it")
    return Source(path, tuple(names), first[1][0] - 1)


def _is_header(columns: Sequence[str], first: list[str], second: Sequence[str] = ()) -> bool:
    """Whether the first line repeats a given name, or has words where the second has numbers."""
    above = [text for text, value in zip(first, second, strict=False) if is_number(value)]
    words = [text for text in above if text and not is_number(text)]
    return bool({*first} & {*columns}) or (len(above) > 1 and len(words) == len(above))


def rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, values) of each row that is not empty: slow, for headers and for faults."""
    reader = csv.reader(_lines(path))
    start = 1
    for row in reader:
        if row:
            yield start, row
        start = reader.line_num + 1


def _lines(path: str) -> Iterator[str]:
    """Lines that end where pyarrow ends them: after LF, CR LF or CR."""
    with io.TextIOWrapper(
        files.open(path, "rb"), "utf-8-sig", errors="surrogateescape", newline=""
    ) as text:
        for line in text:
            if not line.isascii():  # decoded by blocks, a fault would not belong to a line
                line.encode("utf-8", "surrogateescape").decode("utf-8")
            yield line


def read_batches(source: Source, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Read these columns, in this order, as texts, and null for a missing value as `MISSING` has it.

    Raises:
        JobError: a row of another length, a quote that never ends, a text that is not UTF-8.
    """
    path = source.path
    try:
        yield from pa.csv.open_csv(
            # A file, not its path: pyarrow would guess a compression from the name.
            files.open(path, "rb") if files.is_remote(path) else pa.OSFile(path),
            pa.csv.ReadOptions(
                block_size=BLOCK_BYTES, column_names=list(source.names), skip_rows=source.skip
            ),
            pa.csv.ParseOptions(newlines_in_values=True),
            pa.csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()),
                include_columns=list(columns),
                null_values=MISSING,
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        raise _explain(source, str(error)) from None


def find(sources: Sequence[Source], column: str, wrong: Callable[[str], bool]) -> tuple[str, str]:
    """Where the first value in `column` is that is wrong, as file:line, and the value."""
    for source in sources:
        index = source.names.index(column)
        for line, row in rows(source.path):
            value = strip(row[index]) if len(row) > index else ""
            if line > source.skip and wrong(value):
                return f"{source.path}:{line}", value
    return sources[0].path, "another"


def not_a_number(
    sources: Sequence[Source],
    column: str,
    missing: Container[str],
    remedy: str,
    form: str = "",
) -> JobError:
    """Name the first text in a column of numbers, or of dates in a form, and what can be done about it."""
    is_right = re.compile(dates.FORMS[form]).match if form else is_number
    expected = f"a date ({form})" if form else "a number"
    where, value = find(sources, column, lambda v: v not in missing and not is_right(v))
    return JobError(
        f"{where}: column {column!r}: expected {expected}, got {shown(value)}; {remedy}"
    )


def too_large(
    sources: Sequence[Source], column: str, can_compute: Callable[[float], bool]
) -> JobError:
    """Name the first target that is finite, and yet too large."""

    def is_too_large(text: str) -> bool:
        return is_number(text) and math.isfinite(float(text)) and not can_compute(float(text))

    where, value = find(sources, column, is_too_large)
    return JobError(
        f"{where}: target {column!r} is {shown(value)}, too large for float32, in which models compute; "
        "divide the whole column by a power of ten, or leave this value empty"
    )


def shown(text: str, limit: int = 40) -> str:
    """A value as it stands in a message: in quotes, on one line, and not a megabyte of it."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def listed(names: Sequence[str], limit: int = 20) -> str:
    """Names as they stand in a message."""
    more = f", … ({len(names)} in all)" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def counted(words: Mapping[str, int], limit: int = 10) -> str:
    """Words with their counts, the most frequent first, as they stand in the log."""
    ranked = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    return listed([f"{shown(w) if w != OTHERS else 'others'} ({n})" for w, n in ranked], limit)


def _explain(source: Source, error: str) -> JobError:
    """Find the line that pyarrow stumbled over."""
    path, width = source.path, len(source.names)
    line = 0
    try:
        for line, row in rows(path):
            if sum(map(len, row)) > BLOCK_BYTES:
                return JobError(f"{path}:{line}: a row of over {BLOCK_BYTES} bytes; {_OPEN_QUOTE}")
            if line > source.skip and len(row) != width:
                hint = f"is a value missing? Or {_OPEN_QUOTE}"
                if next(itertools.islice(_lines(path), line - 1, None)).endswith("\r"):
                    hint = (
                        "a carriage return (CR) ends the row there: put quotes around the value "
                        "that holds it, or remove it"
                    )
                if len(row) > width:
                    hint = 'a comma inside a value needs quotes right around it: x,"a, b",y'
                return JobError(f"{path}:{line}: {len(row)} values, expected {width}; {hint}")
    except UnicodeDecodeError as fault:
        return JobError(
            f'{path}: near line {line + 1}: not UTF-8 ({fault.reason}); save it as "CSV UTF-8"'
        )
    except csv.Error as fault:
        return JobError(f"{path}: near line {line + 1}: {fault}; {_OPEN_QUOTE}")
    return JobError(f"{path}: cannot be read as CSV: {error.splitlines()[0]}; {_OPEN_QUOTE}")


def check_quotes(source: Source) -> None:
    """Refuse a quote that swallows the rows up to the next one, or up to the end of the file.

    pyarrow takes all of them for one value. Where a value has line breaks because it is meant to, its
    last quote stands before a comma or the end of a line.
    """
    line = 0
    reader = csv.reader(_lines(source.path), strict=True)
    try:
        for _ in reader:
            line = reader.line_num
    except csv.Error:
        raise JobError(
            f"{source.path}:{line + 1}: a quote opens in this row and never ends, or not before a comma "
            "or the end of a line; close it"
        ) from None
