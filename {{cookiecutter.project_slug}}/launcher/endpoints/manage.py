"""The verbs of scripts/endpoints.py but cleanup, and what cleanup and deploy.py share with them.

Each verb returns the exit code.
"""

import re
import sys
from argparse import Namespace
from collections.abc import Iterator

from launcher.cloud.errors import CloudError
from launcher.cloud.vertex import Vertex, connect
from launcher.cloud.watch import open_endpoint_log
from launcher.common.document import SpecError
from launcher.common.terminal import print_table
from launcher.common.times import format_time, seconds_between
from launcher.cost.prices import dollars
from launcher.endpoints import plan
from launcher.endpoints.ask import find_endpoint

COLUMNS = ("endpoint", "model", "traffic", "machines", "since", "until", "a day", "so far")
LINES = 200  # of a log


def list_rows(vertex: Vertex, endpoint: dict) -> Iterator[tuple[tuple[str, ...], float | None]]:
    """The models on an endpoint: (cells by COLUMNS, USD so far); None is unknown."""
    until, names = plan.read_until(endpoint.get("labels", {})), plan.name_deployed(endpoint)
    for deployed in endpoint.get("deployedModels", ()):
        resources = deployed.get("dedicatedResources", {})
        hourly = plan.price_per_hour(resources, vertex.connection.region) if resources else None
        hours = seconds_between(deployed["createTime"], None) / 3600
        spent = None if hourly is None else hours * hourly
        machine = resources.get("machineSpec", {}).get("machineType", "?")
        cells = (
            endpoint["displayName"],
            names[deployed["id"]],
            f"{endpoint.get('trafficSplit', {}).get(deployed['id'], 0)} %",
            f"{resources.get('minReplicaCount', '?')} × {machine}",
            format_time(deployed["createTime"]),
            until.strftime("%Y-%m-%d %H:%M") if until else "–",
            "unknown" if hourly is None else dollars(24 * hourly),
            "unknown" if spent is None else dollars(spent),
        )
        yield cells, spent


def list_(_: Namespace) -> int:
    vertex = connect()
    endpoints = vertex.list("endpoints", "list the endpoints", vertex.own)
    rows = [cells for endpoint in endpoints for cells, _ in list_rows(vertex, endpoint)]
    if rows:
        print_table(COLUMNS, rows)
        print(f"for the fewest machines, {plan.BASIS}")
    for endpoint in endpoints:
        if not endpoint.get("deployedModels"):
            print(f"{endpoint['displayName']}: no model on it, and no cost")
    for endpoint in filter(plan.is_overdue, endpoints):
        name, until = endpoint["displayName"], plan.read_until(endpoint["labels"])
        print(
            f"{name} was to end at {until:%Y-%m-%d %H:%M}, and is still paid for; run: "
            f"python scripts/endpoints.py undeploy {name}"
        )
    if not endpoints:
        print("no endpoints of this project")
    return 0


def traffic(options: Namespace) -> int:
    vertex = connect()
    endpoint = find_endpoint(vertex, options.name)
    ids = {name: number for number, name in plan.name_deployed(endpoint).items()}
    split = {}
    for word in options.share:
        name, _, percent = word.rpartition("=")
        if name not in ids or not re.fullmatch(r"\d{1,3}", percent):
            raise SpecError(f"{word}: write MODEL=PERCENT; models are {', '.join(ids) or 'none'}")
        split[ids[name]] = int(percent)
    if sum(split.values()) != 100:
        raise SpecError(
            f"the percents sum to {sum(split.values())}, not to 100; nothing was changed"
        )
    body = {"name": endpoint["name"], "trafficSplit": split}
    what = f"share out the traffic of {options.name}"
    vertex.change("PATCH", endpoint["name"], what, body, updateMask="trafficSplit")
    print(f"{options.name}: {' '.join(f'{name}={split.get(i, 0)}' for name, i in ids.items())}")
    return 0


def logs(options: Namespace) -> int:
    vertex = connect()
    endpoint = find_endpoint(vertex, options.name)
    lines = open_endpoint_log(vertex.connection, endpoint["name"]).read_last(LINES)
    print("".join(f"{line.text}\n" for line in lines), end="")
    if not lines:
        print(f"{options.name}: no line in its log", file=sys.stderr)
    return 0


def undeploy(options: Namespace) -> int:
    vertex = connect()
    endpoint = find_endpoint(vertex, options.name)
    names = plan.name_deployed(endpoint)
    if options.model and options.model not in names.values():
        there = ", ".join(names.values()) or "none"
        raise SpecError(f"{options.model}: not on {options.name}; there is {there}")
    for number, name in names.items():
        if options.model in (None, name):
            take_off(vertex, look_at(vertex, endpoint["name"]), number)
            print(f"undeployed {name}: no cost any more", flush=True)
    return 0


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


def take_off(vertex: Vertex, endpoint: dict, number: str) -> None:
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
