"""The training image in Artifact Registry: named after its sources, built and pushed where missing.

The local Docker builds it; where there is none, Cloud Build does, out of the same sources.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable

from launcher.cloud import clients
from launcher.cloud.clients import CloudError, Need
from launcher.local import image
from launcher.local.image import ContainerError
from launcher.project import sources
from launcher.project.settings import ROOT, Settings

PLATFORM = "linux/amd64"  # of Google's machines, whatever this one is
BUILDER = "gcr.io/cloud-builders/docker"
BUILD = 3600  # seconds that Cloud Build may take
POLL = 5.0  # seconds between two looks at it
RUNNING = ("STATUS_UNKNOWN", "PENDING", "QUEUED", "WORKING")


def uri(settings: Settings, gpus: bool) -> str:
    """The image of these sources, whether it is there or not.

    Raises:
        CloudError: project.yaml names no repository.
    """
    if not settings.image_repository:
        raise CloudError("project.yaml: gcp.image_repository is empty: write the repository's name")
    repository = f"{settings.region}-docker.pkg.dev/{settings.project}"
    tag = image.tag(gpus, traced=False, platform=PLATFORM)
    return f"{repository}/{settings.image_repository}/{tag}"


class Registry:
    """The project's image repository."""

    def __init__(self, settings: Settings, store, say: Callable[[str], None]):
        """Sends no request yet.

        Args:
            store: a `storage.Store`, whose credentials are used.
        """
        self.settings, self.store, self.say = settings, store, say
        self.session = clients.session(store.who)
        self.parent = f"projects/{settings.project}/locations/{settings.region}"

    def provide(self, wanted: str, gpus: bool) -> None:
        """Builds and pushes the image `wanted`, as `uri` gives it, where it is missing.

        Raises:
            CloudError, ContainerError: it cannot be looked for, built or pushed.
        """
        if self.has(wanted):
            self.say(f"image: {wanted} is there already")
            return
        if why := _no_docker():
            self.say(f"{why}: Cloud Build builds the image, which takes some minutes")
            self._build_there(wanted, gpus)
        else:
            self._build_here(wanted, gpus)

    def has(self, wanted: str) -> bool:
        """Whether the repository has that image and tag."""
        repository = f"{self.parent}/repositories/{self.settings.image_repository}"
        name, _, tag = wanted.rpartition("/")[2].partition(":")
        base = clients.endpoint("artifactregistry")
        missing = clients.sdk("google.api_core.exceptions").NotFound
        what = f"look for the image in {self.settings.image_repository}"
        with clients.explain_errors(what, self._need("reader"), self.store.who):
            try:
                path = f"{repository}/packages/{name}/tags/{tag}"
                clients.ask(self.session, "GET", f"{base}/v1/{path}")
                return True
            except missing:  # the tag; or the repository itself, which is looked up next
                clients.ask(self.session, "GET", f"{base}/v1/{repository}")
                return False

    def _build_here(self, wanted: str, gpus: bool) -> None:
        built = image.build(gpus, traced=False, platform=PLATFORM)
        tagged = image.docker("tag", built, wanted)
        if tagged.returncode:
            raise ContainerError(f"docker tag: {_last(tagged.stderr)}")
        self.say(f"image: pushing {wanted}")
        pushed = subprocess.run(
            ["docker", "push", wanted],
            stdout=None,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        if pushed.returncode:
            raise ContainerError(f"docker push: {self._explain_push(_last(pushed.stderr))}")

    def _explain_push(self, text: str) -> str:
        host = f"{self.settings.region}-docker.pkg.dev"
        lower = text.lower()
        if "unauthenticated" in lower or "no basic auth" in lower or "unauthorized" in lower:
            return f"{text}; let Docker log in by gcloud: gcloud auth configure-docker {host}"
        if "denied" in lower or "forbidden" in lower:
            need = self._need("writer")
            command = need.grant(clients.identify(self.store.who).member)
            return f"{text}; to grant {need.role}: {command}"
        return text

    def _build_there(self, wanted: str, gpus: bool) -> None:
        """Builds the image by Cloud Build, once: a build that is running is waited for."""
        tag = wanted.rpartition(":")[2]
        source = f"builds/{tag}/source.tgz"
        bucket = self.settings.bucket
        self.store.upload(pack_sources(), f"gs://{bucket}/{source}")
        arguments = image.recipe(gpus, traced=False)
        words = [word for item in arguments.items() for word in ("--build-arg", "=".join(item))]
        build = {
            "source": {"storageSource": {"bucket": bucket, "object": source}},
            "steps": [{"name": BUILDER, "args": ["build", "--tag", wanted, *words, "."]}],
            "images": [wanted],
            "timeout": f"{BUILD}s",
            "tags": [f"image-{tag}"],
            "options": {"logging": "CLOUD_LOGGING_ONLY"},
        }
        base = clients.endpoint("cloudbuild")
        builds = f"{base}/v1/{self.parent}/builds"
        need = Need(
            api="cloudbuild.googleapis.com",
            role="roles/cloudbuild.builds.editor",
            project=self.settings.project,
        )
        with clients.explain_errors("build the image by Cloud Build", need, self.store.who):
            running = self._find_running(builds, tag)
            # An answer that is lost costs a second build of the same image, and nothing else.
            build = (
                running
                or clients.ask(self.session, "POST", builds, json=build)["metadata"]["build"]
            )
            self.say(f"build: {build.get('logUrl') or build['id']}")
            end = time.monotonic() + BUILD
            while build["status"] in RUNNING and time.monotonic() < end:
                time.sleep(POLL)
                build = clients.ask(self.session, "GET", f"{builds}/{build['id']}")
        if build["status"] != "SUCCESS":
            why = (build.get("failureInfo") or {}).get("detail") or build.get("statusDetail") or ""
            raise CloudError(
                f"Cloud Build: the image's build ended with {build['status']}"
                + (f" ({why})" if why else "")
                + f"; its log: {build.get('logUrl') or build['id']}"
            )

    def _find_running(self, builds: str, tag: str) -> dict | None:
        query = {"filter": f'tags="image-{tag}"', "pageSize": "10"}
        answer = clients.ask(self.session, "GET", builds, params=query)
        return next((b for b in answer.get("builds") or [] if b["status"] in RUNNING), None)

    def _need(self, role: str) -> Need:
        repository = self.settings.image_repository
        project, region = self.settings.project, self.settings.region
        return Need(
            api="artifactregistry.googleapis.com",
            role=f"roles/artifactregistry.{role}",
            project=project,
            repository=repository,
            region=region,
            create=f"gcloud artifacts repositories create {repository} --repository-format=docker "
            f"--location={region} --project={project}",
        )


def pack_sources() -> bytes:
    """What the image is built from, as a tar file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as tar:
        for path in sources.list_files(image.SOURCES):
            about = tar.gettarinfo(path, path.relative_to(ROOT).as_posix())
            about.uid = about.gid = about.mtime = 0
            about.uname = about.gname = ""
            with open(path, "rb") as content:
                tar.addfile(about, content)
    return file.getvalue()


def _no_docker() -> str:
    """Why no image can be built here; "" where one can."""
    if not shutil.which("docker"):
        return "docker is not installed"
    done = image.docker("info", "--format", "{{.ServerVersion}}")
    return "" if done.stdout.strip() and not done.returncode else "no Docker daemon answers"


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"
