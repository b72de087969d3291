"""What the cloud part of project.yaml needs, step by step: what to ask first, what to do if it lacks.

Nothing runs here; the steps are words for gcloud, lists of them, that no shell ever reads.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from launcher.cloud import identity
from launcher.common.document import SpecError
from launcher.jobfile.place_rules import holds_region
from launcher.project import gcp
from launcher.project.gcp import Place
from launcher.project.settings import ROOT

LIFECYCLE = Path("launcher/setup/lifecycle.json")  # what is cleared away below scratch/, and when
THRESHOLDS = ("percent=0.5", "percent=0.9", "percent=1.0", "percent=1.0,basis=forecasted-spend")

Words = list[str]


class SetupError(SpecError):
    """What cannot be set up and why, in one line."""


@dataclass(frozen=True)
class Step:
    """One thing that is to be there.

    Attributes:
        look: gcloud's words that show it. Its answer, from JSON, goes to `make`; None: not there.
        make: gives the commands that are lacking; none where it is as it should be.
            Raises SetupError where it is there, and is not what it should be for good.
    """

    name: str
    why: str
    look: Words
    make: Callable[[object], list[Words]] = field(repr=False)


def apis(place: Place, with_budget: bool) -> Step:
    wanted = [*gcp.APIS, *gcp.APIS_TO_SET_UP, *(gcp.APIS_TO_PAY if with_budget else ())]
    names = [f"{api}.googleapis.com" for api in wanted]

    def make(on):
        there = {service.get("config", {}).get("name") for service in on or ()}
        off = [name for name in names if name not in there]
        return [["services", "enable", *off, f"--project={place.project}"]] if off else []

    look = ["services", "list", "--enabled", f"--project={place.project}"]
    return Step("APIs", "the services that jobs and the steps below are made with", look, make)


def bucket(place: Place) -> Step:
    name = f"gs://{place.bucket}"
    uniform = "--uniform-bucket-level-access"

    def make(found):
        if not found:
            where = [f"--project={place.project}", f"--location={place.region}"]
            safe = [uniform, "--public-access-prevention"]
            return [["storage", "buckets", "create", name, *where, *safe]]
        there = str(found.get("location", "")).lower()
        parts = (found.get("custom_placement_config") or {}).get("dataLocations") or ()
        if not holds_region(place.region, there, parts):
            raise SetupError(
                f"{name} is in {there}, jobs run in {place.region}, and a bucket cannot move: "
                f"write another gcp.bucket in {place.path.name}"
            )
        if not found.get("uniform_bucket_level_access"):
            return [["storage", "buckets", "update", name, uniform]]
        return []

    why = "data, checkpoints and models, where jobs run; one set of permissions, never public"
    return Step("bucket", why, ["storage", "buckets", "describe", name], make)


def scratch(place: Place) -> Step:
    name = f"gs://{place.bucket}"
    rule = json.loads((ROOT / LIFECYCLE).read_text(encoding="utf-8"))["rule"][0]

    def make(found):
        rules = ((found or {}).get("lifecycle_config") or {}).get("rule") or []
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


def images(place: Place) -> Step:
    where = [place.image_repository, f"--location={place.region}", f"--project={place.project}"]

    def make(found):
        if not found:
            return [["artifacts", "repositories", "create", *where, "--repository-format=docker"]]
        if found.get("format") != "DOCKER":
            raise SetupError(
                f"the repository {place.image_repository} holds {found.get('format')}, not Docker "
                f"images: write another gcp.image_repository in {place.path.name}"
            )
        return []

    look = ["artifacts", "repositories", "describe", *where]
    return Step("images", "the training image, in the region where it is pulled", look, make)


def account(place: Place) -> Step:
    email = place.service_account
    name, _, domain = email.partition("@")
    project = f"--project={place.project}"

    def make(found):
        if not found and domain != f"{place.project}.iam.gserviceaccount.com":
            raise SetupError(
                f"{email} is not there, and belongs to another project: write "
                f"{name}@{place.project}.iam.gserviceaccount.com in {place.path.name}"
            )
        if not found:
            return [["iam", "service-accounts", "create", name, project]]
        if found.get("disabled"):
            return [["iam", "service-accounts", "enable", email, project]]
        return []

    why = "the jobs' identity, which may do what follows and nothing else"
    look = ["iam", "service-accounts", "describe", email, project]
    return Step("service account", why, look, make)


def role(place: Place, role: gcp.Role) -> Step:
    member = f"serviceAccount:{place.service_account}"
    if role.on == "bucket":
        look = ["storage", "buckets", "get-iam-policy", f"gs://{place.bucket}"]
        grant = identity.grant_on_bucket(role.name, place.bucket, member)
    else:
        look = ["projects", "get-iam-policy", place.project]
        grant = identity.grant(role.name, place.project, member)

    def make(policy):
        bindings = (policy or {}).get("bindings", ())
        # A grant under a condition need not hold when a job runs.
        held = {b["role"] for b in bindings if member in b["members"] and not b.get("condition")}
        return [] if role.granted_by(held) else [shlex.split(grant)[1:]]

    return Step(role.name, role.why, look, make)


def budget(place: Place, amount: float, billing_account: str) -> Step:
    """`amount` is for a month, in the currency of the billing account."""
    name, text = f"{place.slug}-{place.project}", f"{amount:.2f}"
    words = ["billing", "budgets", "create", f"--billing-account={billing_account}"]
    words += [f"--display-name={name}", f"--budget-amount={text}"]
    words += [f"--filter-projects=projects/{place.project}"]
    words += [f"--threshold-rule={rule}" for rule in THRESHOLDS]

    def make(found):
        return [] if any(b.get("displayName") == name for b in found or ()) else [words]

    why = f"tells who pays when half, 90 % and all of {text} a month is spent; it stops nothing"
    look = ["billing", "budgets", "list", f"--billing-account={billing_account}"]
    return Step("budget", why, look, make)
