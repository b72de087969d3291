"""The place in Google Cloud that project.yaml names, and what its jobs may do there.

place, faults = gcp.load()
place.bucket                          "my-lab-runs"; "" where it is empty
place.missing("project", "bucket")    a fault for each that is empty
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from launcher.common import document
from launcher.common.document import Fault, SpecError, show
from launcher.project import settings

# What jobs need; beside it, what setting up and Cloud Build need, and what a budget needs.
APIS = ("aiplatform", "artifactregistry", "iam", "logging", "storage")
APIS_TO_SET_UP = ("cloudbuild", "cloudresourcemanager", "serviceusage")
APIS_TO_PAY = ("cloudbilling", "billingbudgets")

# Stricter than what the service takes: it ends up in commands, and Windows runs gcloud by a shell.
ACCOUNT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}@([a-z0-9.-]+)\.gserviceaccount\.com")


@dataclass(frozen=True)
class Place:
    """The `gcp:` part of project.yaml. An empty text means: not set."""

    project: str = ""
    region: str = ""
    bucket: str = ""
    image_repository: str = ""
    service_account: str = ""
    tensorboard: str = ""
    slug: str = "trainer"
    path: Path = settings.PATH
    code: str = settings.WAYS[0]  # how the trainer gets into a job
    executor_image: str = ""
    max_cost: float | None = None  # USD
    labels: Mapping[str, object] = field(default_factory=dict)

    def missing(self, *keys: str) -> list[Fault]:
        """A fault for each of these keys that is empty, with the line where to write it."""
        found = document.read(self.path)
        return [
            Fault(
                self.path,
                found.line(f"gcp.{key}"),
                f"gcp.{key}",
                "is empty",
                f"write {settings.FORMS[key][1]}",
            )
            for key in keys
            if not getattr(self, key)
        ]


@dataclass(frozen=True)
class Role:
    """A role that the jobs' service account needs, and no more than that."""

    name: str
    on: str  # "project" or "bucket"
    why: str
    # Roles that hold all of it, so that nobody is told to grant what is there already.
    within: tuple[str, ...] = ()

    def granted_by(self, roles: set[str]) -> bool:
        return bool({self.name, *self.within, "roles/owner"} & roles)


def job_roles(place: Place) -> list[Role]:
    """What a job may do. It may not pull its image: that does Vertex AI's own service agent."""
    roles = [
        Role(
            "roles/storage.objectUser",
            "bucket",
            "reads data, writes checkpoints and models; changes no permissions",
            ("roles/storage.objectAdmin", "roles/storage.admin", "roles/editor"),
        ),
        Role(
            "roles/storage.legacyBucketReader",
            "bucket",
            "TensorFlow looks whether the bucket is there before it makes a folder in it",
            ("roles/storage.legacyBucketWriter", "roles/storage.legacyBucketOwner")
            + ("roles/storage.admin", "roles/editor"),
        ),
        Role(
            "roles/logging.logWriter",
            "project",
            "writes the job's log, and reads none",
            ("roles/logging.admin", "roles/editor"),
        ),
    ]
    if place.tensorboard:
        why = "sends its logs to the Vertex TensorBoard that project.yaml names"
        within = ("roles/aiplatform.admin", "roles/editor")
        roles.append(Role("roles/aiplatform.user", "project", why, within))
    return roles


def load(path: Path = settings.PATH) -> tuple[Place, list[Fault]]:
    """Reads project.yaml: the place, and what is wrong with its `gcp` part.

    With a fault the place is empty.

    Raises:
        SpecError: the file is missing, not YAML, or wrong elsewhere.
    """
    try:
        value = settings.read(path)
    except SpecError as error:
        faults = [f for f in error.faults if getattr(f, "place", "").startswith("gcp")]
        if len(faults) < len(error.faults):
            raise
        return Place(path=path), faults
    if value is None:
        raise SpecError(f"{path}: is missing")
    gcp = value["gcp"]
    place = Place(
        **{key: gcp.get(key) or "" for key in settings.FORMS},
        slug=_slug(value.get("slug")),
        path=path,
        code=gcp.get("code") or settings.WAYS[0],
        executor_image=gcp.get("executor_image") or "",
        max_cost=None if gcp.get("max_cost") in (None, "") else gcp["max_cost"],
        labels=gcp.get("labels") or {},
    )
    account = place.service_account
    if account and not ACCOUNT.fullmatch(account):
        line = document.read(path).line("gcp.service_account")
        instead = f"write {settings.FORMS['service_account'][1]}"
        fault = Fault(path, line, "gcp.service_account", f"is {show(account)}", instead)
        return Place(path=path), [fault]
    return place, []


def _slug(text: object) -> str:
    """Fit for a command, whatever was made of it."""
    return text if isinstance(text, str) and re.fullmatch(r"[a-z][a-z0-9_-]*", text) else "trainer"
