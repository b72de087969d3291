"""A registry of images in memory, as far as `docker push` talks to one (the OCI's distribution API).

    with Proxy({"us-central1-docker.pkg.dev": Registry()}) as proxy: ...

A daemon that is started with the proxy's environment takes it for Google's.
"""

import hashlib
import json
import re
import threading
import uuid

from standins.proxy import Request, Response


class Registry:
    """Call it with a `Request`.

    Attributes:
        blobs: {digest: bytes}.
        manifests: {"project/repository/image:tag": the manifest, parsed}.
        refuses: what a push is refused with, (status, code, message); None: nothing.
    """

    def __init__(self):
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, dict] = {}
        self.refuses: tuple[int, str, str] | None = None
        self._uploads: dict[str, bytearray] = {}
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Response:
        with self._lock:
            return self._route(request)

    def _route(self, request: Request) -> Response:
        path, method = "/" + "/".join(request.path), request.method
        if path in ("/v2/", "/v2"):
            return Response(200, b"{}")
        if self.refuses:
            status, code, message = self.refuses
            return _json({"errors": [{"code": code, "message": message}]}, status)
        if found := re.fullmatch(r"/v2/(.+)/blobs/uploads/(.*)", path):
            return self._upload(found[1], found[2], method, request)
        if found := re.fullmatch(r"/v2/(.+)/blobs/(sha256:[0-9a-f]{64})", path):
            data = self.blobs.get(found[2])
            if data is None:
                return Response(404)
            return Response(200, b"" if method == "HEAD" else data)
        if found := re.fullmatch(r"/v2/(.+)/manifests/(.+)", path):
            name = f"{found[1]}:{found[2]}"
            if method == "PUT":
                manifest = json.loads(request.body)
                parts = [manifest["config"], *manifest["layers"]]
                if any(part["digest"] not in self.blobs for part in parts):
                    return _json({"errors": [{"code": "MANIFEST_BLOB_UNKNOWN"}]}, 404)
                self.manifests[name] = manifest
                digest = f"sha256:{hashlib.sha256(request.body).hexdigest()}"
                return Response(201, headers={"Docker-Content-Digest": digest, "Location": path})
            return Response(200 if name in self.manifests else 404)
        return Response(404)

    def _upload(self, name: str, key: str, method: str, request: Request) -> Response:
        if method == "POST":
            key = uuid.uuid4().hex
            self._uploads[key] = bytearray()
        elif key not in self._uploads:
            return Response(404)
        else:
            self._uploads[key] += request.body
        place = {"Location": f"{request.base}/v2/{name}/blobs/uploads/{key}"}
        if method == "PUT":
            data = bytes(self._uploads.pop(key))
            digest = request.query["digest"]
            if digest != f"sha256:{hashlib.sha256(data).hexdigest()}":
                return _json({"errors": [{"code": "DIGEST_INVALID"}]}, 400)
            self.blobs[digest] = data
            return Response(201, headers={"Docker-Content-Digest": digest, **place})
        size = len(self._uploads[key])
        return Response(202, headers={**place, "Range": f"0-{max(size - 1, 0)}"})

    def config(self, name: str) -> dict:
        """The settings of an image that was pushed."""
        return json.loads(self.blobs[self.manifests[name]["config"]["digest"]])


def _json(value: dict, status: int) -> Response:
    return Response(status, json.dumps(value).encode(), {"Content-Type": "application/json"})
