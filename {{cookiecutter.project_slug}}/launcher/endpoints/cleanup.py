"""Finds what this project has in Google Cloud, and deletes it after a confirmation.

Ours is what bears the project's label; an image that has the project's own name in its repository; an
object in the project's own folder of scratch/. What a job that has not ended names stays.
"""

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
from launcher.cloud.remote_job import COLLECTIONS, ENDED, read_state
from launcher.cloud.storage import Store
from launcher.cloud.vertex import Vertex, connect
from launcher.common.terminal import confirm, printable
from launcher.common.times import format_age, seconds_between
from launcher.cost.prices import dollars
from launcher.endpoints import manage, plan
from launcher.project.settings import Settings, image_name, read_settings

JOBS = (*COLLECTIONS, "batchPredictionJobs")
STOPPED = ("STOPPING", "STOPPED", "SUSPENDING", "SUSPENDED", "DELETED")  # only disks are billed
API_OFF = "SERVICE_DISABLED|has not been used|is disabled"
IMAGES = Need("roles/artifactregistry.repoAdmin")
INSTANCES = Need("roles/notebooks.admin")
PAGE = {"pageSize": 100}
UNKNOWN = "unknown cost"


@dataclass(frozen=True)
class Thing:
    """Something that may be deleted."""

    kind: str
    name: str  # for people
    created: str  # RFC 3339
    cost: str  # so far
    delete: Callable[[], object]

    @property
    def age(self) -> float:
        """Seconds since it was created."""
        return seconds_between(self.created, None)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {format_age(self.age)} old, {self.cost}"


def cleanup(options: Namespace) -> int:
    """List what is this project's, and delete it after a confirmation; return the exit code."""
    vertex, settings, code = connect(), read_settings(), 0
    jobs = [job for kind in JOBS for job in vertex.list(kind, "list the jobs", vertex.own)]
    busy = json.dumps([job for job in jobs if read_state(job) not in ENDED])
    finders = _find_endpoints, _find_models, _find_boards
    finders += _find_images, _find_objects, _find_instances
    things: list[Thing] = []
    for find in finders:
        try:
            things += [one for one in find(vertex, settings, busy) if one.age >= options.older]
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


def _find_endpoints(vertex: Vertex, *_) -> Iterator[Thing]:
    for endpoint in vertex.list("endpoints", "list the endpoints", vertex.own):
        rows = list(manage.list_rows(vertex, endpoint))
        costs = [spent for _, spent in rows]
        models = ", ".join(f"{cells[1]} with {cells[2]} of the traffic" for cells, _ in rows)
        name = f"{endpoint['displayName']} ({models or 'no model on it'})"
        cost = UNKNOWN if None in costs else f"{dollars(sum(costs))} so far by these models"
        delete = partial(_delete_endpoint, vertex, endpoint)
        yield Thing("endpoint", name, endpoint["createTime"], cost if rows else "no cost", delete)


def _find_models(vertex: Vertex, _: Settings, busy: str) -> Iterator[Thing]:
    for model in vertex.list("models", "list the models", vertex.own):
        name = f"{model['displayName']} with all its versions"
        delete = partial(manage.delete, vertex, "model", model["name"])
        path = model["name"].partition("/locations/")[2].partition("@")[0]
        if not re.search(rf"/{path}\b", busy):  # by a batch prediction
            yield Thing("model", name, model["createTime"], "no cost", delete)


def _find_boards(vertex: Vertex, settings: Settings, busy: str) -> Iterator[Thing]:
    for board in vertex.list("tensorboards", "list the TensorBoards", vertex.own):
        name = board["name"]
        if name.partition("/locations/")[2] not in busy + settings.tensorboard:
            delete = partial(vertex.change, "DELETE", name, "delete the TensorBoard")
            yield Thing("TensorBoard", board["displayName"], board["createTime"], UNKNOWN, delete)


def _find_images(vertex: Vertex, settings: Settings, busy: str) -> Iterator[Thing]:
    """Those of training and of serving; of the latter, a model has kept a copy since its upload."""
    if not settings.image_repository:
        return
    root = f"{clients.endpoint('artifactregistry')}/v1"
    registry = Vertex(vertex.connection, root=root, need=IMAGES)
    parent = f"{vertex.parent}/repositories/{settings.image_repository}"
    url, own = f"{root}/{parent}/dockerImages", (image_name(), f"{image_name()}-serving")
    images = vertex.connection.list_pages("list the images", IMAGES, url, "dockerImages", PAGE)
    for image in images:
        name, _, digest = image["name"].rpartition("/")[2].partition("@")
        tags = image.get("tags") or []
        ways = [f"/{name}@{digest}", *(f"/{name}:{tag}" for tag in tags)]  # to write its address
        if name in own and not any(way in busy for way in ways):
            path = f"{parent}/packages/{name}/versions/{digest}?force=true"  # its tags, too
            delete = partial(registry.change, "DELETE", path, "delete the image")
            size = f"{int(image.get('imageSizeBytes', 0)) / 1e9:.1f} GB"
            title = ":".join([name, *tags[:1]])
            yield Thing("image", title, image["uploadTime"], size, delete)


def _find_objects(vertex: Vertex, settings: Settings, busy: str) -> Iterator[Thing]:
    """The folders in the project's own folder of scratch/; the bucket may be that of several."""
    folder = f"gs://{settings.bucket}/scratch/{settings.slug}"
    store, folders = Store(vertex.connection), defaultdict(list)
    for name, blob in store.list_blobs("list", folder).items() if settings.bucket else ():
        folders[f"{folder}/{name.partition('/')[0]}"].append(blob)
    for name, blobs in folders.items():
        newest = max(blob.time_created for blob in blobs).isoformat()
        size = f"{len(blobs)} objects, {sum(blob.size for blob in blobs) / 1e9:.1f} GB"
        if name not in busy:
            yield Thing("scratch", name, newest, size, partial(store.delete, blobs))


def _find_instances(vertex: Vertex, *_) -> Iterator[Thing]:
    """Workbench instances of all zones that bear the label and are running."""
    root = f"{clients.endpoint('notebooks')}/v2"
    notebooks = Vertex(vertex.connection, root=root, need=INSTANCES)
    url = f"{root}/projects/{vertex.connection.project}/locations/-/instances"
    what = "list the Workbench instances"
    for one in vertex.connection.list_pages(what, INSTANCES, url, "instances", PAGE):
        own = (one.get("labels") or {}).get("project") == vertex.label
        if own and one.get("state") not in STOPPED:
            path, created = one["name"], one["createTime"]
            machine = (one.get("gceSetup") or {}).get("machineType", "").rpartition("/")[2]
            name = f"{path.rpartition('/')[2]} ({machine}) with the files on its disks"
            hourly = plan.price_machine(machine, vertex.connection.region)
            price = hourly and dollars(hourly * seconds_between(created, None) / 3600)
            cost = f"at most about {price} so far, plus its disks" if price else UNKNOWN
            delete = partial(notebooks.change, "DELETE", path, "delete the Workbench instance")
            yield Thing("Workbench instance", name, created, cost, delete)


def _delete_endpoint(vertex: Vertex, endpoint: dict) -> None:
    """Wait for what is being done to an endpoint, take its models off, and delete it."""
    name = endpoint["name"]
    manage.settle(vertex, name)  # such as a deployment that nobody waits for
    for one in manage.look_at(vertex, name).get("deployedModels", ()):
        manage.take_off(vertex, manage.look_at(vertex, name), one["id"])
    manage.delete(vertex, "endpoint", name)
