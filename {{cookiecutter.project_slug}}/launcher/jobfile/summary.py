"""What a job asks for, in a few words."""

from __future__ import annotations

from launcher.jobfile.job import Job

UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def summary(job: Job) -> str:
    """ "12 trials, 2 at a time, each 1 replica of n2-standard-4, at most 1 hour" """
    machines: dict[str, int] = {}
    for pool in job.pools:
        gpus = f" with {pool.accelerators} {pool.accelerator}" if pool.accelerator else ""
        name = pool.machine + gpus
        machines[name] = machines.get(name, 0) + pool.replicas
    words = [" and ".join(f"{_count(n, 'replica')} of {name}" for name, n in machines.items())]
    if job.scheduling.strategy in ("SPOT", "FLEX_START"):
        words.append(job.scheduling.strategy)
    words.append(f"at most {duration(job.scheduling.timeout)}")
    if job.tuning:
        words[0] = f"each {words[0]}"
        words[:0] = [_count(job.trials, "trial"), f"{job.parallel} at a time"]
    return ", ".join(words)


def duration(seconds: float) -> str:
    """ "90 minutes", "1 hour": in the largest unit that leaves no rest."""
    size, unit = next((size, unit) for size, unit in UNITS if seconds % size == 0 or size == 1)
    return _count(seconds / size, unit)


def _count(number: float, word: str) -> str:
    return f"{number:g} {word}" + ("" if number == 1 else "s")
