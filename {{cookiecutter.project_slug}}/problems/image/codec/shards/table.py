"""A CSV of images: two columns, path and label; or more columns, named in the first line.

A record is one line. A quote that nobody closed would otherwise take in the lines below it, and
such lines look like a value that is meant to hold line breaks.
"""

from __future__ import annotations

import csv
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from codec import files
from codec.errors import JobError
from codec.split import name_group

# A value in quotes, from one comma (or end of the line) to the next; "" is a quote inside it.
_QUOTED = re.compile(r'(?:^|(?<=,)) *"[^"]*(?:""[^"]*)*" *(?=,|$)')


@dataclass(frozen=True)
class SourceFile:
    """One file, or anything else that must not be left out in silence."""

    path: str  # below the folder, or as the CSV has it, or "table.csv:7": its name from here on
    label: str
    size: int = 0  # bytes
    changed: int = 0  # nanoseconds; shows whether it is still the file that was read before
    reason: str | None = None  # why it is no image; None: it has to be read
    group: str = ""  # what --group names: images of one group stay on one side of the split


def read_rows(source: str, group: str) -> Iterator[SourceFile]:
    """The images of a CSV, without their sizes and times.

    Args:
        group: the column that names an image's group; "" for none.

    Raises:
        JobError: with the line, where the file is no such table.
    """
    columns, line = None, 0
    try:
        for line, text in _read_lines(source):
            row = _split_line(text)
            if not row:
                continue
            if columns is None:
                _check_separator(f"{source}:{line}", text, row)
                columns = _Columns.read(f"{source}:{line}", row, group)
                if columns.named:
                    continue
            yield _read_row(f"{os.path.basename(source)}:{line}", row, columns)
    except OSError as error:
        raise JobError(f"{source}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise JobError(
            f'{source}:{line + 1}: not UTF-8 ({error}); save it as "CSV UTF-8"'
        ) from None
    except csv.Error as error:
        raise JobError(f"{source}:{line}: {error}") from None


def list_unused_columns(source: str) -> tuple[str, ...]:
    """The columns of a CSV with a header, without path and label."""
    row = next((_split_line(text) for _, text in _read_lines(source) if text.strip()), [])
    names = [value.strip() for value in row]
    lower = {name.lower() for name in names}
    if not {"path", "label"} <= lower:
        return ()
    return tuple(name for name in names if name.lower() not in ("path", "label"))


@dataclass(frozen=True)
class _Columns:
    """Which value of a row is what."""

    path: int = 0
    label: int = 1
    group: int | None = None
    count: int = 2
    named: bool = False  # by a header

    @staticmethod
    def read(line: str, row: list[str], group: str) -> _Columns:
        names = [value.strip().lower() for value in row]
        if not {"path", "label"} <= set(names):
            if group:
                raise JobError(f"{line}: --group {group} needs a header: path,label,{group}")
            return _Columns()
        wanted = ["path", "label", *([group.strip().lower()] if group else [])]
        for name in wanted:
            if names.count(name) != 1:
                problem = "stands in the header twice" if name in names else "no such column"
                raise JobError(f"{line}: {name}: {problem}; the columns are {', '.join(names)}")
        return _Columns(*map(names.index, wanted), *([] if group else [None]), len(names), True)


def _read_lines(source: str) -> Iterator[tuple[int, str]]:
    r"""(number from 1, text) of each line, whether it ends in \n, \r\n or, from an old Mac, \r."""
    with files.open(source, "rb") as stream:
        lines = (line for chunk in stream for line in chunk.splitlines())  # only bytes: no U+2028
        for number, line in enumerate(lines, 1):
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            yield number, text.replace("\0", "\ufffd")  # Python 3.10's csv stops at a zero byte


def _split_line(text: str) -> list[str]:
    """Raises csv.Error: quotes that do not enclose whole values."""
    if '"' in text and '"' in _QUOTED.sub("", text):
        raise csv.Error(
            "unclosed quote; close it on its line, for each record is one line"
            if text.count('"') % 2
            else "a quote inside a value; put the whole value in quotes and double that quote: "
            '"a""b"'
        )
    return next(csv.reader([text], skipinitialspace=True))


def _check_separator(line: str, text: str, row: list[str]) -> None:
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        names = {value.strip(' "').lower() for value in text.split(mark)}
        if mark in text and (len(row) == 1 or {"path", "label"} <= names):
            raise JobError(f"{line}: {name} between the values; save it with commas: path,label")


def _read_row(line: str, row: list[str], columns: _Columns) -> SourceFile:
    if len(row) != columns.count:
        hint = "; semicolons do not separate values" if len(row) == 1 and ";" in row[0] else ""
        reason = f"{len(row)} values, expected {columns.count}: path,label{hint}"
        return SourceFile(line, "", reason=reason)
    path = row[columns.path].strip()
    label = unicodedata.normalize("NFC", row[columns.label].strip())
    group = "" if columns.group is None else row[columns.group].strip()
    if not path:
        return SourceFile(line, "", reason="no path in this line")
    is_alone = columns.group is not None and not group
    reason = "no label" if not label else "no group" if is_alone else None
    return SourceFile(path, label, reason=reason, group=name_group(group))
