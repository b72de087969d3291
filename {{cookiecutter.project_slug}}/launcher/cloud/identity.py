"""Who sends requests to Google Cloud, and the commands that let them.

Two logins live side by side: gcloud's own, and the application default credentials, by which
programs are known. They need not be the same person. Standard library only, for the doctor.
"""

from __future__ import annotations

import configparser
import json
import os
import shlex
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

LOGIN = "gcloud auth application-default login"
VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"  # names a file that counts before any login
UNKNOWN = "user:YOUR-EMAIL"  # to be filled in by whoever reads the command
TOKEN_INFO = "https://oauth2.googleapis.com/tokeninfo"
METADATA = "http://{}/computeMetadata/v1/instance/service-accounts/default/email"
SECONDS = 2  # for one answer


@dataclass(frozen=True)
class Identity:
    """An account, as far as it is known; `email` is empty where only Google knows it."""

    kind: str  # "user", "service account", "federated identity"; "": nobody
    email: str = ""
    source: str = ""

    def __str__(self) -> str:
        if not self.kind:
            return f"nobody: {self.source or 'no credentials'}"
        return f"{self.kind} {self.email or 'of unknown name'} ({self.source})"

    @property
    def member(self) -> str:
        """As IAM writes it: "user:ada@lab.org"."""
        prefix = "serviceAccount" if self.kind == "service account" else "user"
        return f"{prefix}:{self.email}" if self.email else UNKNOWN


def find(token: str = "") -> Identity:
    """The application default credentials; where there are none, gcloud's account.

    Looks where google.auth looks, in its order, and never raises.

    Args:
        token: an access token, to ask Google for a name that the files do not have.
    """
    if path := adc_path():
        return _read_identity(path, token)
    if email := _ask_machine():
        return Identity("service account", email, "of this machine")
    if email := account():
        robot = email.endswith(".gserviceaccount.com")
        return Identity("service account" if robot else "user", email, "gcloud")
    return Identity("")


def adc_path() -> Path | None:
    """The file of the application default credentials."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    path = _settings() / "application_default_credentials.json"
    return path if path.is_file() else None


def find_key_problem() -> str:
    """What is wrong with the file that VARIABLE names; "" where nothing is, or it names none."""
    named = os.environ.get(VARIABLE)
    if not named:
        return ""
    try:
        content = json.loads(Path(named).read_text(encoding="utf-8"))
        if isinstance(content, dict) and content.get("type"):
            return ""
        problem = "holds no credentials"
    except FileNotFoundError:
        problem = "does not exist"
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
    except ValueError:
        problem = "is not JSON"
    return f"{VARIABLE} names {named}, which {problem}"


def advise_login() -> str:
    """What to do where Google lets nobody in."""
    if named := os.environ.get(VARIABLE):
        first = f"{VARIABLE} ({named}) counts before any login: correct it, or unset it and"
        return f"{first} run: {LOGIN}"
    return f"run: {LOGIN}"


def login_commands() -> tuple[str, ...]:
    """The same as commands alone."""
    return (f"unset {VARIABLE}", LOGIN) if os.environ.get(VARIABLE) else (LOGIN,)


def account() -> str:
    """gcloud's account, from its settings, since gcloud takes half a second; "": nobody's."""
    if value := os.environ.get("CLOUDSDK_CORE_ACCOUNT"):
        return value
    folder = _settings()
    parser = configparser.ConfigParser(interpolation=None)
    try:
        active = os.environ.get("CLOUDSDK_ACTIVE_CONFIG_NAME")
        if not active:
            active = (folder / "active_config").read_text(encoding="utf-8").strip()
        parser.read(folder / "configurations" / f"config_{active}", encoding="utf-8")
        return parser.get("core", "account", fallback="")
    except (OSError, ValueError, configparser.Error):
        return ""


def grant(role: str, project: str, member: str) -> str:
    """The command that grants a role in a project."""
    # Without --condition gcloud asks, where the project has a grant that is bound to one.
    return _bind("projects", project, role, member, "--condition=None")


def grant_on_bucket(role: str, bucket: str, member: str) -> str:
    """The command that grants a role on one bucket, named without gs://."""
    return _bind("storage buckets", f"gs://{bucket}", role, member)


def grant_on_repository(role: str, repository: str, region: str, project: str, member: str) -> str:
    """The command that grants a role on one image repository."""
    where = (f"--location={region}", f"--project={project}")
    return _bind("artifacts repositories", repository, role, member, *where)


def grant_on_account(role: str, account: str, project: str, member: str) -> str:
    """The command that grants a role on a service account: to let jobs run under it, say."""
    return _bind("iam service-accounts", account, role, member, f"--project={project}")


def _bind(group: str, name: str, role: str, member: str, *flags: str) -> str:
    command = ["gcloud", *group.split(), "add-iam-policy-binding", name]
    return shlex.join([*command, f"--member={member}", f"--role={role}", *flags])


def _read_identity(path: Path, token: str) -> Identity:
    source = f"application default credentials, {path}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kind = content.get("type", "")
    except (OSError, ValueError, AttributeError):
        return Identity("", source=f"{path} holds no credentials")
    if kind == "service_account":
        return Identity("service account", str(content.get("client_email") or ""), source)
    if url := content.get("service_account_impersonation_url"):
        email = urllib.parse.unquote(str(url)).rpartition("/")[2].partition(":")[0]
        return Identity("service account", email, f"impersonated by {source}")
    if kind == "authorized_user":
        email = str(content.get("account") or "") or _email_of(token)
        return Identity("user", email, source)
    return Identity("federated identity", _email_of(token), source)


def _email_of(token: str) -> str:
    """Ask Google whose access token this is; empty where it does not say."""
    body = urllib.parse.urlencode({"access_token": token}).encode()  # a URL would be logged
    try:
        return str(json.loads(token and _ask(TOKEN_INFO, body)).get("email") or "")
    except (ValueError, AttributeError):
        return ""


def on_google() -> bool:
    """Whether this is one of Google's machines, which know an identity by themselves."""
    if os.environ.get("NO_GCE_CHECK", "").lower() == "true":
        return False
    if os.environ.get("GCE_METADATA_HOST"):
        return True
    try:  # from the firmware: elsewhere a request to the metadata server takes seconds to fail
        return "Google" in Path("/sys/class/dmi/id/product_name").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def _ask_machine() -> str:
    """The service account of one of Google's machines; empty elsewhere."""
    if not on_google():
        return ""
    host = os.environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
    return _ask(METADATA.format(host), headers={"Metadata-Flavor": "Google"})


def _ask(url: str, body: bytes | None = None, headers: dict | None = None) -> str:
    """The beginning of the answer to a GET, or to a POST with a body; empty where there is none."""
    request = urllib.request.Request(url, body, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.read(10_000).decode("utf-8", "replace").strip()
    except (OSError, ValueError):
        return ""


def _settings() -> Path:
    """The folder where gcloud keeps its settings."""
    if named := os.environ.get("CLOUDSDK_CONFIG"):
        return Path(named)
    if os.name == "nt" and (roaming := os.environ.get("APPDATA")):
        return Path(roaming) / "gcloud"
    return Path(os.path.expanduser("~")) / ".config" / "gcloud"
