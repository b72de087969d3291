"""Where a job writes, and whose it is: names of buckets, accounts, networks, TensorBoards, regions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from launcher.machine_rules import Said

NETWORK = re.compile(r"projects/\d+/global/networks/[a-z]([-a-z0-9]*[a-z0-9])?")
ACCOUNT = re.compile(r"[^@\s]+@[^@\s]+\.gserviceaccount\.com")
TENSORBOARD = re.compile(r"projects/[^/\s]+/locations/([^/\s]+)/tensorboards/[^/\s]+")
FOLDER = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(/.*)?")
IMAGE = re.compile(r"([a-z]+-[a-z]+[0-9]+)-docker\.pkg\.dev/([^/]+)/.*")


def names(spec: dict) -> Iterator[Said]:
    """Names of a CustomJobSpec that are not of the form which the service takes."""
    output = _output(spec)
    if output and not FOLDER.fullmatch(output):
        what = f"{output} is no folder in a bucket"
        yield "baseOutputDirectory.outputUriPrefix", what, "write gs://BUCKET/PATH"
    account = spec.get("serviceAccount")
    if account and not ACCOUNT.fullmatch(account):
        what = f"{account} is no service account"
        yield "serviceAccount", what, "write NAME@PROJECT.iam.gserviceaccount.com"
    network = spec.get("network")
    if network and not NETWORK.fullmatch(network):
        what = f"{network} is not the full name of a network"
        instead = (
            "write projects/NUMBER/global/networks/NAME, with the project's number, not its id"
        )
        yield "network", what, instead
    tensorboard = spec.get("tensorboard")
    if tensorboard and not TENSORBOARD.fullmatch(tensorboard):
        what = f"{tensorboard} is not the full name of a TensorBoard"
        yield "tensorboard", what, "write projects/NUMBER/locations/REGION/tensorboards/ID"


def project(spec: dict, settings: dict) -> Iterator[Said]:
    """What does not go together with project.yaml, whose `gcp` part this is."""
    region, bucket = settings.get("region") or "", settings.get("bucket") or ""
    output = FOLDER.fullmatch(_output(spec) or "")
    if output and bucket and output[1] != bucket:
        what = f"{output[0]} is not in the project's bucket, {bucket}"
        instead = "leave it out: the launcher takes a folder of the job's own there"
        yield "baseOutputDirectory.outputUriPrefix", what, instead
    tensorboard = TENSORBOARD.fullmatch(spec.get("tensorboard") or "")
    if tensorboard:
        if region and tensorboard[1] != region:
            what = f"is in {tensorboard[1]}, and the job runs in {region}: it cannot write there"
            yield "tensorboard", what, f"take one in {region}, or another region in project.yaml"
        for key, word, there in (
            ("serviceAccount", "a service account", settings.get("service_account")),
            ("baseOutputDirectory", "an output directory", bucket),
        ):
            if not spec.get(key) and not there:
                what = f"needs {word}, and there is none, here or in project.yaml"
                yield "tensorboard", what, "fill in project.yaml, or leave the TensorBoard out"
    for i, pool in enumerate(spec.get("workerPoolSpecs") or []):
        for task, key in (("containerSpec", "imageUri"), ("pythonPackageSpec", "executorImageUri")):
            image = IMAGE.fullmatch((pool.get(task) or {}).get(key) or "")
            # Where others keep their images is theirs to say: us-docker.pkg.dev has no region.
            if image and image[2] == settings.get("project") and region not in ("", image[1]):
                what = f"is an image in {image[1]}, and the job runs in {region}"
                instead = f"take one in {region}: each start of a machine fetches it"
                yield f"workerPoolSpecs[{i}].{task}.{key}", what, instead


def _output(spec: dict) -> str | None:
    return (spec.get("baseOutputDirectory") or {}).get("outputUriPrefix")
