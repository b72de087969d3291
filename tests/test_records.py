"""What the launcher prints is what it printed before: dry runs of the job files, and every --help.

    RECORD=1 python -m pytest tests/test_records.py     write the records again, then read git diff

A record that changes needs a reason in its commit. They are in data/dry_runs and data/verbs.
"""

import json
import os
import re
from pathlib import Path

import pytest

from answers import PROBLEMS
from cloud_lab import BUCKET, PROJECT
from conftest import PRODUCT, fork_trainers

pytestmark = pytest.mark.slow  # starts many processes
DATA = Path(__file__).parent / "data"
CONFIGS = sorted(path.stem for path in (PRODUCT / "configs").glob("*.yaml"))
CONFIGS = [name for name in CONFIGS if name not in ("batch", "endpoint", "model")]  # no jobs
SCRIPTS = sorted(path.stem for path in (PRODUCT / "scripts").glob("[!_]*.py"))
SUBCOMMANDS = {
    "data": ("pull", "push", "drive", "status"),
    "jobs": ("list", "show", "logs", "cancel", "cost", "fetch"),
    "endpoints": ("list", "traffic", "logs", "undeploy", "cleanup"),
}
# All that may differ between two dry runs of the same job file: {pattern: replacement}.
VARYING = {
    r"-\d{8}-\d{6}\b": "-TIME",
    r'(git_commit[=:] ?)"?[0-9a-f]{12}\b"?': r"\1COMMIT",  # YAML quotes it where it begins with a digit
    r'(GIT_COMMIT\n *value: )"?[0-9a-f]{40}\b"?': r"\1COMMIT",
    r'(submission[=:] ?)"?[0-9a-f]{16}\b"?': r"\1SUBMISSION",
    r"(/my-research:)[0-9a-f]{12}\b": r"\1SOURCES",
    r"\b\d+ days old": "N days old",
}

DRY_RUNS = """
import contextlib, io, json, sys
from launcher.cli import train_cloud
printed = {}
for config in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert not train_cloud.main([f"configs/{config}.yaml", "--dry-run"]), config
    printed[config] = out.getvalue()
print(json.dumps(printed))
"""

# What no --help may import: it takes longer than all the rest.
HEAVY = re.compile(
    r"\b(?:launcher\.(?:cloud|study|jobfile\.spec)|google|numpy|pyarrow|matplotlib|optuna)\b"
)


def compare(name, text):
    """Assert that a text equals its record; with RECORD set, write the record first."""
    for pattern, stand_in in VARYING.items():
        text = re.sub(pattern, stand_in, text)
    path = DATA / name
    if "RECORD" in os.environ:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    assert text.encode() == path.read_bytes(), f"{name}: differs from its record"


@pytest.fixture
def project(bake, problem):
    return bake(gcp_project=PROJECT, gcs_bucket=BUCKET, problem=problem)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_dry_runs_print_the_same_messages(project, problem):
    """All in one process: each would import for longer than it works."""
    command = ["python", "-c", DRY_RUNS, *CONFIGS]
    done = project.run(command, LOGNAME="ada", **fork_trainers())
    assert done.stderr == ""
    printed = json.loads(done.stdout)
    assert [*printed] == CONFIGS
    for config, text in printed.items():
        compare(f"dry_runs/{problem}/{config}.txt", text)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_check_of_all_job_files_prints_the_same(project, problem):
    done = project.run(["python", "scripts/check.py"], **fork_trainers())
    compare(f"dry_runs/{problem}/check.txt", done.stdout)


@pytest.mark.parametrize("problem", ["tabular"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_verb_has_the_same_flags(project, script):
    for verb in ("", *SUBCOMMANDS.get(script, ())):
        words = [f"scripts/{script}.py", *filter(None, [verb]), "--help"]
        done = project.run(["python", "-X", "importtime", *words], COLUMNS="100")
        assert "argparse" in done.stderr and not HEAVY.findall(done.stderr)
        # Python 3.13 writes `-o, --output FILE` where older ones write `-o FILE, --output FILE`.
        text = re.sub(r"(-\w) [A-Z.a-z]+, (?=--)", r"\1, ", done.stdout)
        compare(f"verbs/{' '.join([script, verb]).strip()}.txt", text)
