"""CSV files in blocks of rows, with every fault named by file and line.

pyarrow reads (a million rows and more a second, in constant memory). When it refuses a file, the
standard library's csv module reads that file once more, slowly, to say which line is at fault.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv

from trainer import files
from trainer.runtime import JobError

BLOCK_BYTES = 1 << 20


def expand(patterns: str, flag: str) -> list[str]:
    """Files behind a comma-separated list of paths and globs, in order, each once.

    Raises:
        JobError: a pattern that matches no file.
    """
    found: dict[str, None] = {}
    for pattern in patterns.split(","):
        matches = files.glob(pattern.strip())
        if not matches:
            raise JobError(
                f"{flag}: no file matches {pattern.strip()!r}; "
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
        JobError: an empty file, no rows below the header, a name that stands there twice.
    """
    first = []
    try:
        for line, row in rows(path):
            first.append((line, [value.strip() for value in row]))
            if len(first) == 2:
                break
    except (UnicodeDecodeError, csv.Error) as error:
        raise JobError(f"{path}: not a CSV file in UTF-8 ({error})") from None
    if not first:
        raise JobError(f"{path}: the file is empty; expected a header line and rows")
    if columns:
        return Source(path, tuple(columns), first[0][0] - 1)
    if len(first) == 1:
        raise JobError(f"{path}: a header and no rows; expected at least one row below it")
    names = first[0][1]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise JobError(f"{path}:1: column {twice[0]!r} stands in the header more than once")
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
    """Reads the columns in `types`, in that order; missing values are null.

    Raises:
        JobError: a row of another length, a value of another type, a text that is not UTF-8.
    """
    path = source.path
    try:
        yield from pa.csv.open_csv(
            files.open(path, "rb") if files.is_remote(path) else path,
            pa.csv.ReadOptions(
                block_size=BLOCK_BYTES, column_names=list(source.names), skip_rows=source.skip
            ),
            pa.csv.ParseOptions(newlines_in_values=True),
            pa.csv.ConvertOptions(
                column_types=dict(types),
                include_columns=list(types),
                null_values=list(missing),
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        raise _explain(source, types, missing, str(error)) from None


def find(source: Source, column: str, wrong: Callable[[str], bool]) -> int | None:
    """Line of the first row whose value in `column` is wrong, for an error message."""
    place = source.names.index(column)
    for line, row in rows(source.path):
        if line > source.skip and len(row) > place and wrong(row[place].strip()):
            return line
    return None


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python reads 1_000, no other tool does


def _explain(source: Source, types, missing, error: str) -> JobError:
    """Finds the line that pyarrow stumbled over."""
    path, names = source.path, source.names
    numbers = [name for name, kind in types.items() if pa.types.is_floating(kind)]
    line = 0
    try:
        for line, row in rows(path):
            if line <= source.skip:
                continue
            if len(row) != len(names):
                return JobError(
                    f"{path}:{line}: {len(row)} values, but there are {len(names)} columns; "
                    'a comma inside a value needs quotes around it: "a, b"'
                )
            values = dict(zip(names, row, strict=True))
            for name in numbers:
                if values[name] not in missing and not is_number(values[name]):
                    return JobError(
                        f"{path}:{line}: column {name!r} is a number, but the value is "
                        f"{values[name]!r}; mend it, or make the column a category with --schema"
                    )
    except UnicodeDecodeError as fault:
        return JobError(f"{path}: near line {line + 1}: not UTF-8 ({fault.reason}); re-encode it")
    except csv.Error as fault:
        return JobError(f"{path}: near line {line + 1}: {fault}")
    return JobError(f"{path}: cannot be read as CSV: {error.splitlines()[0]}")
