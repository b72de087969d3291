"""gcloud, as the steps of `create` call it: `Gcloud` runs its commands, `Script` prints them."""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from collections.abc import Iterator

from launcher.common.document import SpecError
from launcher.doctor.checkup import Skip, command, one_line
from launcher.project.settings import ROOT

ABSENT = ("not found", "NOT_FOUND")
# What gcloud prints of a thing that was just made, or switched on, and is not known everywhere yet.
NOT_YET = ("does not exist", "SERVICE_DISABLED", "has not been used in project")
WAITS = (2, 4, 8, 16, 30)  # seconds between tries
COMMAND_SECONDS = 300  # switching on an API may take a minute


class SetupError(SpecError):
    """What cannot be set up and why, in one line."""


class Script:
    """Prints the commands of each step, as if nothing existed yet."""

    @contextlib.contextmanager
    def step(self, name: str, why: str) -> Iterator[None]:
        print(f"# {name}: {why}")
        yield
        print()

    def read(self, *words: str) -> None:
        pass

    def run(self, *words: str) -> None:
        print(_join(words))

    def read_billing_account(self, project: str) -> str:
        look = f"gcloud billing projects describe {project}"
        print(f"# (BILLING_ACCOUNT: what follows billingAccounts/ in: {look})")
        return "BILLING_ACCOUNT"


class Gcloud:
    """Runs the commands. No shell reads their words."""

    def __init__(self):
        self.name = ""
        self.changes = 0

    @contextlib.contextmanager
    def step(self, name: str, why: str) -> Iterator[None]:
        """Print what the commands in the block do, or that there are none."""
        self.name, before = name, self.changes
        yield
        if self.changes == before:
            print(f"{name}: there already", flush=True)

    def read(self, *words: str) -> object:
        """The output of a command that only looks, from JSON; None where nothing is there."""
        code, out, err = self._call(*words, "--format=json")
        if code:
            if any(sign in err for sign in ABSENT):
                return None
            raise self._explain(words, code, err)
        try:
            return json.loads(out or "null")
        except ValueError:
            raise SetupError(f"{_join(words)}: answers no JSON") from None

    def run(self, *words: str) -> None:
        """Run a command that changes something.

        Raises:
            SetupError: it failed, as all commands may.
        """
        print(f"{self.name}: {_join(words)}", flush=True)
        code, _, err = self._call(*words)
        if code:
            raise self._explain(words, code, err)
        self.changes += 1

    def read_billing_account(self, project: str) -> str:
        billing = self.read("billing", "projects", "describe", project) or {}
        account = str(billing.get("billingAccountName", "")).rpartition("/")[2]
        if account:
            return account
        link = f"gcloud billing projects link {project} --billing-account=ACCOUNT_ID"
        raise SetupError(
            f"no billing account pays for {project}, and without one no job runs; "
            f"gcloud billing accounts list shows yours; then: {link}"
        )

    def _explain(self, words: tuple[str, ...], code: int, err: str) -> SetupError:
        _, error, text = err.partition("ERROR: ")
        text = one_line(text if error else err or f"exit code {code}", 400)
        if "authenticated" not in text:  # gcloud names an account only if it is not the usual one
            _, account, _ = self._call("config", "get-value", "account")
            text += f" (signed in as {account or 'nobody'})"
        return SetupError(f"{_join(words)}: {text}")

    def _call(self, *words: str) -> tuple[int, str, str]:
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
                raise SetupError(f"{_join(words)}: {error}") from None
            if not (code and waits and any(sign in err for sign in NOT_YET)):
                return code, out, err
            time.sleep(waits.pop(0))


def _join(words: tuple[str, ...]) -> str:
    return shlex.join(["gcloud", *words])
