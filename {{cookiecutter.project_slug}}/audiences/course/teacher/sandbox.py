"""Run a Python file that may be hostile: no network, no files but those given, limits.

By bubblewrap it sees the system's programs and libraries and this Python's environment; by Docker, an
image with the packages of setup.py. Both are read-only, as is the one folder that it is given; /tmp is
empty, and in memory. It runs under another user's number. What it prints is all that comes out.

    python -m teacher.sandbox      which one works here
"""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import shutil
import site
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from launcher.common.document import SpecError

BUBBLEWRAP, DOCKER, NONE = "bubblewrap", "Docker", ""
IMAGE = "course-sandbox"
USERS = range(61_000, 61_180)  # no system gives these numbers to anybody
WORK = "/submission"  # the folder, inside
LOOK = 0.1  # seconds between two looks at the memory
MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # of this machine, bytes
FLOOR = MEMORY // 16  # that must stay free: memory that belongs to no process is in no other limit
SYSTEM = ("/usr", "/etc/ld.so.cache", "/etc/localtime")
LINKS = ("bin", "lib", "lib64", "sbin")
# A number for each run: what the one before left, or another grader runs, cannot hinder it.
_runs = itertools.count(os.getpid())


@dataclass(frozen=True)
class Limits:
    """What a submission may use."""

    seconds: float
    memory: int  # MB, of all its processes together
    disk: int  # MB, in /tmp
    processes: int
    output: int = 20  # MB, of what it prints


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    output: bytes  # what it printed
    log: str  # what it printed as errors
    stopped: str  # which limit ended it; "": none
    contested: bool  # another that ran beside it could have been the cause


def choose_sandbox() -> str:
    """The sandbox that works here: BUBBLEWRAP, or else DOCKER.

    Raises:
        SpecError: none works; what to install, or why the system forbids it.
    """
    limits = Limits(9, 99, 9, 99)
    tries = {
        BUBBLEWRAP: [*_build_bubblewrap(None, limits, USERS[-1]), "/usr/bin/true"],
        DOCKER: ["docker", "image", "inspect", "--format", "-", IMAGE],
    }
    reasons = []
    for kind, command in tries.items():
        if not shutil.which(command[0]):
            reasons.append(f"{kind} is not installed")
            continue
        done = subprocess.run(command, capture_output=True)
        if done.returncode == 0:
            return kind
        why = " ".join(done.stderr.decode(errors="replace").split())
        reasons.append(f"{kind} does not work here ({why[-200:]})")
    fix = "sudo apt install bubblewrap, or see teacher/README.md for Docker"
    raise SpecError(f"no sandbox: {'; '.join(reasons)}. {fix}; or trust all code: --trusted")


def run(file: str, *words: str, folder: Path, limits: Limits, kind: str) -> Outcome:
    """Run a Python file of `folder` with these words, and `folder` as its working directory.

    Args:
        kind: BUBBLEWRAP, DOCKER, or NONE: no sandbox, only the limits of time, memory and output, and
            another user where we are root.

    Raises:
        SpecError: the sandbox does not start.
    """
    number = next(_runs)
    user, name = USERS[number % len(USERS)], f"course-{os.getpid()}-{number}"
    with contextlib.ExitStack() as stack:
        out, log = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        if kind == BUBBLEWRAP:
            command = [*_build_bubblewrap(folder, limits, user), sys.executable]
            environment = {**_environment("/tmp"), **_name_user_packages()}
        elif kind == DOCKER:
            command = _build_docker(folder, limits, user, name)
            environment = None  # the client's is our own
        else:
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="home-"))
            command = [*_become(user), sys.executable]
            environment = {**os.environ, **_environment(home), **_name_user_packages()}
            if os.getuid() == 0:
                os.chown(home, user, user)
        process = subprocess.Popen(
            [*command, file, *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: _set_limits(limits, kind),
        )
        try:
            contested, stopped = _watch(process, limits, kind)
        finally:
            _kill(process)
            if kind == DOCKER:  # the client's end is not the container's
                subprocess.run(["docker", "rm", "--force", name], capture_output=True)
        out.seek(0)
        log.seek(0)
        text, output = log.read(1 << 20).decode(errors="replace"), out.read(limits.output << 20)
        if text.startswith(("bwrap:", "setpriv:", "docker:")) and not output and not stopped:
            raise SpecError(f"the sandbox does not start ({text.splitlines()[0][:300]}); try again")
        return Outcome(output, text, stopped, contested)


def _build_docker(folder: Path, limits: Limits, user: int, name: str) -> list[str]:
    """A container without a log on the teacher's disk; the folder covers what the image has in /app."""
    size = limits.disk << 20
    words = ["docker", "run", "--rm", "--name", name, "--network=none", "--log-driver=none"]
    words += ["--read-only", f"--user={user}:{user}", "--cap-drop=ALL"]
    words += ["--security-opt=no-new-privileges", f"--pids-limit={limits.processes}"]
    words += [f"--memory={limits.memory}m", f"--memory-swap={limits.memory}m", "--shm-size=1m"]
    words += [
        f"--ulimit=fsize={size}",
        "--ulimit=core=0",
        f"--tmpfs=/tmp:exec,mode=1777,size={size}",
    ]
    words += [f"--mount=type=bind,source={folder},target=/app,readonly", "--workdir=/app"]
    words += [f"--env={key}={value}" for key, value in _environment("/tmp").items()]
    return [*words, "--entrypoint=python", IMAGE]


def _build_bubblewrap(folder: Path | None, limits: Limits, user: int) -> list[str]:
    words = ["bwrap", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    words += ["--die-with-parent", "--new-session"]
    if os.getuid() != 0:  # who cannot become another without a user namespace
        words += ["--unshare-user", "--uid", str(user), "--gid", str(user)]
    for name in LINKS:
        link = f"/{name}"
        words += (
            ["--symlink", os.readlink(link), link]
            if os.path.islink(link)
            else ["--ro-bind-try", link, link]
        )
    words += ["--proc", "/proc", "--dev", "/dev"]
    words += ["--size", str(limits.disk << 20), "--perms", "1777", "--tmpfs", "/tmp"]
    words += ["--size", str(1 << 20), "--tmpfs", "/dev/shm"]
    own = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []  # nothing else of a home
    for path in sorted({*SYSTEM, sys.prefix, sys.base_prefix, *own}):
        for parent in reversed(Path(path).parents[:-1]):  # else they would be for root alone
            words += ["--perms", "0755", "--dir", str(parent)]
        words += ["--ro-bind-try", path, path]
    if folder:
        words += ["--ro-bind", str(folder), WORK, "--chdir", WORK]
    return [*words, "--", *_become(user)]


def _become(user: int) -> list[str]:
    """Root becomes this user, for good; nobody else can."""
    if os.getuid() != 0:
        return []
    words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    return [*words, "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]


def _environment(home: str) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "TMPDIR": home,
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def _name_user_packages() -> dict[str, str]:
    """Where packages are that `pip install` put into a home, as in the dev container."""
    return {"PYTHONUSERBASE": site.getuserbase()} if site.ENABLE_USER_SITE else {}


def _set_limits(limits: Limits, kind: str) -> None:
    """In the new process, before it becomes the command."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.disk << 20, limits.disk << 20))
    if kind == BUBBLEWRAP and os.getuid() == 0:  # counted for its number, not for the teacher
        resource.setrlimit(resource.RLIMIT_NPROC, (limits.processes, limits.processes))


def _watch(process: subprocess.Popen, limits: Limits, kind: str) -> tuple[bool, str]:
    """Wait until the command ends, or reaches a limit: whether that is contested, and which it was."""
    end = time.monotonic() + limits.seconds
    while True:
        try:
            process.wait(LOOK)
            return False, ""
        except subprocess.TimeoutExpired:
            pass
        if time.monotonic() > end:
            return True, f"took longer than {limits.seconds:g} seconds"
        if kind == DOCKER or not os.path.isdir("/proc"):  # which limits it; macOS
            continue
        if _read_available() < FLOOR:
            return True, "left this machine without memory"
        count, memory = _measure(process.pid)
        if memory > limits.memory << 20 or count > limits.processes:  # which one is chance
            what = f"took more than {limits.memory} MB of memory, or {limits.processes} processes"
            return False, what


def _read_available() -> int:
    """Bytes that this machine could give without swapping."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))


def _measure(pid: int) -> tuple[int, int]:
    """How many processes descend from this one, and their memory in bytes."""
    children: dict[int, list[int]] = {}
    memory: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:  # as bytes: a process chooses its own name
                stat = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue  # it has ended
            children.setdefault(int(stat[1]), []).append(int(entry.name))
            memory[int(entry.name)] = int(stat[21]) * resource.getpagesize()
    family, waiting = [], [pid]
    while waiting:
        family.append(waiting.pop())
        waiting += children.get(family[-1], [])
    return len(family), sum(memory.get(pid, 0) for pid in family)


def _kill(process: subprocess.Popen) -> None:
    """End the command. In a sandbox all its processes end with the first one."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()


if __name__ == "__main__":
    try:
        print(choose_sandbox())
    except SpecError as error:
        sys.exit(str(error))
