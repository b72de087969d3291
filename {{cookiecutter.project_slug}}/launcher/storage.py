"""Files in buckets and folders: uploaded, listed, copied; each is compared with what was meant.

An object in a bucket is there as a whole or not at all. A local file is written under another name
first, so that the same is true of it.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from launcher import clients
from launcher.clients import CloudError, Need

AT_ONCE = 8  # files that are copied side by side; the client keeps ten connections
PARTIAL = ".partial"  # at the end of the name of a file that is not whole yet


@dataclass(frozen=True)
class Entry:
    """A file: its size in bytes, and the checksum that Cloud Storage keeps of each object."""

    size: int
    crc32c: str


@dataclass(frozen=True)
class Copied:
    """What a copy did."""

    files: int
    bytes: int
    equal: int  # files that were there already


def split(uri: str) -> tuple[str, str]:
    """ "gs://lab/runs/a" → ("lab", "runs/a")"""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, name


class Store:
    """The buckets that the caller may use."""

    def __init__(self, project: str, region: str = "", credentials=None):
        """Asks nothing yet.

        Raises:
            CloudError: the SDK is not installed, or nobody is logged in.
        """
        self.project, self.region = project, region
        self.who = credentials or clients.credentials()
        storage = clients.sdk("google.cloud.storage")
        self.client = storage.Client(project=project, credentials=self.who)

    def upload(self, source: Path | bytes, uri: str, new: bool = False) -> bool:
        """Writes an object, and compares what arrived.

        Args:
            new: only where there is none; what is there stays.

        Returns:
            Whether the object now holds the source: False where `new` met another one.
        """
        wanted = entry(source)
        blob = self._blob(uri)
        options = {"checksum": "crc32c", "timeout": clients.ANSWER, "retry": clients.retry()}
        if new:
            options["if_generation_match"] = 0  # the service's words for: not yet there
        with self._telling(f"upload to {uri}", uri):
            try:
                if isinstance(source, bytes):
                    blob.upload_from_string(source, "application/octet-stream", **options)
                else:
                    blob.upload_from_filename(str(source), **options)
            except clients.sdk("google.api_core.exceptions").PreconditionFailed:
                # Another's object; or ours, and the answer to the first try was lost.
                blob.reload(timeout=clients.ANSWER, retry=clients.retry())
        there = Entry(int(blob.size or 0), blob.crc32c or wanted.crc32c)
        if there != wanted and not new:
            raise CloudError(f"upload to {uri}: what arrived is not what was sent; try once more")
        return there == wanted

    def exists(self, uri: str) -> bool:
        """Whether there is such an object."""
        with self._telling(f"look for {uri}", uri):
            return self._blob(uri).exists(timeout=clients.ANSWER, retry=clients.retry())

    def is_free(self, folder: str) -> bool:
        """Whether nothing lies in a folder of a bucket."""
        bucket, name = split(folder.rstrip("/") + "/")
        with self._telling(f"look into {folder}", folder):
            options = {"timeout": clients.ANSWER, "retry": clients.retry(), "max_results": 1}
            return not list(self.client.list_blobs(bucket, prefix=name, **options))

    def read(self, uri: str) -> bytes:
        """The whole object."""
        with self._telling(f"read {uri}", uri):
            options = {"timeout": clients.ANSWER, "retry": clients.retry(), "checksum": "crc32c"}
            return self._blob(uri).download_as_bytes(raw_download=True, **options)

    def listing(self, folder: str) -> dict[str, Entry]:
        """The objects in a folder of a bucket and below it, by their names within it."""
        bucket, prefix = split(folder.rstrip("/") + "/")
        with self._telling(f"list {folder}", folder):
            options = {"timeout": clients.ANSWER, "retry": clients.retry()}
            blobs = list(self.client.list_blobs(bucket, prefix=prefix, **options))
        found = {blob.name[len(prefix) :]: Entry(blob.size, blob.crc32c) for blob in blobs}
        # TensorFlow marks folders by empty objects, which have no place among files.
        return {name: entry for name, entry in found.items() if name and not name.endswith("/")}

    def download(self, uri: str, path: Path, wanted: Entry | None = None) -> None:
        """Writes an object to a file, which is there as a whole or not at all.

        Args:
            wanted: what `listing` said of it; where it is given, what arrived is compared with it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + PARTIAL)
        options = {"timeout": clients.ANSWER, "retry": clients.retry(), "checksum": "crc32c"}
        try:
            with self._telling(f"download {uri}", uri):
                self._blob(uri).download_to_filename(str(partial), raw_download=True, **options)
            if wanted and entry(partial) != wanted:
                raise CloudError(
                    f"download {uri}: it changed meanwhile, or arrived torn; try again"
                )
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    def _blob(self, uri: str):
        bucket, name = split(uri)
        return self.client.bucket(bucket).blob(name)

    def _telling(self, what: str, uri: str):
        bucket = split(uri)[0]
        place = f" --location={self.region}" if self.region else ""
        need = Need(
            api="storage.googleapis.com",
            role="roles/storage.objectUser",
            project=self.project,
            bucket=bucket,
            create=f"gcloud storage buckets create gs://{bucket} --project={self.project}{place} "
            "--uniform-bucket-level-access",
        )
        return clients.telling(what, need, self.who)


def sync(
    store: Store, source: str | Path, target: str | Path, skip: str = "", say: Callable = print
) -> Copied:
    """Copies a folder into another, from a bucket or to one; what is equal there already stays.

    Args:
        source, target: gs://…, or a local folder; one of them is local.
        skip: a regular expression for names, within the folder, that are left out.

    Raises:
        CloudError: a file cannot be read or written, or its name has no place here.
    """
    source, target = str(source).rstrip("/"), str(target).rstrip("/")
    down = source.startswith("gs://")
    names = store.listing(source) if down else local(source)
    names = {n: e for n, e in names.items() if not (skip and re.search(skip, n))}
    if down:
        _refuse_strays(names, source)
    there = local(target, names) if down else store.listing(target)
    todo = [name for name in names if there.get(name) != names[name]]

    def copy(name: str) -> None:
        if down:
            store.download(f"{source}/{name}", Path(target, name), names[name])
        else:
            store.upload(Path(source, name), f"{target}/{name}")

    size = sum(names[name].size for name in todo)
    if todo:
        say(f"[launcher] {len(todo)} files, {size / 1e6:.1f} MB, to {target}")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(copy, todo))
    return Copied(len(todo), size, len(names) - len(todo))


def local(folder: str | Path, names: Iterable[str] | None = None) -> dict[str, Entry]:
    """The files in a local folder and below it; of `names` alone, where they are given."""
    root = Path(folder)
    if names is None:
        paths = [path for path in root.rglob("*") if path.is_file()]
    else:
        paths = [path for path in (root / name for name in names) if path.is_file()]
    kept = [path for path in paths if "__pycache__" not in path.parts]
    return {path.relative_to(root).as_posix(): entry(path) for path in sorted(kept)}


def entry(source: Path | bytes) -> Entry:
    """Size and checksum of a file, or of bytes."""
    checksum = clients.sdk("google_crc32c").Checksum()
    if isinstance(source, bytes):
        checksum.update(source)
        size = len(source)
    else:
        size = source.stat().st_size
        with open(source, "rb") as file:
            while chunk := file.read(1 << 20):
                checksum.update(chunk)
    return Entry(size, base64.b64encode(checksum.digest()).decode())


def _refuse_strays(names: Iterable[str], source: str) -> None:
    """A name in a bucket is any text; one that leads out of the folder is not followed."""
    for name in names:
        parts = name.split("/")
        if ".." in parts or "" in parts or Path(name).is_absolute() or "\\" in name:
            raise CloudError(f"{source}: {name!r} cannot be the name of a file here; rename it")
