"""Copies an exported model from a bucket, as AIP_STORAGE_URI names it. The standard library suffices:
the serving image has no client of Google's."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from predictor.runtime import ModelError

API = "https://storage.googleapis.com/storage/v1/b"
METADATA = "http://{}/computeMetadata/v1/instance/service-accounts/default/token"
SECONDS = 30.0


def copy_model(uri: str) -> str:
    """Copy gs://BUCKET/FOLDER to a temporary folder; return its path.

    Raises:
        ModelError: there is none, or no access to it.
    """
    bucket, _, prefix = uri.removeprefix("gs://").rstrip("/").partition("/")
    folder = Path(tempfile.mkdtemp(prefix="model-"))
    try:
        token = _read_token()
        sizes = _list_objects(bucket, f"{prefix}/", token)
        for name, size in sizes.items():
            inner = name.removeprefix(f"{prefix}/")
            if {"", ".", ".."} & {*inner.split("/")} or "\0" in inner:
                raise ModelError(
                    f"{uri}: the object {name!r} has a name that no file of its folder has"
                )
            path = folder / inner
            path.parent.mkdir(parents=True, exist_ok=True)
            url = f"{API}/{bucket}/o/{urllib.parse.quote(name, safe='')}?alt=media"
            with _open(url, token) as source, open(path, "wb") as target:
                shutil.copyfileobj(source, target)
            if path.stat().st_size != size:
                raise ModelError(f"{uri}: only a part of the object {name!r} has arrived")
    except urllib.error.HTTPError as error:
        raise ModelError(f"{uri}: the bucket answers {error.code} {error.reason}") from None
    except OSError as error:
        raise ModelError(f"{uri}: cannot be copied ({error})") from None
    if not sizes:
        raise ModelError(f"{uri}: there is no object below it")
    return str(folder)


def _list_objects(bucket: str, prefix: str, token: str) -> dict[str, int]:
    """{name: bytes} of all files below a folder."""
    sizes, page = {}, {}
    while True:
        query = urllib.parse.urlencode({"prefix": prefix, **page})
        with _open(f"{API}/{bucket}/o?{query}", token) as response:
            listed = json.load(response)
        sizes |= {item["name"]: int(item["size"]) for item in listed.get("items", ())}
        page = {"pageToken": listed.get("nextPageToken")}
        if not page["pageToken"]:
            return {n: size for n, size in sizes.items() if n[-1] != "/"}  # which stand for folders


def _read_token() -> str:
    """The token of the machine's service account; "" elsewhere, for a public bucket."""
    host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
    request = urllib.request.Request(METADATA.format(host), headers={"Metadata-Flavor": "Google"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is on the machine
    try:
        with direct.open(request, timeout=5) as response:
            return json.load(response)["access_token"]
    except OSError:
        return ""


def _open(url: str, token: str):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=SECONDS)
