"""Sends instances to an endpoint or to a server, in requests that are small enough; answers in order."""

import contextlib
import http.client
import json
import shlex
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator

from launcher.cloud import clients
from launcher.cloud.clients import Connection
from launcher.cloud.errors import CloudError
from launcher.cloud.vertex import NEED, Vertex, connect
from launcher.common.document import SpecError
from launcher.project.settings import read_settings

SHARED_BYTES, BYTES = 1_500_000, 10_000_000  # of a request, by the service
ROOM = 1000  # bytes of a request around its instances
ROWS = 256  # instances of a request; the server takes more of rows, and 320 images
OWN_HOSTS = (".googleapis.com", ".vertexai.goog")  # where an access token may be sent
ANSWER = 120.0  # seconds to wait for one answer


def is_google(url: str) -> bool:
    """Whether a URL is one of Google's, which takes requests with a login only."""
    host = urllib.parse.urlsplit(url).hostname or ""
    override = urllib.parse.urlsplit(clients.endpoint("aiplatform")).hostname
    return host.endswith(OWN_HOSTS) or host == override


def find_url(name: str) -> str:
    """The address of an endpoint of this repo, by its name or number.

    Raises:
        SpecError: there is none, or it is private.
    """
    vertex = connect()
    endpoint = find_endpoint(vertex, name)
    if "privateServiceConnectConfig" in endpoint:
        instead = "python scripts/deploy.py RUN --private prints again how to ask there"
        raise SpecError(f"{name}: is private, and only its network reaches it; {instead}")
    return predict_url(endpoint, vertex.connection.region)


def predict_url(endpoint: dict, region: str) -> str:
    """Where an endpoint takes instances: a host of its own, or the region's."""
    own = endpoint.get("dedicatedEndpointDns")
    root = f"https://{own}" if own else clients.endpoint("aiplatform", region)
    return f"{root}/v1/{endpoint['name']}:predict"


def find_endpoint(vertex: Vertex, name: str) -> dict:
    """The endpoint of this name or number, among those of this repo; SpecError: which ones there are."""
    endpoints = vertex.list("endpoints", "list the endpoints", vertex.own)
    for endpoint in endpoints:
        if name in (endpoint["displayName"], endpoint["name"].rpartition("/")[2]):
            return endpoint
    names = ", ".join(endpoint["displayName"] for endpoint in endpoints) or "none"
    raise SpecError(f"{name}: no endpoint of this project; there is {names}")


def ask(url: str, instances: Iterable[object], parameters: dict) -> Iterator[object]:
    """Yield the answer to each instance.

    Raises:
        CloudError: a request was refused; or an instance is larger than a request may be.
    """
    settings = read_settings()
    connection = Connection(settings.project, settings.region) if is_google(url) else None
    limit = SHARED_BYTES if connection and ".prediction." not in url else BYTES
    for group in split(instances, limit):
        body = {"instances": group, "parameters": parameters}
        yield from send(connection, url, body)["predictions"]


def send(connection: Connection | None, url: str, body: dict) -> dict:
    """The response to one request: {"predictions": […]}; of an endpoint, also which model it is of.

    Args:
        connection: what a URL of Google's needs; None elsewhere.

    Raises:
        CloudError: it was refused, or has not an answer for each instance.
    """
    if connection:
        answer = connection.ask("predict", NEED, "POST", url, json=body, timeout=ANSWER)
    else:
        answer = _post(url, body)
    predictions = answer.get("predictions") if isinstance(answer, dict) else None
    if not isinstance(predictions, list) or len(predictions) != len(body["instances"]):
        raise CloudError(f"{url}: no answer for each instance: {json.dumps(answer)[:200]}")
    return answer


def _post(url: str, body: dict) -> dict:
    """Ask a server without a login."""
    kind = {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(url, json.dumps(body).encode(), kind)
        with urllib.request.urlopen(request, timeout=ANSWER) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read().decode("utf-8", "replace")
        with contextlib.suppress(ValueError, LookupError, TypeError):
            text = json.loads(text)["error"]
        raise CloudError(f"{url}: {error.code}: {text[:300]}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise CloudError(f"{url}: no answer ({getattr(error, 'reason', error)})") from None


def split(instances: Iterable[object], limit: int) -> Iterator[list]:
    """Groups of at most ROWS instances, whose requests have at most `limit` bytes.

    Raises:
        CloudError: one instance has more.
    """
    group: list = []
    size = 0
    for i, instance in enumerate(instances):
        length = len(json.dumps(instance).encode()) + 2
        if length + ROOM > limit:
            raise CloudError(f"instance {i}: {length:,} bytes, and a request has {limit:,} at most")
        if group and (size + length + ROOM > limit or len(group) == ROWS):
            yield group
            group, size = [], 0
        group.append(instance)
        size += length
    if group:
        yield group


def to_curl(url: str, instances: Iterable[object], parameters: dict) -> str:
    """A curl command that asks the same."""
    body = {"instances": list(instances), "parameters": parameters}
    data = shlex.quote(json.dumps(body, ensure_ascii=False))
    token = (
        ' -H "Authorization: Bearer $(gcloud auth print-access-token)"' if is_google(url) else ""
    )
    kind = "-H 'Content-Type: application/json'"
    return f"curl{token} {kind} -d {data} {shlex.quote(url)}"
