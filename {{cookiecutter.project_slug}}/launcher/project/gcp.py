"""What jobs need in Google Cloud: its APIs, and roles for the account that they run under."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from launcher.project.settings import Settings

# For jobs; for setting up and Cloud Build; for a budget.
APIS = ("aiplatform", "artifactregistry", "iam", "logging", "storage")
APIS_TO_SET_UP = ("cloudbuild", "cloudresourcemanager", "serviceusage")
APIS_TO_PAY = ("cloudbilling", "billingbudgets")


@dataclass(frozen=True)
class Role:
    """A role that the jobs' service account needs, and no more than that."""

    name: str
    on: str  # "project" or "bucket"
    why: str

    def granted_by(self, roles: set[str]) -> bool:
        """Whether one of these is the role, or holds all of it: the doctor asks for no such grant."""
        admin = self.name.rpartition(".")[0] + ".admin"
        return bool({self.name, admin, "roles/editor", "roles/owner"} & roles)


def job_roles(settings: Settings) -> list[Role]:
    """What a job may do. It may not pull its image: that does Vertex AI's own service agent."""
    objects = "reads data, writes checkpoints and models; changes no permissions"
    bucket = "TensorFlow looks whether the bucket is there before it makes a folder in it"
    roles = [
        Role("roles/storage.objectUser", "bucket", objects),
        Role("roles/storage.legacyBucketReader", "bucket", bucket),
        Role("roles/logging.logWriter", "project", "writes the job's log, and reads none"),
    ]
    if settings.tensorboard:
        why = "sends its logs to the Vertex TensorBoard that project.yaml names"
        roles.append(Role("roles/aiplatform.user", "project", why))
    return roles


def list_roles(policies: Iterable[dict | None], member: str) -> set[str]:
    """The roles that IAM policies grant to a member, "serviceAccount:EMAIL"."""
    bindings = [b for policy in policies if policy for b in policy.get("bindings", ())]
    # A grant under a condition need not hold when a job runs.
    return {b["role"] for b in bindings if member in b["members"] and not b.get("condition")}
