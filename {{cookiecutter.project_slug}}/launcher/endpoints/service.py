"""Models and endpoints of one project on Vertex AI, as the API's own messages in JSON.

    service = Service(connection, "penguins")
    service.list_endpoints()
    service.create(Step("create the endpoint", "endpoints", {...}), find)

The service has no request id that would make a second request harmless. So a request whose answer is
lost is not repeated: `find` looks for its effect, by a label or a name.
"""

from __future__ import annotations

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
LOG_NEED = Need("roles/logging.viewer")
PAGE = {"pageSize": "100"}  # of a listing
POLL = 5.0  # seconds between two looks at an operation
SETTLE = 3.0  # seconds until what was created appears in lists
LONGEST = 7200  # seconds that an operation may take; the service gives up sooner
OWN_LOG = 'resource.type="aiplatform.googleapis.com/Endpoint" AND resource.labels.endpoint_id="{}"'


@dataclass(frozen=True)
class Step:
    """A request that creates something, and what it is for."""

    what: str  # "create the endpoint penguins"
    path: str  # within the project and region, such as "models:upload"
    body: dict


class UnknownFate(CloudError):
    """A request was sent, its answer was lost, and there is no effect of it yet."""


class Service:
    """What this repo has on Vertex AI."""

    def __init__(self, connection: Connection, label: str):
        """Send nothing yet.

        Args:
            label: `project` of what belongs to this repo.
        """
        self.connection, self.label = connection, label
        self.parent = connection.parent
        self.base = base_url(connection.region)

    def list_endpoints(self) -> list[dict]:
        """The endpoints of this repo, the newest first."""
        return self.list_own("endpoints", "list the endpoints")

    def list_models(self) -> list[dict]:
        """The models of this repo, each as its default version."""
        return self.list_own("models", "list the models")

    def list_own(
        self, collection: str, what: str, label: str = "project", value: str = ""
    ) -> list[dict]:
        """The resources of a collection, "tensorboards", with this repo's label, or with another one."""
        query = {"filter": f'labels.{label}="{value or self.label}"', **PAGE}
        url = f"{self.base}/v1/{self.parent}/{collection}"
        return list(self.connection.list_pages(what, NEED, url, collection, query))

    def find_version(self, label: str, value: str) -> dict | None:
        """The version with a label, of any model of this repo; None where there is none."""
        for model in self.list_models():
            name = model["name"].partition("@")[0]
            query = {"filter": f'labels.{label}="{value}"'}
            answer = self._get(f"{name}:listVersions", "list the model's versions", query)
            if versions := answer.get("models"):
                return versions[0]
        return None

    def get_endpoint(self, name: str) -> dict:
        """The endpoint of this resource name, as it is now."""
        return self._get(name, "look at the endpoint")

    def get_batch(self, name: str) -> dict:
        """The batch prediction of this resource name, as it is now."""
        return self._get(name, "look at the batch prediction")

    def find_operation(self, resource: str) -> dict | None:
        """What is being done to a resource just now; None: nothing."""
        answer = self._get(f"{resource}/operations", "look at what is being done")
        running = [one for one in answer.get("operations", []) if not one.get("done")]
        return running[0] if running else None

    def create(self, step: Step, find: Callable[[], dict | None]) -> dict:
        """Send a request once; return its response, or that of the operation that it starts.

        Args:
            find: looks for the effect of a request whose answer was lost, or returns None.

        Raises:
            UnknownFate: nobody can say yet whether it takes effect.
            CloudError: it was refused, or failed.
        """
        url = f"{self.base}/v1/{self.parent}/{step.path}"
        if step.path.startswith("projects/"):
            url = f"{self.base}/v1/{step.path}"
        send = errors.retry(errors.had_no_effect)(clients.ask)
        with self.connection.explain_errors(step.what, NEED):
            try:
                answer = send(self.connection.session, "POST", url, json=step.body)
            except Exception as error:
                lost = errors.is_transient(error) and not errors.had_no_effect(error)
                if not (lost or isinstance(error, ValueError)):  # JSON that was cut off
                    raise
                return self._look_for(step, find, errors.clean(error))
        return self._finish(answer, step.what)

    def _finish(self, answer: dict, what: str, root: str = "") -> dict:
        is_operation = "/operations/" in answer.get("name", "")
        return self.wait(answer, what, root) if is_operation else answer

    def change(self, method: str, path: str, what: str, body: dict | None = None, **query) -> dict:
        """Send a request that may take effect twice without harm, and wait for its operation."""
        return self.change_at(f"{self.base}/v1", NEED, method, path, what, json=body, params=query)

    def change_at(
        self, root: str, need: Need, method: str, path: str, what: str, **options
    ) -> dict:
        """The same at another service, whose names are below a root: "https://…/v2"."""
        answer = self.connection.ask(what, need, method, f"{root}/{path}", **options)
        return self._finish(answer, what, root)

    def wait(self, operation: dict, what: str, root: str = "") -> dict:
        """Wait for an operation to end; return its response.

        Raises:
            CloudError: it failed, and why.
        """
        end = time.monotonic() + LONGEST
        while not operation.get("done"):
            if time.monotonic() > end:
                raise UnknownFate(f"{what}: not done after {LONGEST / 3600:.0f} hours")
            time.sleep(POLL)
            url = f"{root or self.base + '/v1'}/{operation['name']}"
            operation = self.connection.ask(what, NEED, "GET", url)
        if error := operation.get("error"):
            raise CloudError(f"{what}: {' '.join(error.get('message', '').split())}")
        return operation.get("response") or {}

    def read_log(self, endpoint: str, number: int) -> list[str]:
        """The last lines that the containers of an endpoint have printed, the oldest first."""
        query = {
            "resourceNames": [f"projects/{self.connection.project}"],
            "filter": OWN_LOG.format(endpoint.rpartition("/")[2]),
            "orderBy": "timestamp desc",
            "pageSize": number,
        }
        url = f"{clients.endpoint('logging')}/v2/entries:list"
        answer = self.connection.ask("read the log", LOG_NEED, "POST", url, json=query)
        texts = [
            str((entry.get("jsonPayload") or {}).get("message") or entry.get("textPayload") or "")
            for entry in reversed(answer.get("entries") or [])
        ]
        return [line for text in texts for line in text.splitlines()][-number:]

    def _get(self, path: str, what: str, query: dict | None = None) -> dict:
        return self.connection.ask(what, NEED, "GET", f"{self.base}/v1/{path}", params=query)

    def _look_for(self, step: Step, find: Callable[[], dict | None], lost: str) -> dict:
        """Look for the effect of a request, for as long as a request is usually repeated."""
        words = f"[launcher] no good answer ({lost}): looking for what became of it"
        print(f"{words}, for up to {errors.LIMIT:.0f} s", file=sys.stderr, flush=True)
        end = time.monotonic() + errors.LIMIT
        while time.monotonic() < end:
            time.sleep(SETTLE)
            if there := find():
                return there
        raise UnknownFate(
            f"{step.what}: no good answer ({lost}), and it is unknown whether it takes effect; give "
            "the same command again later: it looks first; python scripts/endpoints.py list shows "
            "what is there"
        )


def base_url(region: str) -> str:
    """The address of Vertex AI in a region."""
    return clients.endpoint("aiplatform", f"https://{region}-aiplatform.googleapis.com")


def predict_url(endpoint: dict, region: str) -> str:
    """Where an endpoint takes instances: a host of its own, or the region's."""
    host = endpoint.get("dedicatedEndpointDns")
    return f"{f'https://{host}' if host else base_url(region)}/v1/{endpoint['name']}:predict"


def connect() -> Service:
    """What this repo has on Vertex AI, as `clients.connect` says."""
    return Service(clients.connect(), find_label(read_settings()))


def find_endpoint(service: Service, name: str) -> dict:
    """The endpoint of this name or number, among those of this repo.

    Raises:
        SpecError: there is none; which ones there are.
    """
    endpoints = service.list_endpoints()
    for endpoint in endpoints:
        if name in (endpoint["displayName"], endpoint["name"].rpartition("/")[2]):
            return endpoint
    names = ", ".join(endpoint["displayName"] for endpoint in endpoints) or "none"
    raise SpecError(f"{name}: no endpoint of this project; there is {names}")
