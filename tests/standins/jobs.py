"""Vertex AI's jobs as they are lived: refused, run, failed, cancelled; and their logs.

The routes and messages are those of `standins/vertex.py`. A job without a runner passes its states
by being looked at, one at a time; with one it is run, see `standins/runner.py`.
"""

import json
import re
import threading
from dataclasses import replace
from datetime import datetime, timezone

from google.protobuf import json_format

from standins.proxy import Request, Response
from standins.vertex import Refused, Vertex

NUMBER = "123456789012"  # of the project: the service names resources by it, not by the id
KINDS = {"customJobs": "CustomJob", "hyperparameterTuningJobs": "HyperparameterTuningJob"}
ENDED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")
STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
STATUS |= {404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}


def answer(value: dict, status: int = 200) -> Response:
    return Response(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def refusal(status: int, message: str) -> Response:
    error = {"code": status, "message": message, "status": STATUS.get(status, "UNKNOWN")}
    return answer({"error": error}, status)


def states(*names: str) -> dict[str, str]:
    """A life for `Jobs.life`: QUEUED → … → the last of these names, each once looked at."""
    long = [f"JOB_STATE_{name}" for name in names]
    return dict(zip(long, long[1:], strict=False))


class Jobs(Vertex):
    """Vertex AI with the rules that the service has for jobs.

    Attributes:
        sent: (kind, message) of each job that was created, as the client sent it, camelCase.
        life: {state: the next one} of jobs that nobody runs; one without a next one stays.
        runner: runs new jobs; None: nobody does.
    """

    def __init__(self, log):
        super().__init__()
        self.log = log
        self.reset()

    def reset(self):
        """Forget all jobs; nobody runs the next ones, and they succeed. No number is used again."""
        self.resources.clear()
        self.sent: list[tuple[str, dict]] = []
        self.life = states("QUEUED", "PENDING", "RUNNING", "SUCCEEDED")
        self.runner = None
        self.runs: dict = {}

    def __call__(self, request: Request) -> Response:
        path = [*request.path]
        if len(path) > 2 and path[1] == "projects":
            path[2] = NUMBER
        return super().__call__(replace(request, path=path))

    def job(self, name: str) -> dict:
        """The resource with that display name."""
        [found] = [r for r in self.resources.values() if r.display_name == name]
        return json_format.MessageToDict(found)

    def _create(self, route, message):
        kind = KINDS.get(route.collection)
        sent = json_format.MessageToDict(getattr(message, route.body))
        if kind and (problem := _problem(sent)):
            raise Refused(400, "INVALID_ARGUMENT", problem)
        resource = super()._create(route, message)
        if kind:
            self.sent.append((kind, sent))
            if self.runner:
                described = json_format.MessageToDict(resource)
                self.runs[resource.name] = self.runner.start(described, self.log)
        return resource

    def _get(self, route, message):
        resource = self._resource(message.name)
        if message.name.split("/")[4] not in KINDS:
            return super()._get(route, message)
        state = json_format.MessageToDict(resource)["state"]
        new = {"state": self.life.get(state, state)}
        run = self.runs.get(resource.name)
        if run and new["state"] in ENDED and state not in ENDED:
            new = {"state": state, **run.describe()}  # no further than the run is
        now = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
        if new["state"] == "JOB_STATE_RUNNING" != state:
            new["startTime"] = now
        if new["state"] in ENDED and state not in ENDED:
            new["endTime"] = now
        if new.get("trials"):
            resource.ClearField("trials")
        json_format.ParseDict(new, resource)
        return resource

    def _cancel(self, route, message):
        resource = self._resource(message.name)
        if json_format.MessageToDict(resource)["state"] in ENDED:
            raise Refused(400, "FAILED_PRECONDITION", "The job has ended.")
        if run := self.runs.get(resource.name):
            run.stop()
        return super()._cancel(route, message)


def _problem(message: dict) -> str | None:
    """What the service refuses, though its messages let it pass."""
    for key, value in message.get("labels", {}).items():
        if not re.fullmatch("[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}", f"{key}={value}"):
            return f"Label {key}={value} is invalid."
    if not message.get("displayName"):
        return "displayName is required."
    spec = message.get("trialJobSpec") or message.get("jobSpec") or {}
    if not spec.get("workerPoolSpecs"):
        return "job_spec.worker_pool_specs is required."
    for pool in filter(None, spec["workerPoolSpecs"]):
        package, box = pool.get("pythonPackageSpec") or {}, pool.get("containerSpec") or {}
        whole = {"executorImageUri", "packageUris", "pythonModule"} <= set(package)
        if not box.get("imageUri") and not whole:
            return "worker_pool_specs: neither an image nor a whole package."
    if spec.get("tensorboard") and not spec.get("serviceAccount"):
        return "A service account is required for tensorboard."
    return None


class Log:
    """Cloud Logging: `write` puts an entry in, call it to have entries listed."""

    FIELDS = {"resourceNames", "filter", "orderBy", "pageSize", "pageToken", "projectIds"}

    def __init__(self):
        self.entries: list[dict] = []
        self._lock = threading.Lock()

    def write(self, job: str, task: str, text: str, severity: str = "INFO") -> None:
        labels = {"job_id": job, "task_name": task, "project_id": "p"}
        self._add("ml_job", labels, task, text, severity)

    def write_endpoint(self, endpoint: str, text: str, severity: str = "ERROR") -> None:
        """A line of a container that serves."""
        labels = {"endpoint_id": endpoint, "location": "us-central1"}
        kind = "aiplatform.googleapis.com/Endpoint"
        self._add(kind, labels, "aiplatform.googleapis.com%2Fprediction_container", text, severity)

    def _add(self, kind: str, labels: dict, log: str, text: str, severity: str) -> None:
        with self._lock:
            number = len(self.entries)
            self.entries.append(
                {
                    "insertId": f"{number:08}",
                    "timestamp": _now(),
                    "severity": severity,
                    "resource": {"type": kind, "labels": labels},
                    "jsonPayload": {"message": text, "levelname": severity},
                    "logName": f"projects/p/logs/{log}",
                }
            )

    def __call__(self, request: Request) -> Response:
        asked = json.loads(request.body)
        if unknown := set(asked) - self.FIELDS:
            return refusal(400, f'Invalid JSON payload received. Unknown name "{unknown.pop()}"')
        if not asked.get("resourceNames") and not asked.get("projectIds"):
            return refusal(400, "resource_names must be set")
        with self._lock:
            try:
                found = [e for e in self.entries if _entry_matches(e, asked.get("filter", ""))]
            except Refused as refused:
                return refusal(400, refused.args[2])
        if asked.get("orderBy", "timestamp asc").endswith("desc"):
            found.reverse()
        first, size = int(asked.get("pageToken") or 0), min(int(asked.get("pageSize") or 50), 1000)
        page = {"entries": found[first : first + size]}
        if first + size < len(found):
            page["nextPageToken"] = str(first + size)
        return answer(page)


def _entry_matches(entry: dict, words: str) -> bool:
    labels = {f"resource.labels.{key}": v for key, v in entry["resource"]["labels"].items()}
    fields = {"resource.type": entry["resource"]["type"], **labels}
    fields |= {"timestamp": entry["timestamp"], "insertId": entry["insertId"]}
    for term in filter(None, re.split(r"\s+AND\s+", words)):
        found = re.fullmatch(r'([\w.]+)(>=|<=|=|<|>)"([^"]*)"', term)
        if not found or not (found[1] in fields or found[1].startswith("resource.labels.")):
            raise Refused(400, "INVALID_ARGUMENT", f"Unparseable filter: {term}")
        value, sign, wanted = fields.get(found[1], ""), found[2], found[3]
        equal, less = value == wanted, value < wanted
        if not {"=": equal, "<": less, ">": not (less or equal)}.get(
            sign, equal or (less if sign == "<=" else not less)
        ):
            return False
    return True


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
