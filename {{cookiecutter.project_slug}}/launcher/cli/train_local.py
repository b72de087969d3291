"""Runs a job file on this machine as Vertex AI would, then shows what came of it.

    python scripts/train_local.py [JOB.yaml] [options] [-- trainer flags]

Without a job file: configs/cpu.yaml. The trainer's own flags: python -m trainer.task --help
With --job-dir runs/NAME among them, a run that was stopped resumes. Relative paths among the flags
begin in this repo's folder.
"""

import argparse
import sys
from pathlib import Path

from launcher.cli import command
from launcher.local import contract, faults
from launcher.project.settings import ROOT


def main(argv: list[str]) -> int:
    parser = command.new_parser(__doc__)
    add = parser.add_argument
    add("job", nargs="?", type=Path, default=ROOT / "configs" / "cpu.yaml", metavar="JOB.yaml")
    add(
        "--replicas",
        type=contract.parse_counts,
        metavar="ROLE=N,…",
        help="such as worker=1,ps=0: fewer than the file's, for a laptop",
    )
    add(
        "--container", action="store_true", help="run in the project's image instead of this Python"
    )
    add(
        "--kill",
        type=faults.parse_kill,
        action="append",
        metavar="WHO@WHEN",
        help="kill -9 a replica: worker:1@epoch2, chief@30s",
    )
    add(
        "--preempt-after",
        type=faults.parse_moment,
        metavar="WHEN",
        help="take the machines away once, and give them back: 30s, epoch3",
    )
    add(
        "--top",
        type=int,
        metavar="N",
        help="of a study: write job files of the N best trials",
    )
    add("--new", action="store_true", help="of a study: start a new one, resume none")
    add(
        "--no-fork",
        dest="fork",
        action="store_false",
        help="of a study: each trial imports TensorFlow by itself (Linux; other systems always do)",
    )
    options, flags = command.parse_job(parser, argv)
    return command.run(lambda: _start(options, flags))


def _start(options: argparse.Namespace, flags: list[str]) -> int:
    from launcher.cli import start  # --help needs none of it

    try:
        return start.local(options, flags)
    except OSError as error:  # a full disk, a folder that cannot be written
        print(f"error: {error.filename or 'disk'}: {error.strerror or error}", file=sys.stderr)
        return 1
