"""The project's image, built by the local Docker, and again when what goes into it has changed.

BASE_IMAGE in the environment, where it is set, takes the place of the image that the Dockerfile
starts from.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from launcher.common.document import SpecError
from launcher.project import git, settings, sources
from launcher.project.settings import ROOT

SOURCES = ("Dockerfile", ".dockerignore", "setup.py", "constraints.txt", "codec", "trainer", "data")


class ContainerError(SpecError):
    """Docker cannot do it: what, why and what to do, in one line."""


def docker(*words: str) -> subprocess.CompletedProcess:
    """Run a docker command quietly."""
    return subprocess.run(
        ["docker", *words], capture_output=True, encoding="utf-8", errors="replace"
    )


def find_user() -> str | None:
    """The "uid:gid" of the caller: a container's files then belong to the caller, too.

    None for a rootless Docker, where the container's root is the caller already.

    Raises:
        ContainerError: there is no Docker, or it does not answer.
    """
    if os.name == "nt":
        raise ContainerError("--container: not on Windows itself; run the same command in WSL")
    if not shutil.which("docker"):
        raise ContainerError(
            "--container: docker is not installed; see https://docs.docker.com/get-docker, or run "
            "the job without --container"
        )
    done = docker("info", "--format", "{{.ServerVersion}} {{json .SecurityOptions}}")
    if done.returncode or not done.stdout.split(" ")[0]:
        why = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        remedy = "start it (Docker Desktop, or sudo systemctl start docker)"
        if "permission denied" in why:
            remedy = "let your user speak to it (sudo usermod -aG docker $USER, then log in again)"
        raise ContainerError(f"--container: the Docker daemon is not reachable; {remedy}: {why}")
    return None if "name=rootless" in done.stdout else f"{os.getuid()}:{os.getgid()}"


def build(gpus: bool = False, traced: bool = True, platform: str = "") -> str:
    """Build the image, unless there is one of the same sources; return its tag.

    Args:
        gpus: with the CUDA libraries.
        traced: it holds the commit; without it an equal tree gives an equal image.
        platform: such as linux/amd64, where it is another one than this machine's.

    Raises:
        ContainerError: the build failed; Docker has printed why.
    """
    name = tag(gpus, traced, platform)
    if docker("image", "inspect", name).returncode == 0:
        return name
    print(f"[launcher] building the image {name}: minutes at first, then seconds", flush=True)
    words = ["docker", "build", "--tag", name]
    for argument in recipe(gpus, traced).items():
        words += ["--build-arg", "=".join(argument)]
    words += ["--platform", platform] if platform else []
    try:
        code = subprocess.run([*words, "."], cwd=ROOT).returncode
    except KeyboardInterrupt:
        raise ContainerError("the image's build was interrupted; nothing runs") from None
    if code:
        raise ContainerError(
            f"docker build failed with exit code {code}; see above, correct the Dockerfile or "
            "setup.py, and give the same command again"
        )
    return name


def pull(uri: str) -> None:
    """Pull somebody else's image, unless it is here.

    Raises:
        ContainerError: the pull failed; Docker has printed why.
    """
    if docker("image", "inspect", uri).returncode == 0:
        return
    print(f"[launcher] pulling the image {uri}", flush=True)
    if subprocess.run(["docker", "pull", uri]).returncode:
        host = uri.partition("/")[0]
        login = f" (log in: gcloud auth configure-docker {host})" if ".pkg.dev" in host else ""
        raise ContainerError(f"--container: docker pull {uri} failed; see above{login}")


def recipe(gpus: bool = False, traced: bool = True) -> dict[str, str]:
    """The build arguments, on which the image depends as much as on its sources."""
    arguments = {"EXTRAS": "[gpu]" if gpus else ""}
    if traced:
        tree = git.read()
        arguments["GIT_COMMIT"] = tree.commit if tree else ""
        arguments["GIT_DIRTY"] = str(bool(tree.changed)).lower() if tree else ""
    if base := os.environ.get("BASE_IMAGE"):
        arguments["BASE_IMAGE"] = base
    return arguments


def tag(gpus: bool = False, traced: bool = True, platform: str = "") -> str:
    """The image's name and tag, without asking Docker: trainer:1a2b3c4d5e6f."""
    arguments = repr(sorted({**recipe(gpus, traced), "platform": platform}.items()))
    return f"{settings.image_name()}:{sources.digest(SOURCES, arguments)[:12]}"
