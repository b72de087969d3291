"""Writes the report of a run: one page, report.html, in the run's directory.

python scripts/report.py                      the newest run in runs/
python scripts/report.py runs/A runs/B        these runs
"""

import argparse
import sys

from launcher.project.settings import ROOT
from launcher.report import runs

RUNS = ROOT / "runs"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run_dir", nargs="*", metavar="RUN_DIR", help="default: the newest run")
    run_dirs = parser.parse_args().run_dir or [run.path for run in runs.load_all(RUNS)[:1]]
    if not run_dirs:
        print(f"error: no run in {RUNS}; train one first", file=sys.stderr)
        return 2
    from launcher.report import report  # matplotlib takes a second, and --help needs none

    for run_dir in run_dirs:
        try:
            print(report.write(run_dir))
        except runs.RunError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    return 0
