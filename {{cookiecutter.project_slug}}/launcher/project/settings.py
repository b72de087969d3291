"""Reads project.yaml, the one place that says where jobs run and where their results go."""

from __future__ import annotations

import re
from pathlib import Path

from launcher.common import document
from launcher.common.document import Document, Fault, SpecError

PATH = Path(__file__).resolve().parents[2] / "project.yaml"
ROOT = PATH.parent  # of this repo
ACCOUNT = re.compile(r"[^@\s]+@[^@\s]+\.gserviceaccount\.com")
TENSORBOARD = re.compile(r"projects/[^/\s]+/locations/([^/\s]+)/tensorboards/[^/\s]+")
# 3 to 63 characters, or parts of that length between dots; not an IP address.
BUCKET = r"(?!\d+(?:\.\d+){3}$)(?=[a-z0-9].{1,220}[a-z0-9]$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*"
WAYS = ("container", "package")  # by which the trainer gets into a job: gcp.code
# {key: (what it looks like, what to write)}; an empty text means: not set yet.
FORMS = {
    "project": (r"[a-z][a-z0-9-]{4,28}[a-z0-9]", "the project's id, such as my-lab-4711"),
    "region": (r"[a-z]+-[a-z]+[0-9]+", "a region, such as us-central1"),
    "bucket": (BUCKET, "the bucket's name alone, without gs://"),
    "image_repository": (r"[a-z]([a-z0-9-]*[a-z0-9])?", "the repository's name alone"),
    "service_account": (ACCOUNT.pattern, "NAME@PROJECT.iam.gserviceaccount.com"),
    "tensorboard": (TENSORBOARD.pattern, "projects/NUMBER/locations/REGION/tensorboards/ID"),
}


def read(path: str | Path = PATH) -> dict | None:
    """What project.yaml says, as plain values; None where there is no such file.

    Raises:
        SpecError: everything in it that cannot be what was meant.
    """
    if not Path(path).exists():
        return None
    found = document.read(path)
    faults = list(_faults(found))
    if faults:
        raise SpecError(*faults)
    return found.value


def image_name() -> str:
    """The project's slug as a name that Docker takes: no two separators in a row."""
    slug = _read_or_nothing().get("slug") or PATH.parent.name
    return re.sub(r"[^a-z0-9]+", "-", str(slug).lower()).strip("-") or "trainer"


def own_image() -> str:
    """The project's image in its registry, without a tag; "" while project.yaml is not filled in."""
    gcp = _read_or_nothing().get("gcp") or {}
    parts = [gcp.get(key) for key in ("region", "project", "image_repository")]
    return "{}-docker.pkg.dev/{}/{}/{}".format(*parts, image_name()) if all(parts) else ""


def is_own_package(uri: str) -> bool:
    """Whether a package is one that the launcher uploaded to the project's bucket."""
    bucket = (_read_or_nothing().get("gcp") or {}).get("bucket")
    place = re.escape(bucket) if bucket else "[^/]+"
    return bool(re.fullmatch(rf"gs://{place}/packages/[0-9a-f]+/trainer\.tar\.gz", uri))


def _read_or_nothing() -> dict:
    """project.yaml; nothing where it is missing or wrong, which scripts/check.py reports."""
    try:
        return read() or {}
    except SpecError:
        return {}


def _faults(found: Document):
    def fault(place: str, what: str, instead: str) -> Fault:
        return Fault(found.path, found.line(place), place, what, instead)

    if not isinstance(found.value, dict):
        yield fault("", "is not a mapping", "write name: value, as in a new project")
        return
    gcp = found.value.get("gcp")
    if not isinstance(gcp, dict):
        yield fault("gcp", "is missing, or not a mapping", "write project, region, bucket below it")
        return
    for key, (form, instead) in FORMS.items():
        value = gcp.get(key) or ""
        if not isinstance(value, str) or (value and not re.fullmatch(form, value)):
            yield fault(f"gcp.{key}", f"is {document.show(value)}", f"write {instead}")
    region, tensorboard = gcp.get("region"), TENSORBOARD.fullmatch(str(gcp.get("tensorboard")))
    if region and tensorboard and tensorboard[1] != region:
        what = f"is in {tensorboard[1]}, and jobs run in {region}: they cannot write there"
        yield fault("gcp.tensorboard", what, f"take one in {region}")
