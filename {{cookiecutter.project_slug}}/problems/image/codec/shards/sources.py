"""Where images come from: a folder with a folder for each class, or a CSV of paths and labels."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from codec import files
from codec.errors import JobError
from codec.images import MAX_BYTES
from codec.shards.pool import run_in_order
from codec.shards.table import SourceFile, read_rows
from codec.split import name_group

REMOTE_REQUESTS = 32  # at a time


def locate(source: str, path: str) -> str:
    """The path by which to open a file of the source."""
    if is_table(source):
        if files.is_remote(path) or os.path.isabs(path):
            return path
        source = source.rpartition("/")[0] if files.is_remote(source) else os.path.dirname(source)
    return f"{source.rstrip('/')}/{path}" if source else path


def is_table(source: str) -> bool:
    return source.lower().endswith(".csv")


def list_files(source: str, group: str = "") -> Iterator[SourceFile]:
    """Every file but the hidden ones, in no particular order.

    Args:
        group: a column of the CSV, or the level of a folder (2: SRC/<class>/<group>/…).

    Raises:
        JobError: no such file, folder or group, or a CSV that cannot be read.
    """
    if is_table(source):
        return _inspect(source, read_rows(source, group))
    if group and not (group.isdecimal() and int(group) > 1):
        raise JobError(
            f"--group {group}: {source} is a folder; write which folder names the group, counted "
            "from 1, the class: --group 2 for SRC/<class>/<group>/*.jpg"
        )
    if files.is_remote(source):
        listed = _inspect(source, _walk_bucket(source.rstrip("/"), ""))
    elif os.path.isdir(source):
        listed = _walk_folder(source, "", [_identify(source)])
    else:
        problem = "is a file" if os.path.exists(source) else "no such file or folder"
        raise JobError(f"{source}: {problem}; expected SRC/<class>/*.jpg, or a CSV file")
    return _group_by_folder(listed, int(group)) if group else listed


def _group_by_folder(listed: Iterable[SourceFile], level: int) -> Iterator[SourceFile]:
    for file in listed:
        folders = file.path.split("/")[:-1]
        if len(folders) >= level:  # a name that is not UTF-8 is kept as its bytes are written
            name = os.fsencode(folders[level - 1]).decode("utf-8", "backslashreplace")
            yield replace(file, group=name_group(name))
        else:
            reason = file.reason or f"in no group: --group {level} expects it {level} folders deep"
            yield replace(file, reason=reason)


def _inspect(source: str, listed: Iterable[SourceFile]) -> Iterator[SourceFile]:
    """Add sizes and times, many at once. A file that cannot be read is rejected, and no more."""

    def inspect(file: SourceFile) -> SourceFile:
        path = locate(source, file.path)
        try:
            if file.reason:
                return file
            if not files.is_remote(path):
                return _describe(file, os.stat(path))
            if not path.startswith("gs://"):
                scheme = path.partition("://")[0]
                return _reject_unreadable(file, f"{scheme}:// is not supported; download the file")
            if not files.exists(path):
                return _reject_unreadable(file, "there is no such file")
            return _note_size(file, files.size(path), files.modified(path))
        except (OSError, ValueError, files.Unreadable) as error:
            return _reject_unreadable(file, error)

    with ThreadPoolExecutor(REMOTE_REQUESTS) as pool:
        yield from run_in_order(pool, inspect, ((file,) for file in listed), REMOTE_REQUESTS)


def _walk_folder(folder: str, path: str, above: list[tuple[int, int]]) -> Iterator[SourceFile]:
    """Follow links, but never into a folder that contains the link."""
    try:
        entries = os.scandir(folder)
    except OSError as error:
        yield _reject_unreadable(SourceFile(path, _name_class(path)), error)
        return
    with entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = f"{path}/{entry.name}" if path else entry.name
            file = SourceFile(name, _name_class(name) if path else "")
            try:
                info = os.stat(entry.path)
            except OSError as error:  # a link to nothing, or to itself
                yield _reject_unreadable(file, error)
                continue
            if stat.S_ISDIR(info.st_mode):
                identity = info.st_dev, info.st_ino
                if identity in above:
                    yield replace(file, reason="a link to a folder that it is in")
                else:
                    yield from _walk_folder(entry.path, name, [*above, identity])
            else:
                yield _describe(file, info)


def _walk_bucket(folder: str, path: str) -> Iterator[SourceFile]:
    """The names of the files below a folder in a bucket."""
    if not path and not files.exists(folder):
        raise JobError(f"{folder}: nothing is there; expected SRC/<class>/*.jpg, or a CSV file")
    for entry in files.entries(f"{folder}/{path}"):
        if entry.startswith("."):
            continue
        name = path + entry
        if entry.endswith("/"):
            yield from _walk_bucket(folder, name)
        else:
            label = _name_class(name) if path else ""
            yield SourceFile(name, label, reason=_check_class(label))


def _describe(file: SourceFile, info: os.stat_result) -> SourceFile:
    if not stat.S_ISREG(info.st_mode):
        return replace(file, reason="not a file")  # a pipe would keep its reader for ever
    # New permissions change the second time, which matters to a file that could not be read.
    return _note_size(file, info.st_size, max(info.st_mtime_ns, info.st_ctime_ns))


def _note_size(file: SourceFile, size: int, changed: int) -> SourceFile:
    reason = _check_class(file.label)
    if reason is None and size > MAX_BYTES:
        reason = f"too large: {size >> 20} MiB"
    return replace(file, size=size, changed=changed, reason=reason)


def _check_class(label: str) -> str | None:
    if not label:
        return "in no class: put it into a folder with the class's name"
    try:
        label.encode()
    except UnicodeEncodeError:
        return "the name of its class is not UTF-8: rename the folder"
    return None


def _name_class(path: str) -> str:
    """The first folder's name, the same whether its letters are composed (Linux) or not (macOS)."""
    return unicodedata.normalize("NFC", path.partition("/")[0])


def _reject_unreadable(file: SourceFile, error: Exception | str) -> SourceFile:
    problem = getattr(error, "strerror", None) or error
    return replace(file, reason=f"cannot be read: {problem}")


def _identify(folder: str) -> tuple[int, int]:
    info = os.stat(folder)
    return info.st_dev, info.st_ino
