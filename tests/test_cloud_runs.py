"""The whole way of a job: sent, run by real TensorFlow in the stand-ins, brought back, used."""

import csv
import itertools
import json
import re
import shutil
from collections import defaultdict
from unittest import mock

import pytest
import yaml

from cloud_lab import BUCKET
from conftest import forked
from test_cloud import error_of, folder_of, in_bucket, send
from test_cloud_jobs import here, jobs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(cloud_lab, tmp_path_factory):
    """Jobs are run. The runs of other files' tests are away meanwhile."""
    runs, away = cloud_lab.project.path / "runs", tmp_path_factory.mktemp("away") / "runs"
    runs.mkdir(exist_ok=True)
    runs.rename(away)
    with cloud_lab.as_baked():
        cloud_lab.package()
        cloud_lab.cloud.jobs.runner = cloud_lab.runner()
        yield cloud_lab
    shutil.rmtree(runs, ignore_errors=True)
    away.rename(runs)


@pytest.fixture(scope="module")
def job(lab):
    """A finished job: what its command printed, and the message that was sent."""
    done, [message] = send(lab, "--wait")
    return done, message


@pytest.fixture(scope="module")
def study(lab):
    """A finished study of two trials, likewise."""
    spec = yaml.safe_load(lab.project.read("configs/tuning.yaml"))
    spec |= {"maxTrialCount": 2, "displayName": "Two Trials"}
    args = ["--epochs=2", "--early-stopping=2"]
    spec["trialJobSpec"]["workerPoolSpecs"][0]["containerSpec"]["args"] = args
    path = lab.folder / "two.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    done, [message] = send(lab, str(path), "--wait")
    return done, message


def test_a_job_is_uploaded_run_and_leaves_its_model_in_the_bucket(lab, job):
    done, message = job
    name, folder = message["displayName"], folder_of(message)
    assert {path.split("/")[0] for path in in_bucket(lab, folder)} == {
        *("run.json", "history.csv", "schema.json", "evaluation.json", "predictions.csv"),
        *("job.yaml", "model", "checkpoints", "logs"),
    }
    record = json.loads(lab.cloud.buckets.read(BUCKET, f"{folder}/run.json"))
    head = lab.project.run(["git", "rev-parse", "HEAD"]).stdout.strip()
    assert record["status"] == "succeeded"
    assert record["git"] == {"commit": head, "dirty": False}
    assert message["labels"]["git_commit"] == head[:12]
    assert record["data"]["train"]["files"][0]["path"].startswith(f"gs://{BUCKET}/data/")
    # What the trainer printed, without TensorFlow's own messages; and how to find it again.
    assert re.search(r"^epoch 2/2 +loss", done.out, re.MULTILINE)
    assert "I0000" not in done.out
    assert re.search(
        rf"^\[launcher\] {name} succeeded after [\d.]+ s: gs://", done.out, re.MULTILINE
    )
    for verb in ("logs", "cancel", "fetch"):
        assert f"python scripts/jobs.py {verb} {name}" in done.out
    # Brought back, it is a run as any other.
    storage = lab.module("cloud.storage")
    with lab.asking():
        store = lab.store()
        copied = storage.download_folder(store, f"gs://{BUCKET}/{folder}", lab.folder / name)
    assert copied == len([path for path in in_bucket(lab, folder) if path[-1] != "/"])
    penguin = lab.project.path / "data" / "penguins_eval.csv"
    predict = ["python", *forked("scripts/predict.py"), "--model", lab.folder / name / "model"]
    answers = lab.project.run([*predict, penguin]).stdout.splitlines()
    assert len(answers) == record["data"]["eval"]["rows"]
    assert json.loads(answers[0])["class"] in ("Adelie", "Chinstrap", "Gentoo")

    # The same code again: nothing is built or uploaded but the record of this job.
    lab.cloud.requests.clear()
    with mock.patch.object(lab.cloud.jobs, "runner", None):
        _, [again] = send(lab, "--", "--target=nothing", "--epochs=1")
    assert [line for line in lab.cloud.requests if line.startswith("POST /upload")] == [
        f"POST /upload/storage/v1/b/{BUCKET}/o"
    ]
    pools = [m["jobSpec"]["workerPoolSpecs"][0]["pythonPackageSpec"] for m in (message, again)]
    assert pools[0]["packageUris"] == pools[1]["packageUris"]
    assert pools[1]["args"] == ["--epochs=2", "--target=nothing", "--epochs=1"]


def test_trials_get_flags_and_folders_and_report_their_metric(lab, study):
    done, message = study
    assert re.fullmatch(r"two-trials-\d{8}-\d{6}", message["displayName"])
    assert re.search(r"^chief:0 \| epoch 2/2", done.out, re.MULTILINE)
    trials = lab.cloud.jobs.job(message["displayName"])["trials"]
    assert [trial["id"] for trial in trials] == ["1", "2"]
    for trial in trials:
        folder = f"{folder_of(message)}/{trial['id']}"
        record = json.loads(lab.cloud.buckets.read(BUCKET, f"{folder}/run.json"))
        chosen = {p["parameterId"]: p["value"] for p in trial["parameters"]}
        assert record["flags"]["learning_rate"] == pytest.approx(chosen["learning_rate"])
        assert record["flags"]["dropout"] == pytest.approx(chosen["dropout"])
        assert ",".join(map(str, record["flags"]["hidden_units"])) == chosen["hidden_units"]
        # The history's best val_loss, which is what the study compares.
        history = lab.cloud.buckets.read(BUCKET, f"{folder}/history.csv").decode().splitlines()
        column = history[0].split(",").index("val_loss")
        best = min(float(line.split(",")[column]) for line in history[1:])
        [measured] = trial["finalMeasurement"]["metrics"]
        assert measured["metricId"] == "val_loss"
        assert measured["value"] == pytest.approx(best, rel=1e-4)
        assert "model/saved_model.pb" in in_bucket(lab, folder)


def test_a_study_of_the_cloud_is_shown_like_one_of_this_machine(lab, study):
    name = study[1]["displayName"]
    trials = {trial["id"]: trial for trial in lab.cloud.jobs.job(name)["trials"]}
    done = jobs(lab, "fetch", name)
    path = here(lab, name)
    assert json.loads((path / "study.json").read_text(encoding="utf-8"))["state"] == "finished"
    with (path / "study.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    values = [float(row["val_loss"]) for row in rows]
    assert values == sorted(values) and len(values) == 2
    for row in rows:
        trial = trials[row["trial"]]
        assert float(row["val_loss"]) == trial["finalMeasurement"]["metrics"][0]["value"]
        chosen = {p["parameterId"]: p["value"] for p in trial["parameters"]}
        assert float(row["learning_rate"]) == chosen["learning_rate"]
        assert row["hidden_units"] == chosen["hidden_units"]
    runs = lab.module("report.runs")
    loaded = {run.name: run for run in runs.load_all(here(lab, "."))}
    assert {f"{name}/1", f"{name}/2"} <= set(loaded)
    assert (path / "1" / "report.html").is_file()
    page = (path / "report.html").read_text(encoding="utf-8")
    assert "(Vertex AI)" in page and 'href="1/report.html"' in page
    # The curves are what the trials recorded, since the stand-in has none.
    curves = (path / "measurements.csv").read_text(encoding="utf-8").splitlines()
    assert len(curves) == 1 + sum(len(loaded[f"{name}/{i}"].history["epoch"]) for i in (1, 2))
    # The leaderboard of the service is the same.
    board = jobs(lab, "show", name).out.splitlines()[-2:]
    assert [line.split()[1] for line in board] == [row["trial"] for row in rows]
    # And the winner is a job that can be run.
    best = lab.project.path / "configs" / "best.yaml"
    assert f"job file: {best}" in done.out
    spec = lab.module("jobfile.spec").load(best)
    (pool,) = spec.spec["workerPoolSpecs"]
    assert f"--learning_rate={rows[0]['learning_rate']}" in pool["containerSpec"]["args"]
    assert "env" not in pool["containerSpec"] and "pythonPackageSpec" not in pool
    best.unlink()
    assert "all of it was here already" in jobs(lab, "fetch", name).out
    assert not best.exists()  # nothing is written again


# These tests come last: with another kind of data, the lab and what it has made go away.


@pytest.mark.parametrize(
    ("cloud_lab", "question"),
    [
        pytest.param(None, ["data/penguins_eval.csv"], id="tabular"),
        pytest.param(
            *("series", ["data/watch.parquet", "--parameters", '{"windows": true}']),
            marks=pytest.mark.soak,  # half a minute
            id="series",
        ),
    ],
    indirect=["cloud_lab"],
)
def test_a_run_of_the_cloud_is_used_like_one_of_this_machine(lab, job, question):
    name = job[1]["displayName"]
    assert "model/saved_model.pb" in in_bucket(lab, folder_of(job[1]))
    shutil.rmtree(here(lab, "."))
    jobs(lab, "fetch", name)
    path = here(lab, name)
    record = json.loads((path / "run.json").read_text(encoding="utf-8"))
    run = lab.module("report.runs").load(path)
    assert run.status == "succeeded" and run.history["epoch"] == [1.0, 2.0]
    assert "val_accuracy" in lab.module("report.comparison").table([run]).columns
    page = lab.project.run(["python", "scripts/report.py", path]).stdout.strip()
    assert name in (path / "report.html").read_text(encoding="utf-8") and page.endswith(".html")
    # Without --model: the newest run, which is that one.
    done = lab.project.run(["python", *forked("scripts/predict.py"), *question])
    assert f"runs/{name}/model" in done.stderr.replace("\\", "/")
    answers, expected, truths = defaultdict(list), defaultdict(list), []
    for answer in map(json.loads, done.stdout.splitlines()):
        for one in answer.get("windows", [answer]):
            answers[answer.get("recording")].append(one["class"])
    # The held-out examples, in the same order, and what the job itself answered.
    with (path / "predictions.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            expected[row.get("recording")].append(row["prediction"])
            truths.append(row["truth"])
    answers = {recording: answers[recording] for recording in expected}
    assert answers == expected
    hits = sum(map(str.__eq__, itertools.chain(*answers.values()), truths))
    assert hits / len(truths) == pytest.approx(record["metrics"]["val_accuracy"], abs=1e-4)


@pytest.mark.parametrize(
    ("cloud_lab", "column"),
    [(None, "species"), ("series", "participant")],
    indirect=["cloud_lab"],
    ids=["tabular", "series"],
)
def test_a_trainer_that_fails_fails_the_command_and_its_last_lines_are_shown(lab, column):
    """By then it has read the columns of the data in the bucket."""
    done, [message] = send(lab, "--wait", "--", "--target=nothing", code=1)
    assert "failed after" in error_of(done) and "status of 2" in error_of(done)
    assert f"no column 'nothing'; there are: {column}" in done.out  # as it came
    tail = [line for line in done.err.splitlines() if line.startswith("  chief:0 | ")]
    assert f"no column 'nothing'; there are: {column}" in tail[-1]
    assert "model" not in {path.split("/")[0] for path in in_bucket(lab, folder_of(message))}
