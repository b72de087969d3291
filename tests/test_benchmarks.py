"""The benchmarks run, and what they measured stands in RESULTS.md with the command that made it."""

import re
import subprocess
import sys

import pytest

from conftest import ROOT

SECTIONS = {  # title: the part that makes it, what it must tell
    "From CSV to trained": (
        "tabular",
        ["our loop", "`fit` on the encoded arrays", "scikit-learn's MLPClassifier", "numpy"],
    ),
    "Matrix products of a step": ("products", ["forward", "all of them", "default"]),
    "As the table grows": (
        "growth",
        ["÷ (a) in memory", "peak memory", "runs on a stale encoding"],
    ),
    "Reading tables": (
        "reading",
        ["pyarrow's parse alone", "peak memory", "ours, all of it", "now"],
    ),
    "Start": ("start", ["`--help`", "first step ÷ import and model", "step traced to a graph"]),
    "Two processes": ("processes", ["two processes ÷ one", "two runs apart"]),
    "Checkpoints": ("checkpoints", ["64,32"]),
    "The launcher": ("launcher", ["launched ÷ bare", "`scripts/check.py`"]),
    "A cloud job, printed": ("dry_run", ["--dry-run", "gcloud ai custom-jobs create --help"]),
    "Studies": ("studies", ["own processes ÷ forked", "the process that forks them"]),
    "Search": ("search", ["Branin", "CPU of a trial"]),
    "Images to shards": ("shards", ["processes ÷ one", "peak memory", "Pillow alone"]),
    "Reading images": (
        "reader",
        ["(a) decoded in memory", "(b) tutorials' way", "(c) `image_dataset", "first step,"],
    ),
    "Raw data": ("raw_data", ["data.py pull", "gcloud storage rsync"]),
    "Recordings": (
        "series",
        [
            "ours",
            "(a) all windows in memory",
            "(b) `keras",
            "(c) pandas",
            "every batch prepared",
            "pyarrow's parse alone",
            "peak memory",
        ],
    ),
    "Serving": (
        "serving",
        [
            "ours, 64",
            "bare limit",
            "TensorFlow, each request alone",
            "CPU ÷ bare limit",
            "share of 503",
        ],
    ),
    "Good by default": ("quality", ["ridge or logistic", "mean or majority", "gradient boosting"]),
    "Growth": (
        "scale",
        [
            "read and encode",
            "one epoch",
            "to shards",
            "all windows once",
            "sent in a step, by all",
            "the whole study",
            "`jobs.py list`",
            "`notebook.jobs()`",
            "`report.py`",
            "requests of",
            "an epoch of",
            "price of an hour",
        ],
    ),
}
WHOLE = "python3 dev.py benchmarks"


def sections(text):
    """{title: text} of a page of results."""
    pieces = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return {piece.partition("\n")[0]: piece for piece in pieces}


def check(text):
    """Every section is there, with the rows that it must have, and a figure in each of these."""
    found = sections(text)
    assert list(found) == list(SECTIONS)
    for title, (part, words) in SECTIONS.items():
        made_by = re.search(r"^- made by: `(.*?)`", found[title], re.MULTILINE)[1]
        named = [word for word in made_by.removeprefix(WHOLE).split() if word != "--quick"]
        assert made_by.startswith(WHOLE) and part in (named or [part])
        if "Not measured" in found[title]:  # two processes want Linux and two cores
            assert title == "Two processes"
            continue
        rows = re.findall(r"^\| (.*?) \| (.*)", found[title], re.MULTILINE)
        for word in words:
            figures = [values for name, values in rows if word in name]
            assert figures and all(re.match(r"\d", values) for values in figures), (title, word)
        # What is missed is explained below its table, and by figures.
        missed = len(re.findall(r"\*\*missed\*\*", found[title]))
        whys = re.findall(r"^Missed.*", found[title], re.MULTILINE)
        assert bool(missed) == bool(whys) and all(re.search(r"\d", why) for why in whys), title


def test_results_name_their_commands():
    """The page in this repo is whole, and its figures are medians of at least five."""
    text = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    check(text)
    repeats = [
        int(number) for number in re.findall(r"(\d+) (?:repeats|folds)$", text, re.MULTILINE)
    ]
    assert len(repeats) == len(SECTIONS) - 1 and min(repeats) >= 5
    growth = sections(text)["Growth"]  # where a point is one run
    plots, dates = (re.findall(p, growth, re.MULTILINE) for p in (r"\((plots/.*)\)", "^\\| commit"))
    assert len(plots) == len(dates) == 6
    assert all((ROOT / "benchmarks" / path).is_file() for path in plots)


def test_unknown_part():
    """Told before anything is baked or measured, and RESULTS.md stays as it is."""
    results = ROOT / "benchmarks" / "RESULTS.md"
    before = results.read_bytes()
    line = [sys.executable, "benchmarks/run.py", "grwoth"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 2 and not done.stdout
    assert "no part 'grwoth'; there are: tabular, products, growth, reading" in done.stderr
    assert results.read_bytes() == before


@pytest.mark.soak
def test_all_parts_run_quickly():
    """`python3 dev.py benchmarks --quick`, some minutes; nothing is written.

    Only the verb, not all of dev.py: that would make .venv anew beneath the running tests whenever
    what goes into it has changed.
    """
    results = ROOT / "benchmarks" / "RESULTS.md"
    before = results.read_bytes()
    line = [sys.executable, "-c", "import dev, sys; sys.exit(dev.benchmarks('--quick'))"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    check(done.stdout)
    assert results.read_bytes() == before
