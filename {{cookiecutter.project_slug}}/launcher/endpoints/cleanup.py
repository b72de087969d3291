"""Finds what this project has in Google Cloud, and deletes it after a confirmation.

Ours is what bears the project's label; an image that has the project's own name in its repository; an
object in the project's own folder of scratch/. What a job that has not ended names stays.
"""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from launcher.cloud import clients
from launcher.cloud.clients import Need
from launcher.cloud.errors import CloudError
from launcher.cloud.remote_job import ENDED, read_state
from launcher.cloud.storage import Store
from launcher.common.terminal import confirm, printable
from launcher.common.times import format_age, seconds_between
from launcher.cost.prices import dollars
from launcher.endpoints import deploy, plan
from launcher.endpoints.manage import list_rows
from launcher.endpoints.service import PAGE, Service, connect
from launcher.project.settings import Settings, image_name, read_settings

JOBS = ("customJobs", "hyperparameterTuningJobs", "batchPredictionJobs")
STOPPED = ("STOPPING", "STOPPED", "SUSPENDING", "SUSPENDED", "DELETED")  # only disks are billed
API_OFF = "SERVICE_DISABLED|has not been used|is disabled"
IMAGES = Need("roles/artifactregistry.repoAdmin")
INSTANCES = Need("roles/notebooks.admin")
UNKNOWN = "unknown cost"


@dataclass(frozen=True)
class Thing:
    """Something that may be deleted."""

    kind: str
    name: str  # for people
    age: float  # seconds since it was created
    cost: str  # so far
    delete: Callable[[], object]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {format_age(self.age)} old, {self.cost}"


def cleanup(options: Namespace) -> int:
    """List what is this project's, and delete it after a confirmation; return the exit code."""
    service, settings, code = connect(), read_settings(), 0
    busy = _describe_running(service)
    things: list[Thing] = []
    for find in FINDERS:
        try:
            things += [one for one in find(service, settings, busy) if one.age >= options.older]
        except CloudError as error:
            if error.status == 404 or re.search(API_OFF, str(error)):
                continue  # without the API, the repository or the bucket, there is nothing
            print(f"error: {error}", file=sys.stderr, flush=True)
            code = 2
    print("".join(f"{printable(str(thing))}\n" for thing in things), end="", flush=True)
    if not things:
        print("nothing of this project to clean up")
        return code
    if not options.yes:
        confirm("Delete all of these?", "nothing was deleted", "give --yes")
    for thing in things:
        try:
            thing.delete()
        except CloudError as error:
            if error.status != 404:  # else somebody was faster
                print(f"error: the {thing.kind} {thing.name} stays: {error}", file=sys.stderr)
                code = 2
                continue
        print(f"deleted the {thing.kind} {thing.name}", flush=True)
    return code


def _find_endpoints(service: Service, *_) -> Iterator[Thing]:
    for endpoint in service.list_endpoints():
        rows = list_rows(service, endpoint)
        costs = [row.spent for row in rows]
        models = ", ".join(f"{row.cells[1]} with {row.cells[2]} of the traffic" for row in rows)
        name = f"{endpoint['displayName']} ({models or 'no model on it'})"
        cost = UNKNOWN if None in costs else f"{dollars(sum(costs))} so far by these models"
        delete = partial(_delete_endpoint, service, endpoint)
        yield Thing("endpoint", name, _read_age(endpoint), cost if rows else "no cost", delete)


def _find_models(service: Service, *_) -> Iterator[Thing]:
    for model in service.list_models():
        name = f"{model['displayName']} with all its versions"
        delete = partial(deploy.delete, service, "model", model["name"])
        yield Thing("model", name, _read_age(model), "no cost", delete)


def _find_boards(service: Service, settings: Settings, busy: str) -> Iterator[Thing]:
    for board in service.list_own("tensorboards", "list the TensorBoards"):
        name = board["name"]
        if name.partition("/locations/")[2] not in busy + settings.tensorboard:
            delete = partial(service.change, "DELETE", name, "delete the TensorBoard")
            yield Thing("TensorBoard", board["displayName"], _read_age(board), UNKNOWN, delete)


def _find_images(service: Service, settings: Settings, busy: str) -> Iterator[Thing]:
    """Those of training and of serving; of the latter, a model has kept a copy since its upload."""
    if not settings.image_repository:
        return
    root = f"{clients.endpoint('artifactregistry')}/v1"
    parent = f"{service.parent}/repositories/{settings.image_repository}"
    url, own = f"{root}/{parent}/dockerImages", (image_name(), f"{image_name()}-serving")
    images = service.connection.list_pages("list the images", IMAGES, url, "dockerImages", PAGE)
    for image in images:
        name, _, digest = image["name"].rpartition("/")[2].partition("@")
        tags = image.get("tags") or []
        ways = [f"/{name}@{digest}", *(f"/{name}:{tag}" for tag in tags)]  # to write its address
        if name in own and not any(way in busy for way in ways):
            path = f"{parent}/packages/{name}/versions/{digest}?force=true"  # its tags, too
            delete = partial(service.change_at, root, IMAGES, "DELETE", path, "delete the image")
            size = f"{int(image.get('imageSizeBytes', 0)) / 1e9:.1f} GB"
            title = ":".join([name, *tags[:1]])
            yield Thing("image", title, _read_age(image, "uploadTime"), size, delete)


def _find_objects(service: Service, settings: Settings, busy: str) -> Iterator[Thing]:
    """The folders in the project's own folder of scratch/; the bucket may be that of several."""
    folder = f"gs://{settings.bucket}/scratch/{settings.slug}"
    store, folders = Store(service.connection), defaultdict(list)
    for name, blob in store.list_blobs("list", folder).items() if settings.bucket else ():
        folders[f"{folder}/{name.partition('/')[0]}"].append(blob)
    for name, blobs in folders.items():
        newest = max(blob.time_created for blob in blobs).isoformat()
        size = f"{len(blobs)} objects, {sum(blob.size for blob in blobs) / 1e9:.1f} GB"
        if name not in busy:
            delete = partial(_delete_objects, store, blobs)
            yield Thing("scratch", name, seconds_between(newest, None), size, delete)


def _find_instances(service: Service, *_) -> Iterator[Thing]:
    """Workbench instances of all zones that bear the label and are running."""
    root = f"{clients.endpoint('notebooks')}/v2"
    url = f"{root}/projects/{service.connection.project}/locations/-/instances"
    what = "list the Workbench instances"
    for one in service.connection.list_pages(what, INSTANCES, url, "instances", PAGE):
        own = (one.get("labels") or {}).get("project") == service.label
        if own and one.get("state") not in STOPPED:
            path, age = one["name"], _read_age(one)
            machine = (one.get("gceSetup") or {}).get("machineType", "").rpartition("/")[2]
            name = f"{path.rpartition('/')[2]} ({machine}) with the files on its disks"
            resources = {"machineSpec": {"machineType": machine}}
            hourly = plan.price_per_hour(resources, service.connection.region)
            most = hourly and f"at most about {dollars(hourly * age / 3600)} so far, plus its disks"
            what = "delete the Workbench instance"
            delete = partial(service.change_at, root, INSTANCES, "DELETE", path, what)
            yield Thing("Workbench instance", name, age, most or UNKNOWN, delete)


FINDERS = (
    _find_endpoints,
    _find_models,
    _find_boards,
    _find_images,
    _find_objects,
    _find_instances,
)


def _describe_running(service: Service) -> str:
    """The messages of this project's jobs that have not ended, as JSON."""
    jobs = [job for kind in JOBS for job in service.list_own(kind, "list the jobs")]
    return json.dumps([job for job in jobs if read_state(job) not in ENDED])


def _read_age(resource: dict, field: str = "createTime") -> float:
    return seconds_between(resource[field], None)


def _delete_objects(store: Store, blobs: list) -> None:
    for blob in blobs:
        store.delete(blob)


def _delete_endpoint(service: Service, endpoint: dict) -> None:
    """Wait for what is being done to an endpoint, take its models off, and delete it."""
    name = endpoint["name"]
    if running := service.find_operation(name):
        print(f"{endpoint['displayName']}: waiting for what is being done to it", flush=True)
        try:
            service.wait(running, "wait for the endpoint")
        except CloudError as error:
            print(error, file=sys.stderr)  # how a deployment ended that nobody waits for
    for one in service.get_endpoint(name).get("deployedModels", ()):
        deploy.undeploy(service, service.get_endpoint(name), one["id"])
    deploy.delete(service, "endpoint", name)
