"""Looks for what is wrong in job files, before anything starts or costs money.

    python scripts/check.py [JOB.yaml …]

Without a file: project.yaml and all of configs/. What is wrong is told a fault a line, and the exit
code is 2 then.
"""

import argparse
import sys
from pathlib import Path

from launcher.jobfile import spec
from launcher.jobfile.summary import summary
from launcher.project import settings

CONFIGS = settings.ROOT / "configs"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("job", nargs="*", type=Path, metavar="JOB.yaml", help="default: configs/")
    jobs = parser.parse_args(argv).job or sorted(CONFIGS.glob("*.yaml"))
    broken = 0
    for path, read in [
        (settings.PATH, settings.read_settings),
        *((job, spec.load) for job in jobs),
    ]:
        try:
            found = read(_shown(path))
        except spec.SpecError as error:
            broken += 1
            print(error, file=sys.stderr)
            continue
        if isinstance(found, spec.Job):
            print(f"ok  {found.path}  {summary(found)}", flush=True)
    return 2 if broken else 0


def _shown(path: Path) -> Path:
    """As short as it can be from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
