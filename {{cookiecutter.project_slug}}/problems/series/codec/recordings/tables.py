"""Files of samples, read in blocks: CSV of any separator and encoding, and Parquet.

pyarrow parses. When it refuses a file, the standard library's csv module reads that file once more,
slowly, to say which line is at fault.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from codec import files
from codec.errors import JobError
from codec.recordings.cells import NUMBERS, TEXTS, convert, find_fault, is_number, shorten, show
from codec.recordings.quotes import CheckedFile, check_line
from codec.schema import MISSING

BLOCK_BYTES = 1 << 20  # of a file; a line must fit in a block
BLOCK_ROWS = 1 << 16
LOOKED_AT = 1 << 16  # bytes of a file that show its form
# pyarrow compares values with the blanks around them; eye trackers align their columns.
_MISSING = [*MISSING, *(f"{' ' * n}{text}" for n in range(1, 12) for text in MISSING)]
# How files begin that are no tables, whatever their name.
_OTHERS = {
    b"PK\x03\x04": "an Excel workbook or a ZIP archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
}
_OTHERS |= {b"\x1f\x8b": "compressed", b"\x89HDF": "HDF5", b"MATLAB": "a MATLAB file"}
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
csv.field_size_limit(4 * BLOCK_BYTES)


def expand(patterns: str, flag: str = "--data") -> list[str]:
    """Files behind a comma-separated list of paths and globs, in order, each once.

    Raises:
        JobError: a pattern that matches no file.
    """
    paths: dict[str, None] = {}
    for pattern in [patterns] if os.path.isfile(patterns) else patterns.split(","):
        pattern = pattern.strip()
        matches = files.glob(pattern)
        if not matches:
            is_folder = os.path.isdir(pattern)
            raise JobError(
                f"{flag}: {pattern!r} is a folder; name the files in it: '{pattern.rstrip('/')}/*.csv'"
                if is_folder
                else f"{flag}: no file matches {pattern!r}; write a path, a glob in quotes "
                "('data/p*.csv') or gs://bucket/path"
            )
        paths.update(dict.fromkeys(matches))
    return list(paths)


def identify(path: str) -> dict:
    """{path, bytes, digest}: of the content, or in a bucket of the object's last write."""
    if files.is_remote(path):
        digest = f"modified:{files.modified(path)}"  # objects are replaced whole, never edited
    else:
        hasher = hashlib.blake2b(digest_size=16)
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                hasher.update(chunk)
        digest = f"blake2b:{hasher.hexdigest()}"
    return {"path": path, "bytes": files.size(path), "digest": digest}


@dataclass(frozen=True)
class Source:
    """A file of samples: its columns in order, some rows, and how it is written."""

    path: str
    names: tuple[str, ...]
    first: list[dict[str, str]] = field(hash=False, compare=False)  # rows that show its form
    encoding: str = ""  # "" for Parquet
    delimiter: str = ","
    decimal: str = "."
    skip: int = 1  # lines before the first row


def open_source(path: str) -> Source:
    """Read how a file is written.

    Raises:
        JobError: it cannot be read, is empty, or has no header and rows of at least two columns.
    """
    try:
        with files.open(path, "rb") as file:
            head = file.read(LOOKED_AT)
        if head.startswith(b"PAR1"):
            return _open_parquet(path)
        for begin, what in _OTHERS.items():
            if head.startswith(begin):
                raise JobError(
                    f"{path}: it is {what}; save its table as CSV in UTF-8, or as Parquet"
                )
        encoding = next((name for bom, name in _BOMS.items() if head.startswith(bom)), "utf-8-sig")
        if encoding == "utf-8-sig" and b"\0" in head[:200]:  # UTF-16 without its mark
            encoding = "utf-16-le" if head[1:2] == b"\0" else "utf-16-be"
        text = _decode(head, encoding)
    except OSError as error:
        raise JobError(f"{path}: cannot be read ({error.strerror or shorten(error)})") from None
    except UnicodeDecodeError as error:
        raise JobError(
            f"{path}: no text in UTF-8 or UTF-16 ({error.reason}); save it as CSV in UTF-8, or as Parquet"
        ) from None
    except pa.ArrowException as error:
        raise JobError(f"{path}: no Parquet that can be read ({shorten(error)})") from None
    lines = text.splitlines(keepends=True)
    lines = lines if len(head) < LOOKED_AT else lines[:-1]
    for number, line in enumerate(io.StringIO("".join(lines), newline=None), 1):
        check_line(path, number, line)
    skip = next((i for i, line in enumerate(lines) if line.strip()), len(lines))
    delimiter = _find_delimiter(lines[skip : skip + 100])
    rows = [row for row in csv.reader(lines[skip:], delimiter=delimiter) if row]
    if len(rows) < 2:
        raise JobError(f"{path}: expected a header line and rows below it")
    names = [name.strip() for name in rows[0]]
    if len(names) < 2:
        raise JobError(
            f"{path}:{skip + 1}: one column only, {show(names[0])}; expected a column for the time or "
            "a channel at least, with commas, tabs or semicolons between them"
        )
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise JobError(
            f"{path}:{skip + 1}: column {show(twice[0])} stands in the header more than once; rename one"
        )
    if all(is_number(name, ".") for name in names if name not in MISSING):
        raise JobError(
            f"{path}:{skip + 1}: numbers in the header, {show(', '.join(names))}; write a first line "
            "with the names of the columns"
        )
    cells = list(itertools.chain.from_iterable(rows[1:]))
    commas, points = (
        sum(bool(re.fullmatch(rf"\s*-?\d+{mark}\d+\s*", cell)) for cell in cells)
        for mark in (",", r"\.")
    )
    has_comma = delimiter != "," and commas > points
    first = [dict(zip(names, row, strict=False)) for row in rows[1:]]
    return Source(
        path, tuple(names), first, encoding, delimiter, "," if has_comma else ".", skip + 1
    )


def _open_parquet(path: str) -> Source:
    import pyarrow.parquet as pq

    with files.open(path, "rb") as file:
        table = pq.ParquetFile(file)
        names = table.schema_arrow.names
        batch = next(table.iter_batches(batch_size=1000), None)
        if batch is None or not len(batch):
            raise JobError(f"{path}: it has no rows")
        columns = [_to_microseconds(column) for column in batch.columns]
        rows = [
            {name: "" if value is None else str(value) for name, value in row.items()}
            for row in pa.record_batch(columns, names=names).to_pylist()
        ]
    return Source(path, tuple(names), rows)


def _to_microseconds(column: pa.Array) -> pa.Array:
    """Dates of nanoseconds, which pandas writes, as Python has them; any other column as it is."""
    if not pa.types.is_timestamp(column.type):
        return column
    return pc.cast(column, pa.timestamp("us", column.type.tz), safe=False)


def _decode(head: bytes, encoding: str) -> str:
    try:
        return head.decode(encoding)
    except UnicodeDecodeError as error:
        if len(head) - error.start < 4:  # a letter that is cut in two
            return head[: error.start].decode(encoding)
        raise


def _find_delimiter(lines: Sequence[str]) -> str:
    """The separator that gives most columns, the same number in each line."""
    best, most = ",", 1
    for delimiter in "\t;,|":
        counts = {len(row) for row in csv.reader(lines, delimiter=delimiter) if row}
        if len(counts) == 1 and (count := counts.pop()) > most:
            best, most = delimiter, count
    if most == 1 and lines:  # rows differ in length: the header decides, the parser names the line
        best = max("\t;,|", key=lines[0].count)
    return best


def read_blocks(source: Source, types: dict[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    """Yield the columns as pyarrow has them, a block at a time: `convert_block` makes them what `types` says.

    Raises:
        JobError: a text in a column of numbers, a row of another length, a text that is not UTF-8.
    """
    try:
        with files.open(source.path, "rb") as file:
            yield from (
                _read_csv(source, types, file) if source.encoding else _read_parquet(types, file)
            )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        raise _explain(source, types, error) from None
    except OSError as error:  # pyarrow's, too, of a corrupt page
        why = error.strerror or shorten(error)
        raise JobError(f"{source.path}: cannot be read ({why})") from None


def _read_csv(source: Source, types: dict[str, pa.DataType], file) -> Iterator[pa.RecordBatch]:
    is_utf8 = source.encoding == "utf-8-sig"  # pyarrow skips its mark
    if not is_utf8:
        with files.open(source.path, "rb") as lines:
            for number, line in enumerate(io.TextIOWrapper(lines, source.encoding), 1):
                check_line(source.path, number, line)
    return pa.csv.open_csv(
        CheckedFile(source.path, file) if is_utf8 else file,
        pa.csv.ReadOptions(
            block_size=BLOCK_BYTES,
            column_names=list(source.names),
            skip_rows=source.skip,
            encoding="utf-8" if is_utf8 else source.encoding,
        ),
        pa.csv.ParseOptions(delimiter=source.delimiter),
        pa.csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            null_values=_MISSING,
            strings_can_be_null=True,
            decimal_point=source.decimal,
        ),
    )


def _read_parquet(types: dict[str, pa.DataType], file) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file)
    for group in range(table.num_row_groups):  # all at once, pyarrow keeps what it has read
        yield from table.iter_batches(BLOCK_ROWS, row_groups=[group], columns=list(types))


def convert_block(
    source: Source, batch: pa.RecordBatch, types: dict[str, pa.DataType]
) -> pa.RecordBatch:
    """The columns as `types` says, NUMBERS and TEXTS, in this order.

    Raises:
        JobError: a column has other values.
    """
    columns = [_convert(source, batch, name, kind) for name, kind in types.items()]
    return pa.record_batch(columns, names=list(types))


def _convert(source: Source, batch: pa.RecordBatch, name: str, kind: pa.DataType) -> pa.Array:
    try:
        return convert(batch.column(name), kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        what = {NUMBERS: "numbers", TEXTS: "texts"}.get(kind, "dates")
        raise JobError(
            f"{source.path}: column {name!r}: expected {what} ({shorten(error)})"
        ) from None


def _explain(source: Source, types: dict[str, pa.DataType], error: Exception) -> JobError:
    """Find the line that pyarrow stumbled over."""
    path, width = source.path, len(source.names)
    checked = {
        i: kind for i, n in enumerate(source.names) if (kind := types.get(n, TEXTS)) != TEXTS
    }
    if not source.encoding:
        return JobError(f"{path}: cannot be read: {shorten(error)}")
    line = source.skip
    try:
        with files.open(path, "rb") as file:
            text = io.TextIOWrapper(file, source.encoding, newline="")
            reader = csv.reader(
                itertools.islice(text, source.skip, None), delimiter=source.delimiter
            )
            for row in reader:
                line = source.skip + reader.line_num
                if row and len(row) != width:
                    return JobError(
                        f"{path}:{line}: {len(row)} values, expected {width}; fix this line"
                    )
                for i, kind in checked.items() if row else ():
                    if fault := find_fault(row[i].strip(" \t"), kind, source.decimal):
                        return JobError(f"{path}:{line}: column {source.names[i]!r}: {fault}")
    except (UnicodeDecodeError, csv.Error) as fault:
        reason = getattr(fault, "reason", fault)
        return JobError(f"{path}: near line {line + 1}: {reason}; save it as CSV in UTF-8")
    return JobError(f"{path}: cannot be read as a table: {shorten(error)}")
