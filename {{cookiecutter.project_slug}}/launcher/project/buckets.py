"""Names and locations of buckets: gs:// URIs, and whether a bucket is in a region."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from launcher.project.settings import BUCKET

NAME_BYTES = 1024  # of an object's name
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
