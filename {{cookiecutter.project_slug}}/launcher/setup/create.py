"""Create what the cloud part of project.yaml names, with gcloud, or print the commands.

Each step first looks whether it is done already, so that a second run changes nothing.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from collections.abc import Iterator

from launcher.cloud import clients
from launcher.cloud.clients import Need
from launcher.cloud.submission import find_label
from launcher.common.document import SpecError
from launcher.cost.prices import dollars
from launcher.doctor.checkup import NOT_FOUND, Skip, command, one_line
from launcher.endpoints.plan import price_machine
from launcher.project import gcp
from launcher.project.buckets import holds_region
from launcher.project.settings import ROOT, Settings, image_name

NEEDED = ("project", "region", "bucket", "image_repository", "service_account")
LIFECYCLE = "launcher/setup/lifecycle.json"  # what is cleared away below scratch/, and when
THRESHOLDS = ("percent=0.5", "percent=0.9", "percent=1.0", "percent=1.0,basis=forecasted-spend")
ABSENT = ("not found", "NOT_FOUND")
# What gcloud prints of a thing that was just made, or switched on, and is not known everywhere yet.
NOT_YET = ("does not exist", "SERVICE_DISABLED", "has not been used in project")
WAITS = (2, 4, 8, 16, 30)  # seconds between tries
IDLE = 60  # minutes without a running kernel, after which a Workbench instance stops
COMMAND_SECONDS = 300  # switching on an API may take a minute


def set_up(
    gcloud: Gcloud,
    settings: Settings,
    budget: float | None,
    scratch: bool = True,
    workbench: str | None = None,
) -> None:
    """Take all steps for one project.

    Args:
        budget: an amount a month, in the currency of the billing account; None: no alert.
        scratch: whether to have gs://BUCKET/scratch/ cleared away.
        workbench: the machine of a Workbench instance, such as "e2-standard-4"; None: no instance.

    Raises:
        SpecError: a step failed. What was done before it need not be done again.
    """
    project, location = f"--project={settings.project}", f"--location={settings.region}"

    wanted = [*gcp.APIS, *gcp.APIS_TO_SET_UP]
    wanted += [*(gcp.APIS_TO_PAY if budget is not None else ()), *(["notebooks"] * bool(workbench))]
    names = [f"{api}.googleapis.com" for api in wanted]
    with gcloud.step("APIs", "the services that jobs and the steps below are made with"):
        services = gcloud.read("services", "list", "--enabled", project) or ()
        enabled = {service.get("config", {}).get("name") for service in services}
        if off := [name for name in names if name not in enabled]:
            gcloud.run("services", "enable", *off, project)

    _provide_bucket(gcloud, settings)
    if scratch:
        _clear_scratch(gcloud, f"gs://{settings.bucket}")

    where = (settings.image_repository, location, project)
    with gcloud.step("images", "the training image, in the region where it is pulled"):
        if not gcloud.read("artifacts", "repositories", "describe", *where):
            docker = "--repository-format=docker"
            gcloud.run("artifacts", "repositories", "create", *where, docker)

    email = settings.service_account
    name, _, domain = email.partition("@")
    why = "the jobs' identity, which may do what follows and nothing else"
    with gcloud.step("service account", why):
        account = gcloud.read("iam", "service-accounts", "describe", email, project)
        if not account and domain != f"{settings.project}.iam.gserviceaccount.com":
            own = f"{name}@{settings.project}.iam.gserviceaccount.com"
            raise SpecError(f"{email} belongs to another project: write {own} in project.yaml")
        if not account:
            gcloud.run("iam", "service-accounts", "create", name, project)
        elif account.get("disabled"):
            gcloud.run("iam", "service-accounts", "enable", email, project)

    for role in gcp.job_roles(settings):
        bucket, words = "", ["projects", "get-iam-policy", settings.project]
        if role.on == "bucket":
            bucket = settings.bucket
            words = ["storage", "buckets", "get-iam-policy", f"gs://{bucket}"]
        with gcloud.step(role.name, role.why):
            member = f"serviceAccount:{email}"
            grant = clients.grant(Need(role.name, bucket=bucket), member, settings.project)
            if not role.granted_by(gcp.list_roles([gcloud.read(*words)], member)):
                gcloud.run(*shlex.split(grant)[1:])

    if budget is not None:
        _provide_budget(gcloud, settings, f"{budget:.2f}")
    if workbench:
        _provide_workbench(gcloud, settings, workbench)


def _provide_bucket(gcloud: Gcloud, settings: Settings) -> None:
    name, uniform = f"gs://{settings.bucket}", "--uniform-bucket-level-access"
    why = "data, checkpoints and models, where jobs run; one set of permissions, never public"
    with gcloud.step("bucket", why):
        bucket = gcloud.read("storage", "buckets", "describe", name)
        if not bucket:
            where = [f"--project={settings.project}", f"--location={settings.region}"]
            safe = [uniform, "--public-access-prevention"]
            gcloud.run("storage", "buckets", "create", name, *where, *safe)
            return
        location = str(bucket.get("location", "")).lower()
        parts = (bucket.get("custom_placement_config") or {}).get("dataLocations") or ()
        if not holds_region(settings.region, location, parts):
            text = (
                f"{name} is in {location}, jobs run in {settings.region}, and a bucket cannot move"
            )
            raise SpecError(f"{text}: write another gcp.bucket in project.yaml")
        if not bucket.get("uniform_bucket_level_access"):
            gcloud.run("storage", "buckets", "update", name, uniform)


def _clear_scratch(gcloud: Gcloud, name: str) -> None:
    rule = json.loads((ROOT / LIFECYCLE).read_text(encoding="utf-8"))["rule"][0]
    why = f"what lies below {name}/scratch/ is deleted after {rule['condition']['age']} days"
    with gcloud.step("scratch", why):
        bucket = gcloud.read("storage", "buckets", "describe", name) or {}
        rules = (bucket.get("lifecycle_config") or {}).get("rule") or []
        if rules and rule not in rules:  # a file replaces them all, and they are somebody's
            text = f"{name} has lifecycle rules already: add that of {LIFECYCLE} to them by hand"
            raise SpecError(f"{text}, or leave it out with --no-scratch")
        if not rules:
            gcloud.run("storage", "buckets", "update", name, f"--lifecycle-file={LIFECYCLE}")


def _provide_workbench(gcloud: Gcloud, settings: Settings, machine: str) -> None:
    hourly = price_machine(machine, settings.region)
    price = "an unknown sum" if hourly is None else f"about {dollars(hourly)}"
    name = f"{image_name()}-notebook"
    where = [f"--project={settings.project}", f"--location={settings.region}-b"]
    why = f"JupyterLab on a machine; {price} an hour while it runs, plus its disks"
    with gcloud.step("Workbench", f"{why}; stops after {IDLE} idle minutes"):
        if not gcloud.read("workbench", "instances", "describe", name, *where):
            image = "--vm-image-project=cloud-notebooks-managed"
            options = [image, "--vm-image-family=workbench-instances", f"--machine-type={machine}"]
            options += [f"--metadata=idle-timeout-seconds={60 * IDLE}"]
            options += [f"--labels=project={find_label(settings)}"]  # endpoints.py cleanup finds it
            gcloud.run("workbench", "instances", "create", name, *where, *options)


def _provide_budget(gcloud: Gcloud, settings: Settings, amount: str) -> None:
    name = f"{settings.slug}-{settings.project}"
    why = f"warns who pays when half, 90 % and all of {amount} a month is spent; it stops nothing"
    with gcloud.step("budget", why):
        look = "billing", "projects", "describe", settings.project
        account = "BILLING_ACCOUNT"
        if gcloud.apply:
            billing = gcloud.read(*look) or {}
            account = str(billing.get("billingAccountName", "")).rpartition("/")[2]
        else:
            print(f"# ({account}: what follows billingAccounts/ in: {_join(look)})")
        if not account:
            link = f"gcloud billing projects link {settings.project} --billing-account=ACCOUNT_ID"
            text = f"no billing account pays for {settings.project}"
            raise SpecError(f"{text}; gcloud billing accounts list shows yours; then: {link}")
        account = f"--billing-account={account}"
        budgets = gcloud.read("billing", "budgets", "list", account) or ()
        if not any(budget.get("displayName") == name for budget in budgets):
            words = [account, f"--display-name={name}", f"--budget-amount={amount}"]
            words += [f"--filter-projects=projects/{settings.project}"]
            words += [f"--threshold-rule={rule}" for rule in THRESHOLDS]
            gcloud.run("billing", "budgets", "create", *words)


class Gcloud:
    """Runs commands, or prints them as if nothing existed yet. No shell reads their words."""

    def __init__(self, apply: bool):
        self.apply, self.name, self.changes = apply, "", 0

    @contextlib.contextmanager
    def step(self, name: str, why: str) -> Iterator[None]:
        """Print what the commands in the block are for, or do; or that there are none."""
        self.name, before = name, self.changes
        if not self.apply:
            print(f"# {name}: {why}")
        yield
        if not self.apply:
            print()
        elif self.changes == before:
            print(f"{name}: there already", flush=True)

    def read(self, *words: str) -> object:
        """The output of a command that only looks, from JSON; None where nothing is there."""
        if not self.apply:
            return None
        code, out, err = self._call(*words, "--format=json")
        if code and any(sign in err for sign in ABSENT):
            return None
        if code:
            raise self._explain(words, code, err)
        return json.loads(out or "null")

    def run(self, *words: str) -> None:
        """Run a command that changes something."""
        print(f"{self.name}: {_join(words)}" if self.apply else _join(words), flush=True)
        if self.apply:
            code, _, err = self._call(*words)
            if code:
                raise self._explain(words, code, err)
            self.changes += 1

    def _explain(self, words: tuple[str, ...], code: int, err: str) -> SpecError:
        _, error, text = err.partition("ERROR: ")
        text = one_line(text if error else err or f"exit code {code}", 400)
        if "authenticated" not in text:  # gcloud names an account only if it is not the usual one
            _, account, _ = self._call("config", "get-value", "account")
            text += f" (signed in as {account or 'nobody'})"
        return SpecError(f"{_join(words)}: {text}")

    def _call(self, *words: str) -> tuple[int, str, str]:
        """Run gcloud as `command` does, and again where a change of ours is not known everywhere yet."""
        waits = list(WAITS if self.changes else ())
        while True:
            try:
                code, out, err = command("gcloud", *words, seconds=COMMAND_SECONDS, cwd=ROOT)
            except Skip as error:
                raise SpecError(f"{_join(words)}: {error}") from None
            if code == NOT_FOUND:
                get = "get it from https://cloud.google.com/sdk/docs/install"
                paste = "paste what is printed without --apply into https://shell.cloud.google.com"
                raise SpecError(f"gcloud is not installed: {get}, or {paste}")
            if not (code and waits and any(sign in err for sign in NOT_YET)):
                return code, out, err
            time.sleep(waits.pop(0))


def _join(words: tuple[str, ...]) -> str:
    return shlex.join(["gcloud", *words])
