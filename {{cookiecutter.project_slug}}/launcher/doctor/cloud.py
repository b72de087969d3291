"""What cloud jobs need: a login, the project and its APIs, the bucket, images, identity, quota.

Nothing is changed. One login serves all checks; without a login or a network they are skipped. A
refusal is explained as for all other verbs, see `cloud.clients`.
"""

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from launcher.cloud import clients, errors
from launcher.cloud.clients import Connection, Need
from launcher.cloud.errors import CloudError, sdk
from launcher.doctor import checkup, quota
from launcher.doctor.checkup import NOT_FOUND, OK, WARN, WRONG, Skip, Wrong, command
from launcher.project import gcp
from launcher.project.buckets import holds_region
from launcher.project.settings import Settings


class Cloud:
    """The checks of one project."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.connect = ThreadPoolExecutor(1).submit(_log_in, settings).result  # all checks share it
        # Where there is no Docker, Cloud Build makes the image.
        builds = () if shutil.which("docker") else ("cloudbuild",)
        self.apis_needed = (*gcp.APIS, *builds)
        self.setup = "python scripts/setup_cloud.py --apply"

    def checks(self) -> dict[str, Callable[[], tuple[str, ...]]]:
        return {
            "gcloud": check_gcloud,
            "credentials": self.check_credentials,
            "project": self.check_project,
            "billing": self.check_billing,
            "APIs": self.check_apis,
            "bucket": self.check_bucket,
            "images": self.check_images,
            "service account": self.check_service_account,
            "quota": lambda: quota.check(self.settings, self.ask),
            "endpoints": self.check_endpoints,
        }

    def ask(self, api: str, path: str, query=(), body=None, role: str = "roles/viewer") -> dict:
        """GET a path of an API, or POST where there is a body; return the answer's JSON.

        Args:
            role: the smallest one that allows it, in the project or on its bucket.

        Raises:
            Wrong: why it is refused, and the commands that fix it.
            Skip: there is no login, or no answer.
        """
        try:
            connection = self.connect()
        except (Skip, Wrong):
            raise Skip("see credentials") from None
        bucket = self.settings.bucket if api == "storage" else ""
        region = self.settings.region if api == "aiplatform" else ""
        method, url = "GET" if body is None else "POST", f"{clients.endpoint(api, region)}/{path}"
        options = {"params": query, "json": body, "timeout": checkup.ANSWER_SECONDS}
        need, project = Need(role, bucket=bucket, create=self.setup), self.settings.project
        try:
            with connection.explain_errors(f"look at {path}", need), _find_cause(api, project):
                return clients.request(connection.session, method, url, **options).json()
        except CloudError as error:
            raise _to_wrong(error) from None

    def list_disabled(self) -> list[str]:
        """The APIs that are switched off, of those that jobs need."""
        names = [f"{api}.googleapis.com" for api in self.apis_needed]
        parent = f"projects/{self.settings.project}"
        query = [("names", f"{parent}/services/{name}") for name in names]
        answer = self.ask("serviceusage", f"v1/{parent}/services:batchGet", query)
        services = [s for s in answer.get("services", ()) if s.get("state") == "ENABLED"]
        enabled = {str(service.get("name")).rpartition("/")[2] for service in services}
        return [name for name in names if name not in enabled]

    def check_credentials(self) -> tuple[str, ...]:
        connection = self.connect()
        if clients.is_anonymous():
            return OK, "none are sent (CLOUDSDK_AUTH_DISABLE_CREDENTIALS)"
        return OK, str(clients.identify(connection.credentials))

    def check_project(self) -> tuple[str, ...]:
        self.list_disabled()
        return OK, self.settings.project

    def check_billing(self) -> tuple[str, ...]:
        project = self.settings.project
        try:
            info = self.ask("cloudbilling", f"v1/projects/{project}/billingInfo")
        except Wrong as refused:  # whoever sends jobs need not see who pays
            raise Skip(refused.args[0]) from None
        if info.get("billingEnabled"):
            return OK, "a billing account pays"
        link = f"gcloud billing projects link {project} --billing-account=ACCOUNT_ID"
        return WRONG, "no billing account pays for it", "gcloud billing accounts list", link

    def check_apis(self) -> tuple[str, ...]:
        if names := self.list_disabled():
            enable = f"gcloud services enable {' '.join(names)} --project={self.settings.project}"
            return WRONG, f"switched off: {', '.join(names)}", enable
        return OK, f"{', '.join(self.apis_needed)} are on"

    def check_bucket(self) -> tuple[str, ...]:
        name, region = self.settings.bucket, self.settings.region
        if not name:
            raise Skip("gcp.bucket in project.yaml is empty")
        bucket = self.ask("storage", f"b/{name}", role="roles/storage.legacyBucketReader")
        location = str(bucket.get("location", "")).lower()
        parts = (bucket.get("customPlacementConfig") or {}).get("dataLocations") or ()
        if not holds_region(region, location, parts):
            text = f"gs://{name} is in {location}, jobs run in {region}; buckets cannot move"
            return WRONG, f"{text}: write another gcp.bucket, or gcp.region, in project.yaml"
        return OK, f"gs://{name} in {location}"

    def check_images(self) -> tuple[str, ...]:
        settings = self.settings
        name, region, project = settings.image_repository, settings.region, settings.project
        if not name or not region:
            raise Skip("gcp.image_repository or gcp.region in project.yaml is empty")
        path = f"v1/projects/{project}/locations/{region}/repositories/{name}"
        self.ask("artifactregistry", path, role="roles/artifactregistry.reader")
        return OK, f"{region}-docker.pkg.dev/{project}/{name}"

    def check_endpoints(self) -> tuple[str, ...]:
        """Nobody but their owner ends them, and they are billed by the hour."""
        from launcher.cloud.submission import find_label
        from launcher.endpoints import plan

        project, region = self.settings.project, self.settings.region
        if not region:
            raise Skip("gcp.region in project.yaml is empty")
        own = [("filter", f'labels.project="{find_label(self.settings)}"')]
        path = f"v1/projects/{project}/locations/{region}/endpoints"
        endpoints, query = [], own
        while query:
            answer = self.ask("aiplatform", path, query)
            endpoints += answer.get("endpoints", [])
            token = answer.get("nextPageToken")
            query = token and [*own, ("pageToken", token)]
        late = [one["displayName"] for one in endpoints if plan.is_overdue(one)]
        if late:
            undeploy = "python scripts/endpoints.py undeploy"
            text = f"still paid for, after the time that --until said: {', '.join(late)}"
            return WARN, text, *(f"{undeploy} {name}" for name in late)
        billed = [one["displayName"] for one in endpoints if one.get("deployedModels")]
        return OK, f"paid for by the hour: {', '.join(billed) or 'none'}"

    def check_service_account(self) -> tuple[str, ...]:
        email, project = self.settings.service_account, self.settings.project
        if not email:
            text = (
                "none in project.yaml: jobs run under Vertex AI's own, which may read every bucket"
            )
            return WARN, f"{text}; write gcp.service_account, then", self.setup
        account = self.ask("iam", f"v1/projects/-/serviceAccounts/{email}")
        if account.get("disabled"):
            remedy = f"gcloud iam service-accounts enable {email} --project={project}"
            return WRONG, f"{email} is disabled", remedy
        try:
            path = f"v1/projects/{project}:getIamPolicy"
            of_project = self.ask("cloudresourcemanager", path, body={})
            of_bucket = self.ask("storage", f"b/{self.settings.bucket}/iam")
        except (Skip, Wrong):
            return OK, f"{email} (its roles may not be read)"
        held = gcp.list_roles([of_project, of_bucket], f"serviceAccount:{email}")
        roles = gcp.job_roles(self.settings)
        if lacking := ", ".join(role.name for role in roles if not role.granted_by(held)):
            return WARN, f"{email} does not have {lacking}, unless by way of a group", self.setup
        return OK, f"{email} has its roles"


def check_gcloud() -> tuple[str, ...]:
    source = "get it from https://cloud.google.com/sdk/docs/install"
    code, out, err = command("gcloud", "--version")
    if code == NOT_FOUND:
        return WRONG, f"not installed: logins and setup_cloud.py need it; {source}"
    if code:
        return WRONG, f"does not start: {err or out}; {source}"
    return OK, out.partition("\n")[0]


def _log_in(settings: Settings) -> Connection:
    """Raises Wrong: nobody is logged in, or Google accepts the login no more; Skip: offline."""
    anonymous = clients.is_anonymous()
    try:
        sdk("google.auth")
        if not anonymous and not clients.may_have_login():
            raise Wrong("nobody is logged in", clients.LOGIN)
        connection = Connection(settings.project, settings.region)
        if not anonymous:
            with connection.explain_errors("log in", Need("roles/viewer")), _find_cause("", ""):
                connection.credentials.refresh(sdk("google.auth.transport.requests").Request())
    except CloudError as error:
        raise _to_wrong(error) from None
    return connection


@contextlib.contextmanager
def _find_cause(api: str, project: str) -> Iterator[None]:
    """Raises Skip where a request has no answer, and Wrong for what no role would allow."""
    try:
        yield
    except Exception as error:
        # No JSON: as from a network that first wants a login of its own.
        if errors.is_transient(error) or isinstance(error, json.JSONDecodeError):
            raise Skip(f"offline: {errors.clean(error)}") from None
        if getattr(error, "reason", "") == "SERVICE_DISABLED":
            enable = f"gcloud services enable {api}.googleapis.com --project={project}"
            raise Wrong(f"its API, {api}, is switched off", enable) from None
        if "quota project" in str(error):
            choose = f"gcloud auth application-default set-quota-project {project}"
            raise Wrong("your own credentials belong to no project", choose) from None
        raise


def _to_wrong(error: CloudError) -> Wrong:
    text, *commands = re.split("; run: |; to grant it: ", str(error))
    return Wrong(text, *(clients.login_commands() if clients.LOGIN in str(error) else commands))
