"""Reads the files of a service: a Model, a DeployModelRequest, a BatchPredictionJob, as the API spells them.

    message = files.load("configs/endpoint.yaml", "DeployModelRequest")

They are checked as job files are: all faults at once, each with its line.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from launcher.common import document
from launcher.common.document import Document, SpecError, inner
from launcher.jobfile import machines, schema
from launcher.jobfile.schema import TABLE, Problem
from launcher.project import buckets
from launcher.project.settings import ACCOUNT, read_or_default

IMAGE = re.compile(r"([a-z]+-[a-z]+[0-9]+)-docker\.pkg\.dev/.*")  # its region
OWN_IMAGE = "serving"  # in place of the image's address: project.yaml says where it is
BATCH = "BatchPredictionJob"
KINDS = {"deployedModel": "DeployModelRequest", "containerSpec": "Model"}  # {key: what has it}
KINDS |= dict.fromkeys(("dedicatedResources", "inputConfig", "outputConfig"), BATCH)
KINDS |= dict.fromkeys(("instanceConfig", "manualBatchTuningParameters"), BATCH)
# deploy.py and batch.py fill these in; the others of DEFAULTS may be in the file.
FILLED_IN = {
    "Model": ("name", "displayName", "labels", "artifactUri", "versionAliases"),
    "DeployModelRequest": ("endpoint",),
    "DeployedModel": ("id", "model", "displayName"),
    BATCH: ("displayName", "model", "labels"),
    f"{BATCH}.InputConfig": ("gcsSource", "bigquerySource"),
}
DEFAULTS = ("inputConfig", "instancesFormat", "outputConfig", "predictionsFormat")
READS = ("jsonl", "csv", "file-list", "bigquery")  # instancesFormat; batch.py makes jsonl of csv
WRITES = {"gcsDestination": "jsonl", "bigqueryDestination": "bigquery"}  # predictionsFormat
MOST = 320  # instances of a request, which the server of an image model takes
FIRST = "0"  # in a traffic split: the model that is being deployed


def find_kind(file: Document) -> str:
    """The message that a file holds; "" for a job file."""
    keys = file.value if isinstance(file.value, dict) else {}
    return next((kind for key, kind in KINDS.items() if key in map(schema.camel, keys)), "")


def load(path: str | Path, kind: str) -> dict:
    """Read a file and check all of it, with this repo's project.yaml.

    Args:
        kind: one of the values of KINDS.

    Raises:
        SpecError: all faults, by line.
    """
    file = document.read(path)
    if find_kind(file) != kind:
        key = next(key for key, name in KINDS.items() if name == kind)
        raise SpecError(file.fault("", f"no {kind}", f"it begins with {key}:"))
    message, faults = schema.read_message(file, kind)
    if not faults:  # the rules take whole messages
        faults = [file.fault(*problem) for problem in _find_problems(message, kind)]
    if faults:
        raise SpecError(*sorted(faults, key=lambda fault: fault.line))
    return message


def describe(message: dict) -> str:
    """ "1 replica of e2-highmem-2", "1 to 3 replicas of …", for people."""
    if "containerSpec" in message:
        return f"a model, served by the image {message['containerSpec'].get('imageUri', OWN_IMAGE)}"
    resources = message.get("deployedModel", message)["dedicatedResources"]
    least, most = count_replicas(resources)
    number = f"{least} replica" if least == most else f"{least} to {most} replica"
    plural = "" if most == 1 else "s"
    return f"{number}{plural} of {resources['machineSpec']['machineType']}"


def count_replicas(resources: dict) -> tuple[int, int]:
    """The fewest and the most machines of DedicatedResources or BatchDedicatedResources."""
    least = int(resources.get("minReplicaCount", resources.get("startingReplicaCount", 1)))
    return least, int(resources.get("maxReplicaCount") or least)


def _find_problems(message: dict, kind: str) -> Iterator[Problem]:
    script = "batch.py" if kind == BATCH else "deploy.py"
    for path, name, part in schema.walk(message, kind):
        for field in FILLED_IN.get(name, ()):
            if field in part:
                yield inner(path, field), f"is filled in by {script}", "remove it"
        for field in TABLE["required"].get(name, ()):
            if field not in (*FILLED_IN.get(name, ()), *DEFAULTS, "imageUri", *part):
                yield inner(path, field), "is missing", f"write {field}: …"
        for rule in RULES.get(name, ()):
            for field, what, instead in rule(part):
                yield ".".join(filter(None, (path, field))), what, instead


def _check_split(message: dict) -> Iterator[Problem]:
    split = message.get("trafficSplit", {FIRST: 100})
    for key, share in split.items():
        if not 0 <= int(share) <= 100:
            yield f"trafficSplit.{key}", f"is {share}", "write percents, 0 to 100"
    if FIRST not in split:
        what = 'says nothing of "0", the model that is being deployed'
        yield "trafficSplit", what, 'write "0": 100'
    if (total := sum(map(int, split.values()))) != 100:
        yield "trafficSplit", f"sums to {total}", "write percents that sum to 100"


def _check_deployed(deployed: dict) -> Iterator[Problem]:
    if "dedicatedResources" not in deployed:
        what = "is missing, and a container of one's own needs it"
        yield "dedicatedResources", what, "write machineSpec and the number of replicas below it"
    account = deployed.get("serviceAccount")
    if account and not ACCOUNT.fullmatch(account):
        instead = "write NAME@PROJECT.iam.gserviceaccount.com"
        yield "serviceAccount", f"{account} is no service account", instead


def _check_batch(job: dict) -> Iterator[Problem]:
    config, output = job.get("instanceConfig", {}), job.get("outputConfig", {})
    reads = job.get("inputConfig", {}).get("instancesFormat", READS[0])
    if reads not in READS:
        what = f"is {reads}, which the serving image does not read"
        yield "inputConfig.instancesFormat", what, f"write {', '.join(READS[:-1])} or {READS[-1]}"
    if config and reads == "file-list":
        what = "does not go with instancesFormat file-list: a file has no fields"
        yield "instanceConfig", what, "remove it; the results name each file"
    if config.get("instanceType", "object") != "object":
        what = f"is {config['instanceType']}, and the server takes features by their names"
        yield "instanceConfig.instanceType", what, "write object"
    if config.get("includedFields") and config.get("excludedFields"):
        yield "instanceConfig.excludedFields", "stands beside includedFields", "keep one of them"
    goal = next((key for key in WRITES if key in output), "gcsDestination")
    writes = output.get("predictionsFormat", WRITES[goal])
    if writes != WRITES[goal]:
        what = f"is {writes}, and does not go with {goal}; answers are objects"
        yield "outputConfig.predictionsFormat", what, f"write {WRITES[goal]}"
    folder = output.get("gcsDestination", {}).get("outputUriPrefix", "gs://bucket/folder")
    if what := buckets.find_uri_problem(folder):
        yield "outputConfig.gcsDestination.outputUriPrefix", what, "write gs://BUCKET/FOLDER"
    table = output.get("bigqueryDestination", {}).get("outputUri", "bq://")
    if not table.startswith("bq://"):
        what = f"is {table}, no table of BigQuery"
        yield "outputConfig.bigqueryDestination.outputUri", what, "write bq://PROJECT.DATASET"
    size = int(job.get("manualBatchTuningParameters", {}).get("batchSize", 1))
    if not 1 <= size <= MOST:
        yield "manualBatchTuningParameters.batchSize", f"is {size}", f"write 1 to {MOST}"
    if "maxReplicaCount" not in job.get("dedicatedResources", {"maxReplicaCount": 1}):
        what = "is missing, and the service takes up to 10 then"
        yield "dedicatedResources.maxReplicaCount", what, "write 1"


def _check_resources(resources: dict) -> Iterator[Problem]:
    least, most = count_replicas(resources)
    field = next((f for f in ("minReplicaCount", "startingReplicaCount") if f in resources), "")
    if least < 1:
        yield field, f"is {least}, and at least one machine is needed", "write 1"
    if most < least:
        yield "maxReplicaCount", f"is {most}, less than {field}", f"write {least} or more"
    machine = resources.get("machineSpec", {})
    if not machine.get("machineType"):
        yield "machineSpec.machineType", "is missing", "write for instance e2-highmem-2"
    if machines.is_tpu(machine.get("machineType", "")):
        what = "is a TPU, and the serving image has no program for one"
        yield "machineSpec.machineType", what, "write for instance e2-highmem-2"
    for field, what, instead in machines.check_machine(machine):
        yield f"machineSpec.{field}", what, instead


def _check_metric(spec: dict) -> Iterator[Problem]:
    if not 1 <= int(spec.get("target", 60)) <= 100:
        yield "target", f"is {spec['target']}", "write percents, 1 to 100"


def _check_container(container: dict) -> Iterator[Problem]:
    image = container.get("imageUri", OWN_IMAGE)
    place = IMAGE.fullmatch(image)
    region = read_or_default().region
    if re.match(r"([a-z]+\.)?gcr\.io/", image):
        what = f"{image} is in Container Registry, which was shut down in 2025"
        yield "imageUri", what, "take an image of REGION-docker.pkg.dev"
    elif place and region not in ("", place[1]):
        what = f"is an image in {place[1]}, and the endpoint is in {region}"
        yield "imageUri", what, f"take one in {region}"
    for route in ("predictRoute", "healthRoute"):
        if not container.get(route, "/").startswith("/"):
            yield route, f"is {container[route]}", f"write /{container[route]}"
    for i, variable in enumerate(container.get("env", ())):
        if variable.get("name", "").startswith("AIP_"):
            what = f"{variable['name']} is set by Vertex AI, which ignores this one"
            yield f"env[{i}].name", what, "remove it; ports and routes have fields of their own"
    for i, port in enumerate(container.get("ports", ())):
        if not 1 <= int(port.get("containerPort", 0)) <= 65535:
            yield f"ports[{i}].containerPort", "is no port", "write 8080"


def _check_key(spec: dict) -> Iterator[Problem]:
    region, parts = read_or_default().region, spec.get("kmsKeyName", "").split("/")
    if region and len(parts) > 3 and parts[3] != region:
        what = f"is a key in {parts[3]}, and its model is in {region}"
        yield "kmsKeyName", what, f"take one in {region}"


RULES: dict[str, tuple[Callable[[dict], Iterator[Problem]], ...]] = {
    "DeployModelRequest": (_check_split,),
    "DeployedModel": (_check_deployed,),
    "DedicatedResources": (_check_resources,),
    BATCH: (_check_deployed, _check_batch),
    "BatchDedicatedResources": (_check_resources,),
    "EncryptionSpec": (_check_key,),
    "AutoscalingMetricSpec": (_check_metric,),
    "ModelContainerSpec": (_check_container,),
}
