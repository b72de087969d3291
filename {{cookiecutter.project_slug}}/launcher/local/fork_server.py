"""Import a program once, then fork a process for each run: a study has many short ones. Linux only.

    python -m launcher.local.fork_server MODULE SECONDS

Each line of standard input and output is a JSON object:

    in   {"run": 1, "args": […], "env": {…}, "output": "run.log"}   start a run
    in   {"run": 1, "signal": 15}     send a signal to it, and to what it has started
    out  {"ready": true}              once; or false with "why", and this process ends
    out  {"run": 1, "exit": 0}        when it has ended; 128 + N after signal N

A run is what `python -m MODULE ARGS` is in that environment. Whatever has its `MARK` is killed when
it has ended. The modules in `PRELOAD` of MODULE's package are imported first, and TensorFlow with
them. At the end of the input, as when the launcher was killed, runs get SIGTERM, and SECONDS later
SIGKILL. When this process is killed, Linux kills its runs.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import sys
import tempfile
import time
from pathlib import Path

from numpy import random

from launcher.local.guard import MARK, die_with_parent, kill_marked

TICK = 0.02  # seconds between looks for runs that have ended


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


class Server:
    """The runs, and the lines about them."""

    def __init__(self, output: int, patience: float):
        self.output, self.patience = output, patience
        self.runs: dict[int, tuple[int, str]] = {}  # by number: process id, mark

    def report(self, **line) -> None:
        with contextlib.suppress(BrokenPipeError):  # the launcher was killed
            os.write(self.output, json.dumps(line).encode() + b"\n")

    def serve(self, printed: bytes) -> None:
        """Start and watch runs until the input ends; returns only in the process of a run.

        Args:
            printed: what the imports have printed, which belongs in the log of each run.
        """
        text, deadline = b"", None
        while deadline is None or (self.runs and time.monotonic() < deadline):
            if select.select([0] if deadline is None else [], [], [], TICK)[0]:
                part = os.read(0, 1 << 16)
                *lines, text = (text + part).split(b"\n")
                for line in map(json.loads, lines):
                    if "signal" in line:
                        self.send(line["run"], line["signal"])
                    elif self.start(line):
                        os.write(1, printed)
                        return
                if not part:
                    deadline = time.monotonic() + self.patience
                    for number in self.runs:
                        self.send(number, signal.SIGTERM)
            self.collect()
        for number in self.runs:
            self.send(number, signal.SIGKILL)
        while self.runs:
            self.collect()
            time.sleep(TICK)
        os._exit(0)

    def start(self, line: dict) -> bool:
        """Fork a run; return whether this is its process."""
        parent = os.getpid()
        try:
            with open(line["output"], "ab", buffering=0) as output:
                if not (pid := os.fork()):
                    for number in (1, 2):
                        os.dup2(output.fileno(), number)
        except OSError as error:  # no memory, too many processes
            self.report(run=line["run"], exit=1, why=f"cannot start a process: {error.strerror}")
            return False
        if pid:
            self.runs[line["run"]] = pid, line["env"][MARK]
            return False
        os.setsid()  # its signals, and its share of the processors, are its own
        die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.close(self.output)
        os.environ.clear()
        os.environ.update(line["env"])
        sys.argv[1:] = line["args"]
        random.seed()  # Python's own generator does so by itself
        return True

    def send(self, number: int, signal_number: int) -> None:
        if number in self.runs:  # it has not been collected: its id is still its own
            pid = self.runs[number][0]
            try:
                os.killpg(pid, signal_number)
            except ProcessLookupError:  # it is too young to have a group
                os.kill(pid, signal_number)

    def collect(self) -> None:
        """Report the runs that have ended, after all that they left behind."""
        for number, (pid, mark) in list(self.runs.items()):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                self.send(number, signal.SIGKILL)  # what it has left behind
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                kill_marked(mark)
                del self.runs[number]
                self.report(run=number, exit=code if code >= 0 else 128 - code)


def main(program: str) -> None:
    die_with_parent()  # an import may hang
    server = Server(os.dup(1), float(sys.argv[2]))
    gc.disable()
    with tempfile.TemporaryFile() as prints:
        for number in (1, 2):
            os.dup2(prints.fileno(), number)
        try:
            preload(program.partition(".")[0])
        except Exception as error:
            server.report(ready=False, why=f"{type(error).__name__}: {error}")
            raise SystemExit(1) from None
        sys.stdout.flush()
        printed = os.pread(1, 1 << 20, 0)
    gc.freeze()  # nor does a run look for garbage among all that was imported
    gc.enable()
    # From here on the end of the input says so, which leaves time for checkpoints.
    die_with_parent(0)
    server.report(ready=True)
    server.serve(printed)


if __name__ == "__main__":
    program = sys.argv[1]
    main(program)
    runpy.run_module(program, run_name="__main__", alter_sys=True)
