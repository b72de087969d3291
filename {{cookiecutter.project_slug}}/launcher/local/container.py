"""Replicas as containers: their image, a network of their own, your own user."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from launcher.local import image
from launcher.local.contract import Replica
from launcher.local.image import ContainerError, docker
from launcher.local.process import Guarded, Process
from launcher.project import settings
from launcher.project.settings import ROOT

INSIDE = Path("/app")  # the Dockerfile's WORKDIR, where relative paths begin
PORT = 2222  # of every replica, as on Vertex AI: each has an address of its own
OWNER = "launcher.pid"  # the label of a network that tells whose it is
OUTPUTS = ("--cache-dir",)  # flags that name a folder to write to; others name what is read


class Containers:
    """The place of a job's replicas: containers of this machine."""

    def __init__(self, foreign: Iterable[str], gpus: bool = False):
        """Builds the project's image, and pulls those of others, where they are not here yet.

        Args:
            foreign: the images of others that the replicas start; "" stands for the project's.
            gpus: with CUDA, and with all GPUs.

        Raises:
            ContainerError: no Docker, or the build failed.
        """
        self.user, self.gpus = image.user(), gpus
        self.images = {uri: uri or image.build(gpus) for uri in set(foreign)}
        for uri in filter(None, self.images):
            image.fetch(uri)
        slug = settings.image_name()
        self.name, self.numbers = f"{slug}-{secrets.token_hex(3)}", itertools.count(1)
        # A study runs several jobs at once, each of them opened and started in a thread of its own.
        self.job = threading.local()

    @contextlib.contextmanager
    def open(self, replicas: Sequence[Replica]) -> Iterator[dict[Replica, str]]:
        """Makes the replicas' network, where there are several; gives their addresses.

        Raises:
            ContainerError: Docker makes no network, or the flags ask for what a container has not.
        """
        for replica in replicas:
            if not replica.program.image:
                _paths(replica.args)
        with contextlib.ExitStack() as held:
            self.job.network = None
            if len(replicas) > 1:
                self.job.network = held.enter_context(network(self._new_name()))
            yield {replica: f"{_host(replica)}:{PORT}" for replica in replicas}

    def start(self, replica: Replica, contract: Mapping[str, str], log: Path, **events) -> Process:
        """Starts the replica's command; `events`: as `Process` takes them."""
        name = self._new_name()
        words = self._command(replica, contract, log.parent, name)
        return Process(lambda: Guarded(words, os.environ, remove(name)), log, **events)

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
            ContainerError: the flags name data in a bucket.
        """
        runs, host, network = replica.program, _host(replica), self.job.network
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
        for path, writable in [] if runs.image else _paths(runs.args):
            if (ROOT / path).is_relative_to(run_dir):
                continue
            if writable:
                (ROOT / path).mkdir(parents=True, exist_ok=True)
            words += _mount(ROOT / path, INSIDE / path, writable)
        words += [f"--entrypoint={runs.command[0]}"] if runs.command else []
        return [*words, self.images[runs.image], *runs.command[1:], *runs.args]

    def _new_name(self) -> str:
        """One that nothing has had: the container before this one may still be going."""
        return f"{self.name}-{next(self.numbers)}"


@contextlib.contextmanager
def network(name: str) -> Iterator[str]:
    """A network that only its containers see, without a way out; it is removed at the end.

    Raises:
        ContainerError: Docker makes none.
    """
    _sweep()
    mine = f"{OWNER}={os.getpid()}"
    done = docker("network", "create", "--internal", "--label", mine, name)
    if done.returncode:
        raise ContainerError(f"--container: no network for the replicas: {done.stderr.strip()}")
    try:
        yield name
    finally:
        docker("network", "rm", name)


def remove(name: str) -> list[str]:
    """The words that end a container and remove it, whatever it is doing."""
    return ["docker", "rm", "--force", name]


def _host(replica: Replica) -> str:
    return f"{replica.role}-{replica.index}"


def _mount(here: Path, inside: Path, writable: bool = True) -> list[str]:
    """A bind mount. Docker reads its fields as CSV: in quotes, a path may have any letter."""
    fields = ["type=bind", f"source={here}", f"target={os.path.normpath(inside)}"]
    fields += [] if writable else ["readonly"]
    return ["--mount", ",".join('"' + field.replace('"', '""') + '"' for field in fields)]


def _paths(args: Sequence[str]) -> list[tuple[Path, bool]]:
    """Files and folders of this machine that the flags name, and whether they are written to.

    A value is taken for a path where it has a / and there is such a file or folder; of a pattern
    such as data/*.csv, it is the folder before the first wildcard.
    """
    found, flag = {}, ""
    for word in args:
        value = word
        if word.startswith("--"):
            flag, _, value = word.partition("=")
        writable = flag.replace("_", "-") in OUTPUTS
        for text in filter(None, value.split(",")):
            if "://" in text:
                raise ContainerError(
                    f"{flag} {text}: a container of a local run has no network; copy the data to a "
                    "local folder, or run the job without --container"
                )
            path = Path(text)
            while re.search(r"[*?[]", str(path)) and not (ROOT / path).exists():
                path = path.parent
            if writable or ("/" in text and (ROOT / path).exists()):
                found[path, writable] = None
    return list(found)


def _sweep() -> None:
    """Removes the networks of launchers that were killed and could not do it themselves."""
    shown = '{{.Name}} {{.Label "' + OWNER + '"}}'
    listed = docker("network", "ls", "--filter", f"label={OWNER}", "--format", shown)
    for line in listed.stdout.splitlines():
        name, pid = line.rsplit(" ", 1)
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            docker("network", "rm", name)
        except PermissionError:
            continue  # another user's, and alive
