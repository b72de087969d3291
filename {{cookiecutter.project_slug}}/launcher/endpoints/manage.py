"""The verbs of scripts/endpoints.py but one: list, share out traffic, read logs, undeploy.

Each returns the exit code.
"""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from dataclasses import dataclass

from launcher.common.document import SpecError
from launcher.common.terminal import print_table
from launcher.common.times import format_time, seconds_between
from launcher.cost.prices import dollars
from launcher.endpoints import deploy, plan
from launcher.endpoints.service import Service, connect, find_endpoint

COLUMNS = ("endpoint", "model", "traffic", "machines", "since", "until", "a day", "so far")
LINES = 200  # of a log


@dataclass(frozen=True)
class Row:
    """A model on an endpoint, and what it costs in USD; None is unknown."""

    endpoint: dict
    deployed: dict
    region: str

    @property
    def hourly(self) -> float | None:
        resources = self.deployed.get("dedicatedResources")
        return plan.price_per_hour(resources, self.region) if resources else None

    @property
    def spent(self) -> float | None:
        hours = seconds_between(self.deployed["createTime"], None) / 3600
        return None if self.hourly is None else hours * self.hourly

    @property
    def cells(self) -> tuple[str, ...]:
        deployed, labels = self.deployed, self.endpoint.get("labels", {})
        share = self.endpoint.get("trafficSplit", {}).get(deployed["id"], 0)
        resources = deployed.get("dedicatedResources", {})
        machine = resources.get("machineSpec", {}).get("machineType", "?")
        until = plan.read_until(labels)
        return (
            self.endpoint["displayName"],
            plan.name_deployed(deployed),
            f"{share} %",
            f"{resources.get('minReplicaCount', '?')} × {machine}",
            format_time(deployed["createTime"]),
            until.strftime("%Y-%m-%d %H:%M") if until else "–",
            "unknown" if self.hourly is None else dollars(24 * self.hourly),
            "unknown" if self.spent is None else dollars(self.spent),
        )


def list_(_: Namespace) -> int:
    service = connect()
    endpoints = service.list_endpoints()
    rows = [row for endpoint in endpoints for row in list_rows(service, endpoint)]
    if rows:
        print_table(COLUMNS, [row.cells for row in rows])
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
    service = connect()
    endpoint = find_endpoint(service, options.name)
    ids = {plan.name_deployed(one): one["id"] for one in endpoint.get("deployedModels", ())}
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
    service.change("PATCH", endpoint["name"], what, body, updateMask="trafficSplit")
    print(f"{options.name}: {' '.join(f'{name}={split.get(i, 0)}' for name, i in ids.items())}")
    return 0


def logs(options: Namespace) -> int:
    service = connect()
    endpoint = find_endpoint(service, options.name)
    lines = service.read_log(endpoint["name"], LINES)
    print("".join(f"{line}\n" for line in lines), end="")
    if not lines:
        print(f"{options.name}: no line in its log", file=sys.stderr)
    return 0


def undeploy(options: Namespace) -> int:
    service = connect()
    endpoint = find_endpoint(service, options.name)
    names = [plan.name_deployed(one) for one in endpoint.get("deployedModels", ())]
    if options.model and options.model not in names:
        raise SpecError(
            f"{options.model}: not on {options.name}; there is {', '.join(names) or 'none'}"
        )
    for one in endpoint.get("deployedModels", ()):
        name = plan.name_deployed(one)
        if options.model in (None, name):
            deploy.undeploy(service, service.get_endpoint(endpoint["name"]), one["id"])
            print(f"undeployed {name}: no cost any more", flush=True)
    return 0


def list_rows(service: Service, endpoint: dict) -> list[Row]:
    """The models on an endpoint."""
    region = service.connection.region
    return [Row(endpoint, one, region) for one in endpoint.get("deployedModels", ())]
