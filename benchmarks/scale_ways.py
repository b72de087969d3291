"""One command of the launcher, in a process of its own: `python scale_ways.py WAY …`, in a baked repo.

Prints JSON: its seconds, the processor time and the peak memory of this process alone, its imports
included. `scale_points.py` starts it.
"""

import contextlib
import io
import json
import os
import re
import sys
import time
from pathlib import Path


def list_jobs(most):
    from launcher.cli import jobs

    assert jobs.main(["list", "--most", most]) == 0


def notebook_jobs(most):
    from launcher import notebook

    jobs = notebook.jobs(int(most))
    assert len(jobs) == int(most), jobs


def report_newest():
    from launcher.cli import report

    assert report.main([]) == 0


def compare_runs():
    """What notebooks/3_train_and_compare.ipynb does with all runs."""
    from launcher.project.settings import ROOT
    from launcher.report import comparison, report, runs

    every = runs.load_all(ROOT / "runs")
    comparison.table(every)
    report.render_sections(comparison.draw(comparison.group_runs(every)[0]), ROOT / "runs")


def run_study(job, folder):
    from launcher.cli import train_local

    assert train_local.main([job, "--", "--job-dir", folder]) == 0


WAYS = (list_jobs, notebook_jobs, report_newest, compare_runs, run_study)

if __name__ == "__main__":
    del sys.path[0]  # this folder, whose launcher.py is another one
    begin = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        {way.__name__: way for way in WAYS}[sys.argv[1]](*sys.argv[2:])
    seconds = time.perf_counter() - begin
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]
    cpu = sum(os.times()[:2])  # without children
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": 1024 * int(peak)}))
