"""A prediction server that a test starts: `python -m predictor`, as the serving image does."""

import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path

SECONDS = 120  # for a start with TensorFlow, on a busy machine


class Served:
    """A server of a bake, on a port of its own.

    Args:
        project: a bake's folder.
        model_dir: an exported model.
        words: behind `python`, in place of those that start the server.
        python: runs it.
        environ: beside the contract, or other than it.
    """

    def __init__(
        self, project, model_dir, words=("-m", "predictor"), python=sys.executable, **environ
    ):
        self.folder = tempfile.TemporaryDirectory()
        self.log, self.access = (Path(self.folder.name) / name for name in ("log", "access"))
        contract = {"AIP_HTTP_PORT": "0", "AIP_STORAGE_URI": str(model_dir)}
        with open(self.log, "wb") as log, open(self.access, "wb") as access:
            self.process = subprocess.Popen(
                [python, *words],
                cwd=project,
                env={**os.environ, **contract, **environ},
                stdout=access,
                stderr=log,
            )
        self.port = self._wait_for(lambda: re.search(r"listening on http://127.0.0.1:(\d+)", self.said))[1]  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    @property
    def said(self):
        """What it has written to standard error."""
        return self.log.read_text(encoding="utf-8")

    def lines(self):
        """The access log so far."""
        return [json.loads(line) for line in self.access.read_bytes().splitlines()]

    def _wait_for(self, check):
        deadline = time.monotonic() + SECONDS
        while not (value := check()):
            assert self.process.poll() is None and time.monotonic() < deadline, self.said
            time.sleep(0.02)
        return value

    def wait_until_ready(self, route="/health"):
        def is_ready():
            with contextlib.suppress(ConnectionError):  # it has ended: _wait_for shows why
                return self.get(route)[0] == 200

        self._wait_for(is_ready)
        return self

    def get(self, path):
        return self.ask("GET", path)[:2]

    def ask(self, method, path, body=None, **headers):
        """The status, the body and the headers of a response."""
        connection = HTTPConnection("127.0.0.1", int(self.port), timeout=SECONDS)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read(), dict(response.getheaders())

    def predict(self, instances, **parameters):
        """The status and the JSON of the response to these instances."""
        request = {"instances": instances, **({"parameters": parameters} if parameters else {})}
        status, body, _ = self.ask("POST", "/predict", json.dumps(request))
        return status, json.loads(body)

    def connect(self):
        return socket.create_connection(("127.0.0.1", int(self.port)), timeout=SECONDS)

    def send(self, data):
        """The statuses of the responses to these bytes, until the server closes the connection."""
        with self.connect() as connection:
            with contextlib.suppress(ConnectionError):  # it may close before it has read all
                connection.sendall(data)
            return read_statuses(connection)

    def reset(self, data):
        """Send these bytes and end the connection by a reset, without waiting for a response."""
        with self.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(data)

    def stop(self, number=signal.SIGTERM):
        """Signal it; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


def read_statuses(connection):
    """Read until the other side closes; return the statuses in what came, without 100."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(1 << 16):
            received += part
    statuses = re.findall(rb"HTTP/1.1 (\d+) ", received)
    return [int(status) for status in statuses if status != b"100"]
