"""Messages made from a job: what is sent, the file of a best trial, the file that a sent job came from."""

from __future__ import annotations

import argparse
import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import yaml

from launcher.jobfile.job import Job
from launcher.jobfile.program import MODULE, OWN_IMAGE
from launcher.project.settings import Settings

# What the trainer cannot see in a job: the commit, where the repo's data/ is, which raw data it has.
COMMIT, DIRTY, DATA, RAW = "GIT_COMMIT", "GIT_DIRTY", "OWN_DATA_URI", "DATA_HASH"


def complete(
    job: Job,
    flags: Sequence[str],
    settings: Settings,
    *,
    output: str,
    image: str,
    package: str,
    env: Mapping[str, str],
) -> dict:
    """Return the CustomJobSpec that is sent; the job's own stays as it is.

    Args:
        flags: come after the args of every pool that runs the chief's program.
        settings: what project.yaml gives where the job file is silent.
        output: gs://…, the job's folder.
        image: the project's; "": its package, gs://….tar.gz, is installed on an executor.
        env: variables of pools that run the project's image or package.
    """
    spec = copy.deepcopy(job.spec)
    for pool in job.pools:
        message, runs = spec["workerPoolSpecs"][pool.index], pool.program
        if runs.needs == "image" and not image:
            box = message.pop("containerSpec")
            words = {"env": box.get("env"), "args": list(runs.args)}
            given = {key: value for key, value in words.items() if value}
            message["pythonPackageSpec"] = {"pythonModule": runs.module, **given}
        task = message["pythonPackageSpec" if "pythonPackageSpec" in message else "containerSpec"]
        if runs.needs == "image" and image:
            task["imageUri"] = image
        elif runs.needs:
            task["executorImageUri"] = runs.executor or settings.executor_image
            task["packageUris"] = [package]
            task["pythonModule"] = task.get("pythonModule") or MODULE
        new = [{"name": n, "value": text} for n, text in env.items() if n not in runs.env]
        if runs.needs and new:
            task["env"] = [*task.get("env", []), *new]
        if flags and pool.takes_flags:
            task["args"] = [*task.get("args", []), *flags]
    given = {"serviceAccount": settings.service_account, "tensorboard": settings.tensorboard}
    given = {key: value for key, value in given.items() if value and not spec.get(key)}
    return {**set_output(spec, output), **given}


def set_output(spec: dict, output: str) -> dict:
    """Return a CustomJobSpec that writes to another folder: gs://…"""
    return {**spec, "baseOutputDirectory": {"outputUriPrefix": output}}


def add_parameters(job: Job, flags: Sequence[str], values: Mapping[str, str]) -> dict:
    """Return the CustomJobSpec of a trial, in which its parameters are args like any other.

    Args:
        values: {parameter id: its value}.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for id in values:  # without a value it must not take the next flag for one
        parser.add_argument(f"--{id.replace('-', '_')}", f"--{id.replace('_', '-')}", nargs="?")
    spec = copy.deepcopy(job.spec)
    for pool in job.pools:
        message = spec["workerPoolSpecs"][pool.index]
        task = message.get("pythonPackageSpec") or message.setdefault("containerSpec", {})
        if "pythonPackageSpec" not in message:
            task.setdefault("imageUri", OWN_IMAGE)
        _, others = parser.parse_known_args([*task.get("args", []), *flags])
        task["args"] = [*others, *(f"--{id}={text}" for id, text in values.items())]
    return spec


def undo(job: Job) -> Job:
    """Return a study of the service as its job file has it: without what `complete` filled in."""
    spec = copy.deepcopy(dict(job.spec))
    for key in ("baseOutputDirectory", "serviceAccount", "tensorboard"):
        spec.pop(key, None)
    for pool in job.pools:
        message, runs = spec["workerPoolSpecs"][pool.index], pool.program
        message["replicaCount"] = pool.replicas  # JSON has it as a text
        if runs.foreign:
            continue
        task = message.pop("pythonPackageSpec", None) or message.get("containerSpec", {})
        filled_in = (COMMIT, DIRTY, DATA, RAW)
        env = [entry for entry in task.get("env", []) if entry["name"] not in filled_in]
        words = {"command": list(runs.command), "args": list(runs.args), "env": env}
        message["containerSpec"] = {key: value for key, value in words.items() if value}
    return replace(job, message={"studySpec": job.message["studySpec"], "trialJobSpec": spec})


def to_yaml(message: Mapping, **style) -> str:
    """Write a message as YAML, with every text in quotes that a reader might take for a number.

    Args:
        style: as yaml.dump takes it; without any, ASCII in lines of 100 characters.
    """
    return yaml.dump(message, Dumper=_Dumper, sort_keys=False, **{"width": 100, **style})


class _Dumper(yaml.SafeDumper):
    """PyYAML leaves 1e-3 without quotes, and gcloud's reader takes it for a number."""

    def ignore_aliases(self, data):
        return True  # pools that share a list of args each get their own


def _represent_text(dumper: yaml.SafeDumper, text: str):
    plain = re.fullmatch(r"[A-Za-z][\w./:@-]*", text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _represent_text)
