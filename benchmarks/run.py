"""Runs all benchmarks and writes RESULTS.md beside this file: `make benchmarks`.

With --quick it is over in minutes, shows only that all of it runs, and writes no file.
"""

import argparse
import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import version

import checkpoints
import growth
import processes
import start
import tabular
from measure import HERE, ROOT, Lab

PARTS = (tabular, growth, start, processes, checkpoints)
PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "pyarrow", "scikit-learn")


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("parts", nargs="*", help="some of them: tabular growth start …")
    asked = parser.parse_args(arguments)
    quick, parts = asked.quick, [p for p in PARTS if p.__name__ in asked.parts] or PARTS
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    lab = Lab(quick)
    sections = []
    for part in parts:
        print(part.__name__, file=sys.stderr, flush=True)
        sections.append(part.measure(lab))
    text = _head(lab, load, parts) + "\n" + "\n".join(sections)
    if quick:
        print(text)
    else:
        (HERE / "RESULTS.md").write_text(text, encoding="utf-8")


def _head(lab, load, parts):
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    facts = {
        "made by": f"`python3 dev.py benchmarks {' '.join(p.__name__ for p in parts)}` on {datetime.now(timezone.utc):%Y-%m-%d}",
        "commit": commit or "unknown",
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "load before": "unknown"
        if load is None
        else f"{load:.1f} processes (0 is a quiet machine)",
        "versions": ", ".join([f"Python {platform.python_version()}", *_versions()]),
    }
    lines = "\n".join(f"- {name}: {fact}" for name, fact in facts.items())
    return (
        "# What was measured\n\nWritten by a program; no number is typed by hand. Each figure is "
        f"the median of {lab.repeats} (lowest–highest); the ways that are compared took turns.\n\n"
        f"{lines}\n"
    )


def _processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _versions():
    for name in PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except ModuleNotFoundError:
            continue


if __name__ == "__main__":
    main(sys.argv[1:])
