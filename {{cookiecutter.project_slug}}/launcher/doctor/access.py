"""The doctor's login, and its requests to Google's APIs: each is sent once.

The access token is kept in memory, is sent to Google alone, and stands in no message.
"""

from __future__ import annotations

import contextlib
import os
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from launcher.cloud import clients
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
    """A session for `send`, and whether its credentials are those of programs, as jobs need them.

    Raises:
        NoLogin: there are no credentials; why.
    """
    for_programs = clients.is_anonymous() or clients.may_have_login()
    try:
        if not for_programs:  # gcloud's own are good enough to look around
            credentials = sdk("google.oauth2.credentials").Credentials(_read_token())
        else:
            credentials = clients.load_credentials()
            if not clients.is_anonymous():
                credentials.refresh(sdk("google.auth.transport.requests").Request())
    except CloudError as error:
        raise NoLogin(str(error)) from None
    except sdk("google.auth.exceptions").GoogleAuthError as error:
        raise NoLogin(f"no access token: {clean(error)}") from None
    return clients.open_session(credentials, refreshes=0), for_programs  # the token is new


def _read_token() -> str:
    """The access token of gcloud."""
    if path := os.environ.get("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"):
        token = ""
        with contextlib.suppress(OSError, ValueError):
            token = Path(path).read_text(encoding="utf-8").strip()
    else:
        _, token, _ = command("gcloud", "auth", "print-access-token")
    if not token:
        raise NoLogin("nobody is logged in")
    return token


def reach(api: str) -> None:
    """Send a request without credentials, to see whether an API answers at all, whatever it says.

    Raises:
        Skip: it does not, or Google's libraries are missing.
    """
    try:
        nobody = sdk("google.auth.credentials").AnonymousCredentials()
        send(clients.open_session(nobody, refreshes=0), api, "")
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
    base = clients.endpoint(api, BASES.get(api, ""))
    try:
        return clients.ask(
            session,
            "GET" if body is None else "POST",
            f"{base}/{path}",
            timeout=checkup.ANSWER_SECONDS,
            params=query,
            json=body,
            headers={"X-Goog-User-Project": project} if project else None,
        )
    except sdk("google.api_core.exceptions").GoogleAPICallError as error:
        raise Refused(int(error.code), clean(error), error.reason or "") from None
    except ValueError:  # JSON that cannot be read is a RequestException, too
        why = "it does not answer in JSON"
    except (
        sdk("google.auth.exceptions").GoogleAuthError,
        sdk("requests.exceptions").RequestException,
    ) as error:
        why = clean(error)
    host = urllib.parse.urlsplit(base).netloc
    raise Skip(f"offline: {host} cannot be reached ({why})")
