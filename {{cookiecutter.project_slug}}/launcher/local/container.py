"""Replicas as containers: their image, a network of their own, your own user.

The local Docker builds the project's image, and again when what goes into it has changed.
BASE_IMAGE in the environment, where it is set, takes the place of the image that the Dockerfile
starts from.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import subprocess
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from launcher.common.document import SpecError
from launcher.local.contract import Replica
from launcher.local.process import Guarded, Process
from launcher.project import git, settings, sources
from launcher.project.settings import ROOT

INSIDE = Path("/app")  # the Dockerfile's WORKDIR, where relative paths begin
PORT = 2222  # of every replica, as on Vertex AI: each has an address of its own
OWNER = "launcher.pid"  # the label of a network: the launcher that made it
OUTPUTS = ("--cache-dir",)  # flags that name a folder to write to; others name what is read
SOURCES = ("Dockerfile", ".dockerignore", "setup.py", "constraints.txt", "codec", "trainer", "data")


def docker(*words: str) -> subprocess.CompletedProcess:
    """Run a docker command quietly."""
    return subprocess.run(
        ["docker", *words], capture_output=True, encoding="utf-8", errors="replace"
    )


def last_line(text: str) -> str:
    """The last line that a program has written."""
    return (text.strip().splitlines() or ["it says nothing"])[-1]


class Containers:
    """Start a job's replicas as containers of this machine."""

    is_ready = True  # replicas can start

    def __init__(self, foreign: Collection[str], gpus: bool = False):
        """Build the project's image, and pull those of others, where they are not here yet.

        Args:
            foreign: the images of others that the replicas start; "" stands for the project's.
            gpus: with CUDA, and with all GPUs.

        Raises:
            SpecError: no Docker, or the build failed.
        """
        self.user, self.gpus = find_user(), gpus
        for uri in {uri for uri in foreign if uri}:
            pull_image(uri)
        self.image = build_image(gpus) if "" in foreign else ""
        self.name = f"{settings.image_name()}-{secrets.token_hex(3)}"
        self.numbers = itertools.count(1)
        # A study runs several jobs at once, each of them opened and started in a thread of its own.
        self.job = threading.local()

    @contextlib.contextmanager
    def open(self, replicas: Sequence[Replica]) -> Iterator[dict[Replica, str]]:
        """Make the replicas' network, where there are several; yield their addresses.

        Raises:
            SpecError: Docker makes no network, or the flags name what a container cannot reach.
        """
        for replica in replicas:
            if not replica.program.image:
                _list_paths(replica.program.args)
        with contextlib.ExitStack() as stack:
            self.job.network = None
            if len(replicas) > 1:
                self.job.network = stack.enter_context(make_network(self._new_name()))
            yield {replica: f"{_host_name(replica)}:{PORT}" for replica in replicas}

    def start(self, replica: Replica, contract: Mapping[str, str], log: Path, **events) -> Process:
        """Start the replica's command; `events`: as `Process` takes them."""
        name = self._new_name()
        words = self._command(replica, contract, log.parent, name)
        last = ["docker", "rm", "--force", name]
        return Process(lambda: Guarded(words, os.environ, last), log, **events)

    def _command(
        self, replica: Replica, env: Mapping[str, str], run_dir: Path, name: str
    ) -> list[str]:
        """The words of `docker run`.

        The run directory, and the cache beside it, have the same path inside as here, so that what
        the environment and run.json say is true in both places. What the trainer's flags name is
        there too, to be read only; the flags of a foreign image name its own files.

        Args:
            name: of the container, and of no other one.

        Raises:
            SpecError: the flags name data in a bucket.
        """
        program, host, network = replica.program, _host_name(replica), self.job.network
        cache = run_dir.parent / ".cache"
        cache.mkdir(exist_ok=True)  # Docker mounts only what is there
        words = ["docker", "run", "--rm", "--init", "--pull=never", f"--name={name}"]
        words += [f"--hostname={host}", f"--network={network or 'none'}"]
        words += [f"--network-alias={host}"] if network else []
        words += [f"--user={self.user}"] if self.user else []
        # NCCL wants more than Docker's 64 MB.
        words += ["--gpus=all", "--shm-size=1g"] if self.gpus else []
        # The user has no name in the image, and so no home: libraries keep their settings in /tmp.
        words += [f"--env={key}={value}" for key, value in {"HOME": "/tmp", **env}.items()]
        for path in (run_dir, cache):
            words += _mount(path, path)
        for path, writable in [] if program.image else _list_paths(program.args):
            if (ROOT / path).is_relative_to(run_dir):
                continue
            if writable:
                (ROOT / path).mkdir(parents=True, exist_ok=True)
            words += _mount(ROOT / path, INSIDE / path, writable)
        words += [f"--entrypoint={program.command[0]}"] if program.command else []
        return [*words, program.image or self.image, *program.command[1:], *program.args]

    def _new_name(self) -> str:
        """One that no container has had: the one before may still be running."""
        return f"{self.name}-{next(self.numbers)}"


@contextlib.contextmanager
def make_network(name: str) -> Iterator[str]:
    """A network that only its containers see, without a way out; it is removed at the end.

    Raises:
        SpecError: Docker makes none.
    """
    _remove_orphaned_networks()
    label = f"{OWNER}={os.getpid()}"
    done = docker("network", "create", "--internal", "--label", label, name)
    if done.returncode:
        raise SpecError(f"--container: no network for the replicas: {done.stderr.strip()}")
    try:
        yield name
    finally:
        docker("network", "rm", name)


def _remove_orphaned_networks() -> None:
    """Remove the networks of launchers that were killed and could not do it themselves."""
    columns = '{{.Name}} {{.Label "' + OWNER + '"}}'
    done = docker("network", "ls", "--filter", f"label={OWNER}", "--format", columns)
    for line in done.stdout.splitlines():
        name, pid = line.rsplit(" ", 1)
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            docker("network", "rm", name)
        except PermissionError:
            continue  # another user's, and alive


def _host_name(replica: Replica) -> str:
    return f"{replica.role}-{replica.index}"


def _mount(here: Path, inside: Path, writable: bool = True) -> list[str]:
    """A bind mount. Docker reads its fields as CSV: in quotes, a path may have any letter."""
    fields = ["type=bind", f"source={here}", f"target={os.path.normpath(inside)}"]
    fields += [] if writable else ["readonly"]
    return ["--mount", ",".join('"' + field.replace('"', '""') + '"' for field in fields)]


def _list_paths(args: Sequence[str]) -> list[tuple[Path, bool]]:
    """Files and folders of this machine that the flags name, and whether they are written to."""
    paths, flag = {}, ""
    for word in args:
        value = word
        if word.startswith("--"):
            flag, _, value = word.partition("=")
        for text in filter(None, value.split(",")):
            if "://" in text:
                raise SpecError(
                    f"{flag} {text}: a container of a local run has no network; copy the data to a "
                    "local folder, or run the job without --container"
                )
            if flag.replace("_", "-") in OUTPUTS:
                paths[Path(text), True] = None
            elif path := sources.find_path(text):
                paths[path, False] = None
    return list(paths)


def find_user() -> str | None:
    """The "uid:gid" of the caller: a container's files then belong to the caller, too.

    None for a rootless Docker, where the container's root is the caller already.

    Raises:
        SpecError: there is no Docker, or it does not answer.
    """
    if os.name == "nt":
        raise SpecError("--container: not on Windows itself; run the same command in WSL")
    if not shutil.which("docker"):
        raise SpecError(
            "--container: docker is not installed; see https://docs.docker.com/get-docker, or run "
            "the job without --container"
        )
    done = docker("info", "--format", "{{.ServerVersion}} {{json .SecurityOptions}}")
    if done.returncode or not done.stdout.split(" ")[0]:
        why = last_line(done.stderr)
        remedy = "start it (Docker Desktop, or sudo systemctl start docker)"
        if "permission denied" in why:
            remedy = "let your user speak to it (sudo usermod -aG docker $USER, then log in again)"
        raise SpecError(f"--container: the Docker daemon is not reachable; {remedy}: {why}")
    return None if "name=rootless" in done.stdout else f"{os.getuid()}:{os.getgid()}"


def build_image(gpus: bool = False) -> str:
    """Build the training image for this machine, unless there is one of the same sources; return its tag.

    Raises:
        SpecError: the build failed; Docker has printed why.
    """
    name = image_tag(gpus)
    build(name, list_build_args(gpus))
    return name


def build(name: str, arguments: Mapping[str, str], *options: str) -> None:
    """Build an image of this repo, unless there is one with this name.

    Raises:
        SpecError: the build failed; Docker has printed why.
    """
    if docker("image", "inspect", name).returncode == 0:
        return
    print(f"[launcher] building the image {name}: minutes at first, then seconds", flush=True)
    words = ["docker", "build", "--tag", name, *options]
    for argument in arguments.items():
        words += ["--build-arg", "=".join(argument)]
    if code := subprocess.run([*words, "."], cwd=ROOT).returncode:
        raise SpecError(
            f"docker build failed with exit code {code}; see above, correct the Dockerfile or "
            "setup.py, and give the same command again"
        )


def pull_image(uri: str) -> None:
    """Pull somebody else's image, unless it is here.

    Raises:
        SpecError: the pull failed; Docker has printed why.
    """
    if docker("image", "inspect", uri).returncode == 0:
        return
    print(f"[launcher] pulling the image {uri}", flush=True)
    if subprocess.run(["docker", "pull", uri]).returncode:
        host = uri.partition("/")[0]
        login = f" (log in: gcloud auth configure-docker {host})" if ".pkg.dev" in host else ""
        raise SpecError(f"--container: docker pull {uri} failed; see above{login}")


def list_build_args(gpus: bool = False, platform: str = "") -> dict[str, str]:
    """The build arguments, on which the image depends as much as on its sources.

    Args:
        platform: of other machines than this one, such as linux/amd64. That image does not hold
            the commit, so that an equal tree gives an equal image.
    """
    arguments = {"EXTRAS": "[gpu]" if gpus else ""}
    if not platform:
        tree = git.read()
        arguments["GIT_COMMIT"] = tree.commit if tree else ""
        arguments["GIT_DIRTY"] = str(bool(tree.changed)).lower() if tree else ""
    if base := os.environ.get("BASE_IMAGE"):
        arguments["BASE_IMAGE"] = base
    return arguments


def image_tag(gpus: bool = False, platform: str = "") -> str:
    """The image's name and tag, without asking Docker: trainer:1a2b3c4d5e6f."""
    arguments = repr(sorted({**list_build_args(gpus, platform), "platform": platform}.items()))
    return f"{settings.image_name()}:{sources.digest(SOURCES, arguments)[:12]}"
