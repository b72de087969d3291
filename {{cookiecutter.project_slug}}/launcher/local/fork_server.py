"""Import a program once, then fork a process for each run: a study has many short ones. Linux only.

    python -m launcher.local.fork_server MODULE

Standard input is a socket. The first message goes out: {"ready": true}, or false with "why". Then each
message that comes in is a run, {"args": […], "env": {…}}, with two files: a socket by which the launcher
speaks to its guard, and where to write what the run prints. The guard takes orders as that of any
command does, and at the end writes the exit code, a byte.

A run is what `python -m MODULE ARGS` is in this environment and `env`. The modules in `PRELOAD` of
MODULE's package are imported first, and TensorFlow with them. At the end of the input this process waits
for the guards; when it is killed, they and their runs stay.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import tempfile
from pathlib import Path

from numpy import random

from launcher.local import guard

LONGEST = 1 << 18  # bytes of a message


def preload(package: str) -> None:
    """Import what every run imports: all of it stays in memory.

    Raises:
        RuntimeError: the process has threads now, which a fork would lose.
    """
    for name in importlib.import_module(package).PRELOAD:
        importlib.import_module(name)
    # NumPy's library for matrices ends its threads before a fork and starts them again when it needs
    # them; Arrow's allocator does so with its own.
    if not (pid := os.fork()):
        os._exit(0)
    os.waitpid(pid, 0)
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    others = len([name for name in names if name != "jemalloc_bg_thd"]) - 1
    if others:
        raise RuntimeError(f"importing the {package} starts {others} threads, or runs TensorFlow")


def serve(requests: socket.socket) -> None:
    """Fork a guard for each request until there are no more; returns only in the process of a run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a guard ended
    while True:
        message, files, _, _ = socket.recv_fds(requests, LONGEST, 2)
        if not message:
            break
        if fork(*files) == 0:
            requests.close()  # else the launcher would not see that the server has ended
            return start(json.loads(message), *files)
        for file in files:
            os.close(file)
    with contextlib.suppress(ChildProcessError):  # all have ended
        os.wait()
    os._exit(0)


def fork(launcher: int, output: int) -> int | None:
    """Fork as `os.fork` does; where that is impossible, report it as the end of the run."""
    try:
        return os.fork()
    except OSError as error:  # no memory, too many processes
        os.write(output, f"error: cannot start a process: {error.strerror}\n".encode())
        os.write(launcher, bytes([1]))
        return None


def start(request: dict, launcher: int, output: int) -> None:
    """Fork a run, and be its guard; returns only in the process of the run."""
    os.setsid()  # its signals, and its share of the processors, are its own
    for file, number in ((launcher, 0), (output, 1), (output, 2)):
        os.dup2(file, number)
    os.close(launcher)
    os.close(output)
    os.environ.update(request["env"])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    parent = os.getpid()
    if run := fork(0, 1):
        os.setpgid(run, run)
        code = guard.watch(run, lambda: os.waitstatus_to_exitcode(os.waitpid(run, 0)[1]))
        with contextlib.suppress(OSError):  # the launcher was killed
            os.write(0, bytes([code]))
    if run != 0:
        os._exit(0)
    os.setpgid(0, 0)  # here too, since nobody knows who comes first
    guard.die_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv[1:] = request["args"]
    random.seed()  # Python's own generator does so by itself


def main(program: str) -> None:
    guard.die_with_parent()  # an import may hang
    requests = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    gc.disable()
    with tempfile.TemporaryFile() as prints:
        for number in (1, 2):
            os.dup2(prints.fileno(), number)
        try:
            preload(program.partition(".")[0])
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            requests.send(json.dumps({"ready": False, "why": why}).encode())
            raise SystemExit(1) from None
        sys.stdout.flush()
        printed = os.pread(1, 1 << 20, 0)
    gc.freeze()  # nor does a run look for garbage among all that was imported
    gc.enable()
    # From here on the end of the input says so, which leaves time for checkpoints.
    guard.die_with_parent(0)
    requests.send(json.dumps({"ready": True}).encode())
    serve(requests)
    os.write(1, printed)  # what the imports have printed belongs in the log of each run


if __name__ == "__main__":
    program = sys.argv[1]
    main(program)
    runpy.run_module(program, run_name="__main__", alter_sys=True)
