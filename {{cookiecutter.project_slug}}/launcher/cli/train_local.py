"""Runs a job file on this machine as Vertex AI would, then shows what came of it.

    python scripts/train_local.py [JOB.yaml] [options] [-- trainer flags]

Without a job file: configs/cpu.yaml. The trainer's own flags: python -m trainer.task --help
With --job-dir runs/NAME among them, a run that was stopped resumes. Relative paths among the flags
begin in this repo's folder.
"""

from pathlib import Path

from launcher.cli import command
from launcher.local import contract, faults
from launcher.project.settings import ROOT


def main(argv: list[str]) -> int:
    parser = command.new_parser(__doc__)
    add = parser.add_argument
    add("job", nargs="?", type=Path, default=ROOT / "configs" / "cpu.yaml", metavar="JOB.yaml")
    text = "such as worker=1,ps=0: fewer than the file's, for a laptop"
    add("--replicas", type=contract.parse_counts, metavar="ROLE=N,…", help=text)
    text = "run in the project's image instead of this Python"
    add("--container", action="store_true", help=text)
    text = "kill -9 a replica: worker:1@epoch2, chief@30s"
    add("--kill", type=faults.parse_kill, action="append", metavar="WHO@WHEN", help=text)
    text = "take the machines away once, and give them back: 30s, epoch3"
    add("--preempt-after", type=faults.parse_moment, metavar="WHEN", help=text)
    text = "of a study: write job files of the N best trials"
    add("--top", type=int, metavar="N", help=text)
    add("--new", action="store_true", help="of a study: start a new one, resume none")
    text = "of a study: each trial imports TensorFlow by itself (Linux; other systems always do)"
    add("--no-fork", dest="fork", action="store_false", help=text)
    options, flags = command.parse_job(parser, argv)
    from launcher.cli import start  # --help needs none of it

    return command.run(lambda: start.local(options, flags))
