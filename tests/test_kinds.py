"""A new kind of data is a folder of its own files: it bakes, trains, reports, predicts and is tuned."""

import json
import os
import shutil

import numpy as np
import pytest
import yaml

import dev
from conftest import PRODUCT, ROOT, Project, copy_tests, fork_trainers, forked

KIND = ROOT / "tests/data/waves"
LONGEST = 150  # lines of all its files
LENGTH, ROWS = 64, 120  # samples of a wave, waves of a shape

STUDY = """
displayName: waves
maxTrialCount: 2
parallelTrialCount: 1
studySpec:
  metrics: [{metricId: val_accuracy, goal: MAXIMIZE}]
  parameters: [{parameterId: learning_rate, discreteValueSpec: {values: [0.0001, 0.01]}}]
trialJobSpec:
  workerPoolSpecs:
    - machineSpec: {machineType: n2-standard-4}
      replicaCount: 1
      containerSpec: {imageUri: trainer, args: ["--epochs=15"]}
  scheduling: {timeout: 600s}
"""


def make_waves(shape, random):
    """Waves float32 [rows, length] of one shape, of any phase, with noise."""
    phase = random.uniform(0, 1, (ROWS, 1)) + np.linspace(0, 4, LENGTH)
    clean = {"sine": np.sin(2 * np.pi * phase), "saw": phase % 1 * 2 - 1}[shape]
    return (clean + random.normal(0, 0.1, clean.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def waves(tmp_path_factory, config_file):
    """A bake of the third kind: its folder was added to a copy of the template, and nothing else."""
    place = tmp_path_factory.mktemp("kind")
    template = place / "template"
    shutil.copytree(PRODUCT, template / PRODUCT.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "hooks", template / "hooks")
    for name in ("answers.py", "answers_jinja.py", "cookiecutter.json"):
        shutil.copy(ROOT / name, template)
    kind = template / PRODUCT.name / "problems/waves"
    shutil.copytree(KIND, kind, ignore=shutil.ignore_patterns("__pycache__"))
    (kind / "data").mkdir()
    for number, shape in enumerate(["sine", "saw"]):
        np.save(kind / f"data/{shape}.npy", make_waves(shape, np.random.default_rng(number)))
    command = ["python", "-m", "cookiecutter", template, "--no-input", "-o", place / "bake"]
    Project(place).run([*command, "--config-file", config_file, "problem=waves"])
    return Project(place / "bake/my-research")


@pytest.fixture(scope="module")
def run(waves):
    """A finished run of it."""
    command = ["python", *forked("trainer.task"), "--job-dir", "runs/first"]
    printed = waves.run(command).stdout
    assert "classes" not in printed and "waves: 192 for training, 48 held out" in printed
    return waves.path / "runs/first"


def test_a_third_kind_is_short():
    files = [path for path in KIND.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in files}

    assert len(lines) >= 6 and min(lines.values()) > 5
    assert sum(lines.values()) < LONGEST


def test_the_files_that_a_new_kind_brings_are_documented():
    """The table in docs/new_kind.md of the template is complete: this kind has these files alone."""
    text = (ROOT / "docs/new_kind.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    needed = {name.strip(" `") for name, what in rows if "optional" not in what}
    brought = {path.relative_to(KIND).as_posix() for path in KIND.rglob("*.py")}

    assert needed == brought | {"data/"}


def test_its_repo_is_clean_and_tells_nothing_of_other_kinds(waves):
    waves.run(["python", "-m", "ruff", "check", "--no-cache", "."])
    waves.run(["python", "-m", "ruff", "format", "--no-cache", "--check", "."])
    for name in ("README.md", "setup.py", "scripts/predict.py"):
        text = waves.read(name).lower()
        words = "penguin", "digit", "pixel", "pyarrow", "pillow", "table of"
        assert not [word for word in words if word in text], name


@pytest.mark.slow
def test_its_own_tests_pass(waves):
    waves.run(["python", *forked("pytest")], timeout=900, **fork_trainers())


@pytest.mark.slow
def test_the_launcher_runs_and_packs_it(waves, tmp_path):
    """Only what it runs and packs depends on the kind."""
    copy = Project(shutil.copytree(waves.path, tmp_path / "copy"))
    copy_tests("launcher", copy)
    tests = ["tests/test_cloud.py", "tests/test_jobs.py", "-k", "package or all_that_a_run_has"]
    copy.run(["python", "-m", "pytest", *tests], timeout=900, **fork_trainers())


@pytest.mark.slow
def test_it_trains_and_reports(waves, run):
    waves.run(["python", "scripts/report.py", run])

    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert record["status"] == "succeeded" and record["target"] == "shape"
    assert record["metrics"]["val_accuracy"] > 0.9
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "What it confuses" in report and "cross-entropy" in report


@pytest.mark.slow
def test_simple_models_learn_it(waves, run):
    """It keeps no accuracy of each row, and neither BigQuery nor AutoML is known to take it."""
    os.makedirs(waves.path / "build")
    os.symlink(dev.install_apart("scikit-learn"), waves.path / "build/scikit-learn")
    printed = waves.run(["python", "scripts/baseline.py", run]).stdout
    refused = waves.run(["python", "scripts/baseline.py", run, "--automl"], check=False)

    assert (
        "Nothing is compared with this run: its predictions.csv has no accuracy of each example"
        in printed
    )
    models = json.loads((run / "baselines.json").read_text(encoding="utf-8"))["models"]
    assert [model["value"][0] for model in models] == pytest.approx([0.5, 0.6, 1], abs=0.15)
    assert refused.stderr == "error: AutoML does not train on data of this kind\n"


@pytest.mark.slow
def test_it_predicts(waves, run, tmp_path):
    rows = make_waves("saw", np.random.default_rng(2))[:20]
    instances = [{"samples": row.tolist()} for row in rows] + [{"samples": [1.0]}]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, instances)), encoding="utf-8")
    (tmp_path / "new.csv").write_text("samples\n1\n", encoding="utf-8")
    predict = ["python", *forked("scripts/predict.py"), "--model", run / "model"]

    done = waves.run([*predict, tmp_path / "new.jsonl"], check=False)
    refused = waves.run([*predict, tmp_path / "new.csv"], check=False)

    *answers, wrong = map(json.loads, done.stdout.splitlines())
    assert [answer["class"] for answer in answers].count("saw") >= 18
    assert all(set(answer["probabilities"]) == {"saw", "sine"} for answer in answers)
    assert "expected samples, 64 numbers" in wrong["error"] and done.returncode == 2
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert "expected instances as JSON or JSON lines, got" in refused.stderr


@pytest.mark.slow
def test_a_study_tunes_it(waves):
    (waves.path / "configs/waves.yaml").write_text(STUDY, encoding="utf-8")

    waves.run(["python", "scripts/check.py"])
    command = ["python", "scripts/train_local.py", "configs/waves.yaml"]
    printed = waves.run(command, **fork_trainers()).stdout

    assert "2 of 2 done" in printed
    best = yaml.safe_load(waves.read("configs/best.yaml"))
    args = best["workerPoolSpecs"][0]["containerSpec"]["args"]
    assert "--learning_rate=0.01" in args or "--learning-rate=0.01" in args
