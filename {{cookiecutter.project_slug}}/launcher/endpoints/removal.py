"""Look at what is on an endpoint, and take it off: a deployed model, an endpoint, a model, a version."""

import sys

from launcher.cloud.errors import CloudError
from launcher.cloud.vertex import Vertex
from launcher.endpoints import plan


def look_at(vertex: Vertex, endpoint: str) -> dict:
    """The endpoint of this resource name, as it is now."""
    return vertex.get(endpoint, "look at the endpoint")


def find_deployed(endpoint: dict, model: str) -> dict | None:
    """The deployed model of a version, "…/models/7@2"; None where it is not on the endpoint."""
    base, _, version = model.partition("@")
    for one in endpoint.get("deployedModels", ()):
        there, _, suffix = one["model"].partition("@")
        same = there.endswith(base.split("/", 2)[2])
        if same and (one.get("modelVersionId") or suffix) == version:
            return one
    return None


def undeploy(vertex: Vertex, endpoint: dict, number: str) -> None:
    """Take the deployed model of this id off an endpoint; its traffic goes to the others."""
    split = {key: int(share) for key, share in endpoint.get("trafficSplit", {}).items()}
    others = [one["id"] for one in endpoint["deployedModels"] if one["id"] != number]
    rest = plan.share_out({one: split.get(one, 0) for one in others}, 100)
    name, body = endpoint["name"], {"deployedModelId": number, "trafficSplit": rest}
    try:
        vertex.change("POST", f"{name}:undeployModel", "undeploy the model", body)
    except CloudError:  # perhaps since a first request, whose answer was lost, does it
        settle(vertex, name)
        if any(one["id"] == number for one in look_at(vertex, name).get("deployedModels", ())):
            raise


def settle(vertex: Vertex, endpoint: str) -> None:
    """Wait for what is being done to an endpoint, however it ends."""
    if running := vertex.find_operation(endpoint):
        print("waiting for what is being done to the endpoint", flush=True)
        try:
            vertex.wait(running, "wait for the endpoint")
        except CloudError as error:
            print(error, file=sys.stderr)


def delete(vertex: Vertex, kind: str, name: str) -> None:
    """Delete an endpoint, a model with all its versions, or a version."""
    path = f"{name}:deleteVersion" if kind == "version" else name.partition("@")[0]
    try:
        vertex.change("DELETE", path, f"delete the {kind}")
    except CloudError as error:
        if error.status != 404:  # else it is gone, perhaps by a request whose answer was lost
            raise
