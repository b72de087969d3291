"""Copy files between folders and buckets; every copy is compared with its source.

An object in a bucket is there as a whole or not at all. A local file is written under another name
first, so that the same is true of it; a copy that was interrupted resumes there. Google's
transfer_manager writes files under their final names, and takes any file of the name for a copy.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from mimetypes import guess_type
from pathlib import Path
from typing import IO

from launcher.cloud import errors, local_files
from launcher.cloud.clients import Connection, Need
from launcher.cloud.errors import CloudError
from launcher.cloud.local_files import (
    SHOWN,
    Count,
    Entry,
    compute_entry,
    disk_errors,
    hash_files,
    read_file,
    work_through,
)
from launcher.project.buckets import holds_region
from launcher.project.settings import read_settings

PART = 16 << 20  # bytes that one request reads or writes
# Of a download: as the object is stored, even where it is compressed.
DOWN = {"raw_download": True, "checksum": "crc32c"}


def split(uri: str) -> tuple[str, str]:
    """ "gs://lab/runs/a" → ("lab", "runs/a")"""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, name


class Store:
    """The buckets that the caller may use."""

    def __init__(self, connection: Connection):
        """Sends nothing yet."""
        self.connection = connection
        storage = errors.sdk("google.cloud.storage")
        self.client = storage.Client(connection.project, connection.credentials)

    def upload(self, source: Path | bytes, uri: str, new: bool = False) -> bool:
        """Write an object; Google's client and the service compare the checksums.

        Args:
            new: only where there is none; what is there stays.

        Returns:
            Whether the object now holds the source: False where `new` met another one.
        """
        blob, options = self._blob(uri), {"checksum": "crc32c", "content_type": guess_type(uri)[0]}
        write = blob.upload_from_string if isinstance(source, bytes) else blob.upload_from_filename
        if new:
            options["if_generation_match"] = 0  # the service's words for: not yet there
        try:
            self._call("upload to", uri, write, source, **options)
            return True
        except CloudError as error:
            if error.status != 412:  # Precondition Failed
                raise
        # Another's object; or ours, and the answer to the first attempt was lost.
        self._call("upload to", uri, blob.reload)
        parts = [source] if isinstance(source, bytes) else read_file(source)
        return Entry(blob.size, blob.crc32c) == compute_entry(parts)

    def exists(self, uri: str) -> bool:
        """Whether there is such an object."""
        return self._call("look for", uri, self._blob(uri).exists)

    def list_far_buckets(self, names: Iterable[str], region: str) -> Iterator[tuple[str, str]]:
        """Those of these buckets that are not in a region: (name, the words that say where it is).

        A bucket that is missing, or whose description may not be read, is left out.
        """
        for name in dict.fromkeys(names):
            uri = f"gs://{name}"
            try:
                bucket = self._call("find the location of", uri, self.client.get_bucket, name)
            except CloudError as error:
                if error.status in (403, 404):
                    continue
                raise
            location, parts = bucket.location or "", bucket.data_locations or ()
            if not holds_region(region, location, parts):
                yield name, f"{uri} is in {' and '.join(parts).lower() or location.lower()}"

    def is_free(self, folder: str) -> bool:
        """Whether nothing lies in a folder of a bucket."""
        return not self.list_blobs("look into", folder, max_results=1)

    def read(self, uri: str) -> bytes:
        """The whole object."""
        return self._call("read", uri, self._blob(uri).download_as_bytes, **DOWN)

    def upload_stream(self, source: IO[bytes], wanted: Entry, uri: str) -> None:
        """Write an object from an open file, part by part; it must have the md5 that is wanted.

        The service compares. Whatever goes wrong, the object stays as it was.
        """
        blob, options = self._blob(uri), {"checksum": "crc32c", "content_type": guess_type(uri)[0]}
        blob.chunk_size, blob.md5_hash = PART, wanted.checksum
        self._call("upload to", uri, blob.upload_from_file, source, size=wanted.size, **options)

    def list(self, folder: str, kind: str = "crc32c") -> dict[str, Entry]:
        """The objects in a folder of a bucket and below it, by their names within it.

        Args:
            kind: of their checksums, crc32c or md5; composite objects have no md5.
        """
        field = {"crc32c": "crc32c", "md5": "md5_hash"}[kind]
        # TensorFlow marks folders by empty objects, which are no files.
        return {
            name: Entry(blob.size, getattr(blob, field), kind)
            for name, blob in self.list_blobs("list", folder).items()
            if blob.size or name[-1:] not in "/"
        }

    def list_for_disk(self, folder: str, target: Path) -> dict[str, Entry]:
        """The same, where all of them may be written to a local folder.

        Raises:
            CloudError: names the objects that may not, what is in their way, or would be served.
        """
        names = self.list(folder)
        local_files.refuse_names(folder, names, "such objects in the bucket")
        local_files.refuse_obstacles(target, names)
        local_files.refuse_outdated(folder, target, names)
        return names

    def download(self, uri: str, path: Path, wanted: Entry, count: Count = iter) -> None:
        """Write an object to a file, which is there as a whole or not at all.

        Args:
            wanted: the object as `list` describes it; the file is compared with it.
        """
        read = partial(self.read_from, uri, wanted.size)
        local_files.write_rest(path, uri, wanted, lambda start: count(read(start)))

    def read_from(self, uri: str, size: int, start: int) -> Iterator[bytes]:
        """The content of an object of that size from an offset on, part by part."""
        method, options = self._blob(uri).download_as_bytes, {**DOWN, "checksum": None}
        for first in range(start, size, PART):
            last = min(first + PART, size) - 1
            yield self._call("download", uri, method, start=first, end=last, **options)

    def _blob(self, uri: str):
        bucket, name = split(uri)
        return self.client.bucket(bucket).blob(name)

    def delete(self, blobs: Iterable) -> None:
        """Remove objects that `list_blobs` gave, unless they have been written again since."""
        for blob in blobs:
            uri, same = f"gs://{blob.bucket.name}/{blob.name}", blob.generation
            self._call("delete", uri, blob.delete, if_generation_match=same)

    def list_blobs(self, what: str, folder: str, **options) -> dict:
        """{name within the folder: Google's own object}, those that mark folders included."""
        bucket, prefix = split(folder.rstrip("/") + "/")

        def read_pages(**patience) -> dict:
            blobs = self.client.list_blobs(bucket, prefix=prefix, **options, **patience)
            return {blob.name[len(prefix) :]: blob for blob in blobs}

        return self._call(what, folder, read_pages)

    def _call(self, what: str, uri: str, method: Callable, *args, **options):
        """Call a method of Google's client: repeated as `errors.retry` says, errors as one line."""
        bucket, project = split(uri)[0], self.connection.project
        location = f" --location={self.connection.region}" if self.connection.region else ""
        need = Need(
            role="roles/storage.objectUser",
            bucket=bucket,
            create=f"gcloud storage buckets create gs://{bucket} --project={project}{location} "
            "--uniform-bucket-level-access",
        )
        with self.connection.explain_errors(f"{what} {uri}", need):
            return method(*args, **options, retry=errors.retry(), timeout=errors.ANSWER)


def open_store() -> Store:
    """The buckets that the caller may use, as project.yaml says."""
    settings = read_settings()
    return Store(Connection(settings.project, settings.region))


def upload_new(store: Store, folder: Path, entries: Mapping[str, Entry], target: str) -> None:
    """Copy the files of a folder that a folder of a bucket lacks.

    Raises:
        CloudError: other files have the names of some of them there; they stay as they are.
    """
    there = store.list(target)
    new = {name: entry.size for name, entry in entries.items() if name not in there}
    others = [n for n, entry in entries.items() if there.get(n, entry) != entry]

    def work(name: str, count: Count) -> None:
        if not store.upload(folder / name, f"{target}/{name}", new=True):
            others.append(name)

    work_through("copying", new, work)
    print(f"{target}: copied {len(new)} files, {sum(new.values()) / 1e6:.1f} MB", flush=True)
    if others:
        names = ", ".join(sorted(others)[:SHOWN]) + (", …" if len(others) > SHOWN else "")
        what = "are others there, and nothing is overwritten; delete those, or rename yours"
        raise CloudError(f"{target}: {len(others)} files ({names}) {what}")


def download_folder(store: Store, source: str, target: Path, skip: str = "") -> int:
    """Copy a folder of a bucket, gs://…, to a local one, but for what is equal there; return how many files.

    Args:
        skip: a regular expression for names, within the folder, that are left out.

    Raises:
        CloudError: an object cannot be read, or its name is not legal here, or the disk is full.
    """
    with disk_errors(target):
        names = store.list_for_disk(source, target)
        names = {n: e for n, e in names.items() if not (skip and re.search(skip, n))}
        here = hash_files(target, names)
        sizes = {name: entry.size for name, entry in names.items() if here.get(name) != entry}
        if sizes:
            size = f"{len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB"
            print(f"[launcher] {size}, from {source}", flush=True)

        def work(name: str, count: Count) -> None:
            store.download(f"{source}/{name}", target / name, names[name], count)

        work_through("copying", sizes, work)
    return len(sizes)
