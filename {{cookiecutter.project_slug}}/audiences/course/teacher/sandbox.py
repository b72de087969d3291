"""Run a command that may be hostile, by bubblewrap: no network, no files but those given, limits.

It sees the system's programs and libraries and Python's environment, read-only, one folder,
read-only, and an empty /tmp in memory. It runs under another user's number. What it prints is all that
comes out.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from launcher.common.document import SpecError

USER = 61_000  # and above: numbers of users that no system gives to anybody
PROGRAM = "bwrap"
WORK = "/submission"  # the folder, inside
LOOK = 0.1  # seconds between two looks at the memory
SYSTEM = ("/usr", "/etc/ld.so.cache", "/etc/localtime")
LINKS = ("bin", "lib", "lib64", "sbin")


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
    """How a command ended."""

    output: bytes  # what it printed
    log: str  # what it printed as errors
    code: int
    stopped: str  # which limit ended it; "": none


def check_sandbox() -> None:
    """Raise an error that says what to install, unless a sandbox works here.

    Raises:
        SpecError: there is no bubblewrap, or the system forbids it.
    """
    if not shutil.which(PROGRAM):
        fix = "install it (sudo apt install bubblewrap)"
        raise SpecError(f"no sandbox: there is no bubblewrap; {fix}, or trust all code: --trusted")
    done = subprocess.run(
        [*_build_command(None, Limits(9, 99, 9, 99), 0), "/usr/bin/true"], capture_output=True
    )
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip()
        raise SpecError(
            f"no sandbox: bubblewrap does not work here ({why}); or trust all code: --trusted"
        )


def run(
    command: list[str], folder: Path, limits: Limits, slot: int = 0, trusted: bool = False
) -> Outcome:
    """Run a command with `folder` as its working directory.

    Args:
        slot: a number of its own for each sandbox at the same time.
        trusted: no sandbox; the limits of time, memory and output hold.
    """
    before = [] if trusted else _build_command(folder, limits, slot)
    environment = {**os.environ, **_environment()} if trusted else _environment()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*before, *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: _set_limits(limits),
        )
        try:
            stopped = _watch(process, limits)
        finally:
            _kill(process)
        out.seek(0)
        log.seek(0)
        text = log.read(1 << 20).decode(errors="replace")
        return Outcome(out.read(limits.output << 20), text, process.returncode, stopped)


def _build_command(folder: Path | None, limits: Limits, slot: int) -> list[str]:
    words = [PROGRAM, "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    words += ["--die-with-parent", "--new-session"]
    drop = []
    if os.getuid() == 0:  # root may become anybody; others need a user namespace
        number = str(USER + slot)
        drop = ["setpriv", "--reuid", number, "--regid", number, "--clear-groups"]
        drop += ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    else:
        words += ["--unshare-user", "--uid", str(USER), "--gid", str(USER)]
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
    for path in sorted({*SYSTEM, sys.prefix, sys.base_prefix}):
        for parent in reversed(Path(path).parents[:-1]):  # else they would be for root alone
            words += ["--perms", "0755", "--dir", str(parent)]
        words += ["--ro-bind-try", path, path]
    if folder:
        words += ["--ro-bind", str(folder), WORK, "--chdir", WORK]
    return [*words, "--", *drop]


def _environment() -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def _set_limits(limits: Limits) -> None:
    """In the new process, before it becomes the command."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.disk << 20, limits.disk << 20))
    if os.getuid() == 0:  # counted for the number in the sandbox, not for the teacher
        resource.setrlimit(resource.RLIMIT_NPROC, (limits.processes, limits.processes))


def _watch(process: subprocess.Popen, limits: Limits) -> str:
    """Wait until the command ends, or reaches a limit; return which."""
    end = time.monotonic() + limits.seconds
    while True:
        try:
            process.wait(LOOK)
            return ""
        except subprocess.TimeoutExpired:
            pass
        if time.monotonic() > end:
            return f"took longer than {limits.seconds:g} seconds"
        count, memory = _measure(process.pid)
        if memory > limits.memory << 20 or count > limits.processes:  # which one is chance
            return f"took more than {limits.memory} MB of memory, or {limits.processes} processes"


def _measure(pid: int) -> tuple[int, int]:
    """How many processes descend from this one, and their memory in bytes."""
    children: dict[int, list[int]] = {}
    memory: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                stat = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
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
