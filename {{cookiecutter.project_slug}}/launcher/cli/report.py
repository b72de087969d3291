"""Writes the report of a run: one page, report.html, in the run's directory.

python scripts/report.py                      the newest run in runs/
python scripts/report.py runs/A runs/B        these runs
"""

from __future__ import annotations

from itertools import islice

from launcher.cli import command
from launcher.project.settings import ROOT
from launcher.report import runs

RUNS = ROOT / "runs"


def main(argv: list[str]) -> int:
    parser = command.new_parser(__doc__)
    parser.add_argument("run_dir", nargs="*", metavar="RUN_DIR", help="default: the newest run")
    run_dirs = parser.parse_args(argv).run_dir
    return command.run(lambda: _write(run_dirs))


def _write(run_dirs: list[str]) -> int:
    run_dirs = run_dirs or [run.path for run in islice(runs.iterate(RUNS), 1)]
    if not run_dirs:
        raise runs.RunError(f"no run in {RUNS}; train one first")
    from launcher.report import report  # matplotlib takes a second, and --help needs none

    for run_dir in run_dirs:
        print(report.write(run_dir), flush=True)
    return 0
