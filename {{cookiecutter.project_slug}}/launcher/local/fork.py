"""One process imports TensorFlow, and forks a process for each trial of a study; Linux only.

That process is `fork_server.py`; its first lines say what it reads and writes.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from launcher.jobfile.program import MODULE, drop_contract, expand_all
from launcher.local import guard
from launcher.local.contract import Replica
from launcher.local.process import Guarded, Processes
from launcher.project.settings import ROOT

SERVER = ("-m", "launcher.local.fork_server", MODULE)


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
        self.env = drop_contract({**self.own, **expand_all(replica.program.env, {})})
        self.is_ready = False  # the trainer is imported, or that has failed
        self.works = self.closed = False
        self.requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            words = [sys.executable, *SERVER]
            self.server = subprocess.Popen(
                words, cwd=ROOT, env=self.env, stdin=theirs, start_new_session=True
            )
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *_) -> None:
        self.closed = True
        if not self.works:  # an import does not see the end of its input
            self.server.kill()
        with contextlib.suppress(OSError):
            self.requests.shutdown(socket.SHUT_WR)
        self.server.wait()

    def start(
        self, replica: Replica, contract: Mapping[str, str], run_dir: Path
    ) -> Guarded | Forked:
        same = drop_contract({**self.own, **contract}) == self.env
        if self.works and can_fork(replica) and same:
            with contextlib.suppress(OSError):  # the server was killed just now
                return Forked(self.requests, replica, contract)
        return super().start(replica, contract, run_dir)

    def _watch(self) -> None:
        """Wait until the server is ready, and then until it has ended."""
        why = "the process that imports it has ended"
        with contextlib.suppress(OSError):  # it was killed, and had not read all
            while message := self.requests.recv(1 << 16):
                answer = json.loads(message)
                self.works = answer["ready"]
                why = answer.get("why", "the process that forks was killed")
                self.is_ready = True
        self.works = False
        if not self.closed:
            print(f"from here on each trial imports TensorFlow by itself: {why}", flush=True)
        self.is_ready = True


class Forked:
    """A replica that the server forks, under a guard of its own; as `Guarded`, for `Process`."""

    def __init__(self, requests: socket.socket, replica: Replica, contract: Mapping[str, str]):
        """Ask the server for it.

        Raises:
            OSError: the server has ended, or the message is too long.
        """
        self.mark = secrets.token_hex(8)
        self.guard, theirs = socket.socketpair()
        reader, writer = os.pipe()
        self.output = os.fdopen(reader, "rb")
        request = {"args": replica.program.args, "env": {**contract, guard.MARK: self.mark}}
        try:
            socket.send_fds(requests, [json.dumps(request).encode()], [theirs.fileno(), writer])
        finally:
            theirs.close()
            os.close(writer)

    def stop(self, firmly: bool) -> None:
        with contextlib.suppress(OSError):  # it has ended
            self.guard.send(guard.FIRM if firmly else guard.POLITE)

    def wait(self) -> int:
        """Wait for its end; return the exit code, 128 + N after signal N."""
        with contextlib.suppress(OSError):  # it had not read all
            if code := self.guard.recv(1):
                return code[0]
        guard.kill_marked(self.mark)  # the guard was killed: Linux has killed the replica
        return 128 + signal.SIGKILL
