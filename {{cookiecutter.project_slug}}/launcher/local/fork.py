"""One process imports TensorFlow, and forks a process for each trial of a study; Linux only.

That process is `fork_server.py`; its first lines say what it reads and writes.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future

from launcher.jobfile.program import MODULE, drop_contract, expand_all
from launcher.local import guard
from launcher.local.contract import Replica
from launcher.local.process import LOST, Guarded, Processes
from launcher.project.settings import ROOT

SERVER = ("-m", "launcher.local.fork_server", MODULE, str(guard.ORPHANED))


def can_fork(replica: Replica) -> bool:
    """Whether it is a process of this repo's trainer, on Linux."""
    return sys.platform == "linux" and replica.program.python == ("-m", MODULE)


class Forks(Processes):
    """Start replicas as `Processes` does, but by a fork wherever that gives the same run.

    It does not where a replica runs something else than the trainer, or where its variables differ
    from those that TensorFlow read when it was imported: such a replica imports TensorFlow itself.
    """

    def __init__(self, replica: Replica):
        """Start to import the trainer; called in the main thread.

        Args:
            replica: the others have its variables, too, except those of the contract.
        """
        super().__init__()
        self.numbers, self.lock = itertools.count(1), threading.RLock()
        self.env = drop_contract({**self.own, **expand_all(replica.program.env, {})})
        self.running: dict[int, Forked] = {}
        self.is_ready = False  # the trainer is imported, or that has failed
        self.works = self.closed = False
        self.server = subprocess.Popen(
            [sys.executable, *SERVER],
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *_) -> None:
        self.closed = True
        if not self.works:  # an import does not see the end of its input
            self.server.kill()
        with contextlib.suppress(OSError):
            self.server.stdin.close()
        self.server.wait()

    def start_child(self, replica: Replica, env: Mapping[str, str]) -> Guarded | Forked:
        if can_fork(replica) and drop_contract(env) == self.env:
            with self.lock:
                if self.works:
                    return self._fork(replica, env)
        return super().start_child(replica, env)

    def _fork(self, replica: Replica, env: Mapping[str, str]) -> Forked:
        number = next(self.numbers)
        child = self.running[number] = Forked(self, number)
        self.send(
            run=number,
            args=replica.program.args,
            env={**env, guard.MARK: child.mark},
            output=f"/proc/{os.getpid()}/fd/{child.writer}",
        )
        return child

    def send(self, **line) -> None:
        with self.lock, contextlib.suppress(OSError):  # the server was killed, and its runs with it
            self.server.stdin.write(json.dumps(line).encode() + b"\n")
            self.server.stdin.flush()

    def _read(self) -> None:
        """Take what the server reports, to its end."""
        why = "the process that imports it has ended"
        for line in map(json.loads, self.server.stdout):
            if "ready" in line:
                self.works = line["ready"]
                why = line.get("why", "the process that forks was killed")
                self.is_ready = True
            elif "exit" in line:
                self.running.pop(line["run"]).end(line["exit"], line.get("why", ""))
        with self.lock:
            self.works, lost = False, list(self.running.values())
        if not self.closed:
            print(f"from here on each trial imports TensorFlow by itself: {why}", flush=True)
        for child in lost:
            child.end(LOST)
        self.is_ready = True


class Forked:
    """A replica that the server forks; as `Guarded`, for `Process`."""

    def __init__(self, forks: Forks, number: int):
        self.forks, self.number, self.mark = forks, number, secrets.token_hex(8)
        self.code: Future[int] = Future()
        reader, self.writer = os.pipe()
        self.output = os.fdopen(reader, "rb")

    def stop(self, firmly: bool) -> None:
        self.forks.send(run=self.number, signal=signal.SIGKILL if firmly else signal.SIGTERM)

    def end(self, code: int, why: str = "") -> None:
        """Take the exit code; LOST where the server was killed."""
        if why:
            os.write(self.writer, f"error: {why}\n".encode())
        self.code.set_result(code)

    def wait(self) -> int:
        code = self.code.result()
        if code == LOST:  # Linux has killed it, too
            guard.kill_marked(self.mark)
        os.close(self.writer)
        return code
