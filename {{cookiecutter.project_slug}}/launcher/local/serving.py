"""A model served on this machine: the predictor as a process, or its image as a container.

Either gets what Vertex AI gives to a container: a port, two routes, a model's directory.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import sys
import threading
import time
from pathlib import Path

from launcher.common.document import SpecError
from launcher.jobfile.program import drop_contract
from launcher.local import container
from launcher.local.process import Guarded
from launcher.project import settings, sources
from launcher.project.settings import ROOT

HOST, INSIDE = "127.0.0.1", 8080  # the port of a container
HEALTH, PREDICT = "/health", "/predict"
DOCKERFILE = "Dockerfile.serving"
SOURCES = (DOCKERFILE, ".dockerignore", "constraints.txt", "codec", "predictor")
READY_SECONDS = 60.0


class Served:
    """A server of a model, as long as this context is open."""

    def __init__(self, model_dir: Path, port: int, image: str = "", quiet: bool = False):
        """Describe it; opening the context starts it.

        Args:
            image: the serving image that holds the model; "" for a process.
            quiet: do not print the access log.
        """
        self.model_dir, self.port, self.image, self.quiet = model_dir, port, image, quiet
        self.url = f"http://{HOST}:{port}"
        self.stopping = False

    def __enter__(self) -> Served:
        contract = {"AIP_HEALTH_ROUTE": HEALTH, "AIP_PREDICT_ROUTE": PREDICT}
        if self.image:
            name = f"{settings.image_name()}-serving-{secrets.token_hex(3)}"
            words = ["docker", "run", "--rm", "--init", "--pull=never", f"--name={name}"]
            words += [f"--publish={HOST}:{self.port}:{INSIDE}", "--read-only", "--tmpfs=/tmp"]
            words += [f"--env={key}={value}" for key, value in contract.items()]
            last = ["docker", "rm", "--force", name]
            self.child = Guarded([*words, self.image], os.environ, last)
        else:
            contract |= {
                "AIP_HTTP_PORT": str(self.port),
                "AIP_STORAGE_URI": str(self.model_dir.absolute()),
            }
            self.child = Guarded(
                [sys.executable, "-m", "predictor"], drop_contract(os.environ) | contract
            )
        self.printer = threading.Thread(target=self._print, daemon=True)
        self.printer.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()
        self.wait()

    def stop(self, firmly: bool = False) -> None:
        """Ask the server to end, or kill it; return at once."""
        self.stopping = True
        self.child.stop(firmly)

    def wait(self) -> int:
        """Wait for its end; return its exit code."""
        code = self.child.wait()
        self.printer.join(1)
        return code

    def wait_until_ready(self) -> None:
        """Wait until the model is loaded.

        Raises:
            SpecError: the server has ended, or the model is not loaded after a minute.
        """
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.child.process.poll() is not None:
                raise SpecError("the server has ended, see above")
            try:
                if self.get(HEALTH)[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass  # it does not listen yet
            time.sleep(0.05)
        raise SpecError(f"the server is not ready after {READY_SECONDS:g} seconds; see above")

    def get(self, path: str) -> tuple[int, bytes]:
        """The status and the body of a page of the server.

        Raises:
            OSError, http.client.HTTPException: it does not answer.
        """
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def make_request(self) -> bytes:
        """The body of a request with one instance, of the values that the page begins with."""
        fields = json.loads(self.get("/form")[1])["fields"]
        instance = {field["name"]: field["example"] for field in fields}
        return json.dumps({"instances": [instance]}).encode()

    def read_cpu(self) -> float:
        """Seconds of CPU that the server has used since its start."""
        lines = self.get("/metrics")[1].decode().splitlines()
        [seconds] = [line for line in lines if line.startswith("process_cpu_seconds_total ")]
        return float(seconds.split()[1])

    def _print(self) -> None:
        for line in self.child.output:
            if not (self.quiet and line.startswith(b"{")):
                sys.stdout.buffer.write(line)
                sys.stdout.flush()


def build_image(model_dir: Path) -> str:
    """Build the serving image with this model, unless there is one; return its tag.

    Raises:
        SpecError: no Docker, the build failed, or the model is outside of this repo.
    """
    container.find_user()  # is there a Docker?
    tag, names, arguments = describe_image(model_dir)
    container.build(tag, arguments, "--file", DOCKERFILE)
    return tag


def describe_image(model_dir: Path) -> tuple[str, list[str], dict[str, str]]:
    """The tag of the serving image with this model, the files that it is built from, the arguments.

    Raises:
        SpecError: the model is outside of this repo.
    """
    if not model_dir.resolve().is_relative_to(ROOT):
        raise SpecError(f"{model_dir} is outside of {ROOT}; copy its run to runs/")
    model = model_dir.resolve().relative_to(ROOT).as_posix()
    arguments = {"MODEL": model}
    if not (model_dir / "assets.extra" / "network.onnx").is_file():
        arguments["RUNTIME"] = "tensorflow"
    if base := os.environ.get("BASE_IMAGE"):
        arguments["BASE_IMAGE"] = base
    names = [*SOURCES, model]
    digest = sources.digest(names, repr(arguments))
    return f"{settings.image_name()}-serving:{digest[:12]}", names, arguments
