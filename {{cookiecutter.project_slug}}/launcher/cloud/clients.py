"""Google's clients: who asks, how often it is tried again, and what was refused, in one line.

The variables that steer gcloud steer us too: CLOUDSDK_AUTH_DISABLE_CREDENTIALS, and
CLOUDSDK_API_ENDPOINT_OVERRIDES_… for each service.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from launcher.cloud import identity
from launcher.common.document import SpecError

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
ANSWER = 60.0  # seconds to wait for one answer
LIMIT = 120.0  # seconds within which a request is tried again
FIRST, LONGEST = 1.0, 20.0  # seconds between two tries; they grow
SHOWN = 300  # characters of what a service said
LATER = (408, 429, 500, 502, 503, 504)  # "try again"
SECRETS = re.compile(
    r"ya29\.[\w.-]+|1//[\w-]+|eyJ[\w.-]{20,}|(?i:bearer) [\w.-]+|-----BEGIN.*", re.DOTALL
)
INSTALL = 'pip install -c constraints.txt -e ".[cloud]"'


class CloudError(SpecError):
    """What Google Cloud refused or did not answer: what, why and what to do, in one line."""


@dataclass(frozen=True)
class Need:
    """What a request needs, for the message where that is missing."""

    api: str  # aiplatform.googleapis.com
    role: str  # roles/aiplatform.user
    project: str
    bucket: str = ""  # the role is needed on it alone
    repository: str = ""  # likewise
    region: str = ""
    account: str = ""  # the service account that a job is to run under
    create: str = ""  # the command that makes what is missing

    def grant(self, member: str) -> str:
        """The command that gives the role to a member."""
        if self.bucket:
            return identity.grant_on_bucket(self.role, self.bucket, member)
        if self.repository:
            return identity.grant_on_repository(
                self.role, self.repository, self.region, self.project, member
            )
        return identity.grant(self.role, self.project, member)


def sdk(name: str):
    """Imports a module of Google's; they take seconds, so only what is used.

    Raises:
        CloudError: it is not installed.
    """
    try:
        with warnings.catch_warnings():  # of Pythons that it is going to leave behind one day
            warnings.simplefilter("ignore", FutureWarning)
            return importlib.import_module(name)
    except ImportError as error:
        raise CloudError(f"{error.name or name} is missing: install it by {INSTALL}") from None


def endpoint(service: str, usual: str = "") -> str:
    """The address of a service: https://…, without a slash at the end."""
    override = os.environ.get(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service.upper()}")
    return (override or usual or f"https://{service}.googleapis.com").rstrip("/")


def is_anonymous() -> bool:
    """Whether gcloud, and so the launcher, is to send no credentials."""
    return os.environ.get("CLOUDSDK_AUTH_DISABLE_CREDENTIALS", "").lower() in ("1", "true", "yes")


def credentials():
    """The application default credentials; anonymous ones where gcloud is set to use none.

    Raises:
        CloudError: nobody is logged in, or the SDK is not installed.
    """
    if is_anonymous():
        return sdk("google.auth.credentials").AnonymousCredentials()
    if problem := identity.find_key_problem():
        raise CloudError(f"{problem}; {identity.advise_login()}")
    auth = sdk("google.auth")
    try:
        return auth.default(scopes=[SCOPE])[0]
    except (auth.exceptions.GoogleAuthError, ValueError, OSError) as error:
        problem = f"nobody is logged in ({clean(error)})"
        raise CloudError(f"{problem}; {identity.advise_login()}") from None


def session(credentials, refreshes: int = 1):
    """A requests.Session with credentials, for services without a client of their own.

    Args:
        refreshes: new access tokens that a request may fetch where its own is refused.
    """
    requests = sdk("google.auth.transport.requests")
    return requests.AuthorizedSession(credentials, max_refresh_attempts=refreshes)


def ask(session, method: str, url: str, retries: bool = True, **options) -> dict:
    """Send a request; return its answer's JSON.

    Args:
        retries: whether it is sent again as `retry` says.
        options: of requests.Session.request.

    Raises:
        google.api_core.exceptions.GoogleAPICallError and its like, for `explain_errors`.
    """
    exceptions = sdk("google.api_core.exceptions")
    # A redirect would carry the access token to a host that nobody has named.
    options = {"timeout": ANSWER, "allow_redirects": False, **options}

    def send() -> dict:
        answer = session.request(method, url, **options)
        if answer.status_code >= 300:
            raise exceptions.from_http_response(answer)
        return answer.json()

    return retry()(send)() if retries else send()


def retry(predicate: Callable[[BaseException], bool] | None = None):
    """Repeat a request with growing pauses, up to `LIMIT` seconds in all.

    Args:
        predicate: after which errors; by default after all transient ones, which is for requests
            that may take effect twice.
    """
    return sdk("google.api_core.retry").Retry(
        predicate=predicate or transient,
        initial=FIRST,
        maximum=LONGEST,
        timeout=LIMIT,
        on_error=_Once(),
    )


class _Once:
    """Prints the first retry, so that nobody takes it for a standstill."""

    printed = False

    def __call__(self, error: Exception) -> None:
        if not self.printed:
            text = f"[launcher] trying again, for {LIMIT:.0f} s at most: {clean(error)}"
            print(text, file=sys.stderr, flush=True)
        self.printed = True


def patience() -> dict:
    """Options of a method of Google's clients: for how long, and how often."""
    return {"retry": retry(), "timeout": ANSWER}


def transient(error: BaseException) -> bool:
    """Whether the same request may be answered a moment later."""
    requests = sdk("requests.exceptions")
    auth = sdk("google.auth.exceptions")
    lost = (requests.ConnectionError, requests.Timeout, requests.ChunkedEncodingError)
    if isinstance(error, (*lost, ConnectionError, TimeoutError)):
        return True
    if isinstance(error, auth.GoogleAuthError):  # no token, for the moment
        return isinstance(error, auth.TransportError) or bool(getattr(error, "retryable", False))
    return _code(error) in LATER and not _is_quota(error)


def had_no_effect(error: BaseException) -> bool:
    """Whether a request that failed for the moment surely did nothing, so that it may be repeated.

    It was turned away as one too many, or never left: no token, no connection.
    """
    if not transient(error):
        return False
    if isinstance(error, sdk("google.auth.exceptions").GoogleAuthError) or _code(error) == 429:
        return True
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    # A name that does not resolve, a refused connection, no connection in time.
    urllib3 = sdk("urllib3.exceptions")
    return isinstance(reason, (urllib3.NewConnectionError, urllib3.ConnectTimeoutError))


def _code(error: BaseException) -> int:
    """The HTTP status of a refusal; 0: it is none."""
    answer = getattr(error, "response", None)  # what the storage client raises within an upload
    status = getattr(answer, "status_code", None) or getattr(error, "code", None)
    return int(status) if isinstance(status, int) else 0


def _is_quota(error: BaseException) -> bool:
    """Machines used up, which no waiting helps; not: too many requests a minute."""
    return _code(error) == 429 and "exceed quota limits" in str(error)


@contextlib.contextmanager
def explain_errors(what: str, need: Need, who=None) -> Iterator[None]:
    """Turn what Google's libraries raise within the block into one line.

    Args:
        what: is being done, "upload to gs://lab/runs".
        who: the credentials that are used.

    Raises:
        CloudError: what was refused, why, and the command that fixes it.
    """
    exceptions = sdk("google.api_core.exceptions")
    auth = sdk("google.auth.exceptions").GoogleAuthError
    requests = sdk("requests.exceptions").RequestException
    known = (exceptions.GoogleAPIError, auth, requests, ConnectionError, TimeoutError)
    try:
        yield
    except Exception as error:
        # A checksum that does not fit; each version of the client has it in another place.
        if not isinstance(error, known) and type(error).__name__ != "DataCorruption":
            raise
        cause = error.cause if isinstance(error, exceptions.RetryError) else error
        raise CloudError(f"{what}: {_explain(cause or error, need, who)}") from None


def _explain(error: BaseException, need: Need, who) -> str:
    text, code = clean(error), _code(error)
    if transient(error):
        minutes = f"within {LIMIT:.0f} s"
        return f"no good answer {minutes} ({text}); give the same command again later"
    if _is_quota(error):
        page = f"https://console.cloud.google.com/iam-admin/quotas?project={need.project}"
        return f"the quota is used up, or there is none: {text}; see {page}, or take other machines"
    if code == 401 or isinstance(error, sdk("google.auth.exceptions").GoogleAuthError):
        return f"signed in as {_name(who)}, who was not let in: {text}; {identity.advise_login()}"
    if code == 403:
        return _forbidden(text, need, who)
    if code == 404 or re.search("does not exist|not found", text, re.IGNORECASE):
        if need.account and need.account in text:
            name, _, rest = need.account.partition("@")
            project = rest.partition(".")[0]
            made = f"gcloud iam service-accounts create {name} --project={project}"
            return f"the service account {need.account} does not exist; run: {made}"
        return f"{text}" + (f"; run: {need.create}" if need.create else "")
    return text


def _forbidden(text: str, need: Need, who) -> str:
    if re.search("SERVICE_DISABLED|has not been used in project|it is disabled", text):
        api = (re.search(r"[a-z]+\.googleapis\.com", text) or [need.api])[0]
        return f"{api} is not enabled; run: gcloud services enable {api} --project={need.project}"
    if "quota project" in text:
        command = f"gcloud auth application-default set-quota-project {need.project}"
        return f"your own credentials belong to no project; run: {command}"
    if re.search(r"\bbilling\b", text, re.IGNORECASE):
        page = f"https://console.cloud.google.com/billing/linkedaccount?project={need.project}"
        return f"the project {need.project} has no billing account: {text}; see {page}"
    login = f"signed in as {_name(who)}"
    if need.account and re.search("actAs|act as", text):
        role = "roles/iam.serviceAccountUser"
        command = identity.grant_on_account(role, need.account, need.project, identify(who).member)
        return f"{login}, who lacks {role} on {need.account}: {text}; to grant it: {command}"
    command = need.grant(identify(who).member)
    return f"{login}, who lacks {need.role}: {text}; to grant it: {command}"


def _name(credentials) -> str:
    if credentials is not None and type(credentials).__name__ == "AnonymousCredentials":
        return "nobody (CLOUDSDK_AUTH_DISABLE_CREDENTIALS is set)"
    return str(identify(credentials))


def identify(credentials) -> identity.Identity:
    """Whose credentials these are."""
    return identity.find(getattr(credentials, "token", None) or "")


def clean(error: BaseException) -> str:
    """What an error says: a line, not too long, without anything secret."""
    requests = sdk("requests.exceptions")
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        if re.search("resolve|Name or service|getaddrinfo", str(error)):
            return "no network, or no such host"
        return f"the connection was {'refused' if 'refused' in str(error) else 'dropped'}"
    inner = getattr(getattr(error, "response", None), "text", None)
    if isinstance(error, sdk("google.auth.exceptions").GoogleAuthError) and error.args:
        inner = error.args[0]  # what follows is the cause, or the answer's body
    text = str(getattr(error, "message", None) or inner or error or type(error).__name__)
    if match := re.search(r'"message": *("(?:[^"\\]|\\.)*")', text):  # the service's own JSON
        text = json.loads(match[1])
    text = SECRETS.sub("(secret)", " ".join(text.split()))
    text = re.sub(r"^(GET|POST|PUT|PATCH|DELETE) https?://\S+ ", "", text)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
