"""Starts a cluster of trainers on this machine, each a process with its own TF_CONFIG."""

import json
import re
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from conftest import forked, user_environ


@dataclass
class Replica:
    role: str
    index: int
    process: subprocess.Popen
    log: Path
    port: socket.socket  # held as long as this is

    def text(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def weights(self):
        """The checksum that every replica prints of its final weights."""
        found = re.findall(r"^weights (\w+)", self.text(), flags=re.M)
        return found[-1] if found else None


def start(project, logs, roles, job_dir, *flags):
    """Starts the trainer once for each role; `roles` counts them: {"chief": 1, "worker": 2}."""
    logs.mkdir(parents=True, exist_ok=True)
    sockets = {role: [socket.socket() for _ in range(count)] for role, count in roles.items()}
    for group in sockets.values():
        for one in group:
            # Held, but not listened at: nobody else gets the port, and TensorFlow may share it.
            if hasattr(socket, "SO_REUSEPORT"):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind(("127.0.0.1", 0))
    cluster = {r: [f"127.0.0.1:{s.getsockname()[1]}" for s in g] for r, g in sockets.items()}
    command = [sys.executable, *forked("trainer.task"), "--job-dir", str(job_dir), *flags]
    replicas = []
    for role, hosts in cluster.items():
        for index in range(len(hosts)):
            config = {"cluster": cluster, "task": {"type": role, "index": index}}
            alone = len(roles) == 1 and len(hosts) == 1
            environ = user_environ() | ({} if alone else {"TF_CONFIG": json.dumps(config)})
            environ["TF_GRPC_REUSE_PORT"] = "true"
            log = logs / f"{role}-{index}-{time.monotonic_ns()}.log"
            with open(log, "wb") as out:
                process = subprocess.Popen(
                    command, cwd=project.path, env=environ, stdout=out, stderr=subprocess.STDOUT
                )
            replicas.append(Replica(role, index, process, log, sockets[role][index]))
    return replicas


def finish(replicas, timeout=300):
    """Waits for all of them, and leaves none behind; returns their exit codes."""
    deadline = time.monotonic() + timeout
    try:
        return [r.process.wait(max(1, deadline - time.monotonic())) for r in replicas]
    finally:
        for replica in replicas:
            replica.process.kill()
            replica.process.wait()


def run(project, logs, roles, job_dir, *flags):
    """Starts, waits, and shows the logs where something went wrong."""
    replicas = start(project, logs, roles, job_dir, *flags)
    codes = finish(replicas)
    assert set(codes) == {0}, "\n".join(f"{r.role} {r.index}: {r.text()[-3000:]}" for r in replicas)
    return replicas


def wait_for_epoch(replica, epoch, timeout=120):
    """Waits until a replica has printed the line of an epoch."""
    deadline = time.monotonic() + timeout
    while f"epoch {epoch}/" not in replica.text():
        assert replica.process.poll() is None, replica.text()
        assert time.monotonic() < deadline, replica.text()
        time.sleep(0.05)
