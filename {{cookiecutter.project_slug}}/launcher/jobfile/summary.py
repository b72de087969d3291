"""What a job asks for, in a few words."""

from __future__ import annotations

from launcher.common.times import parse_duration
from launcher.jobfile.spec import Job

UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def summary(job: Job) -> str:
    """ "12 trials, 2 at a time, each 1 replica of n2-standard-4, at most 1 hour" """
    machines: dict[str, int] = {}
    for pool in filter(None, job.spec["workerPoolSpecs"]):
        spec = pool["machineSpec"]
        name = spec["machineType"]
        if spec.get("acceleratorType"):
            name += f" with {spec['acceleratorCount']} {spec['acceleratorType']}"
        machines[name] = machines.get(name, 0) + int(pool["replicaCount"])
    words = [" and ".join(f"{_count(n, 'replica')} of {name}" for name, n in machines.items())]
    scheduling = job.spec["scheduling"]
    if scheduling.get("strategy") in ("SPOT", "FLEX_START"):
        words.append(scheduling["strategy"])
    words.append(f"at most {duration(parse_duration(scheduling['timeout']))}")
    if job.tuning:
        words[0] = f"each {words[0]}"
        trials, parallel = (
            int(job.message[key]) for key in ("maxTrialCount", "parallelTrialCount")
        )
        words[:0] = [_count(trials, "trial"), f"{parallel} at a time"]
    return ", ".join(words)


def duration(seconds: float) -> str:
    """ "90 minutes", "1 hour": in the largest unit that leaves no rest."""
    size, unit = next((size, unit) for size, unit in UNITS if seconds % size == 0 or size == 1)
    return _count(seconds / size, unit)


def _count(number: float, word: str) -> str:
    return f"{number:g} {word}" + ("" if number == 1 else "s")
