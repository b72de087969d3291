"""Google Drive behind the part of its API, version 3, that lists a folder and reads a file.

    drive = Drive()
    drive.add("root", "a.csv", b"data")
    drive.add("root", "Notes", kind="document")

It takes two files for a page, so that there are pages, and any name any number of times.
"""

import hashlib
import re

from standins.jobs import answer
from standins.proxy import Request, Response

PAGE = 2
PREFIX = "application/vnd.google-apps."


class Drive:
    """Call it with a `Request`.

    Attributes:
        faults: reasons to refuse by 403, such as rateLimitExceeded, one for each next read of a file;
            None: no refusal.
        sent: bytes of files that were read so far.
    """

    def __init__(self):
        self.files: dict[str, dict] = {}  # by id
        self.contents: dict[str, bytes] = {}
        self.faults: list[str | None] = []
        self.sent = 0

    def add(self, folder: str, name: str, data: bytes = b"", kind: str = "") -> str:
        """Add a file to a folder, or something else; return its id.

        Args:
            kind: of what has no bytes: folder, document, shortcut.
        """
        file = {"id": f"id-{len(self.files)}", "name": name, "parent": folder}
        if kind:
            file |= {"mimeType": PREFIX + kind}
        else:
            md5 = hashlib.md5(data).hexdigest()
            file |= {"mimeType": "text/csv", "md5Checksum": md5, "size": str(len(data))}
            self.contents[file["id"]] = data
        self.files[file["id"]] = file
        return file["id"]

    def __call__(self, request: Request) -> Response:
        *_, last = request.path
        if last == "files":
            return self._list(request.query)
        if last not in self.contents:
            return _refuse(404, "notFound", f"File not found: {last}.")
        reason = self.faults.pop(0) if self.faults else None
        if reason:
            return _refuse(403, reason, f"a fault of the test: {reason}")
        first, end = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers["Range"]).groups()
        data = self.contents[last][int(first) : int(end) + 1]
        self.sent += len(data)
        return Response(206, data)

    def _list(self, query: dict) -> Response:
        folder = re.fullmatch(r"'([\w-]+)' in parents and trashed = false", query["q"])[1]
        inside = [file for file in self.files.values() if file["parent"] == folder]
        if not inside:
            return _refuse(404, "notFound", f"File not found: {folder}.")
        first = int(query.get("pageToken", 0))
        page = {"files": inside[first : first + PAGE]}
        if first + PAGE < len(inside):
            page["nextPageToken"] = str(first + PAGE)
        return answer(page)


def _refuse(status: int, reason: str, message: str) -> Response:
    details = {"code": status, "message": message, "errors": [{"reason": reason}]}
    return answer({"error": details}, status)
