"""Looks for what is wrong in job files and in those of endpoints, before anything starts or costs money.

    python scripts/check.py [JOB.yaml …]

Without a file: project.yaml and all of configs/. Each fault is one line, and the exit code is 2 if
there is one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.cli import command
from launcher.common import document
from launcher.common.document import SpecError
from launcher.project import settings

if TYPE_CHECKING:
    from launcher.jobfile.job import Job

CONFIGS = settings.ROOT / "configs"
UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def main(argv: list[str]) -> int:
    parser = command.new_parser(__doc__)
    parser.add_argument("job", nargs="*", type=Path, metavar="JOB.yaml", help="default: configs/")
    paths = [settings.PATH, *(parser.parse_args(argv).job or sorted(CONFIGS.glob("*.yaml")))]
    return command.run(lambda: _check(paths))


def _check(paths: list[Path]) -> int:
    from launcher.endpoints import files  # --help needs none of it
    from launcher.jobfile import spec

    code = 0
    for path in paths:
        short = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        try:
            if path == settings.PATH:
                settings.read_settings(short)
            elif kind := files.find_kind(document.read(short)):
                print(f"ok  {short}  {files.describe(files.load(short, kind))}", flush=True)
            else:
                print(f"ok  {short}  {summarize(spec.load(short))}", flush=True)
        except SpecError as error:
            print(error, file=sys.stderr)
            code = 2
    return code


def summarize(job: Job) -> str:
    """ "12 trials, 2 at a time, each 1 replica of n2-standard-4, at most 1 hour" """
    machines: dict[str, int] = {}
    for pool in job.pools:
        gpus = f" with {pool.accelerators} {pool.accelerator}" if pool.accelerator else ""
        name = pool.machine + gpus
        machines[name] = machines.get(name, 0) + pool.replicas
    words = [" and ".join(f"{_count(n, 'replica')} of {name}" for name, n in machines.items())]
    if job.scheduling.strategy in ("SPOT", "FLEX_START"):
        words.append(job.scheduling.strategy)
    words.append(f"at most {format_duration(job.scheduling.timeout)}")
    if job.tuning:
        words[0] = f"each {words[0]}"
        words[:0] = [_count(job.trials, "trial"), f"{job.parallel} at a time"]
    return ", ".join(words)


def format_duration(seconds: float) -> str:
    """ "90 minutes", "1 hour": in the largest unit that leaves no rest."""
    size, unit = next((size, unit) for size, unit in UNITS if seconds % size == 0 or size == 1)
    return _count(seconds / size, unit)


def _count(number: float, word: str) -> str:
    return f"{number:g} {word}" + ("" if number == 1 else "s")
