"""A Docker daemon of a test's own, and a base image that no registry has to give.

    with Docker() as docker:
        docker.import_base("base:local", requirements)
        subprocess.run(["docker", "ps"], env={**os.environ, **docker.environ})

The daemon is real: it builds, runs and stops as any other. It shares nothing with one that this
machine may run already, and touches neither its firewall nor its bridges. The base image holds
a shell and this Python with its packages, so that nothing is downloaded: of what a Dockerfile's
`pip install` asks for, pip checks that it is there. What is in the true base image cannot be shown.
"""

import contextlib
import importlib.metadata
import importlib.util
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from pathlib import Path

from packaging.requirements import Requirement

MEMORY = 8 << 30  # bytes; images take 2.2 GB, a test's replicas 1.5 GB
COMMANDS = ("sh", "chmod", "find")  # that the Dockerfile calls, beside python and pip
# What no training needs: a fifth of the bytes.
UNUSED = re.compile(r"(^|/)include/")
APART = re.compile(r"site-packages|dist-packages|EXTERNALLY-MANAGED|test|idlelib|config-3.*")


def missing():
    """Why no daemon can be had here; None where one can."""
    if sys.platform != "linux" or os.getuid() != 0:
        return "a private Docker daemon needs root on Linux"
    commands = [name for name in ("dockerd", "docker") if not shutil.which(name)]
    return f"{' and '.join(commands)} not found: apt-get install docker.io" if commands else None


class Docker:
    """A private daemon; `environ` is what a client needs to find it."""

    def __enter__(self):
        # Not in pytest's folder: the name of a socket has at most 107 letters.
        self.folder = Path(tempfile.mkdtemp(prefix="docker-"))
        self.environ = {"DOCKER_HOST": f"unix://{self.folder}/docker.sock"}
        self.environ["DOCKER_BUILDKIT"] = "0"  # the other builder cannot do without a bridge
        if _available_memory() > MEMORY:  # else on the disk, which takes a quarter longer
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", self.folder], check=True)
        self.folder.chmod(0o755)  # for a client that is not root
        namespace = f"tests-{os.getpid()}"  # the folder's name may end in _, which none may
        command = [
            *("dockerd", "--host", self.environ["DOCKER_HOST"]),
            *("--data-root", self.folder / "data", "--exec-root", self.folder / "exec"),
            *("--pidfile", self.folder / "dockerd.pid", "--containerd-namespace", namespace),
            *("--bridge=none", "--iptables=false", "--ip6tables=false"),
            *("--ip-forward=false", "--ip-masq=false"),
        ]
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait(self):
        deadline = time.monotonic() + 30
        while self.run("version", check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                log = (self.folder / "log").read_text(errors="replace")
                raise RuntimeError(f"dockerd does not come up:\n{log[-3000:]}")
            time.sleep(0.1)
        (self.folder / "docker.sock").chmod(0o666)

    def __exit__(self, *_):
        with contextlib.suppress(subprocess.SubprocessError):
            if names := self.run("ps", "-aq", check=False).stdout.split():
                self.run("rm", "-f", *names, check=False)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if line.split()[1].startswith(str(self.folder)):
                subprocess.run(["umount", line.split()[1]], check=False)
        shutil.rmtree(self.folder)

    def run(self, *words, check=True, timeout=300):
        """Runs a docker command; a failure shows what it said."""
        done = subprocess.run(
            ["docker", *words],
            env={**os.environ, **self.environ},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
        )
        if check and done.returncode:
            raise AssertionError(f"docker {words}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def import_base(self, tag, requirements):
        """Makes the base image, with what `requirements` (a list of texts) ask for."""
        settings = [
            "ENV PATH=/usr/local/bin:/bin",
            # No download, not even of what builds a package: all is there, or pip fails.
            "ENV PIP_NO_INDEX=1 PIP_NO_BUILD_ISOLATION=0 PIP_DISABLE_PIP_VERSION_CHECK=1",
        ]
        command = ["docker", "import", *(f"--change={line}" for line in settings), "-", tag]
        importing = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **self.environ},
        )
        with importing.stdin, tarfile.open(fileobj=importing.stdin, mode="w|") as archive:
            _write_root(archive, requirements)
        if importing.wait():
            raise AssertionError(f"docker import gave {importing.returncode}")


def _available_memory():
    """Bytes that this machine could give without swapping."""
    return int(re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())[1]) << 10


def _write_root(archive, requirements):
    """A root file system: Python, packages, some commands, the libraries that they link to."""
    base = os.path.realpath(sys._base_executable)
    files = {Path(shutil.which(name)): f"/bin/{name}" for name in COMMANDS} | {Path(base): base}
    linked = list(files)
    ask = [base, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    files |= {path: str(path) for path in _standard_library(Path(sysconfig.get_path("stdlib")))}
    for name in _closure([*requirements, "pip", "setuptools"]):
        files |= {path: f"{site}/{place}" for path, place in _files(name)}
    linked += [path for path in files if ".so" in path.name]
    files |= {path: str(path) for path in _libraries(linked)}

    _add(archive, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    _add(archive, "etc/group", b"root:x:0:\n")
    _add(archive, "usr/local/bin/pip", b'#!/bin/sh\nexec python -m pip "$@"\n', 0o755)
    _add(archive, "usr/local/bin/python", f'#!/bin/sh\nexec {base} "$@"\n'.encode(), 0o755)
    _add(archive, "tmp", mode=0o1777, kind=tarfile.DIRTYPE)
    for path, place in files.items():
        archive.add(path.resolve(), place, recursive=False, filter=_for_all)


def _for_all(info):
    """Readable by any user, whatever this machine allows to others."""
    info.uid = info.gid = 0
    info.mode = 0o755 if info.mode & 0o100 else 0o644
    return info


def _standard_library(folder):
    for path in folder.rglob("*.*"):
        place = path.relative_to(folder)
        if path.is_file() and not APART.fullmatch(place.parts[0]):
            yield path


def _closure(requirements):
    """The names of the distributions that these need, as far as this environment has them."""
    found, waiting = set(), [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        try:
            distribution = importlib.metadata.distribution(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system or Python; if not, pip in the image will say so
        if distribution.name in found:
            continue
        found.add(distribution.name)
        needs = [Requirement(text) for text in distribution.requires or ()]
        waiting += [r for r in needs if not r.marker or r.marker.evaluate({"extra": ""})]
    return sorted(found)


def _files(name):
    """A distribution's files and their places in site-packages, with their bytecode."""
    for entry in importlib.metadata.files(name) or ():
        if entry.parts[0] == ".." or UNUSED.search(str(entry)):
            continue  # the former are commands, whose first line names this environment
        path = Path(entry.locate())
        places = {path: entry}
        if path.suffix == ".py":
            cached = Path(importlib.util.cache_from_source(path))
            places[cached] = entry.parent / "__pycache__" / cached.name
        yield from ((path, place) for path, place in places.items() if path.is_file())


def _libraries(binaries):
    """What the system's loader finds for these, outside the packages themselves."""
    said = subprocess.run(["ldd", *binaries], capture_output=True, text=True).stdout
    found = {Path(path) for path in re.findall(r"^\s+(?:\S+ => )?(/\S+) \(", said, flags=re.M)}
    return {path for path in found if "site-packages" not in path.parts}


def _add(archive, place, data=b"", mode=0o644, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(place)
    info.type, info.size, info.mode = kind, len(data), mode
    archive.addfile(info, io.BytesIO(data))
