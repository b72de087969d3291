"""Where pictures come from: a folder with a folder for each class, or a CSV of paths and labels."""

from __future__ import annotations

import csv
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from codec import files
from codec.images import MAX_BYTES
from codec.split import name_group
from trainer.engine.runtime import JobError
from trainer.images.parallel import in_order

REMOTE_REQUESTS = 32  # at a time
# A value in quotes, from one comma (or end of the line) to the next; "" is a quote inside it.
_QUOTED = re.compile(r'(?:^|(?<=,)) *"[^"]*(?:""[^"]*)*" *(?=,|$)')


@dataclass(frozen=True)
class Found:
    """One file that was found, or anything else that must not be dropped in silence."""

    path: str  # below the folder, or as the CSV has it: its name from here on
    label: str
    size: int = 0  # bytes
    changed: int = 0  # nanoseconds; tells whether it is the file that was read before
    reason: str | None = None  # why it is no picture; None: it has to be read
    group: str = ""  # what --group names: images of one group stay on one side of the split


def place(source: str, path: str) -> str:
    """Where to open a found file."""
    if is_table(source):
        if files.is_remote(path) or os.path.isabs(path):
            return path
        source = source.rpartition("/")[0] if files.is_remote(source) else os.path.dirname(source)
    return f"{source.rstrip('/')}/{path}" if source else path


def is_table(source: str) -> bool:
    return source.lower().endswith(".csv")


def find(source: str, group: str = "") -> Iterator[Found]:
    """Every file but the hidden ones, in no particular order.

    Args:
        group: a column of the CSV, or the level of a folder (2: SRC/<class>/<group>/…).

    Raises:
        JobError: no such file, folder or group, or a CSV that cannot be read.
    """
    if is_table(source):
        return _checked(source, _rows(source, group))
    if group and not (group.isdecimal() and int(group) > 1):
        raise JobError(
            f"--group {group}: {source} is a folder; write which folder names the group, counted "
            "from 1, the class: --group 2 for SRC/<class>/<group>/*.jpg"
        )
    if files.is_remote(source):
        found = _checked(source, _remote(source.rstrip("/"), ""))
    elif os.path.isdir(source):
        found = _walk(source, "", [_identity(source)])
    else:
        what = "is a file" if os.path.exists(source) else "no such file or folder"
        raise JobError(f"{source}: {what}; expected SRC/<class>/*.jpg, or a CSV file")
    return _group_by_folder(found, int(group)) if group else found


def _group_by_folder(found: Iterable[Found], level: int) -> Iterator[Found]:
    for one in found:
        folders = one.path.split("/")[:-1]
        if len(folders) >= level:  # a name that is not UTF-8 is kept as its bytes are written
            name = os.fsencode(folders[level - 1]).decode("utf-8", "backslashreplace")
            yield replace(one, group=name_group(name))
        else:
            reason = one.reason or f"in no group: --group {level} expects it {level} folders deep"
            yield replace(one, reason=reason)


def _checked(source: str, found: Iterable[Found]) -> Iterator[Found]:
    """Looks at the files themselves, many at a time. One that cannot be read costs only itself."""

    def look(one: Found) -> Found:
        path = place(source, one.path)
        try:
            if one.reason:
                return one
            if not files.is_remote(path):
                return _stated(one.path, one.label, os.stat(path))
            if not path.startswith("gs://"):
                why = f"{path.partition('://')[0]}:// is not supported; download the file"
                return _unreadable(one.path, one.label, why)
            if not files.exists(path):
                return _unreadable(one.path, one.label, "there is no such file")
            return _sized(one.path, one.label, files.size(path), files.modified(path))
        except (OSError, ValueError, files.Unreadable) as error:
            return _unreadable(one.path, one.label, error)

    def keep_group(one: Found) -> Found:
        return replace(look(one), group=one.group)

    with ThreadPoolExecutor(REMOTE_REQUESTS) as pool:
        yield from in_order(pool, keep_group, ((one,) for one in found), REMOTE_REQUESTS)


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


def _rows(source: str, group: str) -> Iterator[Found]:
    """The images in a CSV of two columns, path and label; or of more, named in its first line.

    A record is one line. A quote that nobody closed would otherwise swallow the lines below it, and
    nothing tells such lines from a value that is meant to hold line breaks.
    """
    columns, line = None, 0
    try:
        for line, text in _lines(source):
            row = _split_line(text)
            if not row:
                continue
            if columns is None:
                _check_separator(f"{source}:{line}", text, row)
                columns = _Columns.read(f"{source}:{line}", row, group)
                if columns.named:
                    continue
            yield _row(f"{os.path.basename(source)}:{line}", row, columns)
    except OSError as error:
        raise JobError(f"{source}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise JobError(
            f'{source}:{line + 1}: not UTF-8 ({error}); save it as "CSV UTF-8"'
        ) from None
    except csv.Error as error:
        raise JobError(f"{source}:{line}: {error}") from None


@dataclass(frozen=True)
class _Columns:
    """Where the values stand in a row."""

    path: int = 0
    label: int = 1
    group: int | None = None
    count: int = 2
    named: bool = False  # by a header

    @staticmethod
    def read(place: str, row: list[str], group: str) -> _Columns:
        names = [value.strip().lower() for value in row]
        if not {"path", "label"} <= set(names):
            if group:
                raise JobError(f"{place}: --group {group} needs a header: path,label,{group}")
            return _Columns()
        wanted = ["path", "label", *([group.strip().lower()] if group else [])]
        for name in wanted:
            if names.count(name) != 1:
                problem = "stands in the header twice" if name in names else "no such column"
                raise JobError(f"{place}: {name}: {problem}; the columns are {', '.join(names)}")
        return _Columns(*map(names.index, wanted), *([] if group else [None]), len(names), True)


def unused_columns(source: str) -> tuple[str, ...]:
    """The columns of a CSV with a header, beside path and label."""
    row = next((_split_line(text) for _, text in _lines(source) if text.strip()), [])
    names = [value.strip() for value in row]
    lower = {name.lower() for name in names}
    if not {"path", "label"} <= lower:
        return ()
    return tuple(name for name in names if name.lower() not in ("path", "label"))


def _lines(source: str) -> Iterator[tuple[int, str]]:
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


def _check_separator(place: str, text: str, row: list[str]) -> None:
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        names = {value.strip(' "').lower() for value in text.split(mark)}
        if mark in text and (len(row) == 1 or {"path", "label"} <= names):
            raise JobError(f"{place}: {name} between the values; save it with commas: path,label")


def _row(place: str, row: list[str], columns: _Columns) -> Found:
    if len(row) != columns.count:
        hint = "; semicolons do not separate values" if len(row) == 1 and ";" in row[0] else ""
        reason = f"{len(row)} values, expected {columns.count}: path,label{hint}"
        return Found(place, "", reason=reason)
    path = row[columns.path].strip()
    label = unicodedata.normalize("NFC", row[columns.label].strip())
    group = "" if columns.group is None else row[columns.group].strip()
    reason = None if label else "no label"
    if columns.group is not None and not group:
        reason = reason or "no group"
    if not path:
        return Found(place, "", reason="no path in this line")
    return Found(path, label, reason=reason, group=name_group(group))


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
