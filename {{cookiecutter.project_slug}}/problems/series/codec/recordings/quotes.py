"""Quotes that are not closed on their line: a parser would take the rows below for a part of the value."""

from __future__ import annotations

import io

import numpy as np

from codec.errors import JobError

_QUOTE, _ENDS = ord('"'), b"\r\n"


def check_line(path: str, number: int, text: str) -> None:
    """Raise a JobError where a line has a quote too many."""
    if text.count('"') % 2:
        raise _refuse(path, number)


def _refuse(path: str, number: int) -> JobError:
    return JobError(
        f"{path}:{number}: a quote opens in this line, and none closes it there; close it, or remove it: a "
        "sample is one line"
    )


class CheckedFile(io.RawIOBase):
    """A CSV file in UTF-8, whose lines are checked as pyarrow reads them."""

    def __init__(self, path: str, file: io.IOBase):
        self._path, self._file = path, file
        self._lines, self._is_open = 0, False  # so far; whether a quote is open

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if self._is_open or not data or b'"' in data:
            self._check(data)
        self._lines += data.count(b"\n")
        return data

    def _check(self, data: bytes) -> None:
        if not data:
            if self._is_open:
                raise _refuse(self._path, self._lines + 1)
            return
        values = np.frombuffer(data, np.uint8)
        is_open = (np.cumsum(values == _QUOTE) + self._is_open) % 2
        at_ends = np.flatnonzero(np.isin(values, [*_ENDS]) & (is_open == 1))
        if len(at_ends):
            raise _refuse(self._path, self._lines + data[: at_ends[0]].count(b"\n") + 1)
        self._is_open = bool(is_open[-1])

    def close(self) -> None:
        self._file.close()
        super().close()
