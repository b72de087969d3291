"""Whether one is logged in at Google Cloud, and the access token that comes of it.

The token is kept in memory, is sent to Google alone, and stands in no message.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from launcher.cloud import identity
from launcher.doctor.checkup import OK, WRONG, Skip, command
from launcher.doctor.local import packages

GET_GCLOUD = "get it from https://cloud.google.com/sdk/docs/install"


class NoLogin(Skip):
    """There are no credentials, or Google does not take them."""


def gcloud() -> tuple[str, ...]:
    try:
        code, out, err = command("gcloud", "--version")
    except FileNotFoundError:
        return WRONG, f"not installed: logins and setup_cloud.py need it; {GET_GCLOUD}"
    if code:
        return WRONG, f"does not start: {err or out}; {GET_GCLOUD}"
    return OK, out.splitlines()[0] if out else "installed"


def clients() -> tuple[str, ...]:
    """Google's own libraries, which setup.py keeps apart, since they are large."""
    state, text, *remedies = packages("cloud")
    return (state, text, *remedies)


def login() -> tuple[str, str]:
    """An access token, and what is wrong with where it comes from, "" if nothing is.

    Raises:
        NoLogin: there is none; why.
    """
    if os.environ.get("CLOUDSDK_AUTH_DISABLE_CREDENTIALS", "").lower() in ("1", "true", "yes"):
        return "", ""
    if problem := identity.find_key_problem():
        raise NoLogin(problem)
    if named := os.environ.get("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"):
        programs = identity.adc_path() or identity.on_google()
        told = "" if programs else f"gcloud has an access token ({named}), programs have none"
        try:
            return Path(named).read_text(encoding="utf-8").strip(), told
        except (OSError, ValueError) as error:
            raise Skip(f"{named} cannot be read ({error})") from None
    if identity.adc_path() or identity.on_google():
        return _token("application-default", "print-access-token"), ""
    if account := identity.account():
        token = _token("print-access-token")
        return token, f"gcloud is logged in as {account}, programs are not"
    raise NoLogin("nobody is logged in")


def _token(*words: str) -> str:
    """gcloud knows all kinds of credentials; without gcloud, Google's library does."""
    try:
        code, out, err = command("gcloud", "auth", *words)
    except FileNotFoundError:
        return _token_of_library()
    if code or not out:
        raise NoLogin(f"no access token: {err or 'gcloud gave none'}")
    return out


def _token_of_library() -> str:
    try:
        import google.auth
        from google.auth.transport.requests import Request
    except ImportError:
        raise Skip(f"no access token without gcloud; {GET_GCLOUD}") from None
    try:
        scopes = ["https://www.googleapis.com/auth/cloud-platform"]
        credentials, _ = google.auth.default(scopes=scopes)
        credentials.refresh(Request())
    except Exception as error:  # the library raises what its transports raise
        raise NoLogin(f"no access token: {error}") from None
    return str(credentials.token)


def quota_project() -> str:
    """The project whose quota a person's own credentials use."""
    if named := os.environ.get("GOOGLE_CLOUD_QUOTA_PROJECT"):
        return named
    try:
        found = json.loads(identity.adc_path().read_text(encoding="utf-8"))
        return str(found.get("quota_project_id") or "")
    except (OSError, ValueError, AttributeError):
        return ""
