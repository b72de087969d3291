"""Vertex AI in memory: its routes and messages are those of the installed SDK, so neither can drift.

    vertex = Vertex()
    with Proxy({"us-central1-aiplatform.googleapis.com": vertex}) as proxy:
        subprocess.run(["gcloud", "ai", …], env={**os.environ, **gcloud(proxy.address, folder)})
    vertex.resources["projects/p1/locations/us-central1/customJobs/1"]

What a message does not take is refused as the service does it, with 400. Resources are made, read,
listed, changed, cancelled and deleted; each reading of a job moves it on towards success; anything
else is 501 until a handler of `handlers` plays it. Nothing is run, and nothing is asked of quotas,
permissions or images.
"""

import itertools
import json
import re
import threading
from datetime import datetime, timezone
from functools import cache
from importlib import import_module

from google.longrunning import operations_pb2
from google.protobuf import empty_pb2, json_format

from standins.proxy import Request, Response

SERVICES = ("job", "pipeline", "model", "endpoint", "tensorboard", "dataset", "prediction")
JOB_STATES = ("QUEUED", "PENDING", "RUNNING", "SUCCEEDED")
PIPELINE_STATES = ("QUEUED", "PENDING", "RUNNING", "SUCCEEDED")
LIVES = {
    "JobState": [f"JOB_STATE_{state}" for state in JOB_STATES],
    "PipelineState": [f"PIPELINE_STATE_{state}" for state in PIPELINE_STATES],
}
PAGE = 100  # resources in one answer to a listing


def sdk():
    """Google's own messages. To import them takes two seconds, of any run that collects these tests."""
    return import_module("google.cloud.aiplatform_v1")


class Refused(Exception):
    """(status, its name, message), as the client gets it."""


class Route:
    """One method of the API."""

    def __init__(self, rpc, option, request, response):
        self.rpc, self.request, self.response = rpc, request, response
        self.method, self.body = option["method"].upper(), option.get("body")
        self.collection = option["uri"].rpartition("/")[2].partition(":")[0]
        self.fields = re.findall(r"{([\w.]+)=", option["uri"])
        parts = re.split(r"{[\w.]+=([^}]+)}", option["uri"])
        texts = (re.escape(part) for part in parts[::2])
        names = [part.replace("**", ".+").replace("*", "[^/:]+") for part in parts[1::2]]
        groups = [f"({name})" for name in names]
        pairs = itertools.zip_longest(texts, groups, fillvalue="")
        self.pattern = re.compile("".join(text + group for text, group in pairs))


@cache
def routes() -> list[Route]:
    """All methods of SERVICES, by their own description in the SDK."""
    found = []
    for service in SERVICES:
        package = f"google.cloud.aiplatform_v1.services.{service}_service.transports"
        name = service.capitalize() + "ServiceRestTransport"
        base = getattr(import_module(f"{package}.rest_base"), f"_Base{name}")
        rest = getattr(import_module(f"{package}.rest"), name)
        for key, cls in vars(base).items():
            rpc = key.removeprefix("_Base")
            request = getattr(sdk(), f"{rpc}Request", None)
            if request is not None and hasattr(cls, "_get_http_options"):
                call = getattr(rest, f"_{rpc}").__call__
                for option in cls._get_http_options():
                    found.append(Route(rpc, option, request, call.__annotations__.get("return")))
    return found


class Vertex:
    """Call it with a `Request`.

    Attributes:
        resources: {name: protobuf message} of all that there is.
        calls: (rpc, request message) of each request that was understood.
        handlers: {rpc: function from the request message to a response message}.
    """

    def __init__(self):
        self.resources: dict = {}
        self.calls: list = []
        self.handlers: dict = {}
        self._ids = itertools.count(1)
        self._lock = threading.RLock()

    def __call__(self, request: Request) -> Response:
        try:
            with self._lock:
                answer = self._answer(request)
            status, value = 200, json_format.MessageToDict(answer)
        except Refused as refused:
            status, name, message = refused.args
            value = {"error": {"code": status, "status": name, "message": message}}
        body = json.dumps(value).encode()
        return Response(status, body, {"Content-Type": "application/json"})

    def _answer(self, request: Request):
        path = "/" + "/".join(request.path)
        for route in routes():
            found = route.pattern.fullmatch(path)
            if found and route.method == request.method:
                break
        else:
            raise Refused(404, "NOT_FOUND", f"no method for {request.method} {path}")
        message = _read(route, found.groups(), request)
        self.calls.append((route.rpc, message))
        if route.rpc in self.handlers:
            return self.handlers[route.rpc](message)
        verb = re.match("Create|Get|List|Update|Delete|Cancel", route.rpc)
        if not verb:
            raise Refused(501, "UNIMPLEMENTED", f"the stand-in has no {route.rpc}")
        return getattr(self, f"_{verb[0].lower()}")(route, message)

    def _create(self, route, message):
        resource = type(getattr(message, route.body))()
        resource.CopyFrom(getattr(message, route.body))
        resource.name = f"{message.parent}/{route.collection}/{next(self._ids)}"
        states = _life(resource)
        if states:
            resource.state = _number(resource, states[0])
        _note_time(resource, "create_time")
        self.resources[resource.name] = resource
        return self._done(route, message.parent, resource)

    def _get(self, _, message):
        resource = self._resource(message.name)
        states = _life(resource)
        state = _state(resource) if states else None
        if state in states[:-1]:
            resource.state = _number(resource, states[states.index(state) + 1])
            if state == states[1]:
                _note_time(resource, "start_time")
            if state == states[-2]:
                _note_time(resource, "end_time")
        return resource

    def _list(self, route, message):
        answer = route.response.pb(route.response())
        field = next(field for field in answer.DESCRIPTOR.fields if field.message_type)
        prefix = f"{message.parent}/{route.collection}/"
        names = [name for name in self.resources if name.startswith(prefix)]
        wanted = [name for name in names if _matches(self.resources[name], message.filter)]
        first = int(message.page_token or 0)
        last = first + min(PAGE, getattr(message, "page_size", 0) or PAGE)
        newest_first = wanted[::-1]
        getattr(answer, field.name).extend(self.resources[n] for n in newest_first[first:last])
        answer.next_page_token = str(last) if last < len(wanted) else ""
        return answer

    def _update(self, route, message):
        given = getattr(message, route.body)
        resource = self._resource(given.name)
        message.update_mask.MergeMessage(given, resource, replace_repeated_field=True)
        return self._done(route, given.name, resource)

    def _delete(self, route, message):
        self._resource(message.name)
        del self.resources[message.name]
        return self._done(route, message.name, empty_pb2.Empty())

    def _cancel(self, _, message):
        resource = self._resource(message.name)
        states = _life(resource)
        if _state(resource) != states[-1]:
            resource.state = _number(resource, states[-1].replace("SUCCEEDED", "CANCELLED"))
            _note_time(resource, "end_time")
        return empty_pb2.Empty()

    def _resource(self, name):
        if name not in self.resources:
            raise Refused(404, "NOT_FOUND", f"{name} does not exist")
        return self.resources[name]

    def _done(self, route, parent, resource):
        """The resource itself, or an operation that is over, as the method's return type says."""
        if route.response is not operations_pb2.Operation:
            return resource
        operation = operations_pb2.Operation(name=f"{parent}/operations/{next(self._ids)}")
        operation.done = True
        operation.response.Pack(resource)
        return operation


def _read(route: Route, names, request: Request):
    """The request's message, from path, query and body; 400 for what it does not take."""
    body = json.loads(request.body or b"{}")
    ours = {k: v for k, v in request.query.items() if k.lstrip("$") not in ("alt", "prettyPrint")}
    value = body if route.body == "*" else {**ours, **({route.body: body} if route.body else {})}
    message = route.request.pb(route.request())
    try:
        json_format.ParseDict(value, message)
    except json_format.ParseError as error:
        raise Refused(400, "INVALID_ARGUMENT", str(error)) from None
    for field, name in zip(route.fields, names, strict=True):
        *outer, last = field.split(".")
        target = message
        for part in outer:
            target = getattr(target, part)
        setattr(target, last, name)
    return message


def _life(resource) -> list[str]:
    field = resource.DESCRIPTOR.fields_by_name.get("state")
    return LIVES.get(field.enum_type.name, []) if field is not None and field.enum_type else []


def _state(resource) -> str:
    states = resource.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number
    return states[resource.state].name


def _number(resource, state: str) -> int:
    return resource.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_name[state].number


def _note_time(resource, field: str) -> None:
    if field in resource.DESCRIPTOR.fields_by_name:
        getattr(resource, field).FromDatetime(datetime.now(timezone.utc))


def _matches(resource, wish: str) -> bool:
    """`display_name="x" AND labels.team="seals"`, the part of the filter language that we use."""
    for term in filter(None, re.split(r"\s+AND\s+", wish)):
        found = re.fullmatch(r'([\w.]+)\s*=\s*"?([^"]*)"?', term.strip())
        if not found:
            raise Refused(501, "UNIMPLEMENTED", f"the stand-in knows no filter {wish}")
        name, _, key = found[1].partition(".")
        value = _state(resource) if name == "state" else getattr(resource, name)
        if (value.get(key) if key else value) != found[2]:
            return False
    return True


def gcloud(address: str, folder, project: str = "p1") -> dict[str, str]:
    """What makes gcloud talk to this address, as nobody, and keep its settings in this folder."""
    return {
        "CLOUDSDK_CONFIG": str(folder),
        "CLOUDSDK_CORE_PROJECT": project,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM": f"{address}/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING": f"{address}/",
    }
