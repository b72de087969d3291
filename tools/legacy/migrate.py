"""Today's job file from one of AI Platform Training (`trainingInput:`), which was shut down in 2025.

What changed its meaning gets a comment, where it stands or, if it stands nowhere now, at the head.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

from launcher.common import document
from launcher.common.document import Document, Fault, SpecError, inner
from launcher.jobfile import schema

from legacy import commented
from legacy.machines import GONE, MACHINES, TIERS, WITH_L4
from legacy.study import study

ROLES = ("master", "worker", "parameterServer", "evaluator")  # in the order of today's pools
COUNTS = ("workerCount", "parameterServerCount", "evaluatorCount")
KNOWN_BY = {"scaleTier", "masterType", "masterConfig"}  # without trainingInput: around them
UNSET_TIMEOUT = "86400s"
READ = {
    *("scaleTier", "args", "pythonModule", "packageUris", "jobDir", "region", "runtimeVersion"),
    *("pythonVersion", "scheduling", "serviceAccount", "network", "encryptionConfig"),
    *("hyperparameters", "useChiefInTfConfig", "enableWebAccess", *COUNTS),
    *(f"{role}{part}" for role in ROLES for part in ("Type", "Config")),
}


def migrate(path: str | Path) -> str:
    """The text of today's file.

    Raises:
        SpecError: no file of that service, or something in it that it did not take either.
    """
    return _Migration(document.read(path)).text()


class _Migration:
    def __init__(self, found: Document):
        self.found = found
        whole = _camel(found.value) if isinstance(found.value, dict) else {}
        self.root = "trainingInput" if "trainingInput" in whole else ""
        self.old = whole.get("trainingInput", whole if KNOWN_BY & set(whole) else None)
        self.job = {key: value for key, value in whole.items() if key != "trainingInput"}
        if not isinstance(self.old, dict):
            raise SpecError(
                Fault(found.path, 0, "", "no job file of AI Platform Training: no trainingInput")
            )
        self.head: list[str] = []  # comments on what has no place of its own any more
        self.notes: dict[str, str] = {}  # {place: comment}

    def refuse(self, key: str, what: str, instead: str):
        place = inner(self.root, key)
        raise SpecError(Fault(self.found.path, self.found.line(place), place, what, instead))

    def get(self, key: str, kind: type, place: str = "") -> Any:
        """A value of the old file; its type is checked, None counts as not there."""
        around: Any = self.old
        for part in place.split(".") if place else ():
            around = around.get(part) or {}
        value = around.get(key)
        if kind is int and str(value).isdecimal():  # as JSON, numbers of 64 bits are texts
            value = int(value)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            words = {int: "a whole number", str: "a text", list: "a list", dict: "a mapping"}
            what = f"is {document.show(value)}"
            self.refuse(inner(place, key), what, f"{words[kind]} is expected")
        return value

    def text(self) -> str:
        message = self.message()
        head = [
            f"From {self.found.path.name}, a job file of AI Platform Training, by",
            f"python TEMPLATE/tools/migrate_config.py {self.found.path.name}",
            "A comment stands at each thing that changed its meaning.",
            *(["", *self.head] if self.head else []),
        ]
        return commented.dump(message, self.notes, head)

    def message(self) -> dict:
        spec = {"workerPoolSpecs": self.pools(), "scheduling": self.scheduling()}
        for key in ("serviceAccount", "network"):
            if self.get(key, str):
                spec[key] = self.old[key]
        if self.old.get("enableWebAccess"):
            spec["enableWebAccess"] = True
        if self.get("jobDir", str):
            spec["baseOutputDirectory"] = {"outputUriPrefix": self.old["jobDir"]}
            self.notes["baseOutputDirectory"] = (
                "was jobDir, passed on as --job-dir; now AIP_MODEL_DIR and the like name folders below"
            )
        self.leave_out()
        self.get("encryptionConfig", dict)
        key = self.get("kmsKeyName", str, "encryptionConfig")
        parameters = self.get("hyperparameters", dict)
        if parameters is None:
            if key:
                self.head.append(f"The key {key} belongs to the job around this: gcloud --kms-key.")
            if self.job.get("labels"):
                self.head.append("labels now stand in project.yaml.")
            return spec
        job, notes, head = study(parameters, self.refuse)
        self.notes = {f"trialJobSpec.{place}": note for place, note in self.notes.items()} | notes
        self.head += head
        name = str(self.job.get("jobId") or self.found.path.stem)
        more = {"encryptionSpec": {"kmsKeyName": key}} if key else {}
        if isinstance(self.job.get("labels"), dict):
            more["labels"] = {key: str(value) for key, value in self.job["labels"].items()}
        return {"displayName": name, **job, "trialJobSpec": spec, **more}

    def leave_out(self) -> None:
        """Tells what is no part of a job file any more."""
        if self.get("region", str):
            self.head.append(f"region ({self.old['region']}) now stands in project.yaml.")
        versions = [
            self.old[key] for key in ("runtimeVersion", "pythonVersion") if self.old.get(key)
        ]
        if versions:
            self.head.append(
                f"runtimeVersion and pythonVersion ({', '.join(map(str, versions))}) are gone: the "
                "image brings TensorFlow and Python, see the Dockerfile."
            )
        for key in self.old:
            if key not in READ:
                close = difflib.get_close_matches(key, READ, n=1)
                hint = f" (did you mean {close[0]}?)" if close else ""
                self.head.append(f"{key} was not read{hint}.")

    def pools(self) -> list[dict]:
        tier = self.get("scaleTier", str) or ("CUSTOM" if self.old.get("masterType") else "BASIC")
        if tier not in TIERS:
            self.refuse("scaleTier", f"there was no {tier}", schema.suggest(tier, TIERS))
        if TIERS[tier]:
            self.notes["workerPoolSpecs"] = f"was scaleTier {tier}, which chose these machines"
            machines = [*TIERS[tier], ("", 0)]
        else:
            counts = [1, *(self.get(key, int) or 0 for key in COUNTS)]
            machines = [
                (self.get(f"{role}Type", str) or "", count)
                for role, count in zip(ROLES, counts, strict=True)
            ]
        if machines[1][0] == "cloud_tpu":  # a machine beside its TPU, which is one machine today
            machines = [machines[1], ("", 0), ("", 0), ("", 0)]
        while machines[-1][1] < 1:
            machines.pop()
        pools = []
        for i, (role, (name, count)) in enumerate(zip(ROLES, machines, strict=False)):
            pools.append(self.pool(f"workerPoolSpecs[{i}]", role, name, count) if count > 0 else {})
        if len(pools) > 1:
            self.notes["workerPoolSpecs[0].replicaCount"] = (
                "the place in the list gives the role; TF_CONFIG calls the first one chief, not master"
            )
        return pools

    def pool(self, place: str, role: str, name: str, count: int) -> dict:
        config = f"{role}Config"
        spec = self.machine(f"{place}.machineSpec", role, name)
        found = {"machineSpec": spec, "replicaCount": count}
        if self.get(config, dict) and self.get("diskConfig", dict, config):
            disk = f"{config}.diskConfig"
            found["diskSpec"] = {
                "bootDiskType": self.get("bootDiskType", str, disk) or "pd-ssd",
                "bootDiskSizeGb": self.get("bootDiskSizeGb", int, disk) or 100,
            }
        return found | self.task(place, config)

    def machine(self, place: str, role: str, name: str) -> dict:
        if not name:
            self.refuse(f"{role}Type", "is missing", "name the machine, such as n1-standard-4")
        if name == "cloud_tpu":
            self.notes[f"{place}.machineType"] = (
                "was a TPU v2 or v3 beside a machine; a v5e is both, see configs/tpu.yaml"
            )
            return {"machineType": "ct5lp-hightpu-1t", "tpuTopology": "1x1"}
        machine, gpu, count = MACHINES.get(name, (name, "", 0))
        config = f"{role}Config"
        if self.get(config, dict) and self.get("acceleratorConfig", dict, config):
            gpu = self.get("type", str, f"{config}.acceleratorConfig") or ""
            count = self.get("count", int, f"{config}.acceleratorConfig") or 0
        if machine != name:
            self.notes[f"{place}.machineType"] = f"was {name}"
        if gpu in GONE:
            machine = WITH_L4.get(count, "g2-standard-8")
            self.notes[f"{place}.machineType"] = (
                f"was {name} with {count} {gpu}, which is gone: the L4 is faster, and has a machine "
                "type of its own"
            )
            gpu = "NVIDIA_L4"
        return {"machineType": machine} | (
            {"acceleratorType": gpu, "acceleratorCount": count} if gpu else {}
        )

    def task(self, place: str, config: str) -> dict:
        """What the pool runs. Google's images are gone, so the project's own is the usual one."""

        def configured(key: str, kind: type) -> Any:
            """The pool's own, else the master's."""
            for part in (config, "masterConfig"):
                if self.get(part, dict) and self.get(key, kind, part):
                    return self.get(key, kind, part)
            return None

        args = configured("containerArgs", list) or self.get("args", list) or []
        args = [str(arg) for arg in args]
        command = [str(word) for word in configured("containerCommand", list) or []]
        module = self.get("pythonModule", str)
        image = configured("imageUri", str) or ""
        if module and module != "trainer.task" and not image:
            packages = [str(uri) for uri in self.get("packageUris", list) or []]
            self.notes[f"{place}.pythonPackageSpec"] = (
                "needs an executorImageUri with TensorFlow in it: Google's images for this are gone"
            )
            found = {"packageUris": packages, "pythonModule": module, "args": args}
            return {"pythonPackageSpec": found}
        if not image or re.match(r"([\w-]+\.)?gcr\.io/", image):
            was = f"was {image}: Container Registry is gone. T" if image else "t"
            if place.endswith("[0]"):  # it is the same for the others
                self.notes[f"{place}.containerSpec"] = (
                    f"{was}he project's own image: it holds the trainer, packageUris are not needed"
                )
            image = "trainer"
        found = {"command": command} if command else {}
        return {"containerSpec": {"imageUri": image, **found, "args": args}}

    def scheduling(self) -> dict:
        self.get("scheduling", dict)
        timeout = self.get("maxRunningTime", str, "scheduling")
        if timeout is None:
            self.notes["scheduling.timeout"] = "was not set: a job ran up to seven days"
        else:
            self.notes["scheduling.timeout"] = "was maxRunningTime"
        waits = self.get("maxWaitTime", str, "scheduling")
        if waits:
            self.head.append(
                f"maxWaitTime ({waits}) has no successor but maxWaitDuration, which is "
                "for strategy FLEX_START alone."
            )
        return {"timeout": str(timeout or UNSET_TIMEOUT)}


def _camel(value: Any) -> Any:
    """Keys as JSON spells them: the old service took both spellings."""
    if isinstance(value, dict):
        return {schema.camel(k): v if k == "labels" else _camel(v) for k, v in value.items()}
    return [_camel(v) for v in value] if isinstance(value, list) else value
