"""Reads a job file strictly: a CustomJobSpec, or a HyperparameterTuningJob, as the API spells it.

    job = spec.load("configs/gpu.yaml")     everything checked
    job.pools[0].machine                    "n1-standard-8"; see jobfile/job.py

All that is wrong is reported at once, a fault a line: file, line, path, what, what to write instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from launcher.common import document
from launcher.common.document import Document, Fault, SpecError, outer
from launcher.jobfile import rules, schema, trainer_rules
from launcher.jobfile.job import Job
from launcher.jobfile.program import OWN_IMAGE
from launcher.project.buckets import find_uri_problem
from launcher.project.settings import Settings, read_or_default

__all__ = ["Fault", "Job", "SpecError", "check", "load", "read"]

STUDY_KEYS = {"studySpec", "trialJobSpec", "maxTrialCount", "parallelTrialCount"}
WRAPPERS = {"jobSpec", "customJobSpec", "customJob", "hyperparameterTuningJob"}
LEGACY_KEYS = {"trainingInput", "scaleTier", "masterType", "masterConfig"}


def load(path: str | Path, flags: Sequence[str] = ()) -> Job:
    """Read a job file and check all of it, with this repo's project.yaml where there is one.

    Args:
        flags: of a command line, after the args of the pools; they are checked with them.

    Raises:
        SpecError: all faults, by line.
    """
    job, faults = _read(path)
    more = check(job, read_or_default(), flags)
    faults += [fault for fault in more if not _follows(fault, faults, job)]
    if faults:
        raise SpecError(*sorted(faults, key=lambda fault: fault.line))
    return job


def read(path: str | Path) -> Job:
    """Read a job file and check its shape.

    Raises:
        SpecError: everything that the API's messages do not take.
    """
    job, faults = _read(path)
    if faults:
        raise SpecError(*faults)
    return job


def check(job: Job, project: Settings, flags: Sequence[str] = ()) -> list[Fault]:
    """Return the faults by the rules that the messages do not carry, by line."""
    problems = [*rules.find_problems(job), *trainer_rules.check_flags(job, flags)]
    faults = [job.file.fault(*problem) for problem in problems]
    faults += check_project(job, job.output, project)
    return sorted(faults, key=lambda fault: fault.line)


def check_project(job: Job, output: str, project: Settings) -> list[Fault]:
    """Return a fault where a job writes to another bucket than the one in project.yaml.

    Args:
        output: gs://…; what is no URI is another rule's fault.
    """
    if not project.bucket or find_uri_problem(output) or output.split("/")[2] == project.bucket:
        return []
    what = f"{output} is not in the project's bucket, {project.bucket}"
    instead = "leave it out: the launcher takes a folder of the job's own there"
    return [job.file.fault(job.locate("baseOutputDirectory.outputUriPrefix"), what, instead)]


def _follows(fault: Fault, causes: list[Fault], job: Job) -> bool:
    """Whether a fault may only be there because something beside it could not be read."""
    missing = fault.field not in job.file.lines
    for cause in causes:
        around, name = outer(cause.field), cause.field.rpartition(".")[2]
        beside = outer(fault.field) == around and not fault.field.endswith(".machineType")
        if fault.field in (cause.field, around) or (beside and (missing or name in schema.FIELDS)):
            return True
    return False


def _read(path: str | Path) -> tuple[Job, list[Fault]]:
    file = document.read(path)
    if other := _explain_other(file):
        line, what, instead = other
        raise SpecError(Fault(file.path, line, "", what, instead))
    tuning = bool(STUDY_KEYS & set(map(schema.camel, file.value)))
    message, faults = schema.read_message(
        file, "HyperparameterTuningJob" if tuning else "CustomJobSpec"
    )
    job = Job(file, message, tuning)
    for pool in job.spec.get("workerPoolSpecs", []):
        # Where the project's image is, project.yaml says: as if the file named none.
        if pool.get("containerSpec", {}).get("imageUri") == OWN_IMAGE:
            del pool["containerSpec"]["imageUri"]
    return job, faults


def _explain_other(file: Document) -> tuple[int, str, str] | None:
    """What a file is that is no job file at all: its line, what, what to write; None for a job file.

    It may be empty, a list, a message around the job, or a file of the old service.
    """
    if not isinstance(file.value, dict):
        what = "no job file: it holds no mapping"
        return 1, what, "a job file begins with workerPoolSpecs:, see configs/cpu.yaml"
    for key in file.value:
        if schema.camel(key) in LEGACY_KEYS:
            what = f"{key} belongs to AI Platform Training, which was shut down in 2025"
            instead = f"run: python TEMPLATE/tools/migrate_config.py {file.path}"
            return file.line(key), what, instead
        if schema.camel(key) in WRAPPERS:
            what = f"{key} is a message around the job, which gcloud reads as an empty job"
            return file.line(key), what, f"keep what stands below {key}, and remove the rest"
    return None
