"""Read data.yaml: the files that it names, with their checksums, wherever they are."""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from launcher.cloud import clients, errors
from launcher.cloud.errors import CloudError
from launcher.cloud.local_files import Entry, hash_files, list_names, read_file
from launcher.cloud.storage import open_store
from launcher.common import document
from launcher.common.document import Document, SpecError
from launcher.data.drive import Drive
from launcher.project.buckets import find_uri_problem
from launcher.project.settings import ROOT, read_settings
from launcher.project.sources import RAW

PATH = ROOT / "data.yaml"
Reader = Callable[[str, int], Iterator[bytes]]  # yields the content of a file from an offset on
FORMS = "write gs://BUCKET/FOLDER, drive:FOLDER-ID, a folder, or a list of url and sha256"


class RawData(NamedTuple):
    """What data.yaml says."""

    source: str  # gs://…, drive:ID, or a folder; "the web"
    web: Mapping[str, tuple[str, Entry]]  # {name: (URL, sha256)}
    derived: Mapping[str, str]  # {folder: the command that makes it}


def read_raw_data() -> RawData:
    """Read data.yaml; SpecError: the file is missing, or what is wrong in it."""
    file = document.read(PATH)
    values = file.value if isinstance(file.value, dict) else {}
    source, derived = values.get("source", ""), values.get("derived") or {}
    if not isinstance(derived, dict) or not all(isinstance(v, str) for v in derived.values()):
        raise SpecError(file.fault("derived", "is no mapping", "write FOLDER: COMMAND"))
    if isinstance(source, list) and source:
        web = dict(_read_web_file(file, i, entry) for i, entry in enumerate(source))
        if len(web) < len(source):
            raise SpecError(file.fault("source", "has two files of one name", "keep one"))
        return RawData("the web", web, derived)
    if not source and (bucket := read_settings().bucket):
        source = f"gs://{bucket}/data/raw"
    problem = "" if isinstance(source, str) and source else "names no source"
    if not problem and source.startswith("gs://"):
        problem = find_uri_problem(source)
    elif re.match(r"\w\w+:", str(source)) and not re.fullmatch(r"drive:[\w-]+", source):
        problem = f"is {document.show(source)}"
    elif not problem and not source.startswith("drive:"):
        folder, raw = (ROOT / Path(source).expanduser()).resolve(), RAW.resolve()
        if folder in (raw, *raw.parents) or raw in folder.parents:  # it would grow by each pull
            problem = "holds data/raw, or lies in it"
    if problem:
        raise SpecError(file.fault("source", problem, FORMS))
    return RawData(source.rstrip("/"), {}, derived)


def _read_web_file(file: Document, i: int, entry: object) -> tuple[str, tuple[str, Entry]]:
    url, sha256 = (str(entry.get(k)) if isinstance(entry, dict) else "" for k in ("url", "sha256"))
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    if not url.startswith("https://") or not name:
        raise SpecError(file.fault(f"source[{i}].url", "names no file", "write https://…/FILE"))
    if not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        instead = "write the 64 digits that sha256sum prints, in quotes"
        raise SpecError(file.fault(f"source[{i}].sha256", "is no checksum", instead))
    checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
    return name, (url, Entry(None, checksum, "sha256"))


def list_source(raw: RawData, whole: bool) -> tuple[dict[str, Entry], Reader]:
    """The files of the source by their paths in data/raw, and how to read them.

    Args:
        whole: refuse a source that has files which cannot be listed.
    """
    if raw.web:
        session = errors.sdk("requests").Session()
        entries = {name: entry for name, (_, entry) in raw.web.items()}
        return entries, lambda name, start: _read_web(session, raw.web[name][0], start)
    if raw.source.startswith("gs://"):
        store, folder = open_store(), raw.source
        entries = store.list(folder)
        return entries, lambda n, start: store.read_from(f"{folder}/{n}", entries[n].size, start)
    if raw.source.startswith("drive:"):
        drive = Drive()
        entries = drive.list(raw.source.removeprefix("drive:"))
        if whole and drive.left_out:
            what = "files were left out, so nothing is deleted; rename them, or do without --delete"
            raise SpecError(f"{raw.source}: {drive.left_out} {what}")
        return entries, lambda n, start: drive.read(n, start, entries[n].size)
    folder = ROOT / Path(raw.source).expanduser()
    entries = hash_files(folder, list_names(folder))
    return entries, lambda name, start: read_file(folder / name, start)


def _read_web(session, url: str, start: int) -> Iterator[bytes]:
    headers = {"Range": f"bytes={start}-", "Accept-Encoding": "identity"}
    options = {"headers": headers, "stream": True, "allow_redirects": True}
    exceptions = errors.sdk("google.api_core.exceptions").GoogleAPIError
    try:
        with errors.retry()(clients.request)(session, "GET", url, **options) as answer:
            # A server that knows no ranges sends everything again.
            skip = 0 if answer.status_code == 206 else start
            for part in answer.iter_content(1 << 20):
                yield part[skip:]
                skip -= min(skip, len(part))
    except (exceptions, errors.sdk("requests").RequestException) as error:
        if errors.get_status(error) == 416:  # the file ends before `start`: nothing is left of it
            return
        text = errors.clean(getattr(error, "cause", None) or error)
        raise CloudError(f"{url}: {text}; the same command resumes") from None
