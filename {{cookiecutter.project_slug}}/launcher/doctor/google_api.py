"""Questions to Google's APIs, over plain HTTPS: standard library only, nothing is changed by them.

    Client(token).ask("storage", "b/my-bucket")      the answer's JSON, as a dict

CLOUDSDK_API_ENDPOINT_OVERRIDES_<API> sends the questions elsewhere, as it does gcloud's.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass

SECONDS = 2.5  # for one answer
MOST_BYTES = 10_000_000
BASES = {"storage": "https://storage.googleapis.com/storage/v1/"}


class Unreachable(Exception):
    """No answer: why, in a few words."""


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


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the access token to a place that nobody has named."""

    def redirect_request(self, *_):
        return None


@dataclass(frozen=True)
class Client:
    """One identity. Without a token the questions are asked anonymously."""

    token: str = ""
    project: str = ""  # whose quota is used where an API asks for one
    quota_project: str = ""  # the credentials' own; used always

    def ask(
        self, api: str, path: str, query: Sequence[tuple[str, str]] = (), body: object = None
    ) -> dict:
        """GETs, or POSTs where there is a body.

        Raises:
            Unreachable, Refused
        """
        try:
            return self._ask(api, path, query, body, self.quota_project)
        except Refused as refused:
            # A person's own credentials belong to no project, and some APIs want one.
            if "quota project" not in str(refused) or self.quota_project or not self.project:
                raise
        return self._ask(api, path, query, body, self.project)

    def _ask(self, api, path, query, body, quota_project) -> dict:
        url = base(api) + path + ("?" + urllib.parse.urlencode(query) if query else "")
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if quota_project:
            headers["X-Goog-User-Project"] = quota_project
        data = None if body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(url, data, headers)
            with urllib.request.build_opener(_NoRedirects).open(request, timeout=SECONDS) as answer:
                found = json.loads(answer.read(MOST_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error) from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unreachable(_why(error)) from None
        return found if isinstance(found, dict) else {}


def base(api: str) -> str:
    """The address in front of an API's paths, with a slash at its end."""
    override = os.environ.get(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}")
    found = override or BASES.get(api, f"https://{api}.googleapis.com/")
    return found.rstrip("/") + "/"


def reach(api: str) -> None:
    """Whether an API answers at all, whatever it says.

    Raises:
        Unreachable
    """
    try:
        Client().ask(api, "")
    except Refused:
        pass
    except Unreachable as error:
        host = urllib.parse.urlsplit(base(api)).netloc
        raise Unreachable(f"{host} cannot be reached ({error})") from None


def _refused(error: urllib.error.HTTPError) -> Refused:
    try:
        said = json.loads(error.read(MOST_BYTES))["error"]
        reasons = [d.get("reason", "") for d in said.get("details", ()) if isinstance(d, dict)]
        reason = next(filter(None, reasons), "")
        message = " ".join(str(said["message"]).split())
    except (OSError, ValueError, LookupError, TypeError, AttributeError, http.client.HTTPException):
        return Refused(error.code, f"HTTP {error.code}")
    return Refused(error.code, message, str(reason))


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, (socket.timeout, TimeoutError)):
        return f"no answer in {SECONDS} s"
    if isinstance(reason, socket.gaierror):
        return "no network, or no such host"
    if isinstance(error, ValueError):
        return "it does not answer in JSON"
    return " ".join(str(getattr(reason, "strerror", None) or reason).split())[:120]
