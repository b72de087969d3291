"""Requests to Google Cloud: by whom, to which address, and what to do about a refusal.

The variables that steer gcloud steer us too: CLOUDSDK_AUTH_DISABLE_CREDENTIALS, and
CLOUDSDK_API_ENDPOINT_OVERRIDES_… for each service.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from launcher.cloud import errors, identity
from launcher.cloud.errors import CloudError, clean, sdk

SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True)
class Need:
    """What a request needs, for the message where that is missing."""

    role: str  # roles/aiplatform.user
    api: str  # aiplatform.googleapis.com
    bucket: str = ""  # the role is needed on it alone
    repository: str = ""  # likewise
    create: str = ""  # the command that creates what is missing


class Connection:
    """Sends requests in one project and region, by the credentials of this machine."""

    def __init__(self, project: str, region: str = "", account: str = ""):
        """Sends nothing yet.

        Args:
            account: the service account that jobs are to run under, for messages.

        Raises:
            CloudError: nobody is logged in, or Google's libraries are not installed.
        """
        self.project, self.region, self.account = project, region, account
        self.credentials = credentials()
        self.session = session(self.credentials)

    def ask(self, what: str, need: Need, method: str, url: str, **options) -> dict:
        """Send a request as `ask` does.

        Args:
            what: the request does, for messages: "list the jobs".

        Raises:
            CloudError: what was refused, why, and the command that fixes it.
        """
        with self.explain_errors(what, need):
            return ask(self.session, method, url, **options)

    def grant(self, need: Need) -> str:
        """The command that gives the caller the role that a request needs."""
        member = identify(self.credentials).member
        if need.bucket:
            return identity.grant_on_bucket(need.role, need.bucket, member)
        if need.repository:
            return identity.grant_on_repository(
                need.role, need.repository, self.region, self.project, member
            )
        return identity.grant(need.role, self.project, member)

    @contextlib.contextmanager
    def explain_errors(self, what: str, need: Need) -> Iterator[None]:
        """Turn what Google's libraries raise within the block into one line.

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
            # A wrong checksum, whose class has another module in each version of the client.
            if not isinstance(error, known) and type(error).__name__ != "DataCorruption":
                raise
            cause = (isinstance(error, exceptions.RetryError) and error.cause) or error
            refusal = CloudError(f"{what}: {self._explain(cause, need)}")
            refusal.status = errors.get_status(cause)
            raise refusal from None

    def _explain(self, error: BaseException, need: Need) -> str:
        text, status = clean(error), errors.get_status(error)
        if errors.is_transient(error):
            seconds = f"{errors.LIMIT:.0f} s"
            return f"no good answer within {seconds} ({text}); give the same command again later"
        if errors.is_quota(error):
            see = f"see {quota_page(self.project)}, or take other machines"
            return f"the quota is used up, or there is none: {text}; {see}"
        if status == 401 or isinstance(error, sdk("google.auth.exceptions").GoogleAuthError):
            advice = identity.advise_login()
            return f"signed in as {self._caller()}, who was not let in: {text}; {advice}"
        if status == 403:
            return self._explain_forbidden(text, need)
        if status != 404 and not re.search("does not exist|not found", text, re.IGNORECASE):
            return text
        if self.account and self.account in text:
            name, _, rest = self.account.partition("@")
            create = f"gcloud iam service-accounts create {name} --project={rest.partition('.')[0]}"
            return f"the service account {self.account} does not exist; run: {create}"
        return text + (f"; run: {need.create}" if need.create else "")

    def _explain_forbidden(self, text: str, need: Need) -> str:
        project = self.project
        if re.search("SERVICE_DISABLED|has not been used in project|it is disabled", text):
            api = (re.search(r"[a-z]+\.googleapis\.com", text) or [need.api])[0]
            return f"{api} is not enabled; run: gcloud services enable {api} --project={project}"
        if "quota project" in text:
            command = f"gcloud auth application-default set-quota-project {project}"
            return f"your own credentials belong to no project; run: {command}"
        if re.search(r"\bbilling\b", text, re.IGNORECASE):
            page = f"https://console.cloud.google.com/billing/linkedaccount?project={project}"
            return f"the project {project} has no billing account: {text}; see {page}"
        if self.account and re.search("actAs|act as", text):
            role, member = "roles/iam.serviceAccountUser", identify(self.credentials).member
            lacks = f"{role} on {self.account}"
            command = identity.grant_on_account(role, self.account, project, member)
        else:
            lacks, command = need.role, self.grant(need)
        return f"signed in as {self._caller()}, who lacks {lacks}: {text}; to grant it: {command}"

    def _caller(self) -> str:
        if is_anonymous():
            return "nobody (CLOUDSDK_AUTH_DISABLE_CREDENTIALS is set)"
        return str(identify(self.credentials))


def endpoint(service: str, usual: str = "") -> str:
    """The address of a service: https://…, without a slash at the end."""
    override = os.environ.get(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service.upper()}")
    return (override or usual or f"https://{service}.googleapis.com").rstrip("/")


def quota_page(project: str) -> str:
    """The page of a project's quotas."""
    return f"https://console.cloud.google.com/iam-admin/quotas?project={project}"


def is_anonymous() -> bool:
    """Whether gcloud, and so the launcher, is to send no credentials."""
    return os.environ.get("CLOUDSDK_AUTH_DISABLE_CREDENTIALS", "").lower() in ("1", "true", "yes")


def credentials():
    """The application default credentials; anonymous ones where gcloud is set to use none.

    Raises:
        CloudError: nobody is logged in, or Google's libraries are not installed.
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


def identify(credentials) -> identity.Identity:
    """Whose credentials these are."""
    return identity.find(getattr(credentials, "token", None) or "")


def session(credentials, refreshes: int = 1):
    """A requests.Session with credentials.

    Args:
        refreshes: new access tokens that a request may fetch where its own is refused.
    """
    requests = sdk("google.auth.transport.requests")
    return requests.AuthorizedSession(credentials, max_refresh_attempts=refreshes)


def ask(session, method: str, url: str, retries: bool = True, **options) -> dict:
    """Send a request; return its answer's JSON.

    Args:
        retries: whether it is repeated as `errors.retry` says.
        options: of requests.Session.request.

    Raises:
        google.api_core.exceptions.GoogleAPICallError and its like, for `explain_errors`.
    """
    exceptions = sdk("google.api_core.exceptions")
    # A redirect would carry the access token to a host that nobody has named.
    options = {"timeout": errors.ANSWER, "allow_redirects": False, **options}

    def send() -> dict:
        answer = session.request(method, url, **options)
        if answer.status_code >= 300:
            raise exceptions.from_http_response(answer)
        return answer.json()

    return errors.retry()(send)() if retries else send()
