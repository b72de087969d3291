"""What a cloud job would be, before anything is sent: no account, network or SDK is needed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, tree

from launcher.cloud import code, submission
from launcher.jobfile import completion, spec
from launcher.project import sources
from launcher.project.settings import Settings
from trainer import options

pytestmark = pytest.mark.slow

SETTINGS = """
slug: my-penguins
gcp:
  project: my-lab-4711
  region: europe-west4
  bucket: my-lab-runs
  image_repository: penguins
  service_account: ""
  tensorboard: ""
  code: container
  executor_image: ""
  max_cost: 25
  labels: {team: "Seals & Co"}
"""
LAB = Settings(project="my-lab-4711", region="europe-west4", bucket="my-lab-runs")
# Run a script, and print every module of Google's that it imports.
QUIET = """
import runpy, sys
sys.argv, before = sys.argv[1:], set(sys.modules)
sys.path[0] = "scripts"  # as for a script
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    new = [name for name in sys.modules if name.startswith(("google", "tensorflow"))]
    print(*set(new) - before, file=sys.stderr)
"""


@pytest.fixture
def mine(project) -> Path:
    """A copy of this repo whose project.yaml is filled in."""
    (project / "project.yaml").write_text(SETTINGS, encoding="utf-8")
    return project


def change(project: Path, old: str, new: str) -> None:
    path = project / "project.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def dry_run(project: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", QUIET, "scripts/train_cloud.py", words[0], "--dry-run"]
    done = subprocess.run(
        [*command, *words[1:]], cwd=project, capture_output=True, encoding="utf-8", timeout=120
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == ""  # nothing of Google's, whose import takes seconds
    return done


def checked(printed: str, path: Path) -> spec.Job:
    """The printed message, as a job file that is read and checked like any other."""
    path.write_text(printed, encoding="utf-8")
    job = spec.read(path)
    assert spec.check(job, LAB) == []
    return job


def test_a_dry_run_prints_a_message_that_gcloud_takes(mine, tmp_path):
    before = [path for path in tree(mine) if "__pycache__" not in path]
    done = dry_run(mine, "configs/multi_worker.yaml", "--", "--epochs", "1e1", "--seed=7")
    job = checked(done.stdout, tmp_path / "printed.yaml")
    chief, workers = job.spec["workerPoolSpecs"]
    image = r"europe-west4-docker\.pkg\.dev/my-lab-4711/penguins/my-penguins:[0-9a-f]{12}"
    for pool in (chief, workers):
        assert re.fullmatch(image, pool["containerSpec"]["imageUri"])
        args = pool["containerSpec"]["args"]
        assert args == ["--batch-size=96", "--epochs", "1e1", "--seed=7"]
    folder = job.spec["baseOutputDirectory"]["outputUriPrefix"]
    assert re.fullmatch(r"gs://my-lab-runs/runs/multi-worker-\d{8}-\d{6}", folder)
    (command,) = (line for line in done.stdout.splitlines() if line.startswith("# gcloud"))
    assert command.startswith("# gcloud ai custom-jobs create --project=my-lab-4711")
    assert "--region=europe-west4" in command and command.endswith("--config=FILE")
    assert f"--display-name={folder.rpartition('/')[2]}" in command
    assert "team=seals_co" in command and "config=multi_worker" in command
    assert [path for path in tree(mine) if "__pycache__" not in path] == before


def test_a_study_is_printed_whole(mine, tmp_path):
    done = dry_run(mine, "configs/tuning.yaml")
    job = checked(done.stdout, tmp_path / "printed.yaml")
    original = yaml.safe_load((mine / "configs" / "tuning.yaml").read_text(encoding="utf-8"))
    assert job.message["studySpec"] == original["studySpec"]
    assert job.message["labels"]["config"] == "tuning"
    assert job.spec["baseOutputDirectory"]["outputUriPrefix"].endswith(job.message["displayName"])
    assert "# gcloud ai hp-tuning-jobs create " in done.stdout


def test_as_a_package_the_arguments_are_the_same(mine, tmp_path):
    container = checked(dry_run(mine, "configs/gpu.yaml").stdout, tmp_path / "a.yaml")
    change(mine, "code: container", "code: package")
    assert "gcp.executor_image is empty" in dry_run(mine, "configs/gpu.yaml", code=2).stderr
    change(mine, 'executor_image: ""', "executor_image: europe-docker.pkg.dev/lab/base/python:3")
    job = checked(dry_run(mine, "configs/gpu.yaml").stdout, tmp_path / "b.yaml")
    box = container.spec["workerPoolSpecs"][0]["containerSpec"]
    task = job.spec["workerPoolSpecs"][0]["pythonPackageSpec"]
    assert task["args"] == box["args"] and task["pythonModule"] == "trainer.task"
    assert task["executorImageUri"] == "europe-docker.pkg.dev/lab/base/python:3"
    [uri] = task["packageUris"]
    assert re.fullmatch(r"gs://my-lab-runs/packages/[0-9a-f]{16}/trainer\.tar\.gz", uri)
    # No package holds data/: it is copied to the bucket, and the trainer gets its address.
    data = {entry["name"]: entry["value"] for entry in task["env"]}["OWN_DATA_URI"]
    assert re.fullmatch(r"gs://my-lab-runs/data/[0-9a-f]{16}", data)
    flags = ["--", f"--{options.SOURCES[0]}=gs://lab/x"]
    assert "OWN_DATA_URI" not in dry_run(mine, "configs/gpu.yaml", *flags).stdout


def test_what_a_file_says_itself_stays(mine, tmp_path):
    own = yaml.safe_load((mine / "configs" / "cpu.yaml").read_text(encoding="utf-8"))
    pool = own["workerPoolSpecs"][0]
    pool["containerSpec"] = {
        "imageUri": "europe-west4-docker.pkg.dev/my-lab-4711/other/image:1",
        "args": ["--epochs=3"],
        "env": [{"name": "GIT_COMMIT", "value": "mine"}],
    }
    own["baseOutputDirectory"] = {"outputUriPrefix": "gs://my-lab-runs/kept"}
    own["serviceAccount"] = "other@my-lab-4711.iam.gserviceaccount.com"
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(own), encoding="utf-8")
    change(mine, 'account: ""', "account: robot@my-lab-4711.iam.gserviceaccount.com")
    assert checked(dry_run(mine, str(path)).stdout, tmp_path / "printed.yaml").message == own


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["configs/gpu.yaml", "--max-cost=0.01"], "the limit is $0.01"),
        (["configs/none.yaml"], "cannot be read"),
        (["configs/cpu.yaml", "--", "--epoch=3"], "--epoch"),
        (["configs/cpu.yaml", "--", "--job-dir=runs/a"], "a cloud job writes to a bucket"),
    ],
)
def test_what_cannot_be_sent_is_reported_in_a_line(mine, words, expected):
    done = dry_run(mine, *words, code=2)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert expected in line and done.stdout == ""


@pytest.mark.parametrize("key", ["project", "region", "bucket"])
def test_what_project_yaml_lacks_is_reported(mine, key):
    value = yaml.safe_load(SETTINGS)["gcp"][key]
    change(mine, f"{key}: {value}", f'{key}: ""')
    assert f": gcp.{key}: is empty; write " in dry_run(mine, "configs/cpu.yaml", code=2).stderr


@pytest.mark.parametrize(
    ("text", "legal"),
    [
        ("penguins", "penguins"),
        ("Ada.Lovelace@lab.org", "ada_lovelace_lab_org"),
        ("Größe 4%", "grosse_4"),
        ("日本", ""),
        ("x" * 100, "x" * 63),
        (4711, "4711"),
    ],
)
def test_labels_are_legal(text, legal):
    assert submission.legal(text) == legal
    assert submission.join_labels({"A b": text, "": 1, "1": 2}) == {"a_b": legal}


def test_a_later_label_counts():
    assert submission.join_labels({"team": "a"}, {"Team": "B"}) == {"team": "b"}


def test_what_another_reader_takes_for_a_number_stands_in_quotes():
    printed = completion.to_yaml({"args": ["1e-3", "--lr=0.1", "0x1F", "12:30:00", "yes", "on"]})
    assert yaml.safe_load(printed)["args"][0] == "1e-3"
    assert all(re.match(r"- [\"']", line) for line in printed.splitlines()[1:])


def test_the_digest_is_that_of_the_sources(project, monkeypatch):
    monkeypatch.setattr(sources, "ROOT", project)
    first = sources.digest(code.SOURCES)
    (project / "trainer" / "__pycache__").mkdir(exist_ok=True)
    (project / "trainer" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (project / "README.md").write_text("not a part of it", encoding="utf-8")
    assert sources.digest(code.SOURCES) == first
    (project / "trainer" / "new.py").write_text("X = 1", encoding="utf-8")
    assert sources.digest(code.SOURCES) != first


@pytest.mark.skipif(not find_spec("build") or not find_spec("setuptools"), reason="no build tools")
def test_the_package_holds_the_trainer_and_nothing_else(tmp_path):
    before = sorted(os.listdir(ROOT))
    path = code.build_package(tmp_path)
    assert sorted(os.listdir(ROOT)) == before
    with tarfile.open(path) as tar:
        parts = {name.split("/")[1] for name in tar.getnames() if "/" in name}
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {part for part in parts if not part.endswith(".egg-info")} == {
        *("PKG-INFO", "setup.py", "setup.cfg", "pyproject.toml", "MANIFEST.in", "codec", "trainer")
    }
    assert {"trainer/task.py", "trainer/engine/steps.py"} <= names
