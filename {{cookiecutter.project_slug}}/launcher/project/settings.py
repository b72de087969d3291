"""Read project.yaml, the one file that says where jobs run and where their results go.

settings = read_settings()
settings.bucket                          "my-lab-runs"; "" where it is empty
settings.missing("project", "bucket")    a fault for each that is empty
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from launcher.common import document
from launcher.common.document import Document, Fault, SpecError

PATH = Path(__file__).resolve().parents[2] / "project.yaml"
ROOT = PATH.parent  # of this repo
ACCOUNT = re.compile(r"[^@\s]+@[^@\s]+\.gserviceaccount\.com")
# Stricter than what the service takes: it ends up in commands, and Windows runs gcloud by a shell.
SAFE_ACCOUNT = r"[a-z0-9][a-z0-9-]{0,62}@[a-z0-9.-]+\.gserviceaccount\.com"
TENSORBOARD = re.compile(r"projects/[^/\s]+/locations/([^/\s]+)/tensorboards/[^/\s]+")
# 3 to 63 characters, or parts of that length between dots; not an IP address.
BUCKET = r"(?!\d+(?:\.\d+){3}$)(?=[a-z0-9].{1,220}[a-z0-9]$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*"
WAYS = ("container", "package")  # by which the trainer gets into a job: gcp.code
# {key: (pattern, what to write)}; an empty text means: not set yet.
FORMS = {
    "project": (r"[a-z][a-z0-9-]{4,28}[a-z0-9]", "the project's id, such as my-lab-4711"),
    "region": (r"[a-z]+-[a-z]+[0-9]+", "a region, such as us-central1"),
    "bucket": (BUCKET, "the bucket's name alone, without gs://"),
    "image_repository": (r"[a-z]([a-z0-9-]*[a-z0-9])?", "the repository's name alone"),
    "service_account": (SAFE_ACCOUNT, "NAME@PROJECT.iam.gserviceaccount.com"),
    "tensorboard": (TENSORBOARD.pattern, "projects/NUMBER/locations/REGION/tensorboards/ID"),
}


@dataclass(frozen=True)
class Settings:
    """What project.yaml says; an empty text means: not set."""

    project: str = ""
    region: str = ""
    bucket: str = ""
    image_repository: str = ""
    service_account: str = ""
    tensorboard: str = ""
    slug: str = "trainer"
    path: Path = PATH
    code: str = WAYS[0]  # how the trainer gets into a job
    executor_image: str = ""
    max_cost: float | None = None  # USD
    labels: Mapping[str, object] = field(default_factory=dict)

    @property
    def parent(self) -> str:
        """What Vertex AI has in the project and its region, as the API names it."""
        return f"projects/{self.project}/locations/{self.region}"

    def missing(self, *keys: str) -> list[Fault]:
        """A fault for each of these keys that is empty, with the line where to write it."""
        file = document.read(self.path)
        return [
            file.fault(f"gcp.{key}", "is empty", f"write {FORMS[key][1]}")
            for key in keys
            if not getattr(self, key)
        ]


def read_settings(path: Path = PATH) -> Settings:
    """Read project.yaml.

    Raises:
        SpecError: the file is missing, not YAML, or has values that cannot be what was meant.
    """
    if not Path(path).exists():
        raise SpecError(f"{path}: is missing")
    file = document.read(path)
    if not isinstance(file.value, dict):
        raise SpecError(file.fault("", "is not a mapping", "write name: value"))
    if faults := list(_find_faults(file)):
        raise SpecError(*faults)
    gcp, slug = file.value["gcp"], file.value.get("slug")
    safe = isinstance(slug, str) and re.fullmatch(r"[a-z][a-z0-9_-]*", slug)  # in a command
    return Settings(
        **{key: gcp.get(key) or "" for key in FORMS},
        slug=slug if safe else Settings.slug,
        path=path,
        code=gcp.get("code") or WAYS[0],
        executor_image=gcp.get("executor_image") or "",
        max_cost=None if gcp.get("max_cost") == "" else gcp.get("max_cost"),
        labels=gcp.get("labels") or {},
    )


def image_name() -> str:
    """The project's slug as a name that Docker takes: no two separators in a row."""
    return re.sub(r"[^a-z0-9]+", "-", read_or_default().slug).strip("-")


def own_image() -> str:
    """The project's image in its registry, without a tag; "" while project.yaml is not filled in."""
    settings = read_or_default()
    parts = settings.region, settings.project, settings.image_repository
    return "{}-docker.pkg.dev/{}/{}/{}".format(*parts, image_name()) if all(parts) else ""


def is_own_package(uri: str) -> bool:
    """Whether a package is one that the launcher uploaded to the project's bucket."""
    bucket = re.escape(read_or_default().bucket) or "[^/]+"
    return bool(re.fullmatch(rf"gs://{bucket}/packages/[0-9a-f]+/trainer\.tar\.gz", uri))


def read_or_default() -> Settings:
    """project.yaml; empty where it is missing or wrong, which scripts/check.py reports."""
    try:
        return read_settings()
    except SpecError:
        return Settings()


def _find_faults(file: Document) -> Iterator[Fault]:
    gcp = file.value.get("gcp")
    if not isinstance(gcp, dict):
        what, instead = "is missing, or not a mapping", "write project, region, bucket below it"
        yield file.fault("gcp", what, instead)
        return
    for key, (form, instead) in FORMS.items():
        value = gcp.get(key) or ""
        if not isinstance(value, str) or (value and not re.fullmatch(form, value)):
            yield file.fault(f"gcp.{key}", f"is {document.show(value)}", f"write {instead}")
    if (code := gcp.get("code") or WAYS[0]) not in WAYS:
        yield file.fault("gcp.code", f"is {document.show(code)}", f"write {' or '.join(WAYS)}")
    limit = gcp.get("max_cost")
    is_number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
    if limit not in (None, "") and not is_number:
        yield file.fault("gcp.max_cost", f"is {document.show(limit)}", "write dollars, such as 25")
    region, tensorboard = gcp.get("region"), TENSORBOARD.fullmatch(str(gcp.get("tensorboard")))
    if region and tensorboard and tensorboard[1] != region:
        what = f"is in {tensorboard[1]}, and jobs run in {region}: they cannot write there"
        yield file.fault("gcp.tensorboard", what, f"take one in {region}")
