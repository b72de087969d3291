"""Copy files between folders and buckets; every copy is compared with its source.

An object in a bucket is there as a whole or not at all. A local file is written under another name
first, so that the same is true of it.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from launcher.cloud import clients, object_names
from launcher.cloud.clients import CloudError, Need
from launcher.common.files import PARTIAL, replacing

AT_ONCE = 8  # files that are copied side by side; the client keeps ten connections
SHOWN = 3  # faults that a message names
# Left behind by Python and Jupyter; by macOS, Windows, and copies that were interrupted.
LITTER_FOLDERS = {"__pycache__", ".ipynb_checkpoints"}
LITTER = re.compile(r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini|.*\.partial")


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
        options = {"checksum": "crc32c", **clients.patience()}
        if new:
            options["if_generation_match"] = 0  # the service's words for: not yet there
        with self._explain(f"upload to {uri}", uri):
            try:
                if isinstance(source, bytes):
                    blob.upload_from_string(source, "application/octet-stream", **options)
                else:
                    blob.upload_from_filename(str(source), **options)
            except clients.sdk("google.api_core.exceptions").PreconditionFailed:
                # Another's object; or ours, and the answer to the first try was lost.
                blob.reload(**clients.patience())
        there = Entry(int(blob.size or 0), blob.crc32c or wanted.crc32c)
        if there != wanted and not new:
            raise CloudError(f"upload to {uri}: what arrived is not what was sent; try once more")
        return there == wanted

    def exists(self, uri: str) -> bool:
        """Whether there is such an object."""
        with self._explain(f"look for {uri}", uri):
            return self._blob(uri).exists(**clients.patience())

    def find_location(self, bucket: str) -> tuple[str, list[str]] | None:
        """Where a bucket lies: its location, and its regions where its owner chose several.

        None where the bucket is missing or its description may not be read.
        """
        hidden = clients.sdk("google.api_core.exceptions")
        with self._explain(f"look where gs://{bucket} lies", f"gs://{bucket}"):
            try:
                answer = self.client.get_bucket(bucket, **clients.patience())
            except (hidden.Forbidden, hidden.NotFound):
                return None
        return answer.location or "", list(answer.data_locations or ())

    def is_free(self, folder: str) -> bool:
        """Whether nothing lies in a folder of a bucket."""
        bucket, name = split(folder.rstrip("/") + "/")
        with self._explain(f"look into {folder}", folder):
            options = {"prefix": name, "max_results": 1, **clients.patience()}
            return not list(self.client.list_blobs(bucket, **options))

    def read(self, uri: str) -> bytes:
        """The whole object."""
        with self._explain(f"read {uri}", uri):
            options = {"raw_download": True, "checksum": "crc32c", **clients.patience()}
            return self._blob(uri).download_as_bytes(**options)

    def listing(self, folder: str) -> dict[str, Entry]:
        """The objects in a folder of a bucket and below it, by their names within it."""
        bucket, prefix = split(folder.rstrip("/") + "/")
        with self._explain(f"list {folder}", folder):
            blobs = list(self.client.list_blobs(bucket, prefix=prefix, **clients.patience()))
        entries = {blob.name[len(prefix) :]: Entry(blob.size, blob.crc32c) for blob in blobs}
        # TensorFlow marks folders by empty objects, which are no files.
        return {name: e for name, e in entries.items() if e.size or name[-1:] not in "/"}

    def list_for_disk(self, folder: str, target: Path) -> dict[str, Entry]:
        """The same, where all of them may be written to a local folder.

        Raises:
            CloudError: names the objects that may not, or what is in their way.
        """
        names = self.listing(folder)
        faults = object_names.find_faults(names)
        if faults:
            more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
            raise CloudError(
                f"{folder}: {'; '.join(faults[:SHOWN])}{more}; nothing was copied: rename or remove "
                "such objects in the bucket, then try again"
            )
        refuse_obstacles(target / name for name in names)
        folders = {target / name.rpartition("/")[0] for name in names if "/" in name}
        folders |= {up for folder in folders for up in folder.parents if target in up.parents}
        for folder in filter(Path.is_symlink, sorted(folders)):
            raise CloudError(f"{folder}: is a link, and nothing is written through it; move it")
        return names

    def download(self, uri: str, path: Path, wanted: Entry | None = None) -> None:
        """Writes an object to a file, which is there as a whole or not at all.

        Args:
            wanted: what `listing` said of it; where it is given, what arrived is compared with it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"raw_download": True, "checksum": "crc32c", **clients.patience()}
        with replacing(path) as partial:
            with self._explain(f"download {uri}", uri):
                self._blob(uri).download_to_filename(str(partial), **options)
            if wanted and entry(partial) != wanted:
                raise CloudError(
                    f"download {uri}: it changed meanwhile, or arrived damaged; try again"
                )

    def _blob(self, uri: str):
        bucket, name = split(uri)
        return self.client.bucket(bucket).blob(name)

    def _explain(self, what: str, uri: str):
        bucket = split(uri)[0]
        location = f" --location={self.region}" if self.region else ""
        need = Need(
            api="storage.googleapis.com",
            role="roles/storage.objectUser",
            project=self.project,
            bucket=bucket,
            create=f"gcloud storage buckets create gs://{bucket} --project={self.project}{location} "
            "--uniform-bucket-level-access",
        )
        return clients.explain_errors(what, need, self.who)


def sync(
    store: Store, source: str | Path, target: str | Path, skip: str = "", say: Callable = print
) -> Copied:
    """Copies a folder into another, from a bucket or to one; what is equal there already stays.

    Args:
        source, target: gs://…, or a local folder; one of them is local.
        skip: a regular expression for names, within the folder, that are left out.

    Raises:
        CloudError: a file cannot be read or written, or an object's name is not legal here.
    """
    source, target = str(source).rstrip("/"), str(target).rstrip("/")
    down = _is_bucket(source)
    if down == _is_bucket(target):
        kind = "both are buckets: gcloud storage cp -r copies them" if down else "both are local"
        raise CloudError(f"copy {source} to {target}: {kind}; give a local folder and a gs:// one")
    with disk_errors(target if down else source):
        names = store.list_for_disk(source, Path(target)) if down else local(source)
        names = {n: e for n, e in names.items() if not (skip and re.search(skip, n))}
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
        # Not the client's transfer_manager, which returns after the last file: a copy that is
        # interrupted would have to begin again.
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(copy, todo))
    return Copied(len(todo), size, len(names) - len(todo))


@contextlib.contextmanager
def disk_errors(path: str | Path) -> Iterator[None]:
    """Report what the disk refuses within the block in one line."""
    try:
        yield
    except OSError as error:
        name, reason = error.filename or path, error.strerror or error
        raise CloudError(f"{name}: {reason}; remove the cause, then try again") from None


def local(folder: str | Path, names: Iterable[str] | None = None) -> dict[str, Entry]:
    """The files in a local folder and below it, without litter; of `names` alone, if given.

    Raises:
        CloudError: there is no such folder, or a name that no object can have.
    """
    root = Path(folder)
    if names is not None:
        paths = [path for path in (root / name for name in names) if path.is_file()]
    elif root.is_dir():
        every = sorted(root.rglob("*"))
        paths = [p for p in every if p.is_file() and not _is_litter(p.relative_to(root))]
    else:
        raise CloudError(f"{folder}: is no folder; give one that exists")
    files = {path.relative_to(root).as_posix(): path for path in paths}
    for name in files:
        if re.search("[\r\n\ud800-\udfff]", name):  # line breaks, or bytes that are not UTF-8
            raise CloudError(f"{folder}: {name!r} cannot be an object's name; rename the file")
    return {name: entry(path) for name, path in files.items()}


def _is_litter(path: Path) -> bool:
    return not LITTER_FOLDERS.isdisjoint(path.parts) or bool(LITTER.fullmatch(path.name))


def refuse_obstacles(paths: Iterable[Path]) -> None:
    """Look for what stands in the way of files that are to be written.

    Raises:
        CloudError: a folder has the name of a file, or a file that of a folder.
    """
    paths = list(paths)
    for path in paths:
        for taken in (path, path.with_name(path.name + PARTIAL)):
            if taken.is_dir():
                raise CloudError(
                    f"{taken}: is a folder, and a file is to be written there; move it"
                )
    for folder in sorted({parent for path in paths for parent in path.parents}):
        if os.path.lexists(folder) and not folder.is_dir():
            raise CloudError(f"{folder}: is a file, and a folder is to be made there; move it")


def _is_bucket(uri: str) -> bool:
    if re.match("gs:(?!//[^/])", uri):  # "gs:/lab" would be a folder here
        raise CloudError(f"{uri}: is no bucket; write gs://BUCKET/FOLDER")
    return uri.startswith("gs://")


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
