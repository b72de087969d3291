"""A BatchPredictionJob on Vertex AI: provide its instances and its model, send it once, follow it.

Instances on this machine, and CSV, become JSON lines in the bucket, and are checked here: one wrong
instance costs its whole request there.
"""

import hashlib
import json
import shlex
import tempfile
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from launcher.cloud.errors import CloudError
from launcher.cloud.remote_job import ENDED, read_state
from launcher.cloud.storage import Store, split
from launcher.cloud.submission import ID, join_labels
from launcher.cloud.vertex import POLL, Step, Vertex
from launcher.common.document import SpecError
from launcher.common.files import digest
from launcher.common.times import format_span, seconds_between
from launcher.cost.prices import dollars
from launcher.endpoints import commands, deploy, files, plan
from launcher.endpoints.ask import BYTES, ROOM
from launcher.endpoints.plan import Plan
from launcher.project.settings import ROOT

FORMS = {".jsonl": "jsonl", ".csv": "csv", ".txt": "file-list"}  # {ending: instancesFormat}
COLLECTION = "batchPredictionJobs"
SENT_AS_IT_IS = ("jsonl", "file-list")  # from a bucket


def find_form(file: str, config: Mapping) -> str:
    """The `instancesFormat` of a file; "" for what predict.py takes, and the service does not."""
    if file.startswith("bq://"):
        return "bigquery"
    given = config.get("inputConfig", {}).get("instancesFormat")
    if given == "bigquery":
        raise SpecError(f"{file}: no table of BigQuery; write bq://PROJECT.DATASET.TABLE")
    return given or FORMS.get(Path(file).suffix.lower(), "")


def predict_there(options: Namespace, config: dict, predictor: ModuleType) -> int:
    if options.output:
        raise SpecError("--output is a folder here; in the cloud write outputConfig.gcsDestination")
    machines = ROOT / "configs/endpoint.yaml"  # so that deploy.py finds the same version
    this, vertex = deploy.prepare(options.model, machines, options.dry_run)
    settings, resources = this.settings, config["dedicatedResources"]
    if faults := settings.missing("bucket"):
        raise SpecError(*faults)
    most = {**resources, "minReplicaCount": resources["maxReplicaCount"]}
    hourly = plan.price_per_hour(most, settings.region)
    price = "unknown" if hourly is None else f"at most {dollars(hourly)} an hour"
    cost = f"{files.describe(config)}: {price}, while the job runs"
    print(f"# {cost}" if options.dry_run else cost, flush=True)
    store = None if options.dry_run else Store(vertex.connection)
    config, left_out = _provide_input(options.file, config, predictor, this, store)
    output = config.get("outputConfig", {})
    if not files.WRITES.keys() & output.keys():
        output = {"gcsDestination": {"outputUriPrefix": f"gs://{settings.bucket}/batch"}, **output}
    [form] = (form for goal, form in files.WRITES.items() if goal in output)
    config["outputConfig"] = {"predictionsFormat": form, **output}
    if store is None:
        step = _make_step(this, config, f"{settings.parent}/{plan.NEW_MODEL}")
        print("# Nothing was uploaded or sent. In a project that has nothing yet:")
        print("\n".join(commands.to_shell(settings, [this.upload(""), step])))
        return 0
    _check_locations(config, settings.region, store)
    with deploy.removing_after_failure() as made:
        version = deploy.upload(vertex, this, made)
        job = _send(vertex, _make_step(this, config, version))
    deploy.record_version(this.model_dir, version, vertex)
    return _follow(vertex, job, hourly, left_out)


def _provide_input(
    file: str, config: dict, predictor: ModuleType, this: Plan, store: Store | None
) -> tuple[dict, int]:
    """The job with its input in a bucket or a table; how many instances the server would refuse.

    Args:
        store: None: nothing is uploaded.
    """
    form, fields = find_form(file, config), config.get("instanceConfig", {})
    source, left_out = {"gcsSource": {"uris": [file]}}, 0
    if form == "bigquery":
        source = {"bigquerySource": {"inputUri": file}}
        fields = {"instanceType": "object", **fields}  # else a row is a list without names
    elif not (file.startswith("gs://") and form in SENT_AS_IT_IS):
        with tempfile.TemporaryDirectory() as name:
            path, good, bad = file, Path(name, "instances.jsonl"), Path(name, "errors.jsonl")
            if file.startswith("gs://"):
                path = _copy_here(file, form, store, Path(name))
            instances = path, form, fields
            count, left_out, key = predictor.convert(str(this.model_dir), instances, good, bad)
            if left_out:
                first = json.loads(bad.read_bytes().splitlines()[0])["error"]["message"]
                what = "instances that the model does not take, left out"
                print(f"{what}: {left_out:,}; the first: {first}")
            if not count:
                raise SpecError(f"{file}: no instance that the model takes")
            with open(good, "rb") as lines:
                config = _limit_batch(config, max(map(len, lines)))
            # Scratch is cleared away after 30 days, and by endpoints.py cleanup.
            scratch = f"gs://{this.settings.bucket}/scratch/{this.settings.slug}"
            uri = f"{scratch}/batch-{digest(good)}/{good.name}"
            source = {"gcsSource": {"uris": [uri]}}
            if store:
                print(f"instances: {uri}, {count:,}", flush=True)
                store.upload(good, uri)
            if store and left_out:
                store.upload(bad, uri.replace(good.name, bad.name))
        form, fields = "jsonl", {**fields, "keyField": key} if key else fields
    given = {"instanceConfig": fields} if fields else {}
    return {**config, "inputConfig": {**source, "instancesFormat": form}, **given}, left_out


def _copy_here(uri: str, form: str, store: Store | None, folder: Path) -> str:
    """Copy an object of a bucket to a folder; return its path."""
    if not (form and store):
        why = "a dry run copies nothing" if form else "no .jsonl, .csv or .txt"
        raise SpecError(f"{uri}: {why}; copy it here, by gcloud storage cp")
    parent, _, base = uri.rpartition("/")
    if not (entry := store.list(parent).get(base)):
        raise SpecError(f"{uri}: there is no such object")
    store.download(uri, folder / base, entry)
    return str(folder / base)


def _limit_batch(config: dict, largest: int) -> dict:
    """The job with a batch size whose requests are small enough for the largest instance, in bytes."""
    wanted = int(config.get("manualBatchTuningParameters", {}).get("batchSize", 64))
    fits = (BYTES - ROOM) // largest
    if not fits:
        raise SpecError(f"an instance has {largest:,} bytes, and a request {BYTES:,} at most")
    if fits >= wanted:
        return config
    print(f"batchSize: {fits}, not {wanted}, since a request has {BYTES:,} bytes at most")
    return {**config, "manualBatchTuningParameters": {"batchSize": fits}}


def _make_step(this: Plan, config: Mapping, model: str) -> Step:
    """The request that starts the job of a complete file with a version, by its resource name."""
    account = this.settings.service_account
    body = {"serviceAccount": account} if account else {}
    body |= {**config, "displayName": this.name}
    whole = json.dumps([body, this.labels[ID]], sort_keys=True)  # ID stands for the model
    same = hashlib.sha256(whole.encode()).hexdigest()[:16]
    body |= {"model": model, "labels": join_labels(this.labels, {ID: same})}
    what = f"start the batch prediction of {this.name}"
    return Step(what, f"{this.settings.parent}/{COLLECTION}", body)


def _check_locations(config: Mapping, region: str, store: Store) -> None:
    """Refuse a missing file, and buckets that are not in the job's region, sooner than the service."""
    uris = config["inputConfig"].get("gcsSource", {}).get("uris", [])
    for uri in uris:
        if "*" not in uri and not store.exists(uri):
            raise SpecError(f"{uri}: there is no such object")
    uris = [*uris, *config["outputConfig"].get("gcsDestination", {}).values()]
    for _, where in store.list_far_buckets((split(uri)[0] for uri in uris), region):
        raise SpecError(
            f"{where}, and the job runs in {region}: instances, predictions and model must be in one "
            f"region; take a bucket in {region}"
        )


def _send(vertex: Vertex, step: Step) -> dict:
    """Start the job, unless the same one runs already; return it."""
    wanted = f'labels.{ID}="{step.body["labels"][ID]}"'
    before = vertex.list(COLLECTION, "list the batch predictions", wanted)
    if running := [job for job in before if read_state(job) not in ENDED]:
        print("the same command started this job before; nothing is sent again", flush=True)
        return running[0]
    names = {job["name"] for job in before}

    def find() -> dict | None:
        jobs = vertex.list(COLLECTION, "look for the batch prediction", wanted)
        return next((job for job in jobs if job["name"] not in names), None)

    return vertex.create(step, find)


def _follow(vertex: Vertex, job: dict, hourly: float | None, left_out: int) -> int:
    """Show the job until it has ended, and where its predictions are; return the exit code."""
    name, shown = job["name"], ""
    print(f"job: {name}", flush=True)
    try:
        while read_state(job) not in ENDED:
            if (now := _describe(job)) != shown:
                print(now, flush=True)
                shown = now
            time.sleep(POLL)
            try:
                job = vertex.get(name, "look at the batch prediction")
            except CloudError as error:
                look = 'curl -H "Authorization: Bearer $(gcloud auth print-access-token)"'
                what = "the job continues. To see whether it has ended"
                then = "Until then the same command follows it; afterwards it starts another one"
                raise CloudError(f"{error}; {what}: {look} {vertex.root}/{name}. {then}") from None
    except KeyboardInterrupt:
        url = f"{vertex.root}/{name}:cancel"
        raise SpecError(
            "interrupted: the job keeps running; the same command follows it again; to stop it: curl "
            f'-X POST -H "Authorization: Bearer $(gcloud auth print-access-token)" {url}'
        ) from None
    print(_describe(job), flush=True)
    if job.get("startTime") and hourly is not None:
        hours = seconds_between(job["startTime"], job.get("endTime")) / 3600
        print(f"cost: at most {dollars(hourly * hours)}, for {format_span(3600 * hours)}")
    info = job.get("outputInfo", {})
    where = info.get("gcsOutputDirectory") or info.get("bigqueryOutputTable", "")
    if where:
        print(f"predictions: {where}", flush=True)
    if where.startswith("gs://"):
        print(f"bring back: gcloud storage cp -r {shlex.quote(where)} .", flush=True)
    faults = [job.get("error", {}), *job.get("partialFailures", ())]
    why = [" ".join(fault["message"].split()) for fault in faults if fault.get("message")]
    if read_state(job) != "SUCCEEDED":
        raise SpecError(*(why or [f"the job has ended: {read_state(job).lower()}"]))
    if bad := int(job.get("completionStats", {}).get("failedCount", 0)) + left_out:
        raise SpecError(f"instances without a prediction: {bad:,}", *why)
    return 0


def _describe(job: Mapping) -> str:
    stats = job.get("completionStats", {})
    done = [int(stats.get(f"{key}Count", 0)) for key in ("successful", "failed")]
    counts = f", {done[0]:,} instances done, {done[1]:,} failed" if any(done) else ""
    return f"{read_state(job).lower()}{counts}"
