"""Reads a job file strictly: a CustomJobSpec, or a HyperparameterTuningJob, as the API spells it.

    job = spec.load("configs/gpu.yaml")     everything checked
    job.spec["workerPoolSpecs"]             the message, a plain dict

What is wrong is told all at once, a fault a line: file, line, place, what, what to write instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from launcher import document, shape
from launcher.document import Document, Fault, SpecError, outer

__all__ = ["Fault", "Job", "SpecError", "check", "load", "project", "read"]

ROOT = Path(__file__).resolve().parents[1]
STUDY_KEYS = {"studySpec", "trialJobSpec", "maxTrialCount", "parallelTrialCount"}
LEGACY_KEYS = {"trainingInput", "scaleTier", "masterType", "masterConfig"}


@dataclass(frozen=True)
class Job:
    """A job file that has the shape of the API's message."""

    path: Path
    message: dict
    tuning: bool  # a HyperparameterTuningJob
    lines: Mapping[str, int] = field(default_factory=dict, repr=False)

    @property
    def spec(self) -> dict:
        """The CustomJobSpec: the message itself, or that of a trial."""
        return (self.message.get("trialJobSpec") or {}) if self.tuning else self.message

    def line(self, place: str) -> int:
        """The line of "workerPoolSpecs[0].replicaCount"; of what is around it where it is missing."""
        return document.line(self.lines, place)

    def place(self, place: str) -> str:
        """A place of the CustomJobSpec, as one of the message."""
        return f"trialJobSpec.{place}" if self.tuning else place


def read(path: str | Path) -> Job:
    """Reads a job file and checks its shape.

    Raises:
        SpecError: everything that the API's messages do not take.
    """
    job, faults = _read(path)
    if faults:
        raise SpecError(*faults)
    return job


def check(job: Job, project: dict | None = None) -> list[Fault]:
    """The rules that the messages do not carry.

    Args:
        project: what project.yaml says; without it nothing of the project is compared.
    """
    return []


def load(path: str | Path) -> Job:
    """Reads a job file and checks all of it, with this repo's project.yaml where there is one.

    Raises:
        SpecError: all faults, by line.
    """
    job, faults = _read(path)
    # What is said of a place that could not be read would only repeat that it could not.
    blind = {place for fault in faults for place in (fault.place, outer(fault.place))}
    more = [fault for fault in check(job, project()) if outer(fault.place) not in blind]
    if faults or more:
        raise SpecError(*sorted([*faults, *more], key=lambda fault: fault.line))
    return job


def project(path: str | Path = ROOT / "project.yaml") -> dict | None:
    """What project.yaml says; None where there is none.

    Raises:
        SpecError: it cannot be read.
    """
    if not Path(path).exists():
        return None
    return document.read(path).value


def _read(path: str | Path) -> tuple[Job, list[Fault]]:
    found = document.read(path)
    _refuse_others(found)
    tuning = bool(STUDY_KEYS & set(map(shape.camel, found.value)))
    message = "HyperparameterTuningJob" if tuning else "CustomJobSpec"
    value, faults = shape.check(found, message)
    return Job(found.path, value, tuning, found.lines), faults


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
            f"run: python scripts/migrate_config.py {found.path}",
        )
    known = {*shape.MESSAGES["CustomJobSpec"], *shape.MESSAGES["HyperparameterTuningJob"]}
    for key, child in value.items():
        if shape.camel(key) not in known and isinstance(child, dict):
            inside = set(map(shape.camel, child))
            if inside & {"workerPoolSpecs", "trialJobSpec", "jobSpec"}:
                refuse(
                    found.line(key),
                    f"{key} is a message around the job, which gcloud reads as an empty job",
                    f"keep what stands below {key}, and remove the rest",
                )
    if value and not known & set(spelled):
        shown = ", ".join(list(value)[:4])
        if not any(shape.did_you_mean(key, known, 0.8) for key in spelled):
            refuse(
                1, f"no job file: the API has no field {shown}", "it begins with workerPoolSpecs:"
            )
