"""docs/ai_platform.md of a bake: what it says to run today instead of an old command is run."""

import re
import shutil
import subprocess

import pytest

from conftest import PRODUCT, ROOT, fork_trainers
from test_cloud_jobs import BUCKET, put, ran
from test_doctor import lab as empty_project  # noqa: F401
from test_doctor import needs_gcloud
from test_endpoints import NAME as ENDPOINT
from test_endpoints import lab as serving_lab  # noqa: F401
from test_endpoints import trained  # noqa: F401

pytestmark = pytest.mark.slow

TEXT = (PRODUCT / "docs/ai_platform.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| .*`[^|]* \| `([^`]*)` \|$", TEXT, flags=re.M)
OLD_STUDY = """\
trainingInput:
  scaleTier: BASIC
  hyperparameters:
    goal: MAXIMIZE
    hyperparameterMetricTag: val_accuracy
    maxTrials: 4
    maxParallelTrials: 2
    params:
    - parameterName: dropout
      type: DOUBLE
      minValue: 0.0
      maxValue: 0.5
"""


def rows(beginning):
    return pytest.mark.parametrize("row", [row for row in ROWS if row.startswith(beginning)])


def test_every_row_is_run_by_one_of_these_tests():
    beginnings = ("python scripts/train_local.py", "python scripts/train_cloud.py", "python scripts/jobs.py", "python scripts/predict.py", "python scripts/deploy.py", "python scripts/batch.py", "python scripts/endpoints.py", "python scripts/setup_cloud.py --apply", "python TEMPLATE/tools/migrate_config.py", "gcloud storage", "jupyter execute")  # fmt: skip
    assert len(ROWS) == TEXT.count("\n| ") - 1 == 24
    assert [row for row in ROWS if not row.startswith(beginnings)] == []


@rows("python scripts/train_local.py")
def test_a_run_on_this_machine(bake, row):
    assert "report: " in bake().run(row.split(), **fork_trainers()).stdout


@rows("python scripts/predict.py --model")
def test_instances_are_answered(bake, row):
    project = bake(with_run=True)
    row = row.replace("DIR", "runs/one/model").replace("FILE", "data/penguins_eval.csv")
    assert project.run(row.split()).stdout.count('"class"') == 69


@rows("python scripts/train_cloud.py")
def test_a_job_is_sent(lab, row):
    lab.package()
    script, *words = row.split()[1:]
    done = lab.run(script.removeprefix("scripts/").removesuffix(".py"), *words)
    assert done.code == 0, done.err
    assert len(lab.cloud.jobs.sent) == ("--dry-run" not in row)


def test_a_model_is_served_asked_and_taken_down(serving_lab):  # noqa: F811
    verbs = "deploy.py", "predict.py FILE", "batch.py", "endpoints.py"
    deploy, predict, batch, undeploy = (
        next(row for row in ROWS if row.startswith(f"python scripts/{verb}")) for verb in verbs
    )
    outputs = []
    for row in deploy.replace("NAME", "one"), predict, batch, undeploy:
        words = row.replace("NAME", ENDPOINT).replace("FILE", "data/penguins_eval.csv").split()
        done = serving_lab.run(words[1].removeprefix("scripts/").removesuffix(".py"), *words[2:])
        assert done.code == 0, done.err
        outputs.append(done.out)
    assert "price: " in outputs[0] and outputs[1].count('"class"') == 69
    assert "69 instances done" in outputs[2]
    assert not serving_lab.cloud.serving.endpoint().get("deployedModels")


@rows("python scripts/jobs.py")
def test_a_job_is_looked_at(lab, row):
    lab.cloud.jobs.life = {}  # it stays as it is, however often it is looked at
    put(lab, "NAME", 42, "RUNNING" if "cancel" in row else "SUCCEEDED", **ran(minutes=5))
    lab.cloud.buckets.write(BUCKET, "runs/NAME/history.csv", b"epoch\n")
    done = lab.run("jobs", *row.split()[2:])
    assert done.code == 0, done.err
    assert "NAME" in done.out + done.err


@pytest.mark.soak  # test_doctor.py runs the same command
@needs_gcloud
def test_a_bucket_is_created(empty_project):  # noqa: F811
    [row] = [row for row in ROWS if "setup_cloud" in row]
    empty_project.run(row.split(), **empty_project.environ)
    assert "lab-runs" in empty_project.google.buckets


@needs_gcloud
def test_files_are_copied_and_listed(lab, tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    copy, show = [row.replace("BUCKET", BUCKET) for row in ROWS if row.startswith("gcloud")]
    with lab.asking():
        for row in (copy.replace("FILE", str(tmp_path / "rows.csv")), show):
            command = [shutil.which("gcloud"), *row.split()[1:]]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
    assert f"gs://{BUCKET}/data/rows.csv" in done.stdout


@rows("python TEMPLATE/tools/migrate_config.py")
def test_an_old_file_is_converted(bake, tmp_path, row):
    project = bake(fresh=True)
    (project.path / "config.yaml").write_text(OLD_STUDY, encoding="utf-8")
    project.run(row.replace("TEMPLATE", str(ROOT)).split())
    assert "maxTrialCount: 4" in project.read("config_vertex.yaml")


@rows("jupyter execute")
def test_a_notebook_runs(bake, row):
    project = bake(fresh=True)
    assert project.run(["python", "-m", "jupyter", *row.split()[1:]]).returncode == 0
