"""Benchmark: time and memory of everything that may grow, as plots; a hundred machines, on paper.

A point takes minutes, so each is measured once, and kept in build/ with its commit and date: a run that
was killed resumes, and a run without missing points writes RESULTS.md alone. To measure a point again,
remove it from growth.json there.
"""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

import scale_points as points
from measure import HERE, ROOT, Clock, Lab, short, standalone, table
from scale_paper import describe_hundred
from scale_plot import draw

TITLE = "Growth"
REPEATS = "one run of each point, kept with its own commit and date"
PRODUCT = "{{cookiecutter.project_slug}}"  # a point is of the last commit that changed it
CLOUD = ("gcp_project=my-lab-4711", "gcs_bucket=lab")
UNITS = {
    "clock": (1, "s"),
    "processor time": (1, "s"),
    "memory": (1e6, "MB"),
    "traffic": (1e6, "MB"),
    "count": (1, ""),
}


@dataclass(frozen=True)
class Axis:
    """What grows."""

    name: str  # of its plot
    unit: str  # what is counted
    measure: Callable  # of scale_points.py: from a lab and a size to {panel: {line: value}}
    sizes: tuple[int, ...]
    quick: tuple[int, ...]
    about: str
    answers: tuple[str, ...] = ()  # to the template's questions


AXES = (
    Axis(
        "rows",
        "rows of a table",
        points.rows,
        (100_000, 1_000_000, 10_000_000, 100_000_000),
        (1_000, 5_000),
        "Census-shaped CSV; `python -m trainer.task`, one epoch in batches of 4096. Memory counts pages of "
        "mapped files, which the system takes back when it needs them, and which are what grows "
        "here; under a limit on all other memory a run is flat, see As the table grows.",
    ),
    Axis(
        "images",
        "images in a folder",
        points.images,
        (1_000, 10_000, 100_000, 1_000_000),
        (60, 300),
        f"PNG files of {points.PIXELS}×{points.PIXELS} random pixels, made into shards; then one epoch "
        "of a tiny network (`--filters 4`), decoded as it trains.",
        ("problem=image",),
    ),
    Axis(
        "samples",
        "samples of recordings",
        points.samples,
        (1_000_000, 10_000_000, 100_000_000),
        (60_000, 120_000),
        "A Parquet file of 6 channels, encoded to arrays on disk; then all windows once. Nobody trains.",
        ("problem=series",),
    ),
    Axis(
        "replicas",
        "replicas",
        points.replicas,
        (1, 2, 3, 4),
        (1, 2),
        f"Hidden layers {points.MODEL[1]}, batches of {points.GLOBAL_BATCH} over all replicas, a thread "
        "each, without XLA. This machine has two cores, which is what limits three and four: they share "
        "the cores, and each applies the whole update. Sent: counted by the kernel, start included.",
    ),
    Axis(
        "trials",
        "trials of a study",
        points.trials,
        (1, 3, 10, 30, 100, 200),
        (1, 2),
        "`train_local.py` on trials of one epoch, two at a time; the launcher's own processor time and "
        "memory, without the trials'.",
    ),
    Axis(
        "jobs",
        "jobs in the project, and runs in runs/",
        points.jobs,
        (1, 10, 100, 1_000, 10_000),
        (1, 12),
        "Processor time and memory of the one process, its start and imports included; the stand-in of "
        "Vertex AI that answers is another process.",
        CLOUD,
    ),
)


def measure(lab):
    store = lab.folder / "growth.json"
    kept = {} if lab.quick or not store.exists() else json.loads(store.read_text(encoding="utf-8"))
    plots = lab.folder / "plots" if lab.quick else HERE / "plots"
    texts = [
        "One run of each point. The last column is the exponent k of n^k between the two largest "
        "sizes: 1 is linear, 0 is flat. Processor time is what grows with a size; the clock counts only "
        "where others took no core, and is drawn only there.\n"
    ]
    for axis in AXES:
        found = kept.setdefault(axis.name, {})
        axis_lab = None
        for size in axis.quick if lab.quick else axis.sizes:
            if str(size) not in found:
                axis_lab = axis_lab or Lab(lab.quick, *axis.answers)
                found[str(size)] = _measure_point(axis, size, axis_lab)
                if not lab.quick:
                    store.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        draw(found, axis.unit, plots / f"growth-{axis.name}.svg")
        texts.append(_describe(axis, found))
    return "\n".join([*texts, describe_hundred(lab, kept)])


def _measure_point(axis, size, lab):
    print(f"  {size:,} {axis.unit} ...", file=sys.stderr, flush=True)
    folder, lab.folder = lab.folder, lab.folder / "growth" / f"{axis.name}-{size}"
    lab.folder.mkdir(parents=True, exist_ok=True)
    commit = ["git", "log", "-1", "--format=%h", "--", PRODUCT]
    made = subprocess.run(commit, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    clock = Clock()
    try:
        found = axis.measure(lab, size)
        others = clock.others()
    finally:
        lab.folder, generated = folder, lab.folder
    for made_here in (generated, lab.repo / "runs"):
        shutil.rmtree(made_here, ignore_errors=True)
    date = f"{datetime.now(timezone.utc):%Y-%m-%d}"
    return found | {"made": f"{made or 'unknown'}, {date}", "others": others}


def _describe(axis, found):
    """The plot, and the table behind it."""
    sizes = list(found)
    rows = []
    for panel, (scale, unit) in UNITS.items():
        for line in found[sizes[0]].get(panel, {}):
            values = [found[size][panel][line] / scale for size in sizes]
            name = line if panel in ("clock", "count") else f"{line}, {panel}"
            shown = [f"{short(value)} {unit}".strip() for value in values]
            rows.append([name, *shown, f"{compute_exponent(sizes, values):.2f}"])
    taken = [found[size]["others"] for size in sizes]
    rows.append(["cores that others took", *("" if t is None else f"{t:.1f}" for t in taken), ""])
    rows.append(["commit, date", *(found[size]["made"] for size in sizes), ""])
    head = [axis.unit, *(f"{int(size):,}" for size in sizes), "k"]
    title = f"### {axis.unit.capitalize()}\n\n![{axis.unit}](plots/growth-{axis.name}.svg)\n\n"
    return f"{title}{axis.about}\n\n{table(head, *rows)}"


def compute_exponent(sizes, values):
    """k of n^k through the last two points."""
    (n, m), (a, b) = map(int, sizes[-2:]), values[-2:]
    return math.log(b / a) / math.log(m / n) if a > 0 and b > 0 else math.nan


if __name__ == "__main__":
    standalone(measure)
