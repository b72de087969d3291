"""Answers the bodies of requests, as many at once as are there: micro-batches.

One thread takes all requests that wait, calls the model once with the rows of all of them, and
answers each. While it works, the next ones gather: a busy server has large batches, and an idle one
answers at once. Requests that take long (explanations, more rows than one call may have) have a
second thread, so that the small ones need not wait for them.
"""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import orjson

from predictor.instances import InstanceError, refuse_unknown, show
from predictor.metrics import Histogram
from predictor.model import Model, read_parameters
from predictor.runtime import ModelError

MAX_CALLS = 10  # of the model, for one request
MAX_WAIT = 30.0  # seconds in the queue; later the client has given up
FIELDS = ("instances", "parameters")


class Response(NamedTuple):
    """What a client gets."""

    status: int
    body: bytes  # JSON
    instances: int = 0  # that were in the request
    rows: int = 0  # of all requests that were answered with it


class Job(NamedTuple):
    """A request in the queue."""

    body: bytes
    response: asyncio.Future
    arrived: float  # time.monotonic


def refuse(status: int, why: str, instances: int = 0) -> Response:
    return Response(status, orjson.dumps({"error": why}), instances)


class Batcher:
    """Answers requests with a model, in threads of its own. Call it in an event loop."""

    def __init__(self, model: Model, rows: Histogram):
        """Start.

        Args:
            model: loaded.
            rows: counts the rows of each call.
        """
        self.model, self.rows = model, rows
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._slow = ThreadPoolExecutor(1)
        threading.Thread(target=self._work, daemon=True).start()

    def answer(self, body: bytes) -> asyncio.Future:
        """The `Response` to the body of a request, later."""
        response = self._loop.create_future()
        self._queue.put(Job(body, response, time.monotonic()))
        return response

    def _work(self) -> None:
        while True:
            self._answer_batch(self._queue.get())

    def _answer_batch(self, job: Job | None) -> None:
        """Answer this request, and those behind it while the batch has room."""
        done: list[tuple[Job, Response]] = []
        batch, rows = [], 0
        while job is not None:
            try:
                instances, parameters = self._read(job)
                count = len(instances)
                is_slow = parameters.explain or count > self.model.inputs.AT_ONCE
                encoded = None if is_slow else self.model.inputs.encode_request(instances)
                if is_slow or encoded.rows > self.model.inputs.AT_ONCE:
                    self._slow.submit(self._answer_alone, job, instances, parameters)
                elif encoded.errors and not parameters.partial:
                    raise InstanceError(next(iter(encoded.errors.values())))
                else:
                    batch.append((job, encoded, parameters, count))
                    rows += encoded.rows
            except Exception as error:
                done.append((job, _describe(error)))
            more = rows < self.model.inputs.AT_ONCE and not self._queue.empty()
            job = self._queue.get() if more else None  # no other thread takes from it
        if batch:
            done += self._call(batch, rows)
        self._deliver(done)

    def _read(self, job: Job) -> tuple:
        """The instances and the parameters of a request.

        Raises:
            InstanceError: its body is none; TimeoutError: its client waits no longer.
        """
        _refuse_late(job)
        try:
            request = orjson.loads(job.body)
        except orjson.JSONDecodeError as error:
            raise InstanceError(f"the body is not JSON ({error})") from None
        if not isinstance(request, dict) or "instances" not in request:
            raise InstanceError(f'expected {{"instances": [{{…}}, …]}}, got {show(request)}')
        refuse_unknown("unknown field", request, FIELDS)
        instances, most = request["instances"], MAX_CALLS * self.model.inputs.AT_ONCE
        if not isinstance(instances, list) or not instances:
            raise InstanceError(f"instances: expected a list of them, got {show(instances)}")
        if len(instances) > most:
            raise InstanceError(f"{len(instances)} instances; send at most {most} at once")
        names = self.model.inputs.PARAMETERS
        return instances, read_parameters(request.get("parameters"), names)

    def _call(self, batch: list, rows: int) -> list[tuple[Job, Response]]:
        """Call the model once for these requests; return their responses."""
        try:
            inputs = [encoded.inputs for _, encoded, _, _ in batch if encoded.rows]
            outputs = iter(self.model.call(inputs) if inputs else ())
            done = []
            for job, encoded, parameters, count in batch:
                answers = []
                if encoded.rows:
                    answers = self.model.word(next(outputs), parameters, encoded.loaded)
                for position, why in sorted(encoded.errors.items()):
                    answers.insert(position, {"error": why})
                done.append((job, _respond(answers, count, rows)))
        except Exception as error:
            return [(job, _describe(error)) for job, *_ in batch]
        self.rows.add(rows)
        return done

    def _answer_alone(self, job: Job, instances: list, parameters) -> None:
        try:
            _refuse_late(job)
            answers = self.model.answer(instances, parameters)
            errors = [answer["error"] for answer in answers if "error" in answer]
            if errors and not parameters.partial:
                raise InstanceError(errors[0])
            response = _respond(answers, len(instances), len(instances))
        except Exception as error:
            response = _describe(error)
        self._deliver([(job, response)])

    def _deliver(self, done: list[tuple[Job, Response]]) -> None:
        def deliver():
            for job, response in done:
                if not job.response.done():  # its client may have gone
                    job.response.set_result(response)

        self._loop.call_soon_threadsafe(deliver)


def _refuse_late(job: Job) -> None:
    """Raises a TimeoutError for a request whose client waits no longer."""
    if time.monotonic() - job.arrived > MAX_WAIT:
        raise TimeoutError


def _respond(answers: list[dict], instances: int, rows: int) -> Response:
    body = orjson.dumps({"predictions": answers}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(200, body, instances, rows)


def _describe(error: Exception) -> Response:
    """The response to a request that cannot be answered."""
    if isinstance(error, InstanceError):
        return refuse(400, str(error))
    if isinstance(error, TimeoutError):
        return refuse(503, f"no time for it within {MAX_WAIT:g} seconds; try again later")
    if isinstance(error, ModelError):
        print(f"error: {error}", file=sys.stderr, flush=True)
        return refuse(500, "the model fails; the server's log says why")
    traceback.print_exception(error)
    return refuse(500, "a mistake of the server; its log says more")
