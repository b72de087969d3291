"""Set up the cloud part of project.yaml with gcloud, or print the commands that would.

Each step first looks whether it is done already, so that a second run changes nothing.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator

from launcher.cloud import identity
from launcher.doctor.checkup import Skip, command, one_line
from launcher.project import gcp
from launcher.project.settings import ROOT, Settings
from launcher.setup import steps
from launcher.setup.steps import SetupError, Step, Words

NEEDED = ("project", "region", "bucket", "image_repository", "service_account")
ABSENT = ("not found", "NOT_FOUND")
# What gcloud prints of a thing that was just made, or switched on, and is not known everywhere yet.
NOT_YET = ("does not exist", "SERVICE_DISABLED", "has not been used in project")
WAITS = (2, 4, 8, 16, 30)  # seconds between tries
COMMAND_SECONDS = 300  # switching on an API may take a minute


class Setup:
    """The steps for one project.

    Args:
        budget: an amount a month, in the currency of the billing account; None: no alert.
        scratch: whether to have gs://BUCKET/scratch/ cleared away.
    """

    def __init__(self, settings: Settings, budget: float | None, scratch: bool = True):
        self.settings, self.budget, self.scratch = settings, budget, scratch
        self.changes = 0

    def commands(self) -> Iterator[str]:
        """All commands, as lines of a script; gcloud is not called."""
        for step in self._steps(lambda: "BILLING_ACCOUNT"):
            yield f"# {step.name}: {step.why}"
            if step.name == "budget":
                look = f"gcloud billing projects describe {self.settings.project}"
                yield f"# (BILLING_ACCOUNT: what follows billingAccounts/ in: {look})"
            for words in step.make(None):
                yield shlex.join(["gcloud", *words])
            yield ""

    def apply(self) -> None:
        """Do what is not done yet.

        Raises:
            SetupError: a step failed. What was done before it need not be done again.
        """
        for step in self._steps(self._read_billing_account):
            missing = step.make(self._read(step.look))
            for words in missing:
                print(f"{step.name}: {shlex.join(['gcloud', *words])}", flush=True)
                code, _, err = self._gcloud(words)
                if code:
                    raise _explain(words, code, err)
                self.changes += 1
            if not missing:
                print(f"{step.name}: there already", flush=True)

    def _steps(self, read_billing_account: Callable[[], str]) -> Iterator[Step]:
        settings = self.settings
        yield steps.apis(settings, self.budget is not None)
        yield steps.bucket(settings)
        if self.scratch:
            yield steps.scratch(settings)
        yield steps.images(settings)
        yield steps.account(settings)
        for role in gcp.job_roles(settings):
            yield steps.role(settings, role)
        if self.budget is not None:  # last: the first step switches on the API of the account
            yield steps.budget(settings, self.budget, read_billing_account())

    def _read_billing_account(self) -> str:
        billing = self._read(["billing", "projects", "describe", self.settings.project]) or {}
        account = str(billing.get("billingAccountName", "")).rpartition("/")[2]
        if account:
            return account
        link = f"gcloud billing projects link {self.settings.project} --billing-account=ACCOUNT_ID"
        raise SetupError(
            f"no billing account pays for {self.settings.project}, and without one no job runs; "
            f"gcloud billing accounts list shows yours; then: {link}"
        )

    def _read(self, words: Words) -> object:
        """The output of a command that only looks; None where nothing is there."""
        code, out, err = self._gcloud([*words, "--format=json"])
        if code:
            if any(sign in err for sign in ABSENT):
                return None
            raise _explain(words, code, err)
        try:
            return json.loads(out or "null")
        except ValueError:
            raise SetupError(f"{shlex.join(['gcloud', *words])}: answers no JSON") from None

    def _gcloud(self, words: Words) -> tuple[int, str, str]:
        """Run gcloud, and again where a change of ours is not known everywhere yet.

        Returns:
            Its exit code, what it wrote to its output, and to its errors.
        """
        waits = list(WAITS if self.changes else ())
        while True:
            try:
                code, out, err = command("gcloud", *words, seconds=COMMAND_SECONDS, cwd=ROOT)
            except FileNotFoundError:
                raise SetupError(
                    "gcloud is not installed: get it from https://cloud.google.com/sdk/docs/install, "
                    "or paste what is printed without --apply into https://shell.cloud.google.com"
                ) from None
            except Skip as error:
                raise SetupError(f"{shlex.join(['gcloud', *words])}: {error}") from None
            if not (code and waits and any(sign in err for sign in NOT_YET)):
                return code, out, err
            time.sleep(waits.pop(0))


def _explain(words: Words, code: int, err: str) -> SetupError:
    _, error, text = err.partition("ERROR: ")
    text = one_line(text if error else err or f"exit code {code}", 400)
    # gcloud names the account itself only where that is not the usual one.
    who = "" if "authenticated" in text else f" (signed in as {identity.account() or 'nobody'})"
    return SetupError(f"{shlex.join(['gcloud', *words])}: {text}{who}")
