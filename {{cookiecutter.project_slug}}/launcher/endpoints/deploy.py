"""From a run to an address that answers: build the image, upload, create, deploy, ask once.

A failure removes what this command created, and nothing else. After a kill, the same command finds by
labels what is there and resumes; `endpoints.py cleanup` finds it, too.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from launcher.cloud import storage
from launcher.cloud.clients import Connection
from launcher.cloud.code import Recipe, Registry, repository_url
from launcher.cloud.errors import CloudError
from launcher.cloud.storage import Store
from launcher.cloud.submission import ID
from launcher.common.document import SpecError
from launcher.cost.prices import dollars
from launcher.endpoints import compare, files, plan
from launcher.endpoints.plan import Plan
from launcher.endpoints.service import Service, UnknownFate, connect, predict_url
from launcher.local import serving
from launcher.local.run_dirs import RUNS
from launcher.project.settings import read_settings
from launcher.report import runs

SHOWN = 15  # lines of a replica's log


def deploy(options: argparse.Namespace) -> int:
    """Put a model on Vertex AI; return the exit code.

    Args:
        options: of the command line: run, config, traffic, until, shared, instance, dry_run.

    Raises:
        SpecError: what failed and why; what was created is removed again.
    """
    settings = read_settings()
    if faults := settings.missing("project", "region", "image_repository"):
        raise SpecError(*faults)
    service = None if options.dry_run else connect()
    name, model_dir = _find_model(options.run or "", service and service.connection)
    tag, names, arguments = serving.describe_image(model_dir)
    this = plan.make_plan(
        name,
        f"{repository_url(settings)}/{tag}",
        config=options.config,
        traffic=options.traffic,
        until=options.until,
        shared=options.shared,
    )
    resources = this.deployment["deployedModel"]["dedicatedResources"]
    hourly = plan.price_per_hour(resources, settings.region)
    price = "unknown" if hourly is None else f"{dollars(24 * hourly)} a day"
    cost = f"{files.describe(this.deployment)}: {price}, used or not, until it is undeployed"
    if service is None:
        print(f"# {cost}\n# Nothing was built or sent. In a project that has nothing yet:")
        print("\n".join(this.to_curl()))
        return 0
    print(cost, flush=True)
    if this.image:
        recipe = Recipe(serving.DOCKERFILE, names, arguments)
        Registry(settings, Store(service.connection)).provide(this.image, recipe)
    made: list[tuple[str, str]] = []  # (kind, name) of what this very command created
    try:
        model = _upload(service, this, made)
        endpoint = _provide_endpoint(service, this, made)
        endpoint = _deploy(service, this, endpoint, model, made)
        compare.compare(model_dir, predict_url(endpoint, settings.region), options.instance)
        if this.share == 100:  # not sooner: a default version cannot be removed
            body = {"versionAliases": ["default"]}
            service.change("POST", f"{model}:mergeVersionAliases", "set the default version", body)
    except KeyboardInterrupt:
        again = (
            "the same command resumes; python scripts/endpoints.py cleanup removes what is there"
        )
        raise SpecError(f"interrupted: what was begun continues on Vertex AI; {again}") from None
    except UnknownFate:
        raise  # what may still start must not lose what it needs
    except SpecError:
        _print_log(service, made)
        _undo(service, made)
        raise
    name = endpoint["displayName"]
    print(f"address: {predict_url(endpoint, settings.region)}")
    print(f"ask: python scripts/predict.py FILE --endpoint {name}")
    print(f"price: {price}, used or not; nobody undeploys it by itself")
    print(f"undo: python scripts/endpoints.py undeploy {name} {this.name}", flush=True)
    return 0


def _find_model(source: str, connection: Connection | None) -> tuple[str, Path]:
    """A run's name, and its exported model here; one in a bucket is copied below runs/ first.

    Args:
        source: a run's directory, or gs://…; "": the newest run that has a model.
        connection: None: nothing is copied.
    """
    if not source.startswith("gs://"):
        model_dir = runs.find_model(Path(source) if source else None)
        return (model_dir.parent if model_dir.name == "model" else model_dir).name, model_dir
    parts = source.rstrip("/").removesuffix("/model").split("/")
    model_dir = RUNS / ".models" / parts[-1] / "model"
    if connection:
        storage.sync(Store(connection), source, model_dir)
    elif not model_dir.is_dir():
        raise SpecError(
            f"{source}: a dry run copies nothing; fetch its run first, by jobs.py fetch"
        )
    return parts[-1], model_dir


def _upload(service: Service, this: Plan, made: list) -> str:
    """The version's resource name, "…/models/7@2"; it is uploaded where it is missing."""

    def find() -> dict | None:
        version = service.find_version(ID, this.id)
        return version and {
            "model": version["name"].partition("@")[0],
            "modelVersionId": version["versionId"],
        }

    version = find()
    if version:
        print("model: uploaded already", flush=True)
    else:
        display = this.model["displayName"]
        same = [m for m in service.list_models() if m["displayName"] == display]
        parent = same[0]["name"].partition("@")[0] if same else ""
        version = service.create(this.upload(parent), find)
        kind = "version" if parent else "model"
        made.append((kind, f"{version['model']}@{version['modelVersionId']}"))
    name = f"{version['model']}@{version['modelVersionId']}"
    print(f"model: {name}", flush=True)
    return name


def _provide_endpoint(service: Service, this: Plan, made: list) -> dict:
    """The endpoint, which is created where it is missing."""
    wanted = this.endpoint

    def find() -> dict | None:
        own = [e for e in service.list_endpoints() if e["displayName"] == wanted["displayName"]]
        return own[0] if own else None

    endpoint = find()
    if endpoint is None:
        endpoint = service.create(this.create_endpoint(), find)
        made.append(("endpoint", endpoint["name"]))
    elif endpoint.get("labels", {}) != wanted["labels"]:
        changed = {"name": endpoint["name"], "labels": wanted["labels"]}
        what = "change the endpoint's labels"
        service.change("PATCH", endpoint["name"], what, changed, updateMask="labels")
    print(f"endpoint: {endpoint['name']}", flush=True)
    return service.get_endpoint(endpoint["name"])


def _deploy(service: Service, this: Plan, endpoint: dict, model: str, made: list) -> dict:
    """Deploy a version, unless it is there or on its way; return the endpoint as it is then."""
    name = endpoint["name"]

    def find() -> dict | None:
        there = service.get_endpoint(name)
        if not find_deployed(there, model) and (running := service.find_operation(name)):
            service.wait(running, f"deploy {this.name}")
            there = service.get_endpoint(name)
        return there if find_deployed(there, model) else None

    if there := find():
        print("deployed already; its traffic: python scripts/endpoints.py list", flush=True)
        return there
    others = {one["id"]: 0 for one in endpoint.get("deployedModels", ())}
    others |= {key: int(share) for key, share in endpoint.get("trafficSplit", {}).items()}
    if not others and this.share != 100:
        raise SpecError(
            f"--traffic {this.share}: there is no other model on this endpoint, and the percents sum "
            "to 100; leave --traffic out"
        )
    print(f"deploying {this.name}: this takes 5 to 20 minutes", flush=True)
    made.append(("deployment", f"{name} {model}"))
    service.create(this.deploy(name, model, others), find)
    return service.get_endpoint(name)


def find_deployed(endpoint: dict, model: str) -> dict | None:
    """The deployed model of a version, "…/models/7@2"; None where it is not on the endpoint."""
    base, _, version = model.partition("@")
    for one in endpoint.get("deployedModels", ()):
        there, _, suffix = one["model"].partition("@")
        if (
            there.endswith(base.split("/", 2)[2])
            and (one.get("modelVersionId") or suffix) == version
        ):
            return one
    return None


def _print_log(service: Service, made: list) -> None:
    """Print what the replicas of a deployment have said last."""
    for kind, name in made:
        if kind != "deployment":
            continue
        try:
            lines = service.read_log(name.split(" ")[0], SHOWN)
        except CloudError as error:
            lines = [f"its log: {error}"]
        lines = lines or ["no line in its log: run the same container here, by scripts/serve.py"]
        print("".join(f"  {line}\n" for line in lines), end="", file=sys.stderr, flush=True)


def _undo(service: Service, made: list) -> None:
    """Remove what this command created, the last thing first."""
    for kind, name in reversed(made):
        try:
            if kind == "deployment":
                remove_deployed(service, *name.split(" "))
            else:
                delete(service, kind, name)
                print(f"removed the {kind} {name}", file=sys.stderr, flush=True)
        except CloudError as error:
            again = "python scripts/endpoints.py cleanup removes it"
            print(f"error: the {kind} stays: {error}; {again}", file=sys.stderr, flush=True)


def remove_deployed(service: Service, name: str, model: str) -> None:
    """Take a version off an endpoint, if it is there; its traffic goes to the others."""
    endpoint = service.get_endpoint(name)
    if one := find_deployed(endpoint, model):
        undeploy(service, endpoint, one["id"])


def undeploy(service: Service, endpoint: dict, number: str) -> None:
    """Take the deployed model of this id off an endpoint; its traffic goes to the others."""
    split = {key: int(share) for key, share in endpoint.get("trafficSplit", {}).items()}
    split.pop(number, None)
    others = [one["id"] for one in endpoint["deployedModels"] if one["id"] != number]
    rest = plan.share_out({one: split.get(one, 0) for one in others}, 100)
    body = {"deployedModelId": number, "trafficSplit": rest}
    service.change("POST", f"{endpoint['name']}:undeployModel", "undeploy the model", body)


def delete(service: Service, kind: str, name: str) -> None:
    """Delete an endpoint, a model with all its versions, or a version."""
    if kind == "version":
        service.change("DELETE", f"{name}:deleteVersion", "delete the version")
    else:
        service.change("DELETE", name.partition("@")[0], f"delete the {kind}")
