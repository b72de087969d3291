"""The doctor's login, and its requests to Google's APIs, by the launcher's client: each is sent once.

The access token is kept in memory, is sent to Google alone, and stands in no message.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from launcher.cloud import clients, identity
from launcher.cloud.clients import CloudError
from launcher.doctor.checkup import Skip, command

SECONDS = 2.5  # for one answer
BASES = {"storage": "https://storage.googleapis.com/storage/v1"}


class NoLogin(Skip):
    """There are no credentials, or Google does not accept them."""


class Refused(Exception):
    """An answer that is an error: its HTTP status, Google's message and its reason."""

    def __init__(self, status: int, message: str, reason: str = ""):
        super().__init__(message)
        self.status, self.reason = status, reason

    @property
    def absent(self) -> bool:
        return self.status == 404

    @property
    def disabled(self) -> bool:
        """The API itself is switched off in the project."""
        return self.reason == "SERVICE_DISABLED"


def log_in() -> tuple[object, str]:
    """Credentials with an access token, and what is wrong with where they come from, "" if nothing.

    Raises:
        NoLogin: there are none; why.
    """
    if clients.is_anonymous():
        return clients.credentials(), ""
    if problem := identity.find_key_problem():
        raise NoLogin(problem)
    for_programs = identity.adc_path() or identity.on_google()
    if named := os.environ.get("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"):
        try:
            token = Path(named).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise Skip(f"{named} cannot be read ({error})") from None
        problem = (
            "" if for_programs else f"gcloud has an access token ({named}), programs have none"
        )
        return _wrap(token), problem
    if for_programs:
        return _refresh(), ""
    if account := identity.account():
        problem = f"gcloud is logged in as {account}, programs are not"
        return _wrap(_token_of_gcloud()), problem
    raise NoLogin("nobody is logged in")


def _refresh():
    """The credentials that jobs are sent with, with a new access token."""
    auth = clients.sdk("google.auth.exceptions")
    try:
        credentials = clients.credentials()
        credentials.refresh(clients.sdk("google.auth.transport.requests").Request())
    except (CloudError, auth.GoogleAuthError) as error:
        raise NoLogin(f"no access token: {clients.clean(error)}") from None
    return credentials


def _token_of_gcloud() -> str:
    try:
        code, out, err = command("gcloud", "auth", "print-access-token")
    except FileNotFoundError:
        raise NoLogin("no access token without gcloud") from None
    if code or not out:
        raise NoLogin(f"no access token: {err or 'gcloud gave none'}")
    return out


def _wrap(token: str):
    return clients.sdk("google.oauth2.credentials").Credentials(token)


def reach(api: str) -> None:
    """Look whether an API answers at all, whatever it says; no credentials are sent.

    Raises:
        Skip: it does not, or Google's libraries are missing.
    """
    try:
        nobody = clients.sdk("google.auth.credentials").AnonymousCredentials()
        send(open_session(nobody), api, "")
    except CloudError:
        raise Skip("not looked at without Google's libraries, see clients") from None
    except Refused:
        pass


def open_session(credentials):
    """A session for `send`."""
    return clients.session(credentials, refreshes=0)  # `log_in` has just done it


def send(
    session,
    api: str,
    path: str,
    query: Sequence[tuple[str, str]] = (),
    body=None,
    project: str = "",
) -> dict:
    """GET an address of an API, or POST where there is a body; return the answer's JSON.

    Args:
        project: whose quota is used where an API wants to know, and the credentials do not say.

    Raises:
        Refused: the answer is an error.
        Skip: there is no answer.
    """
    refusal = clients.sdk("google.api_core.exceptions").GoogleAPICallError
    auth = clients.sdk("google.auth.exceptions").GoogleAuthError
    lost = clients.sdk("requests.exceptions").RequestException
    base = clients.endpoint(api, BASES.get(api, ""))
    options = {"timeout": SECONDS, "params": list(query), "retries": False}
    options |= {} if body is None else {"json": body}
    options |= {"headers": {"X-Goog-User-Project": project}} if project else {}
    try:
        method = "GET" if body is None else "POST"
        return clients.ask(session, method, f"{base}/{path}", **options)
    except refusal as error:
        raise Refused(int(error.code), clients.clean(error), error.reason or "") from None
    except (auth, lost, ValueError) as error:
        why = (
            "it does not answer in JSON" if isinstance(error, ValueError) else clients.clean(error)
        )
        host = urllib.parse.urlsplit(base).netloc
        raise Skip(f"offline: {host} cannot be reached ({why})") from None
