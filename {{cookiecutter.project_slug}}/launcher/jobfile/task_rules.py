"""What a worker pool runs: image, arguments, environment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from launcher.jobfile.machine_rules import Said
from launcher.jobfile.place_rules import find_uri_problem, find_uri_problems
from launcher.jobfile.program import CONTRACT, FOLDERS, Program

ARGS = 100_000  # characters
PACKAGES = ENV = 100
# The last day of Google's images for training with TensorFlow, by version; there is none after 2.17.
PREBUILT = re.compile(r"[a-z]+-docker\.pkg\.dev/vertex-ai/training/tf-\w+\.(\d+)-(\d+)\b[^:@]*(.*)")
LAST_DAYS = {
    (2, 17): date(2026, 7, 11),
    (2, 16): date(2026, 6, 28),
    (2, 15): date(2025, 11, 14),
    (2, 14): date(2025, 9, 26),
    (2, 13): date(2025, 7, 5),
}
OWN_IMAGE = "write trainer, for the project's own image"


def task(place: str, spec: dict, runs: Program) -> Iterator[Said]:
    """Faults of a pool's containerSpec or pythonPackageSpec, which stands at `place`."""
    size = sum(map(len, spec.get("args") or []))
    if size > ARGS:
        what = f"are {size:,} characters together, and {ARGS:,} are passed on"
        yield f"{place}.args", what, "put long lists into a file and give its path"
    for key in ("imageUri", "executorImageUri"):
        yield from find_image_faults(f"{place}.{key}", spec.get(key) or "")
    yield from _command(place, spec, runs)
    packages = spec.get("packageUris") or []
    if len(packages) > PACKAGES:
        what = f"are {len(packages)} packages, and {PACKAGES} are installed"
        yield f"{place}.packageUris", what, "put some of them together"
    for i, uri in enumerate(packages):
        problem = find_uri_problem(uri)
        if problem or uri.endswith("/") or uri.count("/") < 3:
            instead = "; ".join(filter(None, ("write gs://BUCKET/PATH.tar.gz", problem)))
            yield f"{place}.packageUris[{i}]", f"{uri} is not in a bucket", instead
    if packages and not spec.get("executorImageUri"):  # of our own package project.yaml tells it
        what = "is missing: the packages have no image to be installed on"
        yield f"{place}.executorImageUri", what, "write an image that has Python and pip"
    env = spec.get("env") or []
    yield from _env(f"{place}.env", env)
    if not runs.foreign:  # what other code makes of a URI is its own affair
        for i, problem in find_uri_problems(spec.get("args") or []):
            yield f"{place}.args[{i}]", problem, "write gs://BUCKET/PATH"
        for i, problem in find_uri_problems(entry.get("value") or "" for entry in env):
            yield f"{place}.env[{i}].value", problem, "write gs://BUCKET/PATH"


def _command(place: str, task: dict, runs: Program) -> Iterator[Said]:
    """Faults of what starts in the project's own image or package: a module that these hold."""
    if runs.foreign:
        return
    key = "pythonModule" if place.endswith("pythonPackageSpec") else "command"
    if not runs.module:
        what = "replaces the image's entrypoint, which is the trainer, by no module of this repo"
        instead = "remove it, or write [python, -m, trainer.task]"
        if key == "pythonModule":
            what = f"this repo has no module {task['pythonModule']}"
            instead = "write trainer.task, or name the packageUris that have it"
        yield f"{place}.{key}", what, instead
    elif runs.module.partition(".")[0] not in FOLDERS:
        what = f"{runs.module} is not in the project's image, which holds {', '.join(FOLDERS)}"
        yield f"{place}.{key}", what, f"move the module to {FOLDERS[0]}/"


def _env(place: str, env: list[dict]) -> Iterator[Said]:
    if len(env) > ENV:
        yield place, f"are {len(env)} variables, and {ENV} are passed on", "put them into a file"
    seen = set()
    for i, name in enumerate(entry.get("name", "") for entry in env):
        where = f"{place}[{i}].name"
        if name and not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
            what = f"{name} is no name of a variable"
            yield where, what, "letters, digits and _ only, and no digit first"
        elif CONTRACT.fullmatch(name):
            yield where, f"{name} is set by the service, with a value for each replica", "remove it"
        elif name in seen:
            yield where, f"{name} stands twice in this list", "keep one of them"
        seen.add(name)


def find_image_faults(place: str, uri: str) -> Iterator[Said]:
    """Faults of an image that is not the project's own."""
    host = uri.partition("/")[0]
    if "://" in uri or re.search(r"\s", uri):
        what = f"{uri} is not written as an image"
        yield place, what, "write REGION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE:TAG"
    elif host == "gcr.io" or host.endswith(".gcr.io"):
        what = "Container Registry (gcr.io) takes no images since 2025-03-18"
        instead = f"{OWN_IMAGE}, or REGION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE"
        yield place, what, instead
    elif found := PREBUILT.fullmatch(uri):
        version = int(found[1]), int(found[2])
        day = LAST_DAYS.get(version)
        if (day and date.today() > day) or version < min(LAST_DAYS):
            since = f"since {day}" if day else "for years"
            what = f"Google's image with TensorFlow {version[0]}.{version[1]} is gone {since}"
            yield place, what, OWN_IMAGE
        elif found[3] != ":latest":
            what = "of Google's images only the tag latest can be used"
            yield place, what, f"write {uri.partition(':')[0]}:latest"
