"""Vertex AI's models and endpoints as they are lived: versions, aliases, deployments, traffic, predictions.

    serving = Serving(vertex)                    plays them on a `standins.vertex.Vertex`
    serving.answer = lambda instances: [...]     what a deployed model predicts
    serving.unhealthy = "exit code 1"            deployments fail; the log has this line

The routes and messages are those of `standins/vertex.py`: what they do not take is refused. Operations
end when they have been looked at `looks` times. Nothing is run, and no machine is started.
"""

import json
import random
import re
from datetime import datetime, timezone

from google.longrunning import operations_pb2
from google.protobuf import empty_pb2, json_format
from google.rpc import status_pb2

from standins.jobs import NUMBER, answer
from standins.proxy import Request, Response
from standins.vertex import Refused, Vertex, sdk

BYTES = {True: 10_000_000, False: 1_500_000}  # of a request, by whether the endpoint is dedicated
ATTACHMENT = "projects/tenant/regions/us-central1/serviceAttachments/gkedpm-1"  # of Google's own
ALIAS = re.compile("[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")


def refuse(message, status=400, name="FAILED_PRECONDITION"):
    raise Refused(status, name, message)


class Serving:
    """Registers itself for the methods of models and endpoints."""

    def __init__(self, vertex: Vertex, log):
        self.vertex, self.log = vertex, log
        self.reset()
        for rpc in (
            "UploadModel",
            "GetModel",
            "ListModels",
            "ListModelVersions",
            "MergeVersionAliases",
            "DeleteModelVersion",
            "DeleteModel",
            "CreateEndpoint",
            "DeployModel",
            "UndeployModel",
            "DeleteEndpoint",
            "UpdateEndpoint",
            "Predict",
        ):
            vertex.handlers[rpc] = getattr(self, "_" + rpc)

    def reset(self):
        """Nothing is there, and all goes well."""
        for name in [n for n in self.vertex.resources if "/endpoints/" in n]:
            del self.vertex.resources[name]
        self.versions: dict[str, list] = {}  # {model: its versions, as Model messages}
        self.operations: dict = {}  # {name: [looks left, what is done then]}
        self.answer = lambda instances: [{"value": 0.5} for _ in instances]
        self.answering = ""  # the name of the model that the traffic has chosen
        self.parameters = None  # of the last request
        self.chance = random.Random(0)
        self.unhealthy = ""
        self.looks = 1
        self.sent: list[tuple[str, dict]] = []  # (rpc, body) of what changes something

    def endpoint(self) -> dict:
        """The only endpoint that there is."""
        [one] = [r for n, r in self.vertex.resources.items() if "/endpoints/" in n]
        return json_format.MessageToDict(one)

    def endpoints(self) -> list[str]:
        return [name for name in self.vertex.resources if "/endpoints/" in name]

    # Operations: the standard messages of google.longrunning, which have no method of Vertex AI's own.

    def __call__(self, request: Request) -> Response:
        """GET …/operations, or one of them, which comes nearer to its end by that."""
        name = "/".join(["projects", NUMBER, *request.path[3:]])
        if name in self.operations:
            self.operations[name][0] -= 1
            return answer(self._read(name))
        of = [self._read(key) for key in self.operations if key.startswith(f"{name}/")]
        return answer({"operations": of} if of else {})

    def _begin(self, resource, finish):
        """An operation that calls `finish` when it has been looked at often enough."""
        name = f"{resource}/operations/{next(self.vertex._ids)}"
        self.operations[name] = [self.looks, finish, None]
        return json_format.ParseDict(self._read(name), operations_pb2.Operation())

    def _read(self, name) -> dict:
        left, finish, done = self.operations[name]
        operation = operations_pb2.Operation(name=name, done=left <= 0)
        if left > 0:
            return json_format.MessageToDict(operation)
        if done is None:
            done = self.operations[name][2] = finish()
        if isinstance(done, str):
            operation.error.CopyFrom(status_pb2.Status(code=9, message=done))
        else:
            operation.response.Pack(done)
        return json_format.MessageToDict(operation)

    def get_on(self):
        """Operations come nearer to their end, whether their client looks at them or not."""
        for name in self.operations:
            self.operations[name][0] -= 1
            self._read(name)

    def _note(self, rpc, message):
        self.sent.append((rpc, json_format.MessageToDict(message)))

    # Models

    def _UploadModel(self, message):
        self._note("UploadModel", message)
        if not message.model.display_name or not message.model.container_spec.image_uri:
            refuse("model.display_name and container_spec.image_uri are required")
        for alias in message.model.version_aliases:
            if not ALIAS.fullmatch(alias):
                refuse(f"invalid alias {alias}", name="INVALID_ARGUMENT")
        if message.parent_model and message.parent_model not in self.versions:
            refuse(f"{message.parent_model} does not exist", 404, "NOT_FOUND")
        name = message.parent_model or f"{message.parent}/models/{next(self.vertex._ids)}"

        def finish():
            versions = self.versions.setdefault(name, [])
            model = type(message.model)()
            model.CopyFrom(message.model)
            model.name = name
            model.version_id = str(max([int(v.version_id) for v in versions], default=0) + 1)
            model.create_time.FromDatetime(datetime.now(timezone.utc))
            model.version_create_time.CopyFrom(model.create_time)
            model.supported_deployment_resources_types.append(1)  # DEDICATED_RESOURCES
            self._take_aliases(versions, model.version_aliases)
            versions.append(model)
            if len(versions) == 1 and "default" not in model.version_aliases:
                model.version_aliases.append("default")
            answer = sdk().UploadModelResponse(model=name, model_version_id=model.version_id)
            return sdk().UploadModelResponse.pb(answer)

        return self._begin(name, finish)

    def _take_aliases(self, versions, aliases):
        """An alias belongs to one version."""
        for version in versions:
            for alias in set(aliases) & set(version.version_aliases):
                version.version_aliases.remove(alias)

    def version(self, name):
        base, _, wish = re.sub("^projects/[^/]+", f"projects/{NUMBER}", name).partition("@")
        for one in self.versions.get(base, ()):
            if (wish or "default") in (one.version_id, *one.version_aliases):
                return one
        return refuse(f"{name} does not exist", 404, "NOT_FOUND")

    def _GetModel(self, message):
        return self.version(message.name)

    def _ListModels(self, message):
        self.get_on()
        answer = sdk().ListModelsResponse.pb(sdk().ListModelsResponse())
        own = [self.version(name) for name in self.versions if name.startswith(message.parent)]
        answer.models.extend(one for one in own if _matches(one, message.filter))
        return answer

    def _ListModelVersions(self, message):
        answer = sdk().ListModelVersionsResponse.pb(sdk().ListModelVersionsResponse())
        versions = self.versions.get(message.name, ())
        answer.models.extend(one for one in versions if _matches(one, message.filter))
        return answer

    def _MergeVersionAliases(self, message):
        self._note("MergeVersionAliases", message)
        version = self.version(message.name)
        self._take_aliases(self.versions[version.name], message.version_aliases)
        version.version_aliases.extend(message.version_aliases)
        return version

    def _DeleteModelVersion(self, message):
        version = self.version(message.name)
        if "default" in version.version_aliases:
            refuse("The default version cannot be deleted.")
        self._refuse_deployed(version.name, version.version_id)
        self.versions[version.name].remove(version)
        return self._begin(version.name, empty_pb2.Empty)

    def _DeleteModel(self, message):
        if message.name not in self.versions:
            refuse(f"{message.name} does not exist", 404, "NOT_FOUND")
        self._refuse_deployed(message.name)
        del self.versions[message.name]
        return self._begin(message.name, empty_pb2.Empty)

    def _refuse_deployed(self, model, version=""):
        for name in self.endpoints():
            for one in self.vertex.resources[name].deployed_models:
                if one.model == model and version in ("", one.model_version_id):
                    refuse(f"The model is deployed at {name}.")

    # Endpoints

    def _CreateEndpoint(self, message):
        self._note("CreateEndpoint", message)
        name = f"{message.parent}/endpoints/{next(self.vertex._ids)}"
        endpoint = type(message.endpoint)()
        endpoint.CopyFrom(message.endpoint)
        endpoint.name = name
        endpoint.create_time.FromDatetime(datetime.now(timezone.utc))
        if endpoint.dedicated_endpoint_enabled:
            number, region = name.split("/")[1], name.split("/")[3]
            host = f"{name.rpartition('/')[2]}.{region}-{number}.prediction.vertexai.goog"
            endpoint.dedicated_endpoint_dns = host
        self.vertex.resources[name] = endpoint
        return self._begin(name, lambda: endpoint)

    def _UpdateEndpoint(self, message):
        self._note("UpdateEndpoint", message)
        endpoint = self._endpoint(message.endpoint.name)
        paths = set(message.update_mask.paths)
        if "labels" in paths:
            endpoint.labels.clear()
            endpoint.labels.update(message.endpoint.labels)
        if "traffic_split" in paths:
            ids = {one.id for one in endpoint.deployed_models}
            self._set_split(endpoint, dict(message.endpoint.traffic_split), ids)
        return endpoint

    def _endpoint(self, name):
        if name not in self.vertex.resources:
            refuse(f"{name} does not exist", 404, "NOT_FOUND")
        return self.vertex.resources[name]

    def _set_split(self, endpoint, split, ids):
        if split and (sum(split.values()) != 100 or not set(split) <= ids):
            refuse(f"invalid traffic split {split}", name="INVALID_ARGUMENT")
        endpoint.traffic_split.clear()
        endpoint.traffic_split.update(split)

    def _DeployModel(self, message):
        self._note("DeployModel", message)
        endpoint = self._endpoint(message.endpoint)
        version = self.version(message.deployed_model.model)
        if message.deployed_model.dedicated_resources.min_replica_count < 1:
            refuse("min_replica_count must be at least 1", name="INVALID_ARGUMENT")
        number = str(1000 + next(self.vertex._ids))

        def finish():
            if self.unhealthy:
                self.log.write_endpoint(endpoint.name.rpartition("/")[2], self.unhealthy)
                return "Model server never became ready. Please validate your container."
            deployed = endpoint.deployed_models.add()
            deployed.CopyFrom(message.deployed_model)
            deployed.id, deployed.model = number, version.name
            deployed.model_version_id = version.version_id
            deployed.create_time.FromDatetime(datetime.now(timezone.utc))
            if endpoint.private_service_connect_config.enable_private_service_connect:
                deployed.private_endpoints.service_attachment = ATTACHMENT
            split = {k: v for k, v in message.traffic_split.items() if k != "0"}
            ids = {one.id for one in endpoint.deployed_models}
            self._set_split(endpoint, {**split, number: message.traffic_split["0"]}, ids)
            response = sdk().DeployModelResponse()
            sdk().DeployModelResponse.pb(response).deployed_model.CopyFrom(deployed)
            return sdk().DeployModelResponse.pb(response)

        return self._begin(endpoint.name, finish)

    def _UndeployModel(self, message):
        self._note("UndeployModel", message)
        endpoint = self._endpoint(message.endpoint)
        [one] = [m for m in endpoint.deployed_models if m.id == message.deployed_model_id] or [None]
        if one is None:
            refuse("no such deployed model", 404, "NOT_FOUND")
        rest = {m.id for m in endpoint.deployed_models} - {one.id}
        if endpoint.traffic_split.get(one.id) and rest and not message.traffic_split:
            refuse("the model has traffic: a new traffic split is needed")
        self._set_split(endpoint, dict(message.traffic_split), rest)
        endpoint.deployed_models.remove(one)
        response = sdk().UndeployModelResponse.pb(sdk().UndeployModelResponse())
        return self._begin(endpoint.name, lambda: response)

    def _DeleteEndpoint(self, message):
        endpoint = self._endpoint(message.name)
        running = [n for n in self.operations if n.startswith(f"{endpoint.name}/")]
        if endpoint.deployed_models or any(self.operations[n][0] > 0 for n in running):
            refuse("Endpoint has deployed or being-deployed DeployedModels.")
        del self.vertex.resources[endpoint.name]
        return self._begin(endpoint.name, empty_pb2.Empty)

    def _Predict(self, message):
        endpoint = self._endpoint(message.endpoint)
        if endpoint.private_service_connect_config.enable_private_service_connect:
            refuse("The endpoint is private.")
        size = len(json.dumps(json_format.MessageToDict(message)))
        if size > BYTES[endpoint.dedicated_endpoint_enabled]:
            refuse("Request payload size exceeds the limit.", 413, "INVALID_ARGUMENT")
        if not endpoint.traffic_split:
            refuse("no model is deployed", 404, "NOT_FOUND")
        ids, shares = zip(*sorted(endpoint.traffic_split.items()), strict=True)
        [chosen] = self.chance.choices(ids, shares)
        [deployed] = [one for one in endpoint.deployed_models if one.id == chosen]
        request = json_format.MessageToDict(message)
        instances, self.parameters = request["instances"], request.get("parameters")
        self.answering = deployed.display_name
        answers = self.answer(instances)
        response = sdk().PredictResponse.pb(sdk().PredictResponse())
        json_format.ParseDict({"predictions": answers, "deployedModelId": chosen}, response)
        return response


def _matches(resource, wish: str) -> bool:
    """`labels.project="x"`, all that we use."""
    found = re.fullmatch(r'labels\.(\w+)="([^"]*)"', wish) if wish else None
    if wish and not found:
        raise Refused(501, "UNIMPLEMENTED", f"the stand-in knows no filter {wish}")
    return not found or resource.labels.get(found[1]) == found[2]
