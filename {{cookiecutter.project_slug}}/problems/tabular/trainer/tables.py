"""CSV files in blocks of rows, with every fault named by file and line.

pyarrow reads (a million rows and more a second, in constant memory). When it refuses a file, the
standard library's csv module reads that file once more, slowly, to say which line is at fault.
"""

from __future__ import annotations

import csv
import os
import string
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from trainer import files
from trainer.runtime import JobError

BLOCK_BYTES = 1 << 20  # a row must fit in a block
_OPEN_QUOTE = "is there a quote that never ends?"
csv.field_size_limit(4 * BLOCK_BYTES)  # its own limit would refuse rows that pyarrow reads


def expand(patterns: str, flag: str) -> list[str]:
    """Files behind a comma-separated list of paths and globs, in order, each once.

    Raises:
        JobError: a pattern that matches no file.
    """
    found: dict[str, None] = {}
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
        found.update(dict.fromkeys(matches))
    return list(found)


@dataclass(frozen=True)
class Source:
    """One CSV file: its column names in file order, and the lines before its first row."""

    path: str
    names: tuple[str, ...]
    skip: int


def open_source(path: str, columns: Sequence[str] | None = None) -> Source:
    """Reads the header; `columns` gives the names for a file that has none.

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
            'anew as "CSV UTF-8"'
        ) from None
    except csv.Error as error:
        raise JobError(f'{path}: not CSV ({error}); save it anew as "CSV UTF-8"') from None
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


def rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, values) of each row that is not empty: slow, for headers and for faults."""
    with files.open(path, "rb") as stream:
        lines = (line.decode("utf-8-sig" if i == 0 else "utf-8") for i, line in enumerate(stream))
        reader = csv.reader(lines)
        start = 1
        for row in reader:
            if row:
                yield start, row
            start = reader.line_num + 1


def batches(
    source: Source, types: Mapping[str, pa.DataType], missing: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Reads the columns in `types`, in that order: without white space around values, and null
    where a value is missing.

    Raises:
        JobError: a row of another length, a value of another type, a text that is not UTF-8.
    """
    path = source.path
    tokens = pa.array(missing, pa.string())
    try:
        reader = pa.csv.open_csv(
            # A file, not its path: pyarrow would guess a compression from the name.
            files.open(path, "rb") if files.is_remote(path) else pa.OSFile(path),
            pa.csv.ReadOptions(
                block_size=BLOCK_BYTES, column_names=list(source.names), skip_rows=source.skip
            ),
            pa.csv.ParseOptions(newlines_in_values=True),
            pa.csv.ConvertOptions(
                column_types=dict.fromkeys(types, pa.string()), include_columns=list(types)
            ),
        )
        last = None
        for batch in reader:
            last = batch if len(batch) else last
            columns = []
            for name, kind in types.items():
                values = pc.ascii_trim_whitespace(batch.column(name))
                values = pc.if_else(pc.is_in(values, tokens), None, values)
                try:
                    columns.append(pc.cast(values, kind))
                except pa.ArrowInvalid:
                    hint = "make the column a category with --schema"
                    raise not_a_number([source], name, missing, hint) from None
            yield pa.record_batch(columns, names=list(types))
        if last is not None and any(c[-1].as_py().endswith("\n") for c in last.columns):
            raise _swallowed(source)
    except pa.ArrowInvalid as error:
        raise _explain(source, str(error)) from None


def find(
    source: Source, column: str, wrong: Callable[[str], bool]
) -> tuple[int, str] | tuple[None, None]:
    """Line and value of the first row whose value in `column` is wrong, for an error message."""
    place = source.names.index(column)
    for line, row in rows(source.path):
        value = row[place].strip(string.whitespace) if len(row) > place else ""
        if line > source.skip and wrong(value):
            return line, value
    return None, None


def not_a_number(
    sources: Sequence[Source], column: str, missing: Sequence[str], hint: str
) -> JobError:
    """Names the first text in a column of numbers, and what can be done about it."""
    for source in sources:
        line, value = find(source, column, lambda v: v not in missing and not is_number(v))
        if line:
            return JobError(
                f"{source.path}:{line}: column {column!r} is a number, but the value is "
                f"{shown(value)}; mend it, leave it empty where nothing is known, or {hint}"
            )
    return JobError(f"{sources[0].path}: column {column!r} holds texts; mend them, or {hint}")


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text and text.isascii()  # Python reads 1_000 and ٣, no other tool does


def shown(text: str, limit: int = 40) -> str:
    """A value as it stands in a message: in quotes, on one line, and not a megabyte of it."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def listed(names: Sequence[str], limit: int = 20) -> str:
    """Names as they stand in a message."""
    more = f", … ({len(names)} in all)" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _explain(source: Source, error: str) -> JobError:
    """Finds the line that pyarrow stumbled over."""
    path, width = source.path, len(source.names)
    line = 0
    try:
        for line, row in rows(path):
            if sum(map(len, row)) > BLOCK_BYTES:
                return JobError(f"{path}:{line}: a row of over {BLOCK_BYTES} bytes; {_OPEN_QUOTE}")
            if line > source.skip and len(row) != width:
                hint = f"is a value missing? Or {_OPEN_QUOTE}"
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


def _swallowed(source: Source) -> JobError:
    """pyarrow and csv take a quote that never ends for one value to the end of the file."""
    line, _ = deque(rows(source.path), maxlen=1)[0]
    return JobError(f"{source.path}:{line}: a quote opens in this row and never ends")
