"""A project in Google Cloud with all that a job needs, behind one port.

    with Cloud("lab", closed=("closed",)) as cloud:
        subprocess.run([...], env={**os.environ, **cloud.environ()})
    cloud.jobs.sent, cloud.buckets.names("lab"), cloud.requests

`faults` says what goes wrong, by request: Fault("POST .*/customJobs", 503). Permissions, quota,
billing, machines and images are nobody's here: they go wrong only where a fault says so.
"""

import json
import re
import threading
import time
from dataclasses import dataclass

from standins.batches import Batches
from standins.buckets import Buckets
from standins.drive import Drive
from standins.jobs import NUMBER, Jobs, Log, answer, refusal
from standins.proxy import Proxy, Request
from standins.serving import Serving
from standins.vertex import gcloud

REGION = "us-central1"
DROPPED, LOST, SLOW, DAMAGED, LATE = "dropped", "lost", "slow", "damaged", "late"
PACKED = "packed"
HOSTS = ("storage", "www", "logging", "artifactregistry", "cloudbuild", f"{REGION}-aiplatform")
HOSTS += (
    "notebooks",
    "iamcredentials",
)  # the last: a robot's credentials ask where they may be used; nobody answers
SECRET = "ya29.a-token-that-nobody-may-see"
SERVICES = ("AIPLATFORM", "LOGGING", "ARTIFACTREGISTRY", "CLOUDBUILD", "NOTEBOOKS")


@dataclass
class Fault:
    """What becomes of requests: a status; DROPPED: nothing happens; LOST: it happens, and no
    answer comes; SLOW: the answer comes after `seconds`; DAMAGED: its last byte is another one; PACKED: it
    claims to be compressed, and is not; LATE: the
    request takes effect after `seconds`, whether its client still waits or not."""

    request: str  # a regular expression for "METHOD /path"
    what: int | str
    message: str = ""
    times: int = 1_000_000  # so often
    seconds: float = 1.0
    seen: int = 0  # how often it has happened


class Cloud:
    """Call it with a `Request`; or enter it, and it is a server."""

    def __init__(self, *buckets: str, closed: tuple[str, ...] = ()):
        self.buckets = Buckets(*buckets, closed=closed)
        self.log = Log()
        self.jobs = Jobs(self.log)
        self.serving = Serving(self.jobs, self.log)
        self.batches = Batches(self.jobs, self.serving, self.buckets)
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Be as new; only the buckets keep what is in them."""
        self.log.entries.clear()
        self.drive = Drive()
        self.jobs.reset()
        self.serving.reset()
        self.batches.reset()
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.images = True  # whether every image that is looked for is there
        self.repository = True
        self.docker_images: list[dict] = []  # that the repository lists: DockerImage messages
        self.instances: list[dict] = []  # of Workbench
        self.builds: dict[str, dict] = {}
        self.build_life = ("QUEUED", "WORKING", "SUCCESS")

    def __enter__(self):
        hosts = {f"{host}.googleapis.com": self for host in HOSTS}
        hosts[f"*.{REGION}-{NUMBER}.prediction.vertexai.goog"] = self  # of dedicated endpoints
        self.proxy = Proxy(hosts).__enter__()
        return self

    def __exit__(self, *_):
        self.proxy.__exit__()

    def environ(self, folder="unused") -> dict[str, str]:
        """What leads Google's clients, gcloud and TensorFlow here, as nobody."""
        address = self.proxy.address
        overrides = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{s}": f"{address}/" for s in SERVICES}
        storage = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{address}/storage/v1/"}
        return {
            **self.proxy.environ(),
            **gcloud(address, folder),
            **overrides,
            **storage,
            "STORAGE_EMULATOR_HOST": address,
        }

    def login(self, path, email="robot@my-lab-4711.iam.gserviceaccount.com") -> dict[str, str]:
        """Writes a service account's key, and gives what makes clients use it, as in real life."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = serialization.PrivateFormat.PKCS8
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        account = {
            "type": "service_account",
            "client_email": email,
            "private_key": pem.decode(),
            "private_key_id": "a-key",
            "token_uri": f"{self.proxy.address}/token",
        }
        path.write_text(json.dumps(account), encoding="utf-8")
        unset = {"CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "false"}
        return {"GOOGLE_APPLICATION_CREDENTIALS": str(path), **unset}

    def __call__(self, request: Request):
        line = f"{request.method} /{'/'.join(request.path)}"
        with self._lock:
            self.requests.append(line)
            fault = next(
                (f for f in self.faults if f.seen < f.times and re.match(f.request, line)), None
            )
            if fault:
                fault.seen += 1
        what = fault.what if fault else None
        if what == DROPPED:
            return None
        if isinstance(what, int):
            return refusal(what, fault.message or f"a fault of the test, {what}")
        if what == LATE:
            time.sleep(fault.seconds)
        response = self._route(request)
        if what == SLOW:
            time.sleep(fault.seconds)
        if what == DAMAGED:
            response = response._replace(body=response.body[:-1] + b"?")
        if what == PACKED:
            response = response._replace(headers={"Content-Encoding": "gzip"})
        return None if what == LOST else response

    def _route(self, request: Request):
        path = request.path
        if path == ["token"]:
            return answer({"access_token": SECRET, "expires_in": 3600, "token_type": "Bearer"})
        if "serviceAccounts" in path:
            return refusal(404, "There is no such method.")
        if path[0] == "drive":
            return self.drive(request)
        if path == ["v2", "entries:list"]:
            return self.log(request)
        if len(path) > 5 and path[5] == "repositories":
            return self._images(request)
        if path[0] == "v2":
            return self._workbench(request)
        if len(path) > 5 and path[5] == "builds":
            return self._build(request)
        if "operations" in path[-2:]:
            return self.serving(request)
        if path[0] == "v1":
            return self.jobs(request)
        return self.buckets(request)

    def _images(self, request: Request):
        """Artifact Registry: a repository, a tag in it, its images, the end of one of them."""
        path = request.path
        if not self.repository:
            return refusal(404, "Requested entity was not found.")
        if path[-1] == "dockerImages":
            return answer({"dockerImages": self.docker_images})
        if request.method == "DELETE":
            name = f"{path[8]}@{path[10]}"
            [image] = [one for one in self.docker_images if one["name"].endswith(f"/{name}")]
            if image.get("tags") and request.query.get("force") != "true":
                return refusal(400, "The version is tagged.")
            self.docker_images.remove(image)
            return answer({"name": "/".join([*path[1:5], "operations", "1"]), "done": True})
        if "tags" in path and not self.images:
            return refusal(404, "Requested entity was not found.")
        return answer({"name": "/".join(path[1:])})

    def _workbench(self, request: Request):
        """The Notebooks API: the instances of all zones; to delete one takes a while."""
        path = request.path
        if path[5] == "operations":
            return answer({"name": "/".join(path[1:]), "done": True, "response": {}})
        if request.method == "GET" and path[3:] == ["locations", "-", "instances"]:
            return answer({"instances": self.instances})
        [one] = [one for one in self.instances if one["name"] == "/".join(path[1:])]
        self.instances.remove(one)
        return answer({"name": "/".join([*path[1:5], "operations", "operation-7"])})

    def _build(self, request: Request):
        """Cloud Build: what is to be built is read by its own messages, and nothing is built."""
        from google.cloud.devtools import cloudbuild_v1
        from google.protobuf import json_format

        if request.method == "POST":
            build = cloudbuild_v1.Build.pb(cloudbuild_v1.Build())
            try:
                json_format.Parse(request.body, build)
            except json_format.ParseError as error:
                return refusal(400, str(error))
            sent = json_format.MessageToDict(build)
            source = sent["source"]["storageSource"]
            if source["object"] not in self.buckets.names(source["bucket"]):
                return refusal(400, "invalid build: the source is not there")
            build_id = f"build-{len(self.builds) + 1}"
            made = {"id": build_id, "status": self.build_life[0], "logUrl": f"https://x/{build_id}"}
            self.builds[build_id] = {**sent, **made}
            return answer({"name": "operations/1", "metadata": {"build": self.builds[build_id]}})
        if len(request.path) == 6:
            tag = re.fullmatch('tags="(.*)"', request.query.get("filter", ""))
            found = [b for b in self.builds.values() if not tag or tag[1] in b.get("tags", [])]
            return answer({"builds": found})
        build = self.builds[request.path[6]]
        at = self.build_life.index(build["status"])
        build["status"] = self.build_life[min(at + 1, len(self.build_life) - 1)]
        if build["status"] == "SUCCESS":
            self.images = True
        return answer(build)
