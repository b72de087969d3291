"""What is shown of a cloud job, and a study that is fetched; no account, network or library of Google's is needed."""

from __future__ import annotations

import copy
import csv
import json

import pytest
from conftest import ROOT

from launcher.cloud import fetch, remote_job
from launcher.cloud import study as jobs_study
from launcher.cloud.remote_job import RemoteJob
from launcher.common.terminal import print_table
from launcher.common.times import format_span
from launcher.jobfile import spec
from launcher.report import runs
from launcher.study import directory

HOUR = "2026-03-01T{:02}:00:00.123456789Z"
POOL = {"machineSpec": {"machineType": "e2-standard-4"}, "replicaCount": "1"}
JOB = {
    "name": "projects/1/locations/us-central1/customJobs/7",
    "displayName": "cpu-1",
    "state": "JOB_STATE_SUCCEEDED",
    "createTime": HOUR.format(9),
    "startTime": HOUR.format(10),
    "endTime": HOUR.format(12),
    "jobSpec": {"workerPoolSpecs": [POOL]},
}


def price(message: dict) -> tuple[float | None, float]:
    cost = remote_job.compute_cost(RemoteJob(message))
    return cost.most, cost.hours


def test_a_job_is_paid_for_from_its_start_to_its_end():
    paid, hours = price(JOB)
    assert hours == 2
    two = copy.deepcopy(JOB)
    two["jobSpec"]["workerPoolSpecs"].append({**POOL, "replicaCount": "3"})
    assert price(two)[0] == pytest.approx(4 * paid)
    never = {key: value for key, value in JOB.items() if key != "startTime"}
    assert price(never) == (0, 0)
    # Of a job that was ended by the service only the last change may be known.
    cut = {**never, "startTime": HOUR.format(10), "updateTime": HOUR.format(11)}
    del cut["endTime"]
    assert price(cut)[1] == 1 and RemoteJob(cut).seconds == 3600
    odd = copy.deepcopy(JOB)
    odd["jobSpec"]["workerPoolSpecs"][0]["machineSpec"]["machineType"] = "z9-huge"
    assert price(odd) == (None, 2)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.123, "0.12 s"),
        (9.96, "10 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (3599, "1 h 00 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_times_are_for_people(seconds, text):
    assert format_span(seconds) == text


def test_a_name_cannot_steer_the_terminal(capsys):
    print_table(["name", "n"], [["\x1b[2Jé\n", "1"], ["longer than that", "2"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["name              n", "?[2Jé?            1", "longer than that  2"]


# A study, as the service has it: numbers that are 0 are left out.


STUDY = {
    "name": "projects/1/locations/us-central1/hyperparameterTuningJobs/9",
    "displayName": "Search",
    "labels": {"config": "tuning"},
    "state": "JOB_STATE_SUCCEEDED",
    "createTime": HOUR.format(1),
    "startTime": HOUR.format(1),
    "endTime": HOUR.format(9),
    "maxTrialCount": 12,
    "studySpec": {
        "metrics": [{"metricId": "val_loss", "goal": "MINIMIZE"}],
        "algorithm": "ALGORITHM_UNSPECIFIED",
        "parameters": [
            {"parameterId": "dropout", "doubleValueSpec": {"maxValue": 0.5}},
            {
                "parameterId": "schedule",
                "categoricalValueSpec": {"values": ["constant", "cosine"]},
                "conditionalParameterSpecs": [
                    {
                        "parameterSpec": {
                            "parameterId": "warmup",
                            "integerValueSpec": {"maxValue": "3"},
                        },
                        "parentCategoricalValues": {"values": ["cosine"]},
                    }
                ],
            },
            {"parameterId": "batch_size", "discreteValueSpec": {"values": [16.0, 32.0]}},
            {
                "parameterId": "learning_rate",
                "doubleValueSpec": {"minValue": 0.001, "maxValue": 0.1},
                "scaleType": "UNIT_REVERSE_LOG_SCALE",
            },
        ],
    },
    "trialJobSpec": {
        "scheduling": {"timeout": "3600s"},
        "baseOutputDirectory": {"outputUriPrefix": "gs://lab/runs/search-1"},
        "workerPoolSpecs": [
            {
                **POOL,
                "pythonPackageSpec": {
                    "executorImageUri": "an-image",
                    "packageUris": ["gs://lab/packages/1/trainer.tar.gz"],
                    "pythonModule": "trainer.task",
                    "args": ["--epochs=2", "--dropout=0.3"],
                    "env": [{"name": "GIT_COMMIT", "value": "1a"}, {"name": "A", "value": "b"}],
                },
            }
        ],
    },
}


def replace_each(value, wrong) -> list:
    """Copies of a JSON value, each with one value in it, or itself, replaced by a wrong one."""
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    copies = [wrong]
    for key, part in items:
        for other in replace_each(part, wrong):
            copies.append(copy.copy(value))
            copies[-1][key] = other
    return copies


@pytest.mark.parametrize("message", [JOB, STUDY], ids=["job", "study"])
def test_a_vertex_json_that_was_edited_is_no_traceback(message, tmp_path):
    message = {**message, "labels": {"config": "tuning"}, "error": {"message": "no quota"}}
    copies = [m for w in (None, True, 3, "x", [], ["x"], {}) for m in replace_each(message, w)]
    assert len(copies) > 100
    for edited in copies:
        (tmp_path / "vertex.json").write_text(json.dumps(edited), encoding="utf-8")
        assert isinstance(fetch.read_source(tmp_path), str), edited


def trial(number: int) -> dict:
    """Number 5 is the best, with val_loss 0; the later it was, the worse."""
    chosen = {"dropout": 0.04 * number, "schedule": "constant", "batch_size": 32.0}
    chosen |= {"learning_rate": 0.1 if number == 5 else 0.02}
    if number % 2:
        chosen |= {"schedule": "cosine", "warmup": float(number % 3)}
    measured = {"metricId": "val_loss"} | ({} if number == 5 else {"value": 1 + number / 10})
    return {
        "id": str(number),
        "state": "SUCCEEDED",
        "parameters": [{"parameterId": key, "value": value} for key, value in chosen.items()],
        "finalMeasurement": {"stepCount": "2", "metrics": [measured]},
        "startTime": HOUR.format(1),
        "endTime": HOUR.format(2),
    }


def study(*more: dict, **fields) -> RemoteJob:
    trials = [trial(number) for number in range(1, 9)]
    return RemoteJob({**STUDY, "trials": [*trials, *more], **fields})


def test_trials_are_read_as_those_of_a_study_here():
    nan = {**trial(10), "finalMeasurement": {"metrics": [{"metricId": "val_loss", "value": "NaN"}]}}
    other = {**trial(11), "finalMeasurement": {"metrics": [{"metricId": "loss", "value": 1}]}}
    broken = {"id": "9", "state": "INFEASIBLE", "infeasibleReason": "exit\ncode 1"}
    ranked = jobs_study.ranked(study(nan, other, broken, {"id": "12", "state": "ACTIVE"}))
    assert [trial.id for trial in ranked] == [5, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12]
    best = ranked[0]
    assert (best.value, best.step, best.seconds) == (0.0, 2, 3600)
    assert best.parameters["warmup"] == 2 and isinstance(best.parameters["warmup"], int)
    assert [trial.why for trial in ranked[8:]] == [
        "exit code 1",
        "no finite val_loss",
        "no finite val_loss",
        "the study ended: succeeded",
    ]
    running = study({"id": "12", "state": "ACTIVE"}, state="JOB_STATE_RUNNING")
    assert jobs_study.ranked(running)[-1].state == "unfinished"
    up = copy.deepcopy(dict(STUDY["studySpec"]))
    up["metrics"][0]["goal"] = "MAXIMIZE"
    assert jobs_study.ranked(study(studySpec=up))[0].id == 8


def test_a_study_leaves_the_same_files_wherever_it_ran(tmp_path):
    path, configs = tmp_path / "runs" / "search-1", tmp_path / "configs"
    path.mkdir(parents=True)
    configs.mkdir()
    for number in (1, 5):
        (path / str(number)).mkdir()
        record = {"status": "succeeded", "started": HOUR.format(1)[:19] + "Z"}
        (path / str(number) / "run.json").write_text(json.dumps(record), encoding="utf-8")
        history = "epoch,val_loss\n1,0.9\n2,0.5\n"
        (path / str(number) / "history.csv").write_text(history, encoding="utf-8")
    written = jobs_study.write(study(), path, configs)
    assert written == [path / "report.html", configs / "best.yaml"]
    assert [run.name for run in runs.load_all(path.parent)] == ["search-1/1", "search-1/5"]
    with (path / "study.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["trial"] == "5" and rows[0]["val_loss"] == "0.0" and rows[0]["warmup"] == "2"
    page = written[0].read_text(encoding="utf-8")
    for words in ("What was tried", "Bayesian search (Vertex AI)"):
        assert words in page
    assert len((path / "measurements.csv").read_text(encoding="utf-8").splitlines()) == 5

    # The winner: its parameters, over those of all trials; nothing of the project's own places.
    best = spec.read(configs / "best.yaml").spec
    [pool] = best["workerPoolSpecs"]
    assert pool["containerSpec"]["args"][0] == "--epochs=2"
    assert "--dropout=0.3" not in pool["containerSpec"]["args"]
    assert "--dropout=0.2" in pool["containerSpec"]["args"]
    assert pool["containerSpec"]["env"] == [{"name": "A", "value": "b"}]
    assert "baseOutputDirectory" not in best and "pythonPackageSpec" not in pool
    assert pool["replicaCount"] == 1

    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    jobs_study.write(study(), path, configs)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_no_study_here_resumes_one_of_the_cloud(tmp_path):
    job = spec.load(ROOT / "configs" / "tuning.yaml")
    path = tmp_path / "runs" / "search-1"
    path.mkdir(parents=True)
    jobs_study.write(study(state="JOB_STATE_RUNNING"), path, tmp_path)
    assert json.loads((path / "study.json").read_text(encoding="utf-8"))["state"] == "running"
    taken = directory.take(job, [], None, False, path.parent)
    taken.close()
    assert taken.path != path


def test_a_study_without_a_trial_is_written(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    failed = RemoteJob({**STUDY, "state": "JOB_STATE_FAILED", "error": {"message": "No quota."}})
    assert jobs_study.write(failed, empty, tmp_path / "empty") == []
    assert json.loads((empty / "study.json").read_text(encoding="utf-8"))["state"] == "failed"
