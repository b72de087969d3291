"""Vertex AI in one project and region: its resources as the API's own messages in JSON.

    vertex = connect()
    vertex.list("endpoints", "list the endpoints", vertex.own)
    vertex.create(Step("create the endpoint", f"{vertex.parent}/endpoints", {...}), find)

The service has no request id that would make a second request harmless, and a request may take effect
minutes after its client gave up. So a request whose answer is lost is not repeated: `find` looks for
its effect, by a label or a name.
"""

import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from launcher.cloud import clients, errors
from launcher.cloud.clients import Connection, Need
from launcher.cloud.errors import CloudError
from launcher.cloud.submission import find_label
from launcher.common.document import SpecError
from launcher.project.settings import read_settings

NEED = Need("roles/aiplatform.user")
PAGE = 100  # resources in an answer, as many as the service gives
POLL = 5.0  # seconds between two looks at an operation
SETTLE = 3.0  # seconds until what was created appears in lists
LONGEST = 7200  # seconds that an operation may take; the service gives up sooner


@dataclass(frozen=True)
class Step:
    """A request that creates something, and what it is for."""

    what: str  # "create the endpoint penguins"
    path: str  # "projects/my-lab/locations/us-central1/models:upload"
    body: dict
    look: str = "for what became of it"  # after a lost answer
    # Where nobody can say what became of it. {}: why the last look was in vain.
    fate: str = (
        "it is unknown whether it takes effect{}; give the same command again later: it looks first; "
        "python scripts/endpoints.py list shows what is there"
    )


class UnknownFate(CloudError):
    """A request was sent, and nobody can say yet whether it takes effect, or how it ends."""


class Failure(CloudError):
    """What a request has started has ended, and failed."""


class Vertex:
    """What a project has on Vertex AI in one region."""

    def __init__(self, connection: Connection, label: str = "", root: str = "", need: Need = NEED):
        """Send nothing yet. Another service with such operations has its own root and need."""
        self.connection, self.label, self.need = connection, label, need
        self.own = f'labels.project="{label}"'  # a filter for `list`
        self.parent = connection.parent
        self.root = root or f"{clients.endpoint('aiplatform', connection.region)}/v1"

    def list(
        self, collection: str, what: str, filter: str = "", most: int | None = None
    ) -> list[dict]:
        """The resources of a collection, "customJobs", the newest first.

        Args:
            filter: the service's own words, such as labels.project="penguins" AND state!="…".
        """
        query = {"filter": filter or None, "pageSize": min(most or PAGE, PAGE)}
        url = f"{self.root}/{self.parent}/{collection}"
        pages = self.connection.list_pages(what, self.need, url, collection, query)
        return list(itertools.islice(pages, most))

    def get(self, path: str, what: str, **query) -> dict:
        """The resource of this name as it is now, or what a method of it gives."""
        return self.connection.ask(what, self.need, "GET", f"{self.root}/{path}", params=query)

    def create(self, step: Step, find: Callable[[], dict | None]) -> dict:
        """Send a request once; return its response, or that of the operation that it starts.

        It is repeated only where it surely had no effect.

        Args:
            find: looks for the effect of a request whose answer was lost, or returns None.

        Raises:
            UnknownFate: nobody can say yet whether it takes effect.
            CloudError: it was refused, or failed.
        """
        send = errors.retry(errors.had_no_effect)(self._send)
        with self.connection.explain_errors(step.what, self.need):
            try:
                answer = send(step)
            except Exception as error:
                lost = errors.is_transient(error) and not errors.had_no_effect(error)
                if not (lost or isinstance(error, ValueError)):  # JSON that was cut off
                    raise
                return self._look_for(step, find, errors.clean(error))
        return self._finish(answer, step.what)

    def _send(self, step: Step) -> dict:
        url, session = f"{self.root}/{step.path}", self.connection.session
        return clients.request(session, "POST", url, json=step.body).json()

    def _look_for(self, step: Step, find: Callable[[], dict | None], lost: str) -> dict:
        """Look for the effect of a request, for as long as a request is usually repeated."""
        words = f"[launcher] no good answer ({lost}): looking {step.look}"
        print(f"{words}, for up to {errors.LIMIT:.0f} s", file=sys.stderr, flush=True)
        pause, end, problem = errors.FIRST, time.monotonic() + errors.LIMIT, ""
        while time.monotonic() < end:
            time.sleep(max(pause, SETTLE))
            pause = min(2 * pause, errors.LONGEST)
            try:
                if there := find():
                    return there
                problem = ""
            except Failure:
                raise
            except CloudError as error:
                problem = f" ({error})"
        raise UnknownFate(f"{step.what}: no good answer ({lost}), and {step.fate.format(problem)}")

    def change(self, method: str, path: str, what: str, body: dict | None = None, **query) -> dict:
        """Send a request that may take effect twice without harm, and wait for its operation."""
        url = f"{self.root}/{path}"
        answer = self.connection.ask(what, self.need, method, url, json=body, params=query)
        return self._finish(answer, what)

    def _finish(self, answer: dict, what: str) -> dict:
        is_operation = "/operations/" in answer.get("name", "")
        return self.wait(answer, what) if is_operation else answer

    def find_operation(self, resource: str) -> dict | None:
        """What is being done to a resource just now; None: nothing."""
        what, url = "look at what is being done", f"{self.root}/{resource}/operations"
        pages = self.connection.list_pages(what, self.need, url, "operations", {})
        return next((one for one in pages if not one.get("done")), None)

    def wait(self, operation: dict, what: str) -> dict:
        """Wait for an operation to end; return its response.

        Raises:
            Failure: why it failed.
            UnknownFate: it cannot be looked at any more, or takes too long.
        """
        end = time.monotonic() + LONGEST
        while not operation.get("done"):
            if time.monotonic() > end:
                raise UnknownFate(f"{what}: not done after {LONGEST / 3600:.0f} hours")
            time.sleep(POLL)
            try:
                operation = self.get(operation["name"], what)
            except CloudError as error:  # the operation continues without us
                raise UnknownFate(f"{error}; what was begun continues on Vertex AI") from None
        if error := operation.get("error"):
            raise Failure(f"{what}: {' '.join(error.get('message', '').split())}")
        return operation.get("response") or {}


def connect(region: str = "") -> Vertex:
    """What this repo has in the region of project.yaml, or in another one; send no request yet.

    Raises:
        SpecError: project.yaml lacks something, a library is missing, or nobody is logged in.
    """
    settings = read_settings()
    if faults := settings.missing("project", "region"):
        raise SpecError(*faults)
    region = region or settings.region
    connection = Connection(settings.project, region, settings.service_account)
    return Vertex(connection, find_label(settings))
