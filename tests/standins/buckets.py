"""Buckets in memory, behind the part of the JSON API that TensorFlow and Google's own client use.

gcp-storage-emulator would be the library for this, but the empty object by which TensorFlow makes a
folder crashes it; it takes `ifGenerationMatch` and `maxResults` without heeding them; and it tells
a client that resumes an upload of which nothing has arrived that one byte has.
"""

import functools
import hashlib
import itertools
import json
import mmap
import re
import tempfile
import threading
import uuid
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime, timezone

from standins.proxy import Request, Response

try:
    import google_crc32c as crc32c  # comes with Google's own client, which alone asks for it
except ImportError:
    crc32c = None

PAGE = 1000  # names in one answer to a listing


@dataclass(frozen=True)
class Object:
    data: bytes  # or a map of a large file
    generation: int
    updated: str

    @functools.cached_property
    def sums(self) -> dict:
        digests = {"md5Hash": hashlib.md5(self.data)}  # gcloud compares it
        if crc32c:
            digests["crc32c"] = crc32c.Checksum()
            for start in range(0, len(self.data), 1 << 20):
                digests["crc32c"].update(bytes(self.data[start : start + (1 << 20)]))
        return {name: b64encode(digest.digest()).decode() for name, digest in digests.items()}

    def describe(self, bucket: str, name: str) -> dict:
        return self.sums | {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "size": str(len(self.data)),
            "generation": str(self.generation),
            "metageneration": "1",
            "etag": str(self.generation),
            "updated": self.updated,
            "timeCreated": self.updated,
        }


@dataclass
class Upload:
    """A resumable one. It stays known when done: a client whose answer was lost asks again."""

    bucket: str
    name: str
    query: dict
    md5: str | None  # which the content must have
    received: bytearray = field(default_factory=bytearray)
    done: dict | None = None


class Refused(Exception):
    """(status, message), as the client gets it."""


class Buckets:
    """Call it with a `Request`; look into it with `names`, `read` and `write`.

    Args:
        names: the buckets that there are.
        closed: of these, the ones to which nobody has access.

    Attributes:
        described: {bucket: what its description holds besides, such as its location}.
        sent: bytes of objects that were read so far.
    """

    def __init__(self, *names: str, closed: tuple[str, ...] = ()):
        self.closed = closed
        self.described: dict[str, dict] = {}
        self.sent = 0
        self._buckets: dict[str, dict[str, Object]] = {name: {} for name in (*names, *closed)}
        self._uploads: dict[str, Upload] = {}
        self._generations = itertools.count(1)
        self._lock = threading.RLock()

    def add(self, bucket: str) -> None:
        """A bucket more; one that is there keeps its objects."""
        self._buckets.setdefault(bucket, {})

    def names(self, bucket: str, prefix: str = "") -> list[str]:
        with self._lock:
            return sorted(name for name in self._buckets[bucket] if name.startswith(prefix))

    def read(self, bucket: str, name: str) -> bytes:
        return self._buckets[bucket][name].data

    def write(self, bucket: str, name: str, data: bytes) -> None:
        with self._lock:
            self._put(bucket, name, data, {})

    def write_sparse(self, bucket: str, name: str, size: int, content: bytes) -> None:
        """Write an object of zeros, which take no space, with some content in its middle."""
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            file.seek(size // 2)
            file.write(content)
            file.flush()
            self.write(bucket, name, mmap.mmap(file.fileno(), 0))

    def remove(self, bucket: str, name: str) -> None:
        with self._lock:
            del self._buckets[bucket][name]

    def __call__(self, request: Request) -> Response:
        try:
            with self._lock:
                return self._route(request)
        except Refused as refused:
            status, message = refused.args
            return _json({"error": {"code": status, "message": message}}, status)

    def _route(self, request: Request) -> Response:
        match request.method, *request.path:
            case "GET", "storage", "v1", "b", bucket:
                self._bucket(bucket)
                described = {"location": "US", **self.described.get(bucket, {})}
                return _json({"kind": "storage#bucket", "name": bucket, **described})
            case "GET", "storage", "v1", "b", bucket, "o":
                return self._list(bucket, request.query)
            case "GET", "storage", "v1", "b", bucket, "o", name:
                if request.query.get("alt") == "media":
                    return self._content(bucket, name, request)
                return _json(self._object(bucket, name).describe(bucket, name))
            case ("GET", "download", "storage", "v1", "b", bucket, "o", name) | (
                "GET",
                bucket,
                name,
            ):
                return self._content(bucket, name, request)
            case "DELETE", "storage", "v1", "b", bucket, "o", name:
                self._object(bucket, name)
                del self._bucket(bucket)[name]
                return Response(204)
            case "POST", "storage", "v1", "b", bucket, "o", name, "rewriteTo", "b", other, "o", new:
                source = self._object(bucket, name)
                written = self._put(other, new, source.data, request.query)
                size = str(len(source.data))
                return _json(
                    {
                        "kind": "storage#rewriteResponse",
                        "done": True,
                        "totalBytesRewritten": size,
                        "objectSize": size,
                        "resource": written,
                    }
                )
            case "POST", "storage", "v1", "b", bucket, "o", name, "compose":
                return self._compose(bucket, name, request)
            case "POST", "upload", "storage", "v1", "b", bucket, "o":
                return self._begin_upload(bucket, request)
            case "PUT", "upload", "storage", "v1", "b", _, "o":
                return self._go_on_with_upload(request)
        raise Refused(501, f"the stand-in has no {request.method} {'/'.join(request.path)}")

    def _bucket(self, name: str) -> dict[str, Object]:
        if name not in self._buckets:
            raise Refused(404, "The specified bucket does not exist.")
        if name in self.closed:
            raise Refused(403, f"test does not have access to the bucket {name}.")
        return self._buckets[name]

    def _object(self, bucket: str, name: str) -> Object:
        try:
            return self._bucket(bucket)[name]
        except KeyError:
            raise Refused(404, f"No such object: {bucket}/{name}") from None

    def _put(self, bucket: str, name: str, data: bytes, query: dict) -> dict:
        objects = self._bucket(bucket)
        expected = query.get("ifGenerationMatch")
        if expected is not None:
            found = objects[name].generation if name in objects else 0
            if found != int(expected):
                raise Refused(412, "At least one of the pre-conditions you specified did not hold.")
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        objects[name] = Object(data, next(self._generations), now.replace("+00:00", "Z"))
        return objects[name].describe(bucket, name)

    def _list(self, bucket: str, query: dict) -> Response:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        objects = self._bucket(bucket)
        entries: dict[str, bool] = {}  # in order; whether it stands for many names
        for name in sorted(name for name in objects if name.startswith(prefix)):
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                entries[prefix + rest.partition(delimiter)[0] + delimiter] = True
            else:
                entries[name] = False
        page = sorted(entry for entry in entries if entry > query.get("pageToken", ""))
        shown = page[: min(PAGE, int(query.get("maxResults", PAGE)))]
        answer = {
            "kind": "storage#objects",
            "items": [objects[e].describe(bucket, e) for e in shown if not entries[e]],
            "prefixes": [entry for entry in shown if entries[entry]],
        }
        if len(shown) < len(page):
            answer["nextPageToken"] = shown[-1]
        return _json({key: value for key, value in answer.items() if value})

    def _content(self, bucket: str, name: str, request: Request) -> Response:
        data = self._object(bucket, name).data
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        if not asked:
            self.sent += len(data)
            return Response(200, data)
        first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
        if first >= len(data):
            return Response(416, headers={"Content-Range": f"bytes */{len(data)}"})
        shown = f"bytes {first}-{last}/{len(data)}"
        self.sent += last + 1 - first
        return Response(206, data[first : last + 1], {"Content-Range": shown})

    def _compose(self, bucket: str, name: str, request: Request) -> Response:
        # TensorFlow writes JSON with single quotes, which Google takes.
        sources = json.loads(request.body.replace(b"'", b'"'))["sourceObjects"]
        parts = [self._object(bucket, source["name"]).data for source in sources]
        return _json(self._put(bucket, name, b"".join(parts), request.query))

    def _begin_upload(self, bucket: str, request: Request) -> Response:
        query, body = request.query, request.body
        self._bucket(bucket)
        match query.get("uploadType"):
            case "media":
                return _json(self._put(bucket, query["name"], body, query))
            case "multipart":  # what it is, then the thing itself
                kind = request.headers[
                    "Content-Type"
                ]  # gcloud writes '…' and \n, others "…" and \r\n
                boundary = re.search(r"""boundary=["']?([^"';]+)""", kind)[1]
                parts = re.split(rb"\r?\n--" + re.escape(boundary.encode()), b"\n" + body)
                about, data = (re.split(rb"\r?\n\r?\n", p, maxsplit=1)[1] for p in parts[1:3])
                about = json.loads(about)
                name = query.get("name") or about["name"]
                _check_md5(data, about.get("md5Hash"))
                return _json(self._put(bucket, name, data, query))
            case "resumable":
                about = json.loads(body or b"{}")
                name = query.get("name") or about["name"]
                key = uuid.uuid4().hex
                self._uploads[key] = Upload(bucket, name, query, about.get("md5Hash"))
                place = f"{request.base}/upload/storage/v1/b/{bucket}/o?upload_id={key}"
                return Response(200, headers={"Location": place})
        raise Refused(400, f"uploadType {query.get('uploadType')}")

    def _go_on_with_upload(self, request: Request) -> Response:
        """A whole upload, a piece of one, or the question how much of it has arrived."""
        key = request.query.get("upload_id")
        if key not in self._uploads:
            raise Refused(404, "no such upload")
        upload = self._uploads[key]
        given = request.headers.get("Content-Range") or f"bytes 0-/{len(request.body)}"
        first, total = re.fullmatch(r"bytes (?:(\d+)-\d*|\*)/(\d+|\*)", given).groups()
        if first is not None and int(first) <= len(upload.received):
            upload.received[int(first) :] = request.body
        size = len(upload.received)
        if str(size) == total and not upload.done:
            _check_md5(upload.received, upload.md5)
            upload.done = self._put(
                upload.bucket, upload.name, bytes(upload.received), upload.query
            )
        if upload.done:
            return _json(upload.done)
        return Response(308, headers={"Range": f"bytes=0-{size - 1}"} if size else {})


def _check_md5(data: bytes, expected: str | None) -> None:
    if expected and expected != b64encode(hashlib.md5(data).digest()).decode():
        raise Refused(400, f"Provided MD5 hash {expected} doesn't match the content.")


def _json(value: dict, status: int = 200) -> Response:
    return Response(status, json.dumps(value).encode(), {"Content-Type": "application/json"})
