"""The messages by which a model becomes a service, complete before anything is sent.

Nothing here asks a network: `--dry-run` prints what is sent.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from launcher.cloud.code import Image
from launcher.cloud.submission import ID, find_user, join_labels, legal
from launcher.cloud.vertex import Step
from launcher.common.document import SpecError
from launcher.cost import prices
from launcher.cost.prices import dollars
from launcher.endpoints import files
from launcher.jobfile.job import read_pools
from launcher.project.settings import ROOT, read_settings

UNTIL = "%Y%m%d-%H%M"  # a time in UTC, as a label
BASIS = "by the list prices of training; Google lists those of serving apart"
NEW_ENDPOINT, NEW_MODEL = "endpoints/ENDPOINT_ID", "models/MODEL_ID@1"  # of what is not there yet


class Plan:
    """Everything that is known of a deployment before the first request."""

    def __init__(
        self,
        name: str,
        model_dir: Path,
        image: Image,
        *,
        config: Path,
        traffic: int | None = None,
        until: datetime | None = None,
        kind: str = "",
    ):
        """Complete the messages of configs/model.yaml and of `config`.

        Args:
            name: of the run: of the version and of the deployed model.
            image: the project's serving image, with the model in it.
            traffic: percent for the new model; None: as the file says.
            until: when somebody means to take it down; a label, and nothing more.
            kind: of the endpoint: "" has a host of its own; "shared" is the old kind, with smaller
                requests; "private" is reached from one's own network, by Private Service Connect.

        Raises:
            SpecError: a fault in the files or in project.yaml.
        """
        self.name, self.model_dir = name, model_dir
        self.settings = settings = read_settings()
        model = files.load(ROOT / "configs" / "model.yaml", "Model")
        self.deployment = files.load(config, "DeployModelRequest")
        container = dict(model["containerSpec"])
        own = container.get("imageUri", files.OWN_IMAGE) == files.OWN_IMAGE
        self.image = image if own else None  # to be made where it is missing
        if own:
            container["imageUri"] = image.uri
        if settings.service_account:
            given = self.deployment["deployedModel"]
            self.deployment["deployedModel"] = {"serviceAccount": settings.service_account, **given}
        # Percents: FIRST's; of others only where they do not share the rest.
        split = self.deployment.get("trafficSplit", {files.FIRST: 100})
        split = split if traffic is None else {files.FIRST: traffic}
        self.split = {key: int(share) for key, share in split.items()}
        self.share = self.split[files.FIRST]
        display = "-".join(filter(None, (settings.slug, kind)))
        given = settings.project, settings.region, name, container, model, self.deployment, display
        digest = hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]
        lasting = {"project": settings.slug, "user": find_user(), "run": name}
        # ID is the same for all deployments of one model by the same files.
        self.labels = join_labels(lasting, settings.labels, {ID: digest})
        names = {"displayName": settings.slug, "versionDescription": name}
        self.model = {**model, **names, "labels": self.labels, "containerSpec": container}
        labels = {key: text for key, text in self.labels.items() if key not in ("run", ID)}
        if until:
            labels["until"] = until.astimezone(timezone.utc).strftime(UNTIL)
        self.endpoint: dict = {"displayName": display, "labels": labels}
        if kind == "private":
            connected = {
                "enablePrivateServiceConnect": True,
                "projectAllowlist": [settings.project],
            }
            self.endpoint["privateServiceConnectConfig"] = connected
        elif not kind:
            self.endpoint["dedicatedEndpointEnabled"] = True

    def upload(self, parent: str) -> Step:
        """The request that makes a version, of a model that is there or of a new one."""
        # Of an alias a letter comes first, letters, digits and - come after it.
        alias = re.sub(r"^[^a-z]+", "run-", legal(self.name).replace("_", "-")).strip("-") or "run"
        body = {"parentModel": parent} if parent else {}
        body["model"] = {**self.model, "versionAliases": [alias]}
        return Step(f"upload the model {self.name}", f"{self.settings.parent}/models:upload", body)

    def create_endpoint(self) -> Step:
        what = f"create the endpoint {self.endpoint['displayName']}"
        return Step(what, f"{self.settings.parent}/endpoints", self.endpoint)

    def deploy(self, endpoint: str, model: str, others: Mapping[str, int]) -> Step:
        """The request that puts the model on machines.

        Args:
            endpoint, model: resource names; of the model with its version, "…/models/7@2".
            others: {id of a deployed model: its percent of the traffic now}.
        """
        own = {"model": model, "displayName": self.name}
        deployed = {**self.deployment["deployedModel"], **own}
        split = dict(self.split)
        if len(split) == 1:
            split |= share_out(others, 100 - self.share)
        body = {"deployedModel": deployed, "trafficSplit": split}
        return Step(f"deploy {self.name}", f"{endpoint}:deployModel", body)

    def steps(self) -> Iterator[Step]:
        """The requests for a project that has nothing yet."""
        parent = self.settings.parent
        yield self.upload("")
        yield self.create_endpoint()
        yield self.deploy(f"{parent}/{NEW_ENDPOINT}", f"{parent}/{NEW_MODEL}", {})


def share_out(shares: Mapping[str, int], total: int) -> dict[str, int]:
    """Percents in the proportions of others, whole numbers that sum to a total.

    {"one": 90, "two": 10}, 50 → {"one": 45, "two": 5}; equal parts where all of them are 0.
    """
    weights = shares if any(shares.values()) else dict.fromkeys(shares, 1)
    whole = sum(weights.values())
    ends = [total * part // whole for part in itertools.accumulate(weights.values())]
    spans = itertools.pairwise([0, *ends])
    return {key: end - start for key, (start, end) in zip(weights, spans, strict=True)}


def price_per_hour(resources: Mapping, region: str) -> float | None:
    """US dollars for an hour of the fewest machines that DedicatedResources allow; None: unknown."""
    least, _ = files.count_replicas(dict(resources))
    spec = {"machineSpec": resources.get("machineSpec", {}), "replicaCount": least}
    [pool] = read_pools({"workerPoolSpecs": [spec]})
    pool = replace(pool, disk_gb=0)  # an endpoint pays for no boot disk
    strategy = "SPOT" if resources.get("spot") else "STANDARD"
    return prices.price_pool(pool, region, strategy, prices.load()).price


def price_machine(machine: str, region: str) -> float | None:
    """US dollars for an hour of a machine without a disk; None: unknown."""
    return price_per_hour({"machineSpec": {"machineType": machine}}, region)


def describe_price(deployment: Mapping, region: str) -> str:
    """What a DeployModelRequest costs, for people: of the fewest machines that it allows."""
    hourly = price_per_hour(deployment["deployedModel"]["dedicatedResources"], region)
    price = "an unknown sum" if hourly is None else dollars(24 * hourly)
    return f"{price} a day, used or not, for {files.describe(deployment)}, until it is undeployed; {BASIS}"


def announce() -> str:
    """What `deploy.py` without options will do, and its price.

    Raises:
        SpecError: a fault in a file, which would stop it.
    """
    settings = read_settings()
    files.load(ROOT / "configs" / "model.yaml", "Model")
    deployment = files.load(ROOT / "configs" / "endpoint.yaml", "DeployModelRequest")
    if faults := settings.missing("region", "image_repository"):
        raise SpecError(*faults)
    return (
        f"once the job has succeeded, it is deployed: {describe_price(deployment, settings.region)}"
    )


def read_until(labels: Mapping[str, str]) -> datetime | None:
    """The deadline among an endpoint's labels, in this machine's time; None where there is none."""
    try:
        time = datetime.strptime(labels.get("until", ""), UNTIL)
    except ValueError:
        return None
    return time.replace(tzinfo=timezone.utc).astimezone()


def name_deployed(endpoint: Mapping) -> dict[str, str]:
    """{id of a model on an endpoint: what people call it}: its run; where two have one name, with the version."""
    models = endpoint.get("deployedModels", ())
    names = [model.get("displayName", model["id"]) for model in models]
    return {
        model["id"]: name if names.count(name) == 1 else f"{name}@{model.get('modelVersionId')}"
        for model, name in zip(models, names, strict=True)
    }


def is_overdue(endpoint: Mapping) -> bool:
    """Whether an endpoint's deadline has passed while it still has models: nobody ends it by itself."""
    until = read_until(endpoint.get("labels", {}))
    late = until is not None and until < datetime.now().astimezone()
    return late and bool(endpoint.get("deployedModels"))
