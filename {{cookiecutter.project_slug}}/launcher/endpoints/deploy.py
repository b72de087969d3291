"""From a run to an address that answers: build the image, upload, create, deploy, ask once.

A failure removes what this command created, and nothing else. After a kill, the same command finds by
labels what is there and resumes; `endpoints.py cleanup` finds it, too.
"""

import argparse
import contextlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from launcher.cloud import fetch, storage
from launcher.cloud.code import Image, repository_url
from launcher.cloud.errors import CloudError
from launcher.cloud.storage import Store
from launcher.cloud.submission import ID
from launcher.cloud.vertex import UnknownFate, Vertex, connect
from launcher.cloud.watch import open_endpoint_log
from launcher.common.document import SpecError
from launcher.common.files import write_file
from launcher.endpoints import commands, compare, plan
from launcher.endpoints.ask import predict_url
from launcher.endpoints.manage import delete, find_deployed, look_at, take_off
from launcher.endpoints.plan import Plan
from launcher.local import serving
from launcher.local.run_dirs import RUNS
from launcher.project.buckets import find_uri_problem
from launcher.project.settings import read_settings
from launcher.report import runs

COPIES = RUNS / ".models"  # of what was in a bucket
HEAVY = "^(checkpoints|logs)/"  # of a run: no model needs them
SHOWN = 15  # lines of a replica's log

Made = list[tuple[str, Callable[[], object]]]  # what was created: (its name, what removes it)


def deploy(options: argparse.Namespace) -> int:
    """Put a model on Vertex AI; return the exit code.

    Args:
        options: of the command line: run, config, traffic, until, kind, instance, dry_run.

    Raises:
        SpecError: what failed and why; what was created is removed again.
    """
    choices = {"traffic": options.traffic, "until": options.until, "kind": options.kind}
    this, vertex = prepare(options.run, options.config, options.dry_run, **choices)
    region, model_dir = this.settings.region, this.model_dir
    price = plan.describe_price(this.deployment, region)
    if options.dry_run:
        print(f"# price: {price}")
        print("# Nothing was built or sent. In a project that has nothing yet:")
        print("\n".join(commands.to_shell(this.settings, this.steps())))
        return 0
    print(f"price: {price}", flush=True)
    try:
        with removing_after_failure() as made:
            model = upload(vertex, this, made)
            name = _provide_endpoint(vertex, this, made)
            endpoint = _deploy(vertex, this, name, model, made)
            number = find_deployed(endpoint, model)["id"]
            if options.kind != "private":  # which this machine need not reach
                url = predict_url(endpoint, region)
                share = int(endpoint.get("trafficSplit", {}).get(number, 0))
                compare.compare(vertex.connection, model_dir, url, options.instance, number, share)
            if this.share == 100:  # not sooner: a default version cannot be removed
                path, body = f"{model}:mergeVersionAliases", {"versionAliases": ["default"]}
                vertex.change("POST", path, "set the default version", body)
    except KeyboardInterrupt:
        again = (
            "the same command resumes; python scripts/endpoints.py cleanup removes what is there"
        )
        raise SpecError(f"interrupted: what was begun continues on Vertex AI; {again}") from None
    shown = endpoint["displayName"]
    if options.kind == "private":
        print(_explain_private(this, endpoint, model))
    else:
        print(f"address: {predict_url(endpoint, region)}")
        print(f"ask: python scripts/predict.py FILE --endpoint {shown}")
    print(f"price: {price}; nobody undeploys it by itself")
    name = plan.name_deployed(endpoint)[number]
    print(f"undo: python scripts/endpoints.py undeploy {shown} {shlex.quote(name)}", flush=True)
    record_version(model_dir, model, vertex)
    return 0


def prepare(
    source: str | None, config: Path, dry_run: bool, **choices
) -> tuple[Plan, Vertex | None]:
    """What is to be sent for a run, and where to.

    Args:
        source: a run's directory, or gs://…; None: the newest run that has a model.
        dry_run: connect only where the model is in a bucket.
        choices: of `Plan`.
    """
    settings = read_settings()
    if faults := settings.missing("project", "region", "image_repository"):
        raise SpecError(*faults)
    remote = bool(source) and source.startswith("gs://")
    vertex = connect() if remote or not dry_run else None
    if remote:
        model_dir = _copy_model(source, Store(vertex.connection))
    else:
        model_dir = runs.find_model(Path(source) if source else None)
    run_dir = _find_run(model_dir)
    study = run_dir.resolve().parent
    name = f"{study.name}-{run_dir.name}" if (study / runs.STUDY).is_file() else run_dir.name
    tag, names, arguments = serving.describe_image(model_dir)
    uri = f"{repository_url(settings)}/{tag}"
    image = Image(settings, uri, serving.DOCKERFILE, names, arguments)
    return Plan(name, model_dir, image, config=config, **choices), vertex


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


def record_version(model_dir: Path, version: str, vertex: Vertex) -> None:
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
        Store(vertex.connection).upload(text.encode(), f"{source}/run.json")


def _explain_private(this: Plan, endpoint: dict, model: str) -> str:
    """How one's network reaches a private endpoint, and what was not tried."""
    deployed = find_deployed(endpoint, model)
    attachment = deployed.get("privateEndpoints", {}).get("serviceAttachment", "ATTACHMENT")
    name = endpoint["displayName"]
    there = f"--project={this.settings.project} --region={this.settings.region}"
    return f"""no prediction was made: only a network that is connected to it reaches this endpoint. Once for a network:
  gcloud compute addresses create {name} {there} --subnet=SUBNET
  gcloud compute forwarding-rules create {name} {there} --network=NETWORK --address={name} --target-service-attachment={attachment}
Then on a machine in that network, where ADDRESS is the one that was created:
  python -c 'from google.cloud import aiplatform; print(aiplatform.PrivateEndpoint("{endpoint["name"]}").predict([INSTANCE], endpoint_override="ADDRESS"))'
Compare its answer with: python scripts/predict.py FILE --model {shlex.quote(str(this.model_dir))}"""


def upload(vertex: Vertex, this: Plan, made: Made) -> str:
    """The version's resource name, "…/models/7@2"; it and its image are uploaded where they are missing."""
    if this.image:
        this.image.provide(Store(vertex.connection))

    def find() -> dict | None:
        """The version of this plan, of any model of this repo."""
        for model in vertex.list("models", "list the models", vertex.own):
            name = model["name"].partition("@")[0]
            wanted = {"filter": f'labels.{ID}="{this.labels[ID]}"'}
            answer = vertex.get(f"{name}:listVersions", "list the model's versions", **wanted)
            for version in answer.get("models", ()):
                return {"model": name, "modelVersionId": version["versionId"]}
        return None

    if version := find():
        print("model: uploaded already", flush=True)
    else:
        models = vertex.list("models", "list the models", vertex.own)
        display = this.model["displayName"]
        same = [model["name"] for model in models if model["displayName"] == display]
        parent, kind = (same[0].partition("@")[0], "version") if same else ("", "model")
        version = vertex.create(this.upload(parent), find)
        name = "{model}@{modelVersionId}".format(**version)
        made.append((f"{kind} {name}", partial(delete, vertex, kind, name)))
    name = "{model}@{modelVersionId}".format(**version)
    print(f"model: {name}", flush=True)
    return name


def _provide_endpoint(vertex: Vertex, this: Plan, made: Made) -> str:
    """The endpoint's resource name; it is created where it is missing."""
    wanted = this.endpoint

    def find() -> dict | None:
        own = vertex.list("endpoints", "list the endpoints", vertex.own)
        return next((e for e in own if e["displayName"] == wanted["displayName"]), None)

    endpoint = find()
    if endpoint is None:
        endpoint = vertex.create(this.create_endpoint(), find)
        name = endpoint["name"]
        made.append((f"endpoint {name}", partial(delete, vertex, "endpoint", name)))
    elif (there := endpoint.get("labels", {})) != (labels := there | wanted["labels"]):
        changed = {"name": endpoint["name"], "labels": labels}  # an earlier --until stays
        what = "change the endpoint's labels"
        vertex.change("PATCH", endpoint["name"], what, changed, updateMask="labels")
    print(f"endpoint: {endpoint['name']}", flush=True)
    return endpoint["name"]


def _deploy(vertex: Vertex, this: Plan, name: str, model: str, made: Made) -> dict:
    """Deploy a version, unless it is there or on its way; return the endpoint as it is then."""

    def find() -> dict | None:
        there = look_at(vertex, name)
        if not find_deployed(there, model) and (running := vertex.find_operation(name)):
            vertex.wait(running, f"deploy {this.name}")
            there = look_at(vertex, name)
        return there if find_deployed(there, model) else None

    if there := find():
        print("deployed already; its traffic: python scripts/endpoints.py list", flush=True)
        return there
    endpoint = look_at(vertex, name)  # not sooner: `find` waits for what others deploy
    others = {one["id"]: 0 for one in endpoint.get("deployedModels", ())}
    others |= {key: int(share) for key, share in endpoint.get("trafficSplit", {}).items()}
    if not others and this.share != 100:
        raise SpecError(
            f"{this.share} % of the traffic: there is no other model on this endpoint, and the percents "
            'sum to 100; leave --traffic out, or write trafficSplit: {"0": 100} in the file'
        )
    print(f"deploying {this.name}: this takes 5 to 20 minutes", flush=True)
    undo = partial(_remove_deployed, vertex, name, model, others)
    made.append((f"deployment of {this.name}", undo))
    vertex.create(this.deploy(name, model, others), find)
    return look_at(vertex, name)


@contextlib.contextmanager
def removing_after_failure() -> Iterator[Made]:
    """Yield a list for what is created in the block; after a failure remove it, the last thing first."""
    made: Made = []
    try:
        yield made
    except UnknownFate:
        raise  # what may still start must not lose what it needs
    except SpecError:
        for name, remove in reversed(made):
            try:
                remove()
                print(f"removed the {name}", file=sys.stderr, flush=True)
            except CloudError as error:
                again = "python scripts/endpoints.py cleanup removes it"
                print(f"error: the {name} stays: {error}; {again}", file=sys.stderr, flush=True)
        raise


def _remove_deployed(vertex: Vertex, name: str, model: str, before: Mapping[str, int]) -> None:
    """Print what a version's replicas have said last, and take it off its endpoint, if it is there.

    The others get the percents of the traffic that they had `before`.
    """
    try:
        lines = [line.text for line in open_endpoint_log(vertex.connection, name).read_last(SHOWN)]
    except CloudError as error:
        lines = [f"its log: {error}"]
    lines = lines or ["no line in its log: run the same container here, by scripts/serve.py"]
    print("".join(f"  {line}\n" for line in lines), end="", file=sys.stderr, flush=True)
    endpoint = look_at(vertex, name)
    if one := find_deployed(endpoint, model):
        take_off(vertex, {**endpoint, "trafficSplit": before}, one["id"])
