"""The prediction server as an ASGI application: routes, limits, access log.

    POST the prediction route   {"instances": […], "parameters": {…}} → {"predictions": […]}
    GET  the health route       200 once the model is loaded, 503 before
    GET  /metrics               for Prometheus
    GET  /form, /               what an instance has; a page to try the model with

A response to a request that cannot be answered is {"error": "…"}.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from datetime import datetime, timezone
from importlib.resources import files

import orjson
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.responses import Response as Page
from starlette.routing import Route, Router

from predictor.batching import Batcher, Response, refuse
from predictor.metrics import Metrics
from predictor.model import Model
from predictor.protocol import BODY_SECONDS

MAX_BYTES = 10 << 20  # of a body; Vertex AI's dedicated endpoints send at most 10 MB
MAX_WAITING = 512  # requests that have no response yet
MAX_HELD = 16 * MAX_BYTES  # bytes of their bodies
LOG_SECONDS = 0.2  # that a line of the access log may wait for others


class Gone(Exception):
    """The client has closed the connection."""


class Server:
    """The state of the server, and what answers each route."""

    def __init__(self, predict_route: str, health_route: str, lifespan):
        """Make the application.

        Args:
            lifespan: what runs from its start to its end, as Starlette takes it.
        """
        self.predict_route = predict_route
        self.batcher: Batcher | None = None  # until the model is loaded
        self.metrics = Metrics()
        self.waiting = self.held = 0
        self.log = AccessLog()
        self.headers = [(b"content-type", b"application/json")]
        self.app = Router(
            [
                Route(predict_route, Predict(self), methods=["POST"]),
                Route(health_route, self.show_health),
                Route("/metrics", self.show_metrics),
                Route("/form", self.show_form),
                Route("/", self.show_page),
            ],
            redirect_slashes=False,
            lifespan=lifespan,
        )

    def start(self, model: Model) -> None:
        """Answer requests from now on. Call it in the event loop.

        Args:
            model: loaded.
        """
        self.headers.append((b"x-model-runtime", model.runtime_name.encode()))
        self.batcher = Batcher(model, self.metrics.rows)

    async def show_health(self, _: Request) -> Page:
        state, status = ("ready", 200) if self.batcher else ("loading", 503)
        return Page(orjson.dumps({"status": state}), status, media_type="application/json")

    async def show_metrics(self, _: Request) -> Page:
        return PlainTextResponse(self.metrics.write(self.waiting))

    async def show_form(self, _: Request) -> Page:
        """What the page needs to show a form, and a load test to make an instance."""
        if self.batcher is None:
            return PlainTextResponse("the model is being loaded", 503)
        model = self.batcher.model
        form = {
            "predict": self.predict_route,
            "target": model.schema.target,
            "runtime": model.runtime_name,
            "fields": model.inputs.list_fields(),
            "explains": model.inputs.explains,
        }
        return Page(orjson.dumps(form), media_type="application/json")

    async def show_page(self, _: Request) -> Page:
        return HTMLResponse(files("predictor").joinpath("page.html").read_bytes())


class Predict:
    """The prediction route: plain ASGI, since a framework's request would cost as much as the model."""

    def __init__(self, server: Server):
        self.server = server

    async def __call__(self, scope: dict, receive, send) -> None:
        server, began = self.server, time.perf_counter()
        head = Headers(scope=scope)
        # The parser has checked the length; a client that does not know it leaves it out.
        reserved = int(head.get("content-length", MAX_BYTES))
        if head.get("content-encoding", "").strip().lower() not in ("", "identity"):
            response = refuse(415, "the body is compressed; send it as plain JSON")
        elif reserved > MAX_BYTES:
            response = refuse(413, f"{reserved} bytes; send at most {MAX_BYTES} at once")
        elif server.batcher is None:
            response = refuse(503, "the model is being loaded; try again in a second")
        elif server.waiting >= MAX_WAITING or server.held + reserved > MAX_HELD:
            response = refuse(503, "too many requests wait; try again in a second")
        else:
            server.waiting, server.held = server.waiting + 1, server.held + reserved
            try:
                body = await _read_body(receive)
                response = body if isinstance(body, Response) else await server.batcher.answer(body)
            except Gone:
                response = Response(499, b"")  # as nginx writes it in its log; nobody reads it
            finally:
                server.waiting, server.held = server.waiting - 1, server.held - reserved
        status = response.status
        headers = [*server.headers, (b"content-length", b"%d" % len(response.body))]
        if status == 503:
            headers.append((b"retry-after", b"1"))
        if status == 408:  # nobody waits for the rest
            headers.append((b"connection", b"close"))
        if status != 499:
            # Of several requests sent at once, uvicorn does not see that their client has gone.
            with contextlib.suppress(RuntimeError):
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send({"type": "http.response.body", "body": response.body})
        seconds = time.perf_counter() - began
        server.metrics.requests[status] += 1
        server.metrics.seconds.add(seconds)
        server.log.write(scope, seconds, response)


async def _read_body(receive) -> bytes | Response:
    """The body, or the response to one that is too large or too slow.

    Raises:
        Gone: its client has.
    """
    # Cheaper than asyncio.wait_for, which before Python 3.12 makes a task.
    task = asyncio.current_task()
    timer = asyncio.get_running_loop().call_later(BODY_SECONDS, task.cancel)
    body = b""
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            body = message["body"]
            size += len(body)
            if size > MAX_BYTES:
                return refuse(413, f"more than {MAX_BYTES} bytes; send less at once")
            if not message["more_body"]:
                return b"".join([*parts, body]) if parts else body
            parts.append(body)
    except asyncio.CancelledError:
        return refuse(408, f"the body did not come within {BODY_SECONDS:g} seconds")
    finally:
        timer.cancel()


class AccessLog:
    """A line of JSON for each prediction, on standard output, without a word of its content."""

    def __init__(self):
        self._lines: list[bytes] = []

    def write(self, scope: dict, seconds: float, response: Response) -> None:
        status = response.status
        line = {
            "severity": "INFO" if status < 500 else "ERROR",
            "time": datetime.now(timezone.utc),
            "path": scope["path"],
            "status": status,
            "ms": round(1e3 * seconds, 3),
            "instances": response.instances,
            "batch": response.rows,
            "bytes": len(response.body),
        }
        if not self._lines:
            asyncio.get_running_loop().call_later(LOG_SECONDS, self.flush)
        self._lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def flush(self) -> None:
        """Write the lines that wait."""
        sys.stdout.buffer.write(b"".join(self._lines))
        sys.stdout.buffer.flush()
        self._lines.clear()
