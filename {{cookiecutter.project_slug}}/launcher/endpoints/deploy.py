"""From a run to an address that answers: build the image, upload, create, deploy, ask once.

A failure removes what this command created, and nothing else. After a kill, the same command finds by
labels what is there and resumes; `endpoints.py cleanup` finds it, too.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from launcher.cloud import fetch, storage
from launcher.cloud.code import Recipe, Registry, repository_url
from launcher.cloud.errors import CloudError
from launcher.cloud.storage import Store
from launcher.cloud.submission import ID
from launcher.common.document import SpecError
from launcher.common.files import write_file
from launcher.endpoints import commands, compare, plan
from launcher.endpoints.plan import Plan
from launcher.endpoints.service import Service, UnknownFate, connect, predict_url
from launcher.local import serving
from launcher.local.run_dirs import RUNS
from launcher.project.buckets import find_uri_problem
from launcher.project.settings import Settings, read_settings
from launcher.report import runs

COPIES = RUNS / ".models"  # of what was in a bucket
HEAVY = "^(checkpoints|logs)/"  # of a run: no model needs them
SHOWN = 15  # lines of a replica's log


def deploy(options: argparse.Namespace) -> int:
    """Put a model on Vertex AI; return the exit code.

    Args:
        options: of the command line: run, config, traffic, until, kind, instance, dry_run.

    Raises:
        SpecError: what failed and why; what was created is removed again.
    """
    choices = {"traffic": options.traffic, "until": options.until, "kind": options.kind}
    this, model_dir, recipe, service = prepare(
        options.run, options.config, options.dry_run, **choices
    )
    settings = this.settings
    price = plan.describe_price(this.deployment, settings.region)
    if options.dry_run:
        print(f"# price: {price}")
        print("# Nothing was built or sent. In a project that has nothing yet:")
        print("\n".join(commands.to_shell(settings, this.steps())))
        return 0
    print(f"price: {price}", flush=True)
    made: list[tuple[str, str]] = []  # (kind, name) of what this very command created
    try:
        model = upload(service, this, recipe, made)
        endpoint = _provide_endpoint(service, this, made)
        endpoint = _deploy(service, this, endpoint, model, made)
        if options.kind != "private":  # which this machine need not reach
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
        undo(service, made)
        raise
    shown = endpoint["displayName"]
    if options.kind == "private":
        print(_explain_private(endpoint, model, settings, model_dir))
    else:
        print(f"address: {predict_url(endpoint, settings.region)}")
        print(f"ask: python scripts/predict.py FILE --endpoint {shown}")
    print(f"price: {price}; nobody undeploys it by itself")
    print(f"undo: python scripts/endpoints.py undeploy {shown} {this.name}", flush=True)
    record_version(model_dir, model, service)
    return 0


def prepare(
    source: str | None, config: Path, dry_run: bool, **choices
) -> tuple[Plan, Path, Recipe, Service | None]:
    """What is to be sent for a run, its model here, what its image is built from, and the service.

    Args:
        source: a run's directory, or gs://…; None: the newest run that has a model.
        dry_run: connect only where the model is in a bucket.
        choices: of `plan.make_plan`.
    """
    settings = read_settings()
    if faults := settings.missing("project", "region", "image_repository"):
        raise SpecError(*faults)
    remote = bool(source) and source.startswith("gs://")
    service = connect() if remote or not dry_run else None
    if remote:
        model_dir = _copy_model(source, Store(service.connection))
    else:
        model_dir = runs.find_model(Path(source) if source else None)
    run_dir = _find_run(model_dir)
    study = run_dir.resolve().parent
    name = f"{study.name}-{run_dir.name}" if (study / runs.STUDY).is_file() else run_dir.name
    tag, names, arguments = serving.describe_image(model_dir)
    this = plan.make_plan(name, f"{repository_url(settings)}/{tag}", config=config, **choices)
    return this, model_dir, Recipe(serving.DOCKERFILE, names, arguments), service


def _find_run(model_dir: Path) -> Path:
    return model_dir.parent if model_dir.name == "model" else model_dir


def _copy_model(source: str, store: Store) -> Path:
    """Copy a model from a bucket, with its run record if it has one; return where it is here.

    Args:
        source: gs://…, a run's folder, or a model's.
    """
    source = source.rstrip("/")
    if problem := find_uri_problem(source) or (source.count("/") < 3 and "name a folder in it"):
        raise SpecError(f"{source}: {problem}")
    parent = source.removesuffix("/model")
    if parent != source and store.exists(f"{parent}/run.json"):
        source = parent
    target = COPIES / source.removeprefix("gs://")
    if not storage.download_folder(store, source, target, HEAVY) and not target.is_dir():
        raise SpecError(f"{source}: there is nothing; name the folder of a run, or of its model")
    return runs.find_model(target)


def record_version(model_dir: Path, version: str, service: Service) -> None:
    """Write a model version into the run's record, here and in the bucket that it came from."""
    run_dir = _find_run(model_dir)
    path = run_dir / "run.json"
    if not path.is_file():  # a model without its run
        return
    record = json.loads(path.read_text(encoding="utf-8"))
    record["model_versions"] = sorted({*record.get("model_versions", ()), version})
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    write_file(path, text)
    source = fetch.read_source(run_dir)
    if run_dir.is_relative_to(COPIES):
        source = f"gs://{run_dir.relative_to(COPIES).as_posix()}"
    if source:
        Store(service.connection).upload(text.encode(), f"{source}/run.json")


def _explain_private(endpoint: dict, model: str, settings: Settings, model_dir: Path) -> str:
    """How one's network reaches a private endpoint, and what was not tried."""
    deployed = find_deployed(endpoint, model)
    attachment = deployed.get("privateEndpoints", {}).get("serviceAttachment", "ATTACHMENT")
    name, there = (
        endpoint["displayName"],
        f"--project={settings.project} --region={settings.region}",
    )
    return f"""no prediction was made: only a network that is connected to it reaches this endpoint. Once for a network:
  gcloud compute addresses create {name} {there} --subnet=SUBNET
  gcloud compute forwarding-rules create {name} {there} --network=NETWORK --address={name} --target-service-attachment={attachment}
Then on a machine in that network, where ADDRESS is the one that was created:
  python -c 'from google.cloud import aiplatform; print(aiplatform.PrivateEndpoint("{endpoint["name"]}").predict([INSTANCE], endpoint_override="ADDRESS"))'
Compare its answer with: python scripts/predict.py FILE --model {model_dir}"""


def upload(service: Service, this: Plan, recipe: Recipe, made: list) -> str:
    """The version's resource name, "…/models/7@2"; it and its image are uploaded where they are missing.

    Args:
        made: gets what was created, for `undo`.
    """
    if this.image:
        Registry(this.settings, Store(service.connection)).provide(this.image, recipe)

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


def undo(service: Service, made: list) -> None:
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
