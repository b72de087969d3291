"""Messages made from a job: what is sent, the file of a best trial, the file that a sent job came from."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import yaml

from launcher.jobfile.job import Job, Pool
from launcher.jobfile.program import MODULE, OWN_IMAGE

# What the trainer cannot see in a job: the commit, and where the repo's data/ lies.
COMMIT, DIRTY, DATA = "GIT_COMMIT", "GIT_DIRTY", "OWN_DATA_URI"


@dataclass(frozen=True)
class Filling:
    """What a job file leaves to project.yaml and the launcher; "" where there is none."""

    output: str  # gs://…, the job's folder
    service_account: str = ""
    tensorboard: str = ""
    image: str = ""  # of the project; without one, its package runs in the executor
    package: str = ""  # gs://….tar.gz
    executor: str = ""  # the image that the package is installed on
    env: Mapping[str, str] | None = None


def complete(job: Job, filling: Filling, flags: Sequence[str]) -> dict:
    """The CustomJobSpec that is sent; the job's own stays as it is."""
    spec = copy.deepcopy(job.spec)
    for pool, message in zip(job.pools, filter(None, spec["workerPoolSpecs"]), strict=True):
        _complete(pool, message, filling, flags)
    spec["baseOutputDirectory"] = {"outputUriPrefix": filling.output}
    for key, value in (
        ("serviceAccount", filling.service_account),
        ("tensorboard", filling.tensorboard),
    ):
        if value and not spec.get(key):
            spec[key] = value
    return spec


def _complete(pool: Pool, message: dict, filling: Filling, flags: Sequence[str]) -> None:
    runs = pool.program
    if runs.needs == "image" and not filling.image:
        box = message.pop("containerSpec")
        rest = {"env": box["env"]} if "env" in box else {}
        rest |= {"args": list(runs.args)} if runs.args else {}
        message["pythonPackageSpec"] = {"pythonModule": runs.module, **rest}
    task = message["pythonPackageSpec" if "pythonPackageSpec" in message else "containerSpec"]
    if runs.needs == "image" and filling.image:
        task["imageUri"] = filling.image
    elif runs.needs:
        task["executorImageUri"] = runs.executor or filling.executor
        task["packageUris"] = [filling.package]
        task["pythonModule"] = task.get("pythonModule") or MODULE
    if runs.needs:
        env = {name: text for name, text in (filling.env or {}).items() if name not in runs.env}
        entries = [{"name": name, "value": text} for name, text in env.items()]
        if given := [*(task.get("env") or []), *entries]:
            task["env"] = given
    if flags and pool.takes_flags:
        task["args"] = [*(task.get("args") or []), *flags]


def add_parameters(job: Job, flags: Sequence[str], values: Mapping[str, str]) -> dict:
    """The CustomJobSpec of a trial, in which its parameters are args like any other.

    Args:
        values: {parameter id: its value}.
    """
    spec = copy.deepcopy(job.spec)
    for pool in filter(None, spec["workerPoolSpecs"]):
        task = pool.get("pythonPackageSpec") or pool.setdefault("containerSpec", {})
        if "pythonPackageSpec" not in pool:
            task.setdefault("imageUri", OWN_IMAGE)
        args = _remove_flags([*(task.get("args") or []), *flags], set(map(_underscores, values)))
        task["args"] = [*args, *(f"--{id}={text}" for id, text in values.items())]
    return spec


def _remove_flags(args: Sequence[str], names: set[str]) -> list[str]:
    """The args without these flags, written as one word or as two."""
    kept, skipping = [], False
    for arg in args:
        if arg.startswith("--"):
            flag, equals, _ = arg.partition("=")
            unwanted = _underscores(flag.removeprefix("--")) in names
            skipping = unwanted and not equals
            if not unwanted:
                kept.append(arg)
        elif skipping:
            skipping = False  # its value; one more word would be another's
        else:
            kept.append(arg)
    return kept


def _underscores(flag: str) -> str:
    return flag.replace("-", "_")


def undo(job: Job) -> Job:
    """A study of the service as its job file has it: without what `complete` filled in."""
    spec = copy.deepcopy(dict(job.spec))
    for key in ("baseOutputDirectory", "serviceAccount", "tensorboard"):
        spec.pop(key, None)
    for pool, message in zip(job.pools, filter(None, spec["workerPoolSpecs"]), strict=True):
        message["replicaCount"] = pool.replicas  # JSON has it as a text
        runs = pool.program
        if runs.foreign:
            continue
        task = message.pop("pythonPackageSpec", None) or message.get("containerSpec") or {}
        words = {"command": list(runs.command), "args": list(runs.args)}
        kept = {key: value for key, value in words.items() if value}
        filled = (COMMIT, DIRTY, DATA)
        env = [each for each in task.get("env") or [] if each["name"] not in filled]
        message["containerSpec"] = kept | ({"env": env} if env else {})
    return replace(job, message={"studySpec": job.message["studySpec"], "trialJobSpec": spec})


def to_yaml(message: Mapping, **style) -> str:
    """As YAML, with every text in quotes that another reader might take for a number.

    Args:
        style: as yaml.dump takes it; without any, ASCII in lines of 100 characters.
    """
    return yaml.dump(message, Dumper=_Dumper, sort_keys=False, **{"width": 100, **style})


class _Dumper(yaml.SafeDumper):
    """PyYAML leaves 1e-3 without quotes, and gcloud's reader takes it for a number."""

    def ignore_aliases(self, data):
        return True  # pools that share a list of args each get their own


def _text(dumper: yaml.SafeDumper, text: str):
    plain = re.fullmatch(r"[A-Za-z][\w./:@-]*", text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _text)
