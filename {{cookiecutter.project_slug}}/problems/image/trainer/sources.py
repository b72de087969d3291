"""Where pictures come from: a folder with a folder for each class, or a CSV of paths and labels."""

from __future__ import annotations

import csv
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from codec.images import MAX_BYTES
from trainer import files
from trainer.parallel import in_order
from trainer.runtime import JobError

REMOTE_REQUESTS = 32  # at a time


@dataclass(frozen=True)
class Found:
    """One file that was found, or anything else that must not be dropped in silence."""

    path: str  # below the folder, or as the CSV has it: its name from here on
    label: str
    size: int = 0  # bytes
    changed: int = 0  # nanoseconds; tells whether it is the file that was read before
    reason: str | None = None  # why it is no picture; None: it has to be read


def place(source: str, path: str) -> str:
    """Where to open a found file."""
    if is_table(source):
        if files.is_remote(path) or os.path.isabs(path):
            return path
        source = source.rpartition("/")[0] if files.is_remote(source) else os.path.dirname(source)
    return f"{source.rstrip('/')}/{path}" if source else path


def is_table(source: str) -> bool:
    return source.lower().endswith(".csv")


def find(source: str) -> Iterator[Found]:
    """Every file but the hidden ones, in no particular order.

    Raises:
        JobError: no such file or folder, or a CSV that cannot be read.
    """
    if is_table(source):
        return _checked(source, _rows(source))
    if files.is_remote(source):
        return _checked(source, _remote(source.rstrip("/"), ""))
    if not os.path.isdir(source):
        what = "is a file" if os.path.exists(source) else "no such file or folder"
        raise JobError(f"{source}: {what}; expected SRC/<class>/*.jpg, or a CSV file")
    return _walk(source, "", [_identity(source)])


def _checked(source: str, found: Iterable[Found]) -> Iterator[Found]:
    """Looks at the files themselves, many at a time."""

    def look(one: Found) -> Found:
        path = place(source, one.path)
        try:
            if one.reason:
                return one
            if files.is_remote(path):
                if not files.exists(path):
                    return _unreadable(one.path, one.label, "there is no such file")
                return _sized(one.path, one.label, files.size(path), files.modified(path))
            return _stated(one.path, one.label, os.stat(path))
        except OSError as error:
            return _unreadable(one.path, one.label, error)

    with ThreadPoolExecutor(REMOTE_REQUESTS) as pool:
        yield from in_order(pool, look, ((one,) for one in found), REMOTE_REQUESTS)


def _walk(folder: str, path: str, above: list[tuple[int, int]]) -> Iterator[Found]:
    """Follows links, but never into a folder that it is in."""
    try:
        entries = os.scandir(folder)
    except OSError as error:
        yield _unreadable(path, _label(path), error)
        return
    with entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = f"{path}/{entry.name}" if path else entry.name
            label = _label(name) if path else ""
            try:
                info = os.stat(entry.path)
            except OSError as error:  # a link to nothing, or to itself
                yield _unreadable(name, label, error)
                continue
            if stat.S_ISDIR(info.st_mode):
                here = info.st_dev, info.st_ino
                if here in above:
                    yield Found(name, label, reason="a link to a folder that it is in")
                else:
                    yield from _walk(entry.path, name, [*above, here])
            else:
                yield _stated(name, label, info)


def _remote(folder: str, path: str) -> Iterator[Found]:
    """Of the files below a folder in a bucket, the names."""
    if not path and not files.exists(folder):
        raise JobError(f"{folder}: nothing is there; expected SRC/<class>/*.jpg, or a CSV file")
    for entry in files.entries(f"{folder}/{path}"):
        if entry.startswith("."):
            continue
        name = path + entry
        if entry.endswith("/"):
            yield from _remote(folder, name)
        else:
            label = _label(name) if path else ""
            yield Found(name, label, reason=_misplaced(label))


def _rows(source: str) -> Iterator[Found]:
    """The pictures in a CSV of two columns, path and label; or of more, by the names in its head."""
    columns, width, first = (0, 1), 2, True
    try:
        with files.open(source, "rb") as stream:
            lines = (
                line.decode("utf-8-sig" if i == 0 else "utf-8") for i, line in enumerate(stream)
            )
            # A zero byte, of which no path is made, would stop the csv module of Python 3.10.
            reader = csv.reader(line.replace("\0", "\ufffd") for line in lines)
            for row in reader:
                names = [value.strip().lower() for value in row]
                if first and {"path", "label"} <= set(names):
                    columns, width = (names.index("path"), names.index("label")), len(names)
                elif row:
                    yield _row(source, reader.line_num, row, columns, width)
                first = False
    except OSError as error:
        raise JobError(f"{source}: cannot be read ({error.strerror or error})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise JobError(f'{source}: not CSV ({error}); save it as "CSV UTF-8"') from None


def _row(source, line, row, columns, width) -> Found:
    name = f"{os.path.basename(source)}:{line}"
    if len(row) != width:
        return Found(name, "", reason=f"{len(row)} values, expected {width}: path,label")
    path, label = (row[column].strip() for column in columns)
    if not path:
        return Found(name, "", reason="no path in this line")
    return Found(path, unicodedata.normalize("NFC", label), reason=None if label else "no label")


def _stated(path: str, label: str, info: os.stat_result) -> Found:
    if not stat.S_ISREG(info.st_mode):
        return Found(path, label, reason="not a file")  # a pipe would keep its reader for ever
    changed = max(info.st_mtime_ns, info.st_ctime_ns)  # the latter by new permissions, too
    return _sized(path, label, info.st_size, changed)


def _sized(path: str, label: str, size: int, changed: int) -> Found:
    reason = _misplaced(label)
    if reason is None and size > MAX_BYTES:
        reason = f"too large: {size >> 20} MiB"
    return Found(path, label, size, changed, reason)


def _misplaced(label: str) -> str | None:
    if not label:
        return "in no class: put it into a folder with the class's name"
    try:
        label.encode()
    except UnicodeEncodeError:
        return "the name of its class is not UTF-8: rename the folder"
    return None


def _label(path: str) -> str:
    """The folder that it lies in, whether composed letters (Linux) or not (macOS)."""
    return unicodedata.normalize("NFC", path.partition("/")[0])


def _unreadable(path: str, label: str, error: Exception | str) -> Found:
    why = getattr(error, "strerror", None) or error
    return Found(path, label, reason=f"cannot be read: {why}")


def _identity(folder: str) -> tuple[int, int]:
    info = os.stat(folder)
    return info.st_dev, info.st_ino
