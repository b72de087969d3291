"""Google Cloud as far as the doctor and setup_cloud.py talk to it, in memory, on 127.0.0.1.

    with Google("my-lab-4711") as google:
        google.buckets["runs"] = {"location": "EUROPE-WEST4"}
        subprocess.run([...], env={**os.environ, **google.environ()})

Answers in the API's own shapes, so that gcloud itself can be pointed at it. It knows no permissions.
"""

from __future__ import annotations

import json
import re
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

APIS = (
    "aiplatform",
    "artifactregistry",
    "cloudbilling",
    "cloudresourcemanager",
    "iam",
    "serviceusage",
)
TOKEN = "ya29.a-secret-of-the-tests"
# Seconds that no busy machine reaches; where a test is to reach a limit, it sets a short one.
LIMITS = {"ALL_SECONDS": 120, "COMMAND_SECONDS": 60, "ANSWER_SECONDS": 60}
DOCTOR = """
import runpy, sys
sys.path.insert(0, ".")
from launcher.doctor import checkup
vars(checkup).update({})
sys.argv[0] = "scripts/doctor.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def doctor_script(**limits: float) -> str:
    """Python code that runs scripts/doctor.py with these limits and, for the others, LIMITS."""
    return DOCTOR.format({**LIMITS, **limits})


class Refused(Exception):
    """(HTTP status, message, reason)"""


class Google(ThreadingHTTPServer):
    """A project and what is in it.

    Attributes:
        enabled: the APIs that are switched on; with None all are.
        faults: {part of a path: (status, message, reason)}, for what is refused.
        quota: {metric: {region: limit}}; "" for the regions that are not named.
        requests: (method, path) of each request that came.
        headers: those of the last request, in lower case.
    """

    def __init__(self, project: str):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.project = project
        self.billing = "billingAccounts/0A0A0A-0A0A0A-0A0A0A"
        self.enabled: set[str] | None = None
        self.buckets: dict[str, dict] = {}
        self.repositories: dict[str, dict] = {}
        self.accounts: dict[str, dict] = {}
        self.policies: dict[str, dict] = {}
        self.budgets: list[dict] = []
        self.endpoints: list[dict] = []
        self.quota: dict[str, dict[str, int]] = {}
        self.faults: dict[str, tuple[int, str, str]] = {}
        self.requests: list[tuple[str, str]] = []
        self.headers: dict[str, str] = {}

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
        self.folder.cleanup()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def environ(self) -> dict[str, str]:
        """What sends gcloud, and us, here, with a token and no settings of this machine."""
        folder = Path(self.folder.name)
        (folder / "token").write_text(TOKEN, encoding="utf-8")
        override = "CLOUDSDK_API_ENDPOINT_OVERRIDES_"
        return {
            **{override + api.upper(): self.address for api in APIS},
            override + "STORAGE": self.address + "storage/v1/",
            "CLOUDSDK_CONFIG": str(folder / "gcloud"),
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(folder / "token"),
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
            "NO_GCE_CHECK": "true",
            "GOOGLE_APPLICATION_CREDENTIALS": "",
            "no_proxy": "127.0.0.1",
            "NO_PROXY": "127.0.0.1",
        }

    def changes(self) -> list[tuple[str, str]]:
        """The requests that changed, or would have changed, something."""
        looks = re.compile(r":getIamPolicy$")
        return [(m, path) for m, path in self.requests if m != "GET" and not looks.search(path)]

    def answer(self, method: str, path: str, query: list[tuple[str, str]], body: dict) -> dict:
        for part, fault in self.faults.items():
            if part in path:
                raise Refused(*fault)
        for wanted, pattern, reply in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method in wanted.split("|"):
                return reply(self, query, body, *map(unquote, match.groups()))
        raise Refused(501, f"the stand-in has no {method} {path}", "")

    def check_project(self, name: str) -> None:
        if name != self.project:
            raise Refused(403, f"Permission denied on resource project {name}.", "")


def _batch_get(google, query, body, project):
    google.check_project(project)
    names = [value for key, value in query if key == "names"]
    on = google.enabled
    states = ("ENABLED" if on is None or n.rpartition("/")[2] in on else "DISABLED" for n in names)
    return {"services": [{"name": n, "state": s} for n, s in zip(names, states, strict=True)]}


def _services(google, query, body, project):
    google.check_project(project)
    names = sorted(google.enabled or ())
    return {"services": [{"config": {"name": n}, "state": "ENABLED"} for n in names]}


def _endpoints(google, query, body, *_):
    """One a page."""
    first = int(dict(query).get("pageToken", 0))
    page = {"endpoints": google.endpoints[first : first + 1]}
    return page | ({"nextPageToken": str(first + 1)} if first + 1 < len(google.endpoints) else {})


def _enable(google, query, body, project):
    google.enabled = (google.enabled or set()) | set(body["serviceIds"])
    return {"name": "operations/noop.DONE_OPERATION", "done": True, "response": {}}


def _quota(google, query, body, project, metric):
    limits = google.quota.get(metric.rpartition("custom_model_training_")[2])
    if limits is None:
        raise Refused(404, f"no metric {metric}", "")
    buckets = [
        {"effectiveLimit": str(limit), "dimensions": {"region": region} if region else {}}
        for region, limit in limits.items()
    ]
    return {"metric": metric, "consumerQuotaLimits": [{"quotaBuckets": buckets}]}


def _thing(kind: str, full: str):
    """GETs one of a kind; `full` is its name as the API gives it."""

    def get(google, query, body, *names):
        things = getattr(google, kind)
        if names[-1] not in things:
            raise Refused(404, f"{names[-1]} was not found", "")
        return {**things[names[-1]], "name": full.format(*names)}

    return get


def _create_bucket(google, query, body):
    google.buckets[body["name"]] = {**body, "location": body["location"].upper()}
    return google.buckets[body["name"]]


def _update_bucket(google, query, body, name):
    google.buckets[name].update(body)
    return {"name": name, **google.buckets[name]}


def _create_repository(google, query, body, project, region):
    name = dict(query)["repositoryId"]
    google.repositories[name] = {"format": body["format"]}
    path = f"projects/{project}/locations/{region}"
    made = {"@type": "type.googleapis.com/google.devtools.artifactregistry.v1.Repository"}
    return {
        "name": f"{path}/operations/1",
        "done": True,
        "response": {**made, "name": f"{path}/repositories/{name}", "format": body["format"]},
    }


def _create_account(google, query, body, project):
    email = f"{body['accountId']}@{project}.iam.gserviceaccount.com"
    google.accounts[email] = {"email": email, "projectId": project}
    return {"name": f"projects/{project}/serviceAccounts/{email}", "email": email}


def _policy(google, query, body, name):
    return google.policies.setdefault(name, {"bindings": [], "etag": "CAE="})


def _set_policy(google, query, body, name):
    google.policies[name] = body.get("policy", body)
    return google.policies[name]


def _billing(google, query, body, project):
    return {"billingAccountName": google.billing, "billingEnabled": bool(google.billing)}


PROJECT, BUCKET = "v1/projects/([^/:]+)", "storage/v1/b/([^/]+)"
REPOSITORY = rf"{PROJECT}/locations/([^/]+)/repositories/([^/:]+)"
ACCOUNT = r"v1/projects/[^/]+/serviceAccounts/([^/:]+)"
QUOTA = r"v1beta1/projects/([^/]+)/services/[^/]+/consumerQuotaMetrics/([^/]+)"
ROUTES = (
    ("GET", rf"{PROJECT}/services:batchGet", _batch_get),
    ("GET", rf"{PROJECT}/services", _services),
    ("POST", rf"{PROJECT}/services:batchEnable", _enable),
    ("POST", rf"{PROJECT}/services/([^/]+):enable", lambda g, q, b, p, name: _enable(g, q, {"serviceIds": [name]}, p)),
    ("GET", QUOTA, _quota),
    ("GET", rf"{PROJECT}/billingInfo", _billing),
    ("POST", rf"{PROJECT}:getIamPolicy", _policy),
    ("POST", rf"{PROJECT}:setIamPolicy", _set_policy),
    ("GET", rf"{PROJECT}/locations/([^/]+)/endpoints", _endpoints),
    ("GET", BUCKET, _thing("buckets", "{}")),
    ("POST", "storage/v1/b", _create_bucket),
    ("PATCH", BUCKET, _update_bucket),
    ("GET", rf"{BUCKET}/iam", _policy),
    ("PUT", rf"{BUCKET}/iam", _set_policy),
    ("GET", REPOSITORY, _thing("repositories", "projects/{}/locations/{}/repositories/{}")),
    ("POST", rf"{PROJECT}/locations/([^/]+)/repositories", _create_repository),
    ("GET", ACCOUNT, _thing("accounts", "projects/-/serviceAccounts/{}")),
    ("POST", rf"{PROJECT}/serviceAccounts", _create_account),
)  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self):
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = url.path.strip("/")
        self.server.requests.append((self.command, path))
        self.server.headers = {key.lower(): value for key, value in self.headers.items()}
        try:
            query, body = parse_qsl(url.query), json.loads(body or b"{}")
            status, answer = 200, self.server.answer(self.command, path, query, body)
        except Refused as refused:
            status, message, reason = refused.args
            words = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
            error = {"code": status, "message": message, "status": words.get(status, "UNKNOWN")}
            info = "type.googleapis.com/google.rpc.ErrorInfo"
            error["details"] = [{"@type": info, "reason": reason}] if reason else []
            answer = {"error": error}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = _answer

    def log_message(self, *_):
        pass
