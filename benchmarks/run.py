"""Runs the benchmarks and writes RESULTS.md beside this file: `python3 dev.py benchmarks`.

Names of parts after it run only these; the other sections of RESULTS.md stay as they are. With
--quick it is over in minutes, shows only that all of it runs, and writes no file.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version

import checkpoints
import dry_run
import growth
import launcher
import processes
import products
import quality
import raw_data
import reader
import reading
import scale
import search
import series
import serving
import shards
import start
import studies
import tabular
from measure import HERE, QUIET, ROOT, Clock, Lab

ALL = (tabular, products, growth, reading, start, processes, checkpoints, launcher, dry_run)
ALL += (studies, search, shards, reader, raw_data, series, serving, quality, scale)
PARTS = {part.__name__: part for part in ALL}
PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "pyarrow", "pillow")
RESULTS = HERE / "RESULTS.md"
DISTURBED = (
    "the machine was not ours alone, and the ways suffer unequally (numpy and scikit-learn most, "
    "whose threads wait by spinning): neither a met nor a missed aim is sure here"
)
HEAD = """# What was measured

Written by a program; no number is typed by hand. Each figure is the median of five or more
(lowest–highest), but for the last section, and the ways that are compared took turns. Where an aim
is missed, the sentence below the table says what limits it, with figures of the same run.
"""


def main(arguments):
    parser = argparse.ArgumentParser(prog="python3 dev.py benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small and once, to the terminal")
    parser.add_argument(
        "--before", metavar="COMMIT", help="measure the code of a commit beside ours"
    )
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}")
    options = parser.parse_args(arguments)
    for name in options.parts:
        if name not in PARTS:
            parser.error(f"no part {name!r}; there are: {', '.join(PARTS)}")
    command = " ".join(["python3 dev.py benchmarks", *arguments])
    commit, lab = _commit(), Lab(options.quick, before=options.before)
    for name in options.parts or PARTS:
        print(name, file=sys.stderr, flush=True)
        part, before = PARTS[name], Clock()
        text = part.measure(lab)
        repeats = getattr(part, "REPEATS", f"{lab.repeats} repeats")
        section = f"## {part.TITLE}\n\n{_made(command, commit, before, repeats)}\n\n{text}"
        if options.quick:
            print(section, flush=True)
        else:
            _replace(part.TITLE, section)


def _replace(title, section):
    """Writes one section of RESULTS.md anew, in its place."""
    old = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    pieces = re.split(r"^(?=## )", old, flags=re.MULTILINE)[1:]
    sections = {piece.partition("\n")[0][3:]: piece for piece in pieces} | {title: section}
    titles = [part.TITLE for part in PARTS.values() if part.TITLE in sections]
    text = "\n".join([HEAD, *(sections[title].rstrip() + "\n" for title in titles)])
    RESULTS.write_text(text, encoding="utf-8")


def _made(command, commit, before, repeats):
    """How the section came about."""
    others = before.others()
    taken = "an unknown part" if others is None else f"{others:.2f}"
    facts = {
        "made by": f"`{command}` on {datetime.now(timezone.utc):%Y-%m-%d}, in "
        f"{before.seconds() / 60:.0f} min, {repeats}",
        "commit": commit,
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}; other processes "
        f"took {taken} of them meanwhile",
        "versions": ", ".join([f"Python {platform.python_version()}", *_versions()]),
    }
    if others is not None and others > QUIET:
        facts["**disturbed**"] = DISTURBED
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def _commit():
    """The commit that is measured, and whether what is measured has changes beside it."""

    def git(*words):
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()

    what = ["{{cookiecutter.project_slug}}/trainer", "benchmarks", ":!benchmarks/RESULTS.md"]
    changed = git("status", "--porcelain", "--", *what)
    commit = git("describe", "--always", "--exclude", "*") or "unknown"
    return commit + (", with changes to it" if changed else "")


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
        except PackageNotFoundError:
            continue
    for name in ("scikit-learn", "egobox"):
        for path in (ROOT / "build" / name).glob(f"{name.replace('-', '_')}-*.dist-info"):
            yield f"{name} {path.stem.rpartition('-')[2]}"


if __name__ == "__main__":
    main(sys.argv[1:])
