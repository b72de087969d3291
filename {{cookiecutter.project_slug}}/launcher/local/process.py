"""Replicas as processes of this machine: ports, output, logs, ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from launcher.jobfile.program import drop_contract
from launcher.local import guard
from launcher.local.contract import Replica
from launcher.project.settings import ROOT

# TensorFlow's C++ prints these at every start, whatever its log level; only the log has them.
NOISE = r"WARNING: All log messages before absl|I0000 "
if not shutil.which("nvidia-smi"):  # where there is a driver, its failure is worth a line
    NOISE += r"|E0000 .*failed call to cuInit"
LONGEST_LINE = 1 << 13  # bytes of a line that are shown; the log has all of them
CUT = " … (the rest of this line is in the log)"
LAST_LINES = 15  # kept to show why a replica failed
LOST = -1  # instead of an exit code: the launcher has lost the process, which did not fail
READ = 2.0  # seconds in which the last output of an ended process must arrive


class Guarded:
    """A command that runs under a guard, which ends it when the launcher has ended."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], last: Sequence[str] = ()):
        """Start it.

        Args:
            last: a command that cleans up when this one has ended, however it did.
        """
        self.mark, self.last = secrets.token_hex(8), last
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, json.dumps(list(last)), *command],
            cwd=ROOT,
            env={**env, guard.MARK: self.mark},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the launcher alone, which then stops politely
        )
        self.output = self.process.stdout

    def stop(self, firmly: bool) -> None:
        with contextlib.suppress(OSError):  # it has ended
            os.write(self.process.stdin.fileno(), guard.FIRM if firmly else guard.POLITE)

    def wait(self) -> int:
        """Wait for its end; return the exit code, 128 + N after signal N."""
        code = self.process.wait()
        if code < 0:  # the guard itself was killed, and could not clean up
            code = 128 - code
            guard.kill_marked(self.mark)
            if self.last:
                subprocess.run(self.last, capture_output=True)
        return code


class Process:
    """The process of a replica. Its output goes to its log and, line by line, to `line`."""

    def __init__(
        self,
        start: Callable[[], Guarded],
        log: Path,
        line: Callable[[Process, str], None],
        end: Callable[[Process, int], None],
    ):
        """Start it.

        Args:
            start: starts the child, whose log is open by then.
            line, end: called from threads of this object's own, `end` once, after the last line.

        Raises:
            OSError: its log cannot be written.
        """
        self.log = open(log, "ab", buffering=0)  # noqa: SIM115 - closed where it is read to its end
        self.line, self.end = line, end
        self.tail: deque[str] = deque(maxlen=LAST_LINES)
        self.child = start()
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        threading.Thread(target=self._wait, args=(reader,), daemon=True).start()

    def stop(self, firmly: bool = False) -> None:
        """Ask the process to end, or kill it; return at once."""
        self.child.stop(firmly)

    def _read(self) -> None:
        is_new = True
        with self.log:
            while part := self.child.output.readline(LONGEST_LINE):
                with contextlib.suppress(OSError):  # on a full disk only the log ends
                    self.log.write(part)
                is_whole = part.endswith(b"\n")
                text = part.decode(errors="replace").rstrip("\r\n")
                if is_new and not re.match(NOISE, text):
                    text += CUT if len(part) == LONGEST_LINE and not is_whole else ""
                    self.tail.append(text)
                    self.line(self, text)
                is_new = is_whole
            if not is_new:
                with contextlib.suppress(OSError):
                    self.log.write(b"\n")

    def _wait(self, reader: threading.Thread) -> None:
        code = self.child.wait()
        reader.join(READ)  # longer only where something that it started holds its output
        self.end(self, code)


class Processes:
    """Start a job's replicas as processes of this machine, with this Python."""

    is_ready = True  # replicas can start

    def __init__(self):
        more = {"TF_GRPC_REUSE_PORT": "true", "PYTHONUNBUFFERED": "1"}
        self.own = {**drop_contract(os.environ), **more}

    @contextlib.contextmanager
    def open(self, replicas: Sequence[Replica]) -> Iterator[dict[Replica, str]]:
        """Hold a port for each replica while the job runs; yield their addresses."""
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in replicas]
            for sock in sockets:
                # Bound, but not listening: nobody else gets the port, and the replica may bind it
                # too, since TensorFlow's server shares it (TF_GRPC_REUSE_PORT).
                if hasattr(socket, "SO_REUSEPORT"):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                sock.bind(("127.0.0.1", 0))
            ports = [sock.getsockname()[1] for sock in sockets]
            if not hasattr(socket, "SO_REUSEPORT"):  # Windows: free until the replica takes it
                stack.close()
            yield {r: f"127.0.0.1:{port}" for r, port in zip(replicas, ports, strict=True)}

    def start(self, replica: Replica, contract: Mapping[str, str], log: Path, **events) -> Process:
        """Start the replica's module; `events`: as `Process` takes them."""
        return Process(lambda: self.start_child(replica, {**self.own, **contract}), log, **events)

    def start_child(self, replica: Replica, env: Mapping[str, str]) -> Guarded:
        program = replica.program
        return Guarded([sys.executable, *program.python, *program.args], env)
