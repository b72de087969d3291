"""What cloud jobs need: a login, the project and its APIs, the bucket, images, identity, quota.

Nothing is changed. One login serves all checks; without a network they are skipped, and say so.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable

from launcher.cloud import clients
from launcher.doctor import access, quota
from launcher.doctor.access import NoLogin, Refused
from launcher.doctor.checkup import CLOUD, NOT_FOUND, OK, WARN, WRONG, Check, Skip, command, start
from launcher.doctor.local import check_packages, python_command
from launcher.project import gcp
from launcher.project.buckets import holds_region
from launcher.project.settings import Settings

# What the one who sends jobs must be allowed to do, and the smallest role that allows it.
TO_SUBMIT = {
    "aiplatform.customJobs.create": "roles/aiplatform.user",
    "aiplatform.customJobs.get": "roles/aiplatform.user",
    "aiplatform.hyperparameterTuningJobs.create": "roles/aiplatform.user",
    "logging.logEntries.list": "roles/logging.viewer",
}
TO_COPY = ("storage.objects.create", "storage.objects.get", "storage.objects.list")


class Cloud:
    """The checks of one project."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.log_in = start(_log_in).result  # all checks share it
        # Where there is no Docker, Cloud Build makes the image.
        builds = () if shutil.which("docker") else ("cloudbuild",)
        self.apis_needed = (*gcp.APIS, *builds)
        self.setup = f"{python_command()} scripts/setup_cloud.py --apply"

    def checks(self) -> list[Check]:
        looks = {
            "gcloud": check_gcloud,
            "clients": lambda: check_packages("cloud"),
            "credentials": self.check_credentials,
            "project": self.check_project,
            "billing": self.check_billing,
            "APIs": self.check_apis,
            "permissions": self.check_permissions,
            "bucket": self.check_bucket,
            "images": self.check_images,
            "service account": self.check_service_account,
            "quota": lambda: quota.check(self.settings, self.ask),
        }
        return [Check(name, look, CLOUD) for name, look in looks.items()]

    def list_disabled(self) -> list[str]:
        """The APIs that are switched off, of those that jobs need."""
        names = [f"{api}.googleapis.com" for api in self.apis_needed]
        parent = f"projects/{self.settings.project}"
        query = [("names", f"{parent}/services/{name}") for name in names]
        answer = self.ask("serviceusage", f"v1/{parent}/services:batchGet", query)
        services = [s for s in answer.get("services", ()) if s.get("state") == "ENABLED"]
        enabled = {str(service.get("name")).rpartition("/")[2] for service in services}
        return [name for name in names if name not in enabled]

    def ask(self, api: str, path: str, query=(), body=None) -> dict:
        """Send a request; return the answer's JSON.

        Raises:
            Refused: the answer is an error.
            Skip: there is no network or no login.
        """
        session, _ = self.log_in()
        try:
            return access.send(session, api, path, query, body)
        except Refused as refused:
            # A person's own credentials belong to no project, and some APIs want one.
            if "quota project" not in refused.message:
                raise
        return access.send(session, api, path, query, body, self.settings.project)

    def find(self, api: str, path: str) -> dict | None:
        """The same for what may not exist, which gives None."""
        try:
            return self.ask(api, path)
        except Refused as refused:
            if refused.disabled:
                raise Skip("its API is off, see APIs") from None
            if not refused.absent:
                raise
        return None

    def list_lacking(self, api: str, path: str, permissions: Iterable[str]) -> list[str]:
        """Those of these permissions on a thing that this user does not have."""
        if api == "storage":
            query = [("permissions", name) for name in permissions]
            answer = self.ask(api, f"{path}/iam/testPermissions", query)
        else:
            body = {"permissions": list(permissions)}
            answer = self.ask(api, f"{path}:testIamPermissions", body=body)
        return [name for name in permissions if name not in answer.get("permissions", ())]

    def grant(self, role: str, **on: str) -> str:
        """The command that gives this user a role in the project, or on one thing in it."""
        member = clients.identify(self.log_in()[0].credentials).member
        return clients.grant(role, member, self.settings.project, **on)

    def check_credentials(self) -> tuple[str, ...]:
        try:
            session, for_programs = self.log_in()
        except NoLogin as nobody:
            return WRONG, str(nobody), *clients.login_commands()
        if not for_programs:  # good enough to look around, not to send a job
            return WRONG, "gcloud is logged in, programs are not", clients.LOGIN
        if clients.is_anonymous():
            return OK, "none are sent (CLOUDSDK_AUTH_DISABLE_CREDENTIALS)"
        who = clients.identify(session.credentials)
        if who.kind == "user" and not session.credentials.quota_project_id:
            remedy = f"gcloud auth application-default set-quota-project {self.settings.project}"
            return WARN, f"{who}: without a quota project, which some APIs ask for", remedy
        return OK, str(who)

    def check_project(self) -> tuple[str, ...]:
        project = self.settings.project
        try:
            self.list_disabled()
        except Refused as refused:
            if refused.disabled:
                return OK, f"{project} (its Service Usage API is off)"
            if refused.status == 401:
                text = f"the login has expired: {refused.message}"
                return WRONG, text, *clients.login_commands()
            text = f"{project} is not there, or not for you: {refused.message}"
            return WRONG, text, "gcloud projects list"
        return OK, project

    def check_billing(self) -> tuple[str, ...]:
        project = self.settings.project
        if self.ask("cloudbilling", f"v1/projects/{project}/billingInfo").get("billingEnabled"):
            return OK, "a billing account pays"
        link = f"gcloud billing projects link {project} --billing-account=ACCOUNT_ID"
        return WRONG, "no billing account pays for it", "gcloud billing accounts list", link

    def check_apis(self) -> tuple[str, ...]:
        enable, project = "gcloud services enable", f"--project={self.settings.project}"
        try:
            disabled = " ".join(self.list_disabled())
        except Refused as refused:
            if refused.disabled:
                remedy = f"{enable} serviceusage.googleapis.com {project}"
                return WRONG, "the Service Usage API is off", remedy
            raise Skip("see project") from None
        if disabled:
            return (
                WRONG,
                f"switched off: {disabled.replace(' ', ', ')}",
                f"{enable} {disabled} {project}",
            )
        return OK, f"{', '.join(self.apis_needed)} are on"

    def check_permissions(self) -> tuple[str, ...]:
        project = self.settings.project
        lacking = self.list_lacking("cloudresourcemanager", f"v1/projects/{project}", TO_SUBMIT)
        if not lacking:
            return OK, "you may send jobs and read their logs"
        roles = dict.fromkeys(TO_SUBMIT[name] for name in lacking)
        grants = [self.grant(role) for role in roles]
        return WRONG, f"you may not: {', '.join(lacking)}; ask an owner for", *grants

    def check_bucket(self) -> tuple[str, ...]:
        name, region = self.settings.bucket, self.settings.region
        if not name:
            raise Skip("gcp.bucket in project.yaml is empty")
        try:
            bucket = self.ask("storage", f"b/{name}")
        except Refused as refused:
            if refused.absent:
                return WRONG, f"gs://{name} is not there", self.setup
            text = f"gs://{name} is not for you, or somebody else's: {refused.message}"
            return WRONG, text, self.grant("roles/storage.legacyBucketReader", bucket=name)
        lacking = self.list_lacking("storage", f"b/{name}", TO_COPY)
        if lacking:
            text = f"gs://{name}: you may not: {', '.join(lacking)}; ask its owner for"
            return WRONG, text, self.grant("roles/storage.objectUser", bucket=name)
        location = str(bucket.get("location", "")).lower()
        parts = (bucket.get("customPlacementConfig") or {}).get("dataLocations") or ()
        held = holds_region(region, location, parts)
        if not held or bucket.get("locationType") == "multi-region":  # each read from it is billed
            text = f"gs://{name} is in {location}, jobs run in {region}; buckets cannot move"
            advice = "write another gcp.bucket, or gcp.region, in project.yaml"
            return WARN if held else WRONG, f"{text}: {advice}"
        uniform = bucket.get("iamConfiguration", {}).get("uniformBucketLevelAccess", {})
        if not uniform.get("enabled"):
            text = f"gs://{name} has permissions on single files, which nobody oversees"
            remedy = f"gcloud storage buckets update gs://{name} --uniform-bucket-level-access"
            return WARN, text, remedy
        return OK, f"gs://{name} in {location}"

    def check_images(self) -> tuple[str, ...]:
        settings = self.settings
        name, region, project = settings.image_repository, settings.region, settings.project
        if not name or not region:
            raise Skip("gcp.image_repository or gcp.region in project.yaml is empty")
        path = f"v1/projects/{project}/locations/{region}/repositories/{name}"
        repository = self.find("artifactregistry", path)
        if repository is None:
            return WRONG, f"there is no repository {name} in {region}", self.setup
        if repository.get("format") != "DOCKER":
            advice = "write another gcp.image_repository in project.yaml"
            return WRONG, f"{name} holds {repository.get('format')}, not Docker images; {advice}"
        upload = ["artifactregistry.repositories.uploadArtifacts"]
        if self.list_lacking("artifactregistry", path, upload):
            role = "roles/artifactregistry.writer"
            grant = self.grant(role, repository=name, region=region)
            return WRONG, f"you may not push images to {name}; ask an owner for", grant
        return OK, f"{region}-docker.pkg.dev/{project}/{name}"

    def check_service_account(self) -> tuple[str, ...]:
        email, project = self.settings.service_account, self.settings.project
        if not email:
            text = (
                "none in project.yaml: jobs run under Vertex AI's own, which may read every bucket"
            )
            return WARN, f"{text}; write gcp.service_account, then", self.setup
        path = f"v1/projects/-/serviceAccounts/{email}"
        account = self.find("iam", path)
        if account is None:
            return WRONG, f"{email} is not there", self.setup
        if account.get("disabled"):
            remedy = f"gcloud iam service-accounts enable {email} --project={project}"
            return WRONG, f"{email} is disabled", remedy
        if self.list_lacking("iam", path, ["iam.serviceAccounts.actAs"]):
            grant = self.grant("roles/iam.serviceAccountUser", account=email)
            return WRONG, f"you may not let jobs run under {email}; ask an owner for", grant
        path = f"v1/projects/{project}:getIamPolicy"
        try:
            of_project = self.ask("cloudresourcemanager", path, body={})
            of_bucket = self.ask("storage", f"b/{self.settings.bucket}/iam")
        except Skip:
            return OK, f"{email} (its roles may not be read)"
        held = gcp.list_roles([of_project, of_bucket], f"serviceAccount:{email}")
        roles = gcp.job_roles(self.settings)
        lacking = ", ".join(role.name for role in roles if not role.granted_by(held))
        if not lacking:
            return OK, f"{email} has its roles"
        return WARN, f"{email} does not have {lacking}, unless by way of a group", self.setup


def _log_in():
    access.reach("serviceusage")
    return access.log_in()


def check_gcloud() -> tuple[str, ...]:
    source = "get it from https://cloud.google.com/sdk/docs/install"
    code, out, err = command("gcloud", "--version")
    if code == NOT_FOUND:
        return WRONG, f"not installed: logins and setup_cloud.py need it; {source}"
    if code:
        return WRONG, f"does not start: {err or out}; {source}"
    return OK, out.splitlines()[0] if out else "installed"
