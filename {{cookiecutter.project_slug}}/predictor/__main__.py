"""Serves a model: the entrypoint of the serving image.

    python -m predictor [--host ADDRESS]

The environment is that of a container on Vertex AI:
    AIP_HTTP_PORT       8080
    AIP_HEALTH_ROUTE    /health
    AIP_PREDICT_ROUTE   /predict
    AIP_STORAGE_URI     the exported model, a folder here or gs://…; default: model/ beside predictor/

It listens at once, loads the model in a thread, and answers 503 until then. After SIGTERM it finishes
what is in flight. Exit code 0; 2 where the model cannot be loaded.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from predictor.bucket import copy_model
from predictor.model import Model
from predictor.protocol import Protocol
from predictor.runtime import ModelError
from predictor.server import Server

MODEL = Path(__file__).resolve().parents[1] / "model"
DRAIN_SECONDS = 25  # Kubernetes kills 30 seconds after SIGTERM
IDLE_SECONDS = 75  # that a connection may wait for its next request; proxies wait for 60


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m predictor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    text = "to listen on; 0.0.0.0 in a container (default: 127.0.0.1)"
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help=text)
    options = parser.parse_args()
    try:
        port, routes = read_contract()
        host = Host(os.environ.get("AIP_STORAGE_URI") or str(MODEL), *routes)
        listener = socket.create_server((options.host, port), backlog=2048)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: port {port}: {error.strerror}; set AIP_HTTP_PORT", file=sys.stderr)
        return 2
    address, port = listener.getsockname()
    print(f"listening on http://{address}:{port}", file=sys.stderr, flush=True)
    return host.run(listener)


def read_contract() -> tuple[int, tuple[str, str]]:
    """The port, and the routes of predictions and of health.

    Raises:
        ValueError: one of them is none.
    """
    port = os.environ.get("AIP_HTTP_PORT") or "8080"
    if not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"AIP_HTTP_PORT: {port!r} is no port; write a number up to 65535")
    routes = {"AIP_PREDICT_ROUTE": "/predict", "AIP_HEALTH_ROUTE": "/health"}
    for name, default in routes.items():
        routes[name] = route = os.environ.get(name) or default
        if not route.startswith("/") or "{" in route:
            raise ValueError(f"{name}: {route!r} is no route; write a path such as {default}")
    return int(port), (routes["AIP_PREDICT_ROUTE"], routes["AIP_HEALTH_ROUTE"])


class Host:
    """uvicorn with our server, and the thread that loads the model."""

    def __init__(self, model_dir: str, predict_route: str, health_route: str):
        self.model_dir, self.model, self.code = model_dir, None, 0
        self.server = Server(predict_route, health_route, self.load_beside)
        config = uvicorn.Config(
            self.server.app,
            http=Protocol,
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
        self.uvicorn = uvicorn.Server(config)
        # uvicorn sets these handlers, too, but restores the ones before at its end and raises the
        # signal again: the process would die of it, and not end with 0.
        for number in HANDLED_SIGNALS:
            signal.signal(number, self.uvicorn.handle_exit)

    def run(self, listener: socket.socket) -> int:
        """Serve until a signal; return the exit code."""
        self.uvicorn.run(sockets=[listener])
        self.server.log.flush()
        if self.model:
            self.model.close()
        return self.code

    @contextlib.asynccontextmanager
    async def load_beside(self, _):
        """Load the model in a thread while the server runs; the signature is Starlette's."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._load, args=(loop,), daemon=True).start()
        yield

    def _load(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            if self.model_dir.startswith("gs://"):
                self.model_dir = copy_model(self.model_dir)
            self.model = model = Model(self.model_dir)
            model.load()
        except ModelError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            self.code, self.uvicorn.should_exit = 2, True
            return
        loop.call_soon_threadsafe(self.server.start, model)


if __name__ == "__main__":
    # Threads of the model's runtime may be at work, and Python would wait for them.
    os._exit(main())
