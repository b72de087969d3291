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
# Messages around a CustomJobSpec, which other tools take whole.
WRAPPERS = ("jobSpec", "customJobSpec", "customJob", "trialJobSpec", "job_spec", "custom_job_spec")
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
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not a text in UTF-8 ({error.reason})") from None
    except yaml.YAMLError as error:
        raise SpecError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    wrapper = next((key for key in WRAPPERS if isinstance(job, dict) and key in job), None)
    if wrapper:
        raise SpecError(
            f"{path}: a CustomJobSpec is expected, without a message around it; keep what stands "
            f"below {wrapper}, and remove the rest"
        )
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
    count = sum(pool.get("replicaCount", 1) for pool in pools)
    if count != 1:
        raise SpecError(f"{path}: {count} replicas; a local run takes jobs with one replica")
    package = pools[0].get("pythonPackageSpec") or {}
    task = package or pools[0].get("containerSpec") or {}
    if task.get("command"):
        raise SpecError(
            f"{path}: containerSpec.command is for the container; remove it, and the trainer's own "
            "entrypoint is run, here and in the image"
        )
    module = package.get("pythonModule", "trainer.task")
    env = {entry["name"]: entry.get("value", "") for entry in task.get("env") or []}
    return Replica(module, tuple(task.get("args") or []), env)


def _check_pool(pool, path, place) -> None:
    _known(pool, POOL_KEYS, path, place)
    if type(pool.get("replicaCount", 1)) is not int:  # true is an int to isinstance
        raise SpecError(f"{path}: {place}.replicaCount must be a whole number")
    if pool.get("containerSpec") and pool.get("pythonPackageSpec"):
        raise SpecError(f"{path}: {place} has a containerSpec and a pythonPackageSpec; keep one")
    for key, keys in (("containerSpec", CONTAINER_KEYS), ("pythonPackageSpec", PACKAGE_KEYS)):
        if pool.get(key) is not None:
            _check_task(pool[key], keys, path, f"{place}.{key}")


def _check_task(task, keys, path, place) -> None:
    _known(task, keys, path, place)
    for key in ("args", "env"):
        if not isinstance(task.get(key) or [], list):
            raise SpecError(f"{path}: {place}.{key} must be a list, got {task[key]!r}")
    for i, arg in enumerate(task.get("args") or []):
        if not isinstance(arg, str):
            raise SpecError(
                f"{path}: {place}.args[{i}] is {arg!r}, not a text; put it in quotes, "
                f'with its flag: "--name={arg}"'
            )
    for i, entry in enumerate(task.get("env") or []):
        texts = isinstance(entry, dict) and all(isinstance(v, str) for v in entry.values())
        if not texts or not {"name"} <= set(entry) <= {"name", "value"}:
            raise SpecError(
                f"{path}: {place}.env[{i}] must be a name and a value, both texts, in quotes: "
                f'{{name: "X", value: "1"}}; got {entry!r}'
            )


def _known(message, keys, path, place) -> None:
    if not isinstance(message, dict):
        raise SpecError(f"{path}: {place} must be a mapping, got {type(message).__name__}")
    for key in message:
        if key not in keys:
            close = difflib.get_close_matches(str(key), keys, n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]}?" if close else f"; known are {', '.join(keys)}"
            raise SpecError(f"{path}: {place} has no field {key!r}{hint}")
