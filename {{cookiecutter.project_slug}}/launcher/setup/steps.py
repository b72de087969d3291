"""What the cloud part of project.yaml needs, step by step: how to look for it, how to make it.

Nothing runs here: a step is lists of words for gcloud, which no shell reads.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from launcher.cloud import identity
from launcher.common.document import SpecError
from launcher.project import gcp
from launcher.project.buckets import holds_region
from launcher.project.settings import ROOT, Settings

LIFECYCLE = Path("launcher/setup/lifecycle.json")  # what is cleared away below scratch/, and when
THRESHOLDS = ("percent=0.5", "percent=0.9", "percent=1.0", "percent=1.0,basis=forecasted-spend")

Words = list[str]


class SetupError(SpecError):
    """What cannot be set up and why, in one line."""


@dataclass(frozen=True)
class Step:
    """One thing that should exist."""

    name: str
    why: str
    look: Words  # shows it, as JSON for `make`
    # From what `look` shows, None for nothing: the commands to run, none where all is as it should be.
    # Raises SetupError where the thing exists and no command can make it what it should be.
    make: Callable[[object], list[Words]]


def apis(settings: Settings, with_budget: bool) -> Step:
    wanted = [*gcp.APIS, *gcp.APIS_TO_SET_UP, *(gcp.APIS_TO_PAY if with_budget else ())]
    names = [f"{api}.googleapis.com" for api in wanted]

    def make(services):
        enabled = {service.get("config", {}).get("name") for service in services or ()}
        off = [name for name in names if name not in enabled]
        return [["services", "enable", *off, f"--project={settings.project}"]] if off else []

    look = ["services", "list", "--enabled", f"--project={settings.project}"]
    return Step("APIs", "the services that jobs and the steps below are made with", look, make)


def bucket(settings: Settings) -> Step:
    name = f"gs://{settings.bucket}"
    uniform = "--uniform-bucket-level-access"

    def make(bucket):
        if not bucket:
            where = [f"--project={settings.project}", f"--location={settings.region}"]
            safe = [uniform, "--public-access-prevention"]
            return [["storage", "buckets", "create", name, *where, *safe]]
        location = str(bucket.get("location", "")).lower()
        parts = (bucket.get("custom_placement_config") or {}).get("dataLocations") or ()
        if not holds_region(settings.region, location, parts):
            raise SetupError(
                f"{name} is in {location}, jobs run in {settings.region}, and a bucket cannot move: "
                f"write another gcp.bucket in {settings.path.name}"
            )
        if not bucket.get("uniform_bucket_level_access"):
            return [["storage", "buckets", "update", name, uniform]]
        return []

    why = "data, checkpoints and models, where jobs run; one set of permissions, never public"
    return Step("bucket", why, ["storage", "buckets", "describe", name], make)


def scratch(settings: Settings) -> Step:
    name = f"gs://{settings.bucket}"
    rule = json.loads((ROOT / LIFECYCLE).read_text(encoding="utf-8"))["rule"][0]

    def make(bucket):
        rules = ((bucket or {}).get("lifecycle_config") or {}).get("rule") or []
        if rule in rules:
            return []
        if rules:  # a file replaces them all, and they are somebody's
            raise SetupError(
                f"{name} has lifecycle rules already: add that of {LIFECYCLE.as_posix()} to them "
                "by hand, or leave it out with --no-scratch"
            )
        file = f"--lifecycle-file={LIFECYCLE.as_posix()}"
        return [["storage", "buckets", "update", name, file]]

    why = f"what lies below {name}/scratch/ is deleted after {rule['condition']['age']} days"
    return Step("scratch", why, ["storage", "buckets", "describe", name], make)


def images(settings: Settings) -> Step:
    name = settings.image_repository
    where = [name, f"--location={settings.region}", f"--project={settings.project}"]

    def make(repository):
        if not repository:
            return [["artifacts", "repositories", "create", *where, "--repository-format=docker"]]
        if repository.get("format") != "DOCKER":
            raise SetupError(
                f"the repository {name} holds {repository.get('format')}, not Docker images: "
                f"write another gcp.image_repository in {settings.path.name}"
            )
        return []

    look = ["artifacts", "repositories", "describe", *where]
    return Step("images", "the training image, in the region where it is pulled", look, make)


def account(settings: Settings) -> Step:
    email = settings.service_account
    name, _, domain = email.partition("@")
    project = f"--project={settings.project}"

    def make(account):
        if not account and domain != f"{settings.project}.iam.gserviceaccount.com":
            raise SetupError(
                f"{email} is not there, and belongs to another project: write "
                f"{name}@{settings.project}.iam.gserviceaccount.com in {settings.path.name}"
            )
        if not account:
            return [["iam", "service-accounts", "create", name, project]]
        if account.get("disabled"):
            return [["iam", "service-accounts", "enable", email, project]]
        return []

    why = "the jobs' identity, which may do what follows and nothing else"
    look = ["iam", "service-accounts", "describe", email, project]
    return Step("service account", why, look, make)


def role(settings: Settings, role: gcp.Role) -> Step:
    member = f"serviceAccount:{settings.service_account}"
    if role.on == "bucket":
        look = ["storage", "buckets", "get-iam-policy", f"gs://{settings.bucket}"]
        grant = identity.grant_on_bucket(role.name, settings.bucket, member)
    else:
        look = ["projects", "get-iam-policy", settings.project]
        grant = identity.grant(role.name, settings.project, member)

    def make(policy):
        bindings = (policy or {}).get("bindings", ())
        # A grant under a condition need not hold when a job runs.
        held = {b["role"] for b in bindings if member in b["members"] and not b.get("condition")}
        return [] if role.granted_by(held) else [shlex.split(grant)[1:]]

    return Step(role.name, role.why, look, make)


def budget(settings: Settings, amount: float, billing_account: str) -> Step:
    """`amount` is for a month, in the currency of the billing account."""
    name, text = f"{settings.slug}-{settings.project}", f"{amount:.2f}"
    words = ["billing", "budgets", "create", f"--billing-account={billing_account}"]
    words += [f"--display-name={name}", f"--budget-amount={text}"]
    words += [f"--filter-projects=projects/{settings.project}"]
    words += [f"--threshold-rule={rule}" for rule in THRESHOLDS]

    def make(budgets):
        return [] if any(b.get("displayName") == name for b in budgets or ()) else [words]

    why = f"warns who pays when half, 90 % and all of {text} a month is spent; it stops nothing"
    look = ["billing", "budgets", "list", f"--billing-account={billing_account}"]
    return Step("budget", why, look, make)
