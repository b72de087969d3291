"""Local folders and `gs://` behind the same few functions.

Local paths (and `/gcs/`, a local mount) need the standard library alone: mistakes in local files are
reported without TensorFlow, whose import takes seconds.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import glob as local_glob
import importlib
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from typing import IO

from codec.errors import JobError


class Unreadable(JobError):
    """This path cannot be read, now or later; another one in the same bucket perhaps can."""


# TensorFlow's INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, FAILED_PRECONDITION and
# UNIMPLEMENTED; the other errors may pass.
_LASTING = (3, 5, 7, 9, 12)


def is_remote(path: str) -> bool:
    """True for `gs://…` and its like."""
    return "://" in path


# The module that opens gs://, with the functions of `tensorflow.io.gfile`. codec imports no
# TensorFlow: whoever reads buckets (trainer/__init__.py, scripts/data.py) names the module here.
GFILE: str | None = None


def _gfile():
    if GFILE is None:
        raise JobError("gs://…: no module opens buckets here; set codec.files.GFILE")
    return importlib.import_module(GFILE)


def _raise_job_error(function: Callable) -> Callable:
    """Raise TensorFlow's errors of buckets as a JobError of one line.

    A file without access is thus never mistaken for one that is corrupt or missing.
    """

    @functools.wraps(function)
    def call(*args):
        try:
            return function(*args)
        except Exception as error:
            if not hasattr(error, "error_code"):  # TensorFlow's; on local files it is not imported
                raise
            message = " ".join(error.message.split())
            if scheme := re.search(
                r"File system scheme '(.*)' not implemented \(file: '(.*)'\)", message
            ):
                raise Unreadable(
                    f"{scheme[2]}: {scheme[1]}:// is not read here; download the file, or copy it to "
                    "a bucket and write gs://…"
                ) from None
            action = re.search(r" when (.*gs://.*)", message)
            answer = re.search(r'"message": ?"(.*?)"', message)
            kind = Unreadable if error.error_code in _LASTING else JobError
            raise kind(f"{action[1]}: {answer[1]}" if action and answer else message) from None

    return call


@_raise_job_error
def open(path: str, mode: str = "r") -> IO:
    """Open as the built-in does; text is UTF-8 and line ends are kept."""
    if not is_remote(path):
        return builtins.open(path, mode, **({} if "b" in mode else _TEXT))
    if mode == "rb":
        return io.BufferedReader(_RemoteReader(path), buffer_size=1 << 20)
    if mode == "r":
        return io.TextIOWrapper(open(path, "rb"), **_TEXT)
    return _gfile().GFile(path, mode)


_CHUNK = 16 << 20
_TEXT = {"encoding": "utf-8", "newline": ""}


class _RemoteReader(io.RawIOBase):
    """A GFile as a Python stream: the csv module and pyarrow need `readinto`, `seek` and `closed`."""

    def __init__(self, path: str):
        self._path, self._file = path, _gfile().GFile(path, "rb")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    @_raise_job_error
    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self._file.tell()
        elif whence == io.SEEK_END:
            offset += size(self._path)
        self._file.seek(offset)
        return offset

    @_raise_job_error
    def readinto(self, buffer) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def read_text(path: str) -> str:
    with open(path) as file:
        return file.read()


@_raise_job_error
def write_text(path: str, text: str) -> None:
    """Write the whole file or leave the old one: a reader never sees half of it."""
    if is_remote(path):  # an object appears in a bucket once it is complete
        with open(path, "w") as file:
            file.write(text)
        return
    make_dirs(os.path.dirname(path))
    with _partial(path) as partial, open(partial, "w") as file:
        file.write(text)


@_raise_job_error
def write_from(source: IO[bytes], path: str) -> None:
    """Copy an open file to a path; the file at that path is complete or missing."""
    if is_remote(path):
        with open(path, "wb") as file:
            shutil.copyfileobj(source, file, _CHUNK)
        return
    with _partial(path) as partial, open(partial, "wb") as file:
        shutil.copyfileobj(source, file, _CHUNK)
        file.flush()
        os.fsync(file.fileno())  # or a crash of the machine could leave the name without the data


@contextlib.contextmanager
def _partial(path: str) -> Iterator[str]:
    """A path to write to; the file gets its own name once it is complete, or is removed."""
    partial = f"{path}.{os.getpid()}.partial"
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:  # a full disk
        with contextlib.suppress(OSError):
            os.remove(partial)
        error.filename = error.filename or path
        raise


def upload(folder: str, path: str, last: str) -> None:
    """Copy a local folder to a bucket; the file `last` shows that all others are there."""
    paths = [os.path.join(root, name) for root, _, names in os.walk(folder) for name in names]
    for local in sorted(paths, key=lambda local: (os.path.basename(local) == last, local)):
        name = os.path.relpath(local, folder).replace(os.sep, "/")
        with builtins.open(local, "rb") as source:
            write_from(source, f"{path}/{name}")


def read_into(path: str, target: IO[bytes]) -> None:
    """Copy a file's bytes to an open file."""
    with open(path, "rb") as file:
        shutil.copyfileobj(file, target, _CHUNK)


@_raise_job_error
def read_range(path: str, start: int, size: int) -> bytes:
    """`size` bytes from `start` on; fewer where the file ends before."""
    with _gfile().GFile(path, "rb") if is_remote(path) else builtins.open(path, "rb") as file:
        file.seek(start)
        return file.read(size)


@_raise_job_error
def glob(pattern: str) -> list[str]:
    """Paths that match, sorted; a path without wildcards matches itself where it exists."""
    if is_remote(pattern):
        return sorted(_gfile().glob(pattern))
    if os.path.isfile(pattern):  # brackets may be part of a real name
        return [pattern]
    return sorted(p for p in local_glob.glob(pattern, recursive=True) if os.path.isfile(p))


@_raise_job_error
def exists(path: str) -> bool:
    return _gfile().exists(path) if is_remote(path) else os.path.exists(path)


@_raise_job_error
def names(directory: str) -> list[str]:
    """Names in a directory, sorted; empty where there is no such directory."""
    if not exists(directory):  # not isdir: it takes a bucket that does not answer for no directory
        return []
    listed = _gfile().listdir(directory) if is_remote(directory) else os.listdir(directory)
    return sorted(name.rstrip("/") for name in listed)


@_raise_job_error
def entries(directory: str) -> list[str]:
    """Names in a bucket's directory; those of directories end in a slash."""
    return [name for name in _gfile().listdir(directory) if name]


def make_dirs(path: str) -> None:
    """Make a folder; a bucket needs none, and TensorFlow waits for ever for one that does not exist."""
    if path and not is_remote(path):
        os.makedirs(path, exist_ok=True)


@_raise_job_error
def remove_tree(path: str) -> None:
    """Remove a directory and all in it; a missing one is no error."""
    if is_remote(path):
        if _gfile().exists(path):
            _gfile().rmtree(path)
    else:
        shutil.rmtree(path, ignore_errors=True)


@_raise_job_error
def remove(path: str) -> None:
    """Remove a file; a missing one is no error."""
    if not exists(path):
        return
    _gfile().remove(path) if is_remote(path) else os.remove(path)


@_raise_job_error
def size(path: str) -> int:
    """Bytes."""
    return _gfile().stat(path).length if is_remote(path) else os.path.getsize(path)


@_raise_job_error
def modified(path: str) -> int:
    """Nanoseconds since 1970 at which the file was last written."""
    if is_remote(path):
        return int(_gfile().stat(path).mtime_nsec)
    return os.stat(path).st_mtime_ns
