"""Requests to Google Cloud: by whom, to which address, and what to do about a refusal.

Two logins live side by side: gcloud's own, and the application default credentials, by which
programs are known. They need not be the same person. The variables that steer gcloud steer us too:
CLOUDSDK_AUTH_DISABLE_CREDENTIALS, and CLOUDSDK_API_ENDPOINT_OVERRIDES_… for each service.
"""

import contextlib
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from launcher.cloud import errors
from launcher.cloud.errors import CloudError, clean, sdk

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
LOGIN = "gcloud auth application-default login"
VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"  # names a file that counts before any login
UNKNOWN = "user:YOUR-EMAIL"  # to be filled in by whoever reads the command
TOKEN_INFO = "https://oauth2.googleapis.com/tokeninfo"
SECONDS = 2  # for its answer


@dataclass(frozen=True)
class Identity:
    """An account, as far as it is known; `email` is empty where only Google knows it."""

    kind: str  # "user", "service account", "federated identity"
    email: str = ""

    def __str__(self) -> str:
        source = os.environ.get(VARIABLE)
        return f"{self.kind} {self.email or 'of unknown name'}" + (f" ({source})" if source else "")

    @property
    def member(self) -> str:
        """As IAM writes it: "user:ada@lab.org"."""
        prefix = "serviceAccount" if self.kind == "service account" else "user"
        return f"{prefix}:{self.email}" if self.email else UNKNOWN


def is_anonymous() -> bool:
    """Whether gcloud is set to send no credentials, and so neither do we."""
    value = os.environ.get("CLOUDSDK_AUTH_DISABLE_CREDENTIALS", "")
    return value.lower() in ("1", "true", "yes")


def load_credentials(*scopes: str):
    """The application default credentials; anonymous ones where gcloud is set to use none.

    Raises:
        CloudError: nobody is logged in, or Google's libraries are not installed.
    """
    if is_anonymous():
        return sdk("google.auth.credentials").AnonymousCredentials()
    auth = sdk("google.auth")
    try:
        return auth.default(scopes=[SCOPE, *scopes])[0]
    except (auth.exceptions.GoogleAuthError, ValueError, OSError, AttributeError) as error:
        # AttributeError: JSON that is no mapping, which google.auth does not expect.
        raise CloudError(f"nobody is logged in ({clean(error)}); {advise_login()}") from None


def may_have_login() -> bool:
    """Whether `load_credentials` finds something; elsewhere it waits for a machine of Google's."""
    if os.environ.get(VARIABLE) or os.environ.get("GCE_METADATA_HOST"):
        return True
    roaming = os.environ.get("APPDATA") if os.name == "nt" else None
    usual = os.path.join(roaming or os.path.expanduser("~/.config"), "gcloud")
    folder = Path(os.environ.get("CLOUDSDK_CONFIG") or usual)
    if (folder / "application_default_credentials.json").is_file():
        return True
    try:  # what the firmware of Google's machines says
        product = Path("/sys/class/dmi/id/product_name").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return "Google" in product and os.environ.get("NO_GCE_CHECK", "").lower() != "true"


def identify(credentials) -> Identity:
    """Whose credentials these are; Google is requested to say it where they do not."""
    if email := getattr(credentials, "service_account_email", None):
        return Identity("service account", email)
    kind = "user" if hasattr(credentials, "refresh_token") else "federated identity"
    email = getattr(credentials, "account", "") or _request_email(credentials.token)
    return Identity(kind, email)


def _request_email(token: str | None) -> str:
    """Whose access token this is; "" where Google does not say."""
    requests = sdk("requests")
    try:  # in the body: an address would be logged
        body = {"access_token": token}
        answer = token and requests.post(TOKEN_INFO, data=body, timeout=SECONDS).json()
        return str(answer.get("email") or "")
    except (requests.RequestException, ValueError, AttributeError):
        return ""


def login_commands() -> tuple[str, ...]:
    """What to do where Google lets nobody in."""
    return (f"unset {VARIABLE}", LOGIN) if os.environ.get(VARIABLE) else (LOGIN,)


def advise_login() -> str:
    """The same for an error."""
    named = os.environ.get(VARIABLE)
    note = f" ({VARIABLE} is {named}, which counts before any login)" if named else ""
    return f"run: {' && '.join(login_commands())}{note}"


@dataclass(frozen=True)
class Need:
    """What a request needs, for the message where that is missing."""

    role: str  # roles/aiplatform.user; in the project, or on one of these alone:
    _: KW_ONLY
    bucket: str = ""
    repository: str = ""  # of images
    account: str = ""  # a service account, under which jobs are to run
    create: str = ""  # the command that creates what is missing
    remedy: str = ""  # what to do where access is no matter of roles


def grant(need: Need, member: str, project: str, region: str = "") -> str:
    """The command that grants the role of a need."""
    # Without --condition gcloud asks, where the project has a grant that is bound to one.
    group, name, flags = "projects", project, ["--condition=None"]
    if need.bucket:
        group, name, flags = "storage buckets", f"gs://{need.bucket}", []
    elif need.repository:
        flags = [f"--location={region}", f"--project={project}"]
        group, name = "artifacts repositories", need.repository
    elif need.account:
        group, name, flags = "iam service-accounts", need.account, [f"--project={project}"]
    command = ["gcloud", *group.split(), "add-iam-policy-binding", name]
    return shlex.join([*command, f"--member={member}", f"--role={need.role}", *flags])


class Connection:
    """Sends requests in one project and region, by the credentials of this machine."""

    def __init__(self, project: str, region: str = "", account: str = "", scope: str = ""):
        """Log in, and send nothing yet.

        Args:
            account: the service account that jobs are to run under, for messages.
            scope: of an API that SCOPE does not contain.
        """
        self.project, self.region, self.account = project, region, account
        self.parent = f"projects/{project}/locations/{region}"
        self.credentials = load_credentials(*filter(None, [scope]))
        requests = sdk("google.auth.transport.requests")
        # A request whose token is refused fetches a new one, once.
        self.session = requests.AuthorizedSession(self.credentials, max_refresh_attempts=1)

    def ask(self, what: str, need: Need, method: str, url: str, **options) -> dict:
        """Send a request, repeated as `errors.retry` says; return its answer's JSON.

        Args:
            what: the request does, for messages: "list the jobs".

        Raises:
            CloudError: what was refused, why, and the command that fixes it.
        """
        with self.explain_errors(what, need):
            return errors.retry()(lambda: request(self.session, method, url, **options).json())()

    def list_pages(
        self, what: str, need: Need, url: str, field: str, query: dict, method: str = "GET"
    ) -> Iterator[dict]:
        """Yield what all pages of a listing have in a field."""
        while True:
            options = {"params" if method == "GET" else "json": query}
            answer = self.ask(what, need, method, url, **options)
            yield from answer.get(field) or ()
            if not answer.get("nextPageToken"):
                return
            query = {**query, "pageToken": answer["nextPageToken"]}

    def request(self, what: str, need: Need, method: str, url: str, **options):
        """Send a request likewise; return its whole answer."""
        with self.explain_errors(what, need):
            return errors.retry()(request)(self.session, method, url, **options)

    def grant(self, need: Need) -> str:
        """The command that gives the caller the role that a request needs."""
        return grant(need, identify(self.credentials).member, self.project, self.region)

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
        if errors.get_reason(error) == "downloadQuotaExceeded":
            return f"{text} (downloadQuotaExceeded); the same command resumes tomorrow"
        if errors.is_transient(error):
            seconds = f"{errors.LIMIT:.0f} s"
            return f"no good answer within {seconds} ({text}); give the same command again later"
        if errors.is_quota(error):
            return f"the quota is used up, or there is none: {text}; see {quota_page(self.project)}"
        if status == 401 or isinstance(error, sdk("google.auth.exceptions").GoogleAuthError):
            return f"signed in as {self._caller()}, who was not let in: {text}; {advise_login()}"
        if need.remedy and status in (403, 404):
            return f"signed in as {self._caller()}: {text}; {need.remedy}"
        if status == 403:
            return f"signed in as {self._caller()}, {self._explain_forbidden(text, need)}"
        if self.account and self.account in text:
            name, _, rest = self.account.partition("@")
            create = f"gcloud iam service-accounts create {name} --project={rest.partition('.')[0]}"
            return f"{text}; if it does not exist, run: {create}"
        missing = status == 404 or re.search("does not exist|not found", text, re.IGNORECASE)
        return text + (f"; run: {need.create}" if missing and need.create else "")

    def _explain_forbidden(self, text: str, need: Need) -> str:
        if not re.search("ermission| access", text):  # an API that is off, no billing account, …
            return f"refused: {text}; python scripts/doctor.py --cloud names what is missing"
        if self.account and re.search("actAs|act as", text):
            need = Need("roles/iam.serviceAccountUser", account=self.account)
        return f"who lacks {need.role}: {text}; to grant it: {self.grant(need)}"

    def _caller(self) -> str:
        if is_anonymous():
            return "nobody (CLOUDSDK_AUTH_DISABLE_CREDENTIALS is set)"
        return str(identify(self.credentials))


def endpoint(service: str, region: str = "") -> str:
    """The address of a service, or of what it has in a region: https://…, without a slash at the end."""
    override = os.environ.get(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service.upper()}")
    host = f"{region}-{service}" if region else service
    path = "/storage/v1" if service == "storage" else ""  # as in gcloud's own variable
    return (override or f"https://{host}.googleapis.com{path}").rstrip("/")


def quota_page(project: str) -> str:
    """The page of a project's quotas."""
    return f"https://console.cloud.google.com/iam-admin/quotas?project={project}"


def request(session, method: str, url: str, **options):
    """Send a request once, with options of requests.Session.request; return its answer.

    Raises:
        google.api_core.exceptions.GoogleAPICallError and its like, for `explain_errors`.
    """
    # A redirect would carry the access token to a host that nobody has named.
    options = {"timeout": errors.ANSWER, "allow_redirects": False, **options}
    answer = session.request(method, url, **options)
    if answer.status_code >= 300:
        raise sdk("google.api_core.exceptions").from_http_response(answer)
    return answer
