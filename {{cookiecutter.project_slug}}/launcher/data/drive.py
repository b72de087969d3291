"""Read Google Drive: the files in a folder, with their checksums; copy them to a bucket.

Drive keeps the md5 of its files, and Cloud Storage that of its objects: what is equal is not copied.
"""

import base64
import io
import re
import sys
from argparse import Namespace
from collections.abc import Iterator

from launcher.cloud import local_files, object_names
from launcher.cloud.clients import Connection, Need
from launcher.cloud.errors import CloudError
from launcher.cloud.local_files import Count, Entry, work_through
from launcher.cloud.storage import PART, open_store
from launcher.common.document import SpecError
from launcher.project.buckets import find_uri_problem
from launcher.project.settings import read_settings

FILES = "https://www.googleapis.com/drive/v3/files"
READ = "https://www.googleapis.com/auth/drive.readonly"
FIELDS = "nextPageToken,files(id,name,mimeType,md5Checksum,size)"
GOOGLE = "application/vnd.google-apps."
FOLDER, SHORTCUT = f"{GOOGLE}folder", f"{GOOGLE}shortcut"
SHARED = {"supportsAllDrives": "true"}  # folders of a team, too
# `gcloud auth application-default login --scopes=…` may no longer ask for Drive, since June 2025.
LOGIN = "gcloud auth login --enable-gdrive-access --update-adc"
NEED = Need(
    "", remedy=f"share the folder with that account; to let a user read Drive, run: {LOGIN}"
)


class Drive:
    """Google Drive, as far as the caller may read it.

    Attributes:
        ids: of the files that were listed, by their paths.
        left_out: how many files with bytes were not.
    """

    def __init__(self):
        """Send nothing yet."""
        settings = read_settings()
        self.connection = Connection(settings.project, settings.region, scope=READ)
        self.ids: dict[str, str] = {}
        self.left_out = 0

    def list(self, folder: str, path: str = "") -> dict[str, Entry]:
        """The files in a folder and below it by their paths; print why others are left out.

        Args:
            folder: its id.
            path: of the folder, with a slash at its end.
        """
        params = {"q": f"'{folder}' in parents and trashed = false", "fields": FIELDS}
        params |= {"pageSize": 1000, "includeItemsFromAllDrives": "true", **SHARED}
        what = f"list the folder {path or folder} of Drive"
        entries = list(self.connection.list_pages(what, NEED, FILES, "files", params))
        names = [e["name"] for e in entries if "md5Checksum" in e or e["mimeType"] == FOLDER]
        files: dict[str, Entry] = {}
        for entry in entries:
            name = path + entry["name"]
            if entry["mimeType"] == SHORTCUT:
                _report(f"{name!r} is a shortcut; put the file itself into the folder")
            elif entry["mimeType"] != FOLDER and "md5Checksum" not in entry:
                what, google = "has no md5 in Drive", entry["mimeType"].startswith(GOOGLE)
                what = "is a document of Google's, without bytes" if google else what
                _report(f"{name!r} {what}; download it by hand")
                self.left_out += not google
            elif fault := _find_fault(path, entry["name"], names):
                _report(f"{fault}; rename it in Drive")
                self.left_out += 1
            elif entry["mimeType"] == FOLDER:
                files |= self.list(entry["id"], f"{name}/")
            else:
                md5 = base64.b64encode(bytes.fromhex(entry["md5Checksum"])).decode()
                files[name] = Entry(int(entry["size"]), md5, "md5")
                self.ids[name] = entry["id"]
        return files

    def read(self, path: str, start: int, end: int) -> Iterator[bytes]:
        """The content of a listed file from one offset to another, part by part."""
        what, url = f"download {path} from Drive", f"{FILES}/{self.ids[path]}"
        for first in range(start, end, PART):
            options = {"params": {"alt": "media", **SHARED}}
            options["headers"] = {"Range": f"bytes={first}-{min(first + PART, end) - 1}"}
            yield self.connection.request(what, NEED, "GET", url, **options).content


def copy_to_bucket(options: Namespace) -> int:
    """Copy what is new or changed in the folder `options.folder` to `options.target`, past the disk.

    Returns the exit code: 2 where files with bytes were left out.
    """
    folder, target = options.folder, options.target.rstrip("/")
    if not re.fullmatch(r"[\w-]+", folder):
        raise SpecError(f"{folder}: is no id of a folder; write the last part of its address")
    if problem := find_uri_problem(target):
        raise SpecError(f"{target}: {problem}")
    drive, store = Drive(), open_store()
    files = drive.list(folder)
    local_files.refuse_names(f"drive:{folder}", files, "such files in Drive")
    there = store.list(target, "md5")
    sizes = {name: entry.size for name, entry in files.items() if there.get(name) != entry}

    def work(name: str, count: Count) -> None:
        stream = _Stream(drive, name, sizes[name], count)
        store.upload_stream(stream, files[name], f"{target}/{name}")

    work_through("copying", sizes, work)
    size = sum(sizes.values()) / 1e6
    print(f"{target}: {len(files)} files of drive:{folder}; copied {len(sizes)}, {size:.1f} MB")
    return 2 if drive.left_out else 0


class _Stream(io.RawIOBase):
    """A file of Drive, which is requested as it is read."""

    def __init__(self, drive: Drive, path: str, size: int, count: Count):
        super().__init__()
        self.drive, self.path, self.size, self.count, self.position = drive, path, size, count, 0

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = offset
        return offset

    def read(self, size: int = -1) -> bytes:
        end = self.size if size < 0 else min(self.position + size, self.size)
        data = b"".join(self.count(self.drive.read(self.path, self.position, end)))
        if len(data) != end - self.position:
            raise CloudError(f"download {self.path} from Drive: it changed meanwhile; try again")
        self.position = end
        return data


def _find_fault(path: str, name: str, names: list[str]) -> str:
    """What is wrong with a name in a folder: Drive takes any, and one name twice."""
    if names.count(name) > 1:
        return f"{path + name!r} is there {names.count(name)} times"
    if "/" in name:
        return f"{path + name!r} has the character /"
    return next(iter(object_names.find_faults([path + name])), "")


def _report(text: str) -> None:
    print(f"left out: {text}", file=sys.stderr)
