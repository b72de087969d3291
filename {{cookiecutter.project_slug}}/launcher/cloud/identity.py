"""Who sends requests to Google Cloud, and the commands that let them.

Two logins live side by side: gcloud's own, and the application default credentials, by which
programs are known. They need not be the same person.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

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


def load_credentials():
    """The application default credentials; anonymous ones where gcloud is set to use none.

    Raises:
        CloudError: nobody is logged in, or Google's libraries are not installed.
    """
    if is_anonymous():
        return sdk("google.auth.credentials").AnonymousCredentials()
    auth = sdk("google.auth")
    try:
        return auth.default(scopes=[SCOPE])[0]
    except (auth.exceptions.GoogleAuthError, ValueError, OSError) as error:
        why = clean(error)
    except AttributeError:  # JSON that is no mapping, which google.auth does not expect
        why = f"{os.environ.get(VARIABLE)} holds no credentials"
    raise CloudError(f"nobody is logged in ({why}); {advise_login()}")


def may_have_login() -> bool:
    """Whether `load_credentials` finds something; elsewhere it waits for a machine of Google's."""
    if os.environ.get(VARIABLE) or os.environ.get("GCE_METADATA_HOST"):
        return True
    roaming = os.environ.get("APPDATA") if os.name == "nt" else None
    usual = Path(roaming or Path.home() / ".config") / "gcloud"
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


def advise_login() -> str:
    """What to do where Google lets nobody in."""
    if named := os.environ.get(VARIABLE):
        first = f"{VARIABLE} ({named}) counts before any login: correct it, or unset it and"
        return f"{first} run: {LOGIN}"
    return f"run: {LOGIN}"


def login_commands() -> tuple[str, ...]:
    """The same as commands alone."""
    return (f"unset {VARIABLE}", LOGIN) if os.environ.get(VARIABLE) else (LOGIN,)


def grant(
    role: str,
    member: str,
    project: str,
    *,
    bucket: str = "",
    repository: str = "",
    region: str = "",
    account: str = "",
) -> str:
    """The command that grants a role in a project; or on one thing in it, where that is named.

    Args:
        repository, region: of images.
        account: a service account, under which jobs are to run, say.
    """
    # Without --condition gcloud asks, where the project has a grant that is bound to one.
    group, name, flags = "projects", project, ["--condition=None"]
    if bucket:
        group, name, flags = "storage buckets", f"gs://{bucket}", []
    elif repository:
        flags = [f"--location={region}", f"--project={project}"]
        group, name = "artifacts repositories", repository
    elif account:
        group, name, flags = "iam service-accounts", account, [f"--project={project}"]
    command = ["gcloud", *group.split(), "add-iam-policy-binding", name]
    return shlex.join([*command, f"--member={member}", f"--role={role}", *flags])
