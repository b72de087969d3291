"""The doctor's login, and its requests to Google's APIs, by the launcher's client: each is sent once.

The access token is kept in memory, is sent to Google alone, and stands in no message.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from launcher.cloud import clients, identity
from launcher.cloud.errors import CloudError, clean, sdk
from launcher.doctor import checkup
from launcher.doctor.checkup import Skip, command

BASES = {"storage": "https://storage.googleapis.com/storage/v1"}


class NoLogin(Skip):
    """There are no credentials, or Google does not accept them."""


class Refused(Skip):
    """An answer that is an error: the subject of the request may not be read."""

    def __init__(self, status: int, message: str, reason: str):
        super().__init__(f"may not be read: {message}")
        self.status, self.message = status, message
        self.absent = status == 404
        self.disabled = reason == "SERVICE_DISABLED"  # the API itself is off in the project


def log_in():
    """A session for `send`, and what is wrong with where its credentials come from, "" if nothing.

    Raises:
        NoLogin: there are no credentials; why.
    """
    credentials, problem = _get_credentials()
    return clients.session(credentials, refreshes=0), problem  # their token is new


def _get_credentials():
    if clients.is_anonymous():
        return clients.credentials(), ""
    if problem := identity.find_key_problem():
        raise NoLogin(problem)
    wrap = sdk("google.oauth2.credentials").Credentials
    for_programs = identity.adc_path() or identity.on_google()
    if path := os.environ.get("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"):
        try:
            token = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise Skip(f"{path} cannot be read ({error})") from None
        problem = f"gcloud has an access token ({path}), programs have none"
        return wrap(token), "" if for_programs else problem
    if for_programs:
        return _refresh(), ""
    if account := identity.account():
        return wrap(_read_token()), f"gcloud is logged in as {account}, programs are not"
    raise NoLogin("nobody is logged in")


def _refresh():
    """The credentials that jobs are sent with, with a new access token."""
    auth = sdk("google.auth.exceptions")
    try:
        credentials = clients.credentials()
        credentials.refresh(sdk("google.auth.transport.requests").Request())
    except (CloudError, auth.GoogleAuthError) as error:
        raise NoLogin(f"no access token: {clean(error)}") from None
    return credentials


def _read_token() -> str:
    """The access token of gcloud."""
    try:
        code, out, err = command("gcloud", "auth", "print-access-token")
    except FileNotFoundError:
        raise NoLogin("no access token without gcloud") from None
    if code or not out:
        raise NoLogin(f"no access token: {err or 'gcloud gave none'}")
    return out


def reach(api: str) -> None:
    """Send a request without credentials, to see whether an API answers at all, whatever it says.

    Raises:
        Skip: it does not, or Google's libraries are missing.
    """
    try:
        nobody = sdk("google.auth.credentials").AnonymousCredentials()
        send(clients.session(nobody, refreshes=0), api, "")
    except CloudError:
        raise Skip("not looked at without Google's libraries, see clients") from None
    except Refused:
        pass


def send(
    session,
    api: str,
    path: str,
    query: Sequence[tuple[str, str]] = (),
    body: dict | None = None,
    project: str = "",
) -> dict:
    """GET an address of an API, or POST where there is a body; return the answer's JSON.

    Args:
        project: whose quota is used where an API wants to know, and the credentials do not say.

    Raises:
        Refused: the answer is an error.
        Skip: there is no answer.
    """
    refusal = sdk("google.api_core.exceptions").GoogleAPICallError
    auth = sdk("google.auth.exceptions").GoogleAuthError
    lost = sdk("requests.exceptions").RequestException
    base = clients.endpoint(api, BASES.get(api, ""))
    try:
        return clients.ask(
            session,
            "GET" if body is None else "POST",
            f"{base}/{path}",
            retries=False,
            timeout=checkup.ANSWER_SECONDS,
            params=query,
            json=body,
            headers={"X-Goog-User-Project": project} if project else None,
        )
    except refusal as error:
        raise Refused(int(error.code), clean(error), error.reason or "") from None
    except (auth, lost, ValueError) as error:
        no_json = isinstance(error, ValueError)
        why = "it does not answer in JSON" if no_json else clean(error)
        host = urllib.parse.urlsplit(base).netloc
        raise Skip(f"offline: {host} cannot be reached ({why})") from None
