"""The code of a job: the training image in Artifact Registry, or the trainer as a Python package.

Both are named after their sources, and made where they are missing. The local Docker builds the
image; where there is none, Cloud Build does, out of the same sources. A job installs the package
before it starts (`gcp.code: package`).
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from launcher.cloud import clients
from launcher.cloud.clients import Connection, Need
from launcher.cloud.errors import CloudError
from launcher.cloud.local_files import disk_errors, hash_files, is_litter
from launcher.cloud.storage import Store, upload_new
from launcher.common.document import SpecError
from launcher.jobfile import trainer_rules
from launcher.jobfile.job import Job
from launcher.local import container
from launcher.local.container import last_line
from launcher.project import sources
from launcher.project.settings import ROOT, Settings

PLATFORM = "linux/amd64"  # of Google's machines, whatever this one is
BUILDER = "gcr.io/cloud-builders/docker"
BUILD = 3600  # seconds that Cloud Build may take
POLL = 5.0  # seconds between two looks at it
RUNNING = ("STATUS_UNKNOWN", "PENDING", "QUEUED", "WORKING")
TO_BUILD = Need("roles/cloudbuild.builds.editor")
SOURCES = ("setup.py", "pyproject.toml", "MANIFEST.in", "codec", "trainer")


@dataclass(frozen=True)
class Code:
    """Where the job finds the trainer; what is missing there is made before the job is sent."""

    image: str = ""
    gpus: bool = False  # the image is to hold the CUDA libraries
    package: str = ""  # gs://…/trainer.tar.gz
    data: str = ""  # gs://… that stands for the repo's data/, which no package holds


def find_code(job: Job, settings: Settings, flags: Sequence[str]) -> Code:
    """What the job's pools need of this repo, by the way that project.yaml names."""
    bare = [pool for pool in job.pools if pool.program.needs == "image"]
    packaged = [pool for pool in job.pools if pool.program.needs == "package"]
    code = Code()
    if settings.code == "package":
        packaged += bare
    elif bare:
        gpus = any(pool.accelerator.startswith("NVIDIA") for pool in job.pools)
        tag = container.image_tag(gpus, PLATFORM)
        code = Code(f"{repository_url(settings)}/{tag}", gpus)
    if not packaged:
        return code
    if not settings.executor_image and not all(pool.program.executor for pool in packaged):
        raise SpecError(
            "project.yaml: gcp.executor_image is empty, and gcp.code: package needs an image to "
            "install the trainer on; write one, or code: container"
        )
    refuse_links()
    base = f"gs://{settings.bucket}"
    digest = sources.digest(SOURCES)
    code = replace(code, package=f"{base}/packages/{digest}/trainer.tar.gz")
    words = [word for pool in packaged for _, word in pool.args(flags)]
    if not trainer_rules.names_data(words) and (ROOT / "data").is_dir():
        code = replace(code, data=f"{base}/data/{sources.digest(['data'])}")
    return code


def provide_code(code: Code, settings: Settings, store: Store) -> None:
    """Put image, package and data where the message says they are, each once.

    Raises:
        CloudError, SpecError: one cannot be looked for, built or uploaded.
    """
    if code.image:
        arguments = container.list_build_args(code.gpus, PLATFORM)
        image = Image(settings, code.image, "Dockerfile", container.SOURCES, arguments)
        image.provide(store)
    if code.package and not store.exists(code.package):
        with tempfile.TemporaryDirectory() as folder:
            built = build_package(Path(folder))
            store.upload(built, code.package, new=True)  # another's of the same sources is as good
        print(f"package: {code.package}", flush=True)
    if code.data:
        folder = ROOT / "data"
        names = [path.relative_to(folder).as_posix() for path in sources.list_files(["data"])]
        with disk_errors(folder):
            entries = hash_files(folder, [name for name in names if not is_litter(name)])
            upload_new(store, folder, entries, code.data)


def repository_url(settings: Settings) -> str:
    """Where the project's images are, without a slash at the end.

    Raises:
        SpecError: project.yaml names no repository.
    """
    if faults := settings.missing("image_repository"):
        raise SpecError(*faults)
    where = f"{settings.region}-docker.pkg.dev/{settings.project}"
    return f"{where}/{settings.image_repository}"


@dataclass(frozen=True)
class Image:
    """An image of the project's repository, and what it is built from."""

    settings: Settings
    uri: str  # with its tag
    dockerfile: str
    sources: Sequence[str]  # files and folders of this repo
    arguments: Mapping[str, str]  # of the build

    def provide(self, store: Store) -> None:
        """Build and push it where it is missing."""
        if self._is_there(store.connection):
            print(f"image: {self.uri} is there already", flush=True)
        elif why := _why_no_docker():
            print(f"{why}: Cloud Build builds the image, which takes some minutes", flush=True)
            self._build_there(store)
        else:
            self._build_here(store.connection)

    def _is_there(self, connection: Connection) -> bool:
        repository = self.settings.image_repository
        name, _, tag = self.uri.rpartition("/")[2].partition(":")
        what, need = f"look for the image in {repository}", self._need("reader")
        root = f"{clients.endpoint('artifactregistry')}/v1/{self.settings.parent}"
        url = f"{root}/repositories/{repository}"
        try:
            connection.ask(what, need, "GET", f"{url}/packages/{name}/tags/{tag}")
            return True
        except CloudError as error:
            if error.status != 404:
                raise
        connection.ask(what, need, "GET", url)  # the repository itself may be missing
        return False

    def _build_here(self, connection: Connection) -> None:
        options = ["--file", self.dockerfile, "--platform", PLATFORM]
        container.build(self.uri, self.arguments, *options)
        print(f"image: pushing {self.uri}", flush=True)
        command, pipe = ["docker", "push", self.uri], subprocess.PIPE
        pushed = subprocess.run(command, stderr=pipe, encoding="utf-8", errors="replace")
        if pushed.returncode:
            login = f"gcloud auth configure-docker {self.uri.partition('/')[0]}"
            need = self._need("writer")
            raise SpecError(
                f"docker push: {last_line(pushed.stderr)}; let Docker log in by gcloud: {login}; to "
                f"grant {need.role}: {connection.grant(need)}"
            )

    def _build_there(self, store: Store) -> None:
        """Build it by Cloud Build, once: a build that is running is waited for."""
        tag, bucket = self.uri.rpartition(":")[2], self.settings.bucket
        source, file = f"builds/{tag}/source.tgz", io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:gz") as tar:
            for path in sources.list_files(self.sources):
                tar.add(path, path.relative_to(ROOT).as_posix())
        store.upload(file.getvalue(), f"gs://{bucket}/{source}")
        pairs = self.arguments.items()
        words = [word for pair in pairs for word in ("--build-arg", "=".join(pair))]
        words += ["--file", self.dockerfile]
        build = {
            "source": {"storageSource": {"bucket": bucket, "object": source}},
            "steps": [{"name": BUILDER, "args": ["build", "--tag", self.uri, *words, "."]}],
            "images": [self.uri],
            "timeout": f"{BUILD}s",
            "tags": [f"image-{tag}"],
            "options": {"logging": "CLOUD_LOGGING_ONLY"},
        }
        url = f"{clients.endpoint('cloudbuild')}/v1/{self.settings.parent}/builds"
        ask = partial(store.connection.ask, "build the image by Cloud Build", TO_BUILD)
        query = {"filter": f'tags="image-{tag}"', "pageSize": "10"}
        builds = ask("GET", url, params=query).get("builds") or []
        running = next((build for build in builds if build["status"] in RUNNING), None)
        # An answer that is lost costs a second build of the same image, and nothing else.
        build = running or ask("POST", url, json=build)["metadata"]["build"]
        log = build.get("logUrl") or build["id"]
        print(f"build: {log}", flush=True)
        end = time.monotonic() + BUILD
        while build["status"] in RUNNING and time.monotonic() < end:
            time.sleep(POLL)
            build = ask("GET", f"{url}/{build['id']}")
        if build["status"] != "SUCCESS":
            how = build["status"]
            raise CloudError(f"Cloud Build: the image's build ended with {how}; its log: {log}")

    def _need(self, role: str) -> Need:
        repository = self.settings.image_repository
        where = f"--location={self.settings.region} --project={self.settings.project}"
        create = "gcloud artifacts repositories create"
        return Need(
            role=f"roles/artifactregistry.{role}",
            repository=repository,
            create=f"{create} {repository} --repository-format=docker {where}",
        )


def _why_no_docker() -> str:
    """Why no image can be built here; "" where one can."""
    if not shutil.which("docker"):
        return "docker is not installed"
    done = container.docker("info", "--format", "{{.ServerVersion}}")
    return "" if done.stdout.strip() and not done.returncode else "no Docker daemon answers"


def build_package(folder: Path) -> Path:
    """Build the source distribution into a folder; return its path.

    The sources are copied first, so that nothing but them gets in, and nothing is left in the repo.

    Raises:
        SpecError: it cannot be built; with what setuptools said. Or a file would be missing in it.
    """
    files = {path.relative_to(ROOT).as_posix(): path for path in sources.list_files(SOURCES)}
    with tempfile.TemporaryDirectory() as name:
        stage = Path(name)
        for source, path in files.items():
            (stage / source).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, stage / source)
        # In an environment of its own, build would fetch setuptools again from the network.
        words = ["build", "--sdist", "--no-isolation", "--outdir", folder, stage]
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=stage,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
    if done.returncode:
        why = last_line(done.stdout + done.stderr)
        raise SpecError(f"setup.py: the package cannot be built: {why}")
    [path] = folder.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    if missing := sorted(set(files) - packed):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        how = "setup.py (package_data) and MANIFEST.in decide what is: change them"
        raise SpecError(f"{missing[0]}{more}: not in the package; {how}, or move the file")
    return path


def refuse_links() -> None:
    """Refuse a link to a folder, which works in the image, and which neither package nor digest hold."""
    paths = [path for name in SOURCES for path in sorted((ROOT / name).rglob("*"))]
    if links := [path for path in paths if path.is_symlink() and path.is_dir()]:
        raise SpecError(
            f"{links[0].relative_to(ROOT).as_posix()}: is a link to a folder, which a package "
            "cannot hold; copy the folder there, or write gcp.code: container"
        )
