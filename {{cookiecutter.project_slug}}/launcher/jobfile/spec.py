"""Reads a job file strictly: a CustomJobSpec, or a HyperparameterTuningJob, as the API spells it.

    job = spec.load("configs/gpu.yaml")     everything checked
    job.pools[0].machine                    "n1-standard-8"; see jobfile/job.py

What is wrong is told all at once, a fault a line: file, line, place, what, what to write instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from launcher.common import document
from launcher.common.document import Document, Fault, SpecError, outer
from launcher.jobfile import place_rules, rules, shape, study_rules, trainer_rules
from launcher.jobfile.job import Job
from launcher.jobfile.program import OWN_IMAGE
from launcher.project.settings import Settings, read_settings

__all__ = ["Fault", "Job", "SpecError", "check", "load", "read"]

STUDY_KEYS = {"studySpec", "trialJobSpec", "maxTrialCount", "parallelTrialCount"}
WRAPPERS = {"jobSpec", "customJobSpec", "customJob", "hyperparameterTuningJob"}
LEGACY_KEYS = {"trainingInput", "scaleTier", "masterType", "masterConfig"}


def read(path: str | Path) -> Job:
    """Reads a job file and checks its shape.

    Raises:
        SpecError: everything that the API's messages do not take.
    """
    job, faults = _read(path)
    if faults:
        raise SpecError(*faults)
    return job


def check(job: Job, project: Settings | None = None, flags: Sequence[str] = ()) -> list[Fault]:
    """The rules that the messages do not carry, by line.

    Args:
        project: what project.yaml says; without it nothing of the project is compared.
        flags: of a command line, after the args of the pools.
    """
    found = [(job.place(place), *words) for place, *words in rules.custom_job(job)]
    found += rules.missing(job.message, _message_name(job.tuning))
    if job.tuning:
        found += study_rules.study(job.message)
    found += trainer_rules.check(job, flags)
    faults = [Fault(job.path, job.line(place), place, *words) for place, *words in found]
    if project is not None:
        faults += check_project(job, job.spec, project)
    return sorted(faults, key=lambda fault: fault.line)


def check_project(job: Job, spec: dict, project: Settings) -> list[Fault]:
    """What does not go together with project.yaml, by line.

    Args:
        spec: the job's CustomJobSpec, or the one that is sent.
    """
    found = [(job.place(place), *words) for place, *words in place_rules.project(spec, project)]
    return [Fault(job.path, job.line(place), place, *words) for place, *words in found]


def load(path: str | Path, flags: Sequence[str] = (), *, completed_later: bool = False) -> Job:
    """Reads a job file and checks all of it, with this repo's project.yaml where there is one.

    Args:
        flags: of a command line, after the args of the pools; they are checked with them.
        completed_later: project.yaml fills in what is missing, and is compared then.

    Raises:
        SpecError: all faults, by line.
    """
    job, faults = _read(path)
    project = None if completed_later else _read_project()
    more = [fault for fault in check(job, project, flags) if not _follows(fault, faults, job)]
    if faults or more:
        raise SpecError(*sorted([*faults, *more], key=lambda fault: fault.line))
    return job


def _follows(fault: Fault, causes: list[Fault], job: Job) -> bool:
    """Whether a fault may only be there because something beside it could not be read."""
    for cause in causes:
        if fault.place in (cause.place, outer(cause.place)):
            return True
        if outer(fault.place) == outer(cause.place) and not fault.place.endswith(".machineType"):
            missing = fault.place not in job.lines
            unread = cause.place.rpartition(".")[2] in shape.FIELDS
            if missing or unread:
                return True
    return False


def _read_project() -> Settings | None:
    """project.yaml of this repo; None where it is missing or wrong, which scripts/check.py reports."""
    try:
        return read_settings()
    except SpecError:
        return None


def _read(path: str | Path) -> tuple[Job, list[Fault]]:
    found = document.read(path)
    _refuse_others(found)
    tuning = bool(STUDY_KEYS & set(map(shape.camel, found.value)))
    value, faults = shape.check(found, _message_name(tuning))
    job = Job(found.path, value, tuning, found.lines)
    for pool in job.spec.get("workerPoolSpecs") or []:
        # Where the project's image lies is for project.yaml to say: as if the file named none.
        if (pool.get("containerSpec") or {}).get("imageUri") == OWN_IMAGE:
            del pool["containerSpec"]["imageUri"]
    return job, faults


def _message_name(tuning: bool) -> str:
    return "HyperparameterTuningJob" if tuning else "CustomJobSpec"


def _refuse_others(found: Document) -> None:
    """Whatever is no job file at all is told in one line, not field by field.

    Raises:
        SpecError: nothing in it, a list, a message around the job, a file of the old service.
    """
    value = found.value

    def refuse(line: int, what: str, instead: str):
        raise SpecError(Fault(found.path, line, "", what, instead))

    if value is None:
        refuse(1, "empty", "a job file begins with workerPoolSpecs:, see configs/cpu.yaml")
    if not isinstance(value, dict):
        word = "a list" if isinstance(value, list) else "a single value"
        refuse(1, f"{word}, not a mapping", "a job file begins with workerPoolSpecs:")
    spelled = {shape.camel(key): key for key in value}
    for key in filter(LEGACY_KEYS.__contains__, spelled):
        refuse(
            found.line(spelled[key]),
            f"{spelled[key]} belongs to AI Platform Training, which was shut down in 2025",
            f"run: python TEMPLATE/tools/migrate_config.py {found.path}",
        )
    known = {*shape.MESSAGES["CustomJobSpec"], *shape.MESSAGES["HyperparameterTuningJob"]}
    for key, child in value.items():
        inside = set(map(shape.camel, child)) if isinstance(child, dict) else set()
        job_inside = bool(inside & {"workerPoolSpecs", "trialJobSpec"})
        if shape.camel(key) in WRAPPERS or (job_inside and shape.camel(key) not in known):
            refuse(
                found.line(key),
                f"{key} is a message around the job, which gcloud reads as an empty job",
                f"keep what stands below {key}, and remove the rest",
            )
    if value and not known & set(spelled):
        shown = ", ".join(list(value)[:4])
        if not any(shape.did_you_mean(key, known, 0.9) for key in spelled):
            refuse(
                1, f"no job file: the API has no field {shown}", "it begins with workerPoolSpecs:"
            )
