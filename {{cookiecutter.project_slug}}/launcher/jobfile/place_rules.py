"""Where a job writes, and whose it is: names of buckets, accounts, networks, TensorBoards, regions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from launcher.jobfile.machine_rules import Said
from launcher.project.settings import ACCOUNT, BUCKET, TENSORBOARD, Settings

NETWORK = re.compile(r"projects/\d+/global/networks/[a-z]([-a-z0-9]*[a-z0-9])?")
NAME_BYTES = 1024  # of an object's name
IMAGE = re.compile(r"([a-z]+-[a-z]+[0-9]+)-docker\.pkg\.dev/([^/]+)/.*")
# Locations of buckets with several regions, from https://cloud.google.com/storage/docs/locations
DUAL_REGIONS = {
    "asia1": ("asia-northeast1", "asia-northeast2"),
    "eur4": ("europe-north1", "europe-west4"),
    "eur5": ("europe-west1", "europe-west2"),
    "eur7": ("europe-west2", "europe-west3"),
    "eur8": ("europe-west3", "europe-west6"),
    "nam4": ("us-central1", "us-east1"),
}
MULTI_REGIONS = {"asia": "asia-", "eu": "europe-", "us": "us-"}
NOT_IN_EU = ("europe-west2", "europe-west6")  # London and Zurich


def names(spec: dict) -> Iterator[Said]:
    """Names of a CustomJobSpec that are not of the form which the service takes."""
    output = _output(spec)
    if output and (problem := find_uri_problem(output)):
        what = f"{output} is no folder in a bucket"
        yield "baseOutputDirectory.outputUriPrefix", what, f"write gs://BUCKET/PATH; {problem}"
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


def find_uri_problem(uri: str) -> str:
    """Why a URI names no bucket, or no object or folder in one; "" where it does.

    Cloud Storage takes object names with empty parts or `..`, which no file system and no copy of
    the folder can hold.
    """
    if not uri.startswith("gs://"):
        return "a URI begins with gs://"
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    if not re.fullmatch(BUCKET, bucket):
        return f"{bucket or 'nothing'} cannot be the name of a bucket"
    if name and {"", ".", ".."} & set(name.removesuffix("/").split("/")):
        return "a path has no empty parts, no . and no .."
    if not name.isprintable() or len(name.encode()) > NAME_BYTES:
        return f"a path has up to {NAME_BYTES} bytes and no control characters"
    return ""


def find_uri_problems(words: Iterable[str]) -> Iterator[tuple[int, str]]:
    """What is wrong with the gs:// URIs in flags and values: (index of the word, problem)."""
    for i, word in enumerate(words):
        value = word.partition("=")[2] if word.startswith("-") else word
        for uri in value.split(","):
            unknown = "$(" in uri.removeprefix("gs://").partition("/")[0]  # known in the job only
            if uri.startswith("gs://") and not unknown and (problem := find_uri_problem(uri)):
                yield i, f"{uri}: {problem}"


def holds_region(region: str, location: str, parts: Iterable[str] = ()) -> bool:
    """Whether a bucket's location is a region, or contains it.

    Args:
        location: "US-CENTRAL1", "NAM4", "EU", as the API writes it.
        parts: the regions of a bucket for which its owner chose two; its zone, if it has one.
    """
    parts, location = [part.lower() for part in parts], location.lower()
    if parts:
        return any(part == region or part.startswith(f"{region}-") for part in parts)
    if location in MULTI_REGIONS:
        outside = location == "eu" and region in NOT_IN_EU
        return region.startswith(MULTI_REGIONS[location]) and not outside
    return region in DUAL_REGIONS.get(location, (location,))


def project(spec: dict, settings: Settings) -> Iterator[Said]:
    """What does not go together with project.yaml."""
    region, bucket = settings.region, settings.bucket
    output = _output(spec) or ""
    if bucket and not find_uri_problem(output) and output.split("/")[2] != bucket:
        what = f"{output} is not in the project's bucket, {bucket}"
        instead = "leave it out: the launcher takes a folder of the job's own there"
        yield "baseOutputDirectory.outputUriPrefix", what, instead
    tensorboard = TENSORBOARD.fullmatch(spec.get("tensorboard") or "")
    if tensorboard:
        if region and tensorboard[1] != region:
            what = f"is in {tensorboard[1]}, and the job runs in {region}: it cannot write there"
            yield "tensorboard", what, f"take one in {region}, or another region in project.yaml"
        for key, word, there in (
            ("serviceAccount", "a service account", settings.service_account),
            ("baseOutputDirectory", "an output directory", bucket),
        ):
            if not spec.get(key) and not there:
                what = f"needs {word}, and there is none, here or in project.yaml"
                yield "tensorboard", what, "fill in project.yaml, or leave the TensorBoard out"
    for i, pool in enumerate(spec.get("workerPoolSpecs") or []):
        for task, key in (("containerSpec", "imageUri"), ("pythonPackageSpec", "executorImageUri")):
            image = IMAGE.fullmatch((pool.get(task) or {}).get(key) or "")
            # Where others keep their images is theirs to say: us-docker.pkg.dev has no region.
            if image and image[2] == settings.project and region not in ("", image[1]):
                what = f"is an image in {image[1]}, and the job runs in {region}"
                instead = f"take one in {region}: each start of a machine fetches it"
                yield f"workerPoolSpecs[{i}].{task}.{key}", what, instead


def _output(spec: dict) -> str | None:
    return (spec.get("baseOutputDirectory") or {}).get("outputUriPrefix")
