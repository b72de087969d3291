"""Reads a job file: a CustomJobSpec in YAML, as the API itself spells it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

import yaml

JOB_KEYS = [
    *("workerPoolSpecs", "scheduling", "serviceAccount", "network", "reservedIpRanges"),
    *("baseOutputDirectory", "tensorboard", "enableWebAccess", "enableDashboardAccess"),
    *("experiment", "experimentRun", "persistentResourceId", "protectedArtifactLocationId"),
    *("models", "pscInterfaceConfig"),
]
POOL_KEYS = [
    *("machineSpec", "replicaCount", "diskSpec", "nfsMounts"),
    *("containerSpec", "pythonPackageSpec"),
]
CONTAINER_KEYS = ["imageUri", "command", "args", "env"]
PACKAGE_KEYS = ["executorImageUri", "packageUris", "pythonModule", "args", "env"]


class SpecError(Exception):
    """A fault in a job file, told in one line: file, place, what, and what to write instead."""


@dataclass(frozen=True)
class Replica:
    """What one process of the job runs."""

    module: str
    args: tuple[str, ...]
    env: dict[str, str]


def read(path: str | Path) -> dict:
    """Reads a job file and checks its shape.

    Raises:
        SpecError: no such file, no YAML, an unknown key, a value of the wrong type.
    """
    try:
        with open(path, encoding="utf-8") as file:
            job = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise SpecError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    _known(job, JOB_KEYS, path, "the job")
    pools = job.get("workerPoolSpecs")
    if not isinstance(pools, list) or not pools:
        raise SpecError(f"{path}: workerPoolSpecs must be a list with at least one pool")
    for i, pool in enumerate(pools):
        _check_pool(pool, path, f"workerPoolSpecs[{i}]")
    return job


def replica(job: dict, path: str | Path) -> Replica:
    """The one process of a job with one replica.

    Raises:
        SpecError: several replicas, or a command that only a container can run.
    """
    pools = job["workerPoolSpecs"]
    count = sum(int(pool.get("replicaCount", 1)) for pool in pools)
    if count != 1:
        raise SpecError(f"{path}: {count} replicas; a local run takes jobs with one replica")
    package = pools[0].get("pythonPackageSpec", {})
    task = package or pools[0].get("containerSpec", {})
    if task.get("command"):
        raise SpecError(
            f"{path}: containerSpec.command is for the container; remove it, and the trainer's own "
            "entrypoint is run, here and in the image"
        )
    module = package.get("pythonModule", "trainer.task")
    env = {entry["name"]: entry.get("value", "") for entry in task.get("env", [])}
    return Replica(module, tuple(task.get("args", [])), env)


def _check_pool(pool, path, place) -> None:
    _known(pool, POOL_KEYS, path, place)
    if not isinstance(pool.get("replicaCount", 1), int):
        raise SpecError(f"{path}: {place}.replicaCount must be a whole number")
    for key, keys in (("containerSpec", CONTAINER_KEYS), ("pythonPackageSpec", PACKAGE_KEYS)):
        task = pool.get(key)
        if task is None:
            continue
        _known(task, keys, path, f"{place}.{key}")
        for i, arg in enumerate(task.get("args") or []):
            if not isinstance(arg, str):
                raise SpecError(
                    f"{path}: {place}.{key}.args[{i}] is {arg!r}, not a text; put it in quotes, "
                    f'with its flag: "--name={arg}"'
                )
        for i, entry in enumerate(task.get("env") or []):
            if not isinstance(entry, dict) or set(entry) - {"name", "value"} or "name" not in entry:
                raise SpecError(f"{path}: {place}.{key}.env[{i}] must be {{name: …, value: …}}")


def _known(message, keys, path, place) -> None:
    if not isinstance(message, dict):
        raise SpecError(f"{path}: {place} must be a mapping, got {type(message).__name__}")
    for key in message:
        if key not in keys:
            close = difflib.get_close_matches(str(key), keys, n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]}?" if close else f"; known are {', '.join(keys)}"
            raise SpecError(f"{path}: {place} has no field {key!r}{hint}")
