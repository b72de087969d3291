"""Job files: what is refused before anything starts, and what a local run of one leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, read_json, tree, write

from launcher import local, spec

CPU = (ROOT / "configs" / "cpu.yaml").read_text(encoding="utf-8")
WAIT = 120  # seconds; generous, for a machine with other things to do


def job(
    task: str = "containerSpec: {args: []}", pool: str = "replicaCount: 1", rest: str = ""
) -> str:
    return f"workerPoolSpecs:\n  - {pool}\n    {task}\n{rest}\n"


def run(project: Path, *words: str, env: dict | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, "scripts/train_local.py", *words]
    env = {**os.environ, **(env or {})}
    return subprocess.run(
        command, cwd=project, env=env, capture_output=True, encoding="utf-8", timeout=WAIT
    )


# Job files


def test_every_job_file_of_this_project_is_read():
    for path in (ROOT / "configs").glob("*.yaml"):
        assert spec.read(path)["workerPoolSpecs"]


FAULTS = {
    "not YAML": ("a: [1", "job.yaml: not YAML: "),
    "not a mapping": ("- 1", "job.yaml: the job must be a mapping, got list"),
    "empty": ("", "job.yaml: the job must be a mapping, got NoneType"),
    "no pools": ("scheduling: {timeout: 60s}", "job.yaml: workerPoolSpecs must be a list with at least one pool"),
    "snake case": ("worker_pool_specs: []", "job.yaml: the job has no field 'worker_pool_specs'; did you mean workerPoolSpecs?"),
    "wrapped": ("displayName: x\njobSpec: {workerPoolSpecs: []}", "job.yaml: a CustomJobSpec is expected, without a message around it; keep what stands below jobSpec"),
    "unknown in the pool": (job(pool="replicas: 2"), "job.yaml: workerPoolSpecs[0] has no field 'replicas'; did you mean replicaCount?"),
    "unknown in the container": (job("containerSpec: {arg: []}"), "job.yaml: workerPoolSpecs[0].containerSpec has no field 'arg'; did you mean args?"),
    "a number in args": (job("containerSpec: {args: [--epochs, 2]}"), 'job.yaml: workerPoolSpecs[0].containerSpec.args[1] is 2, not a text; put it in quotes, with its flag: "--name=2"'),
    "true in args": (job("containerSpec: {args: [--x, true]}"), "job.yaml: workerPoolSpecs[0].containerSpec.args[1] is True, not a text"),
    "args in one text": (job('containerSpec: {args: "--epochs=2"}'), "job.yaml: workerPoolSpecs[0].containerSpec.args must be a list, got '--epochs=2'"),
    "a number in env": (job("containerSpec: {env: [{name: X, value: 1}]}"), "job.yaml: workerPoolSpecs[0].containerSpec.env[0] must be a name and a value, both texts"),
    "env as a mapping": (job("containerSpec: {env: {X: '1'}}"), "job.yaml: workerPoolSpecs[0].containerSpec.env must be a list, got {'X': '1'}"),
    "two kinds of task": (job("containerSpec: {args: []}\n    pythonPackageSpec: {args: []}"), "job.yaml: workerPoolSpecs[0] has a containerSpec and a pythonPackageSpec; keep one"),
    "a command": (job("containerSpec: {command: [python]}"), "job.yaml: containerSpec.command is for the container; remove it"),
    "several replicas": (job(pool="replicaCount: 2"), "job.yaml: 2 replicas; a local run takes jobs with one replica"),
    "several pools": (job(rest="  - replicaCount: 3"), "job.yaml: 4 replicas; a local run takes jobs with one replica"),
    "a text for a count": (job(pool="replicaCount: one"), "job.yaml: workerPoolSpecs[0].replicaCount must be a whole number"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_job_file_is_one_line(fault):
    text, expected = FAULTS[fault]
    write("job.yaml", text)
    with pytest.raises(spec.SpecError) as refused:
        spec.replica(spec.read("job.yaml"), "job.yaml")
    assert str(refused.value).startswith(expected)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "task", ["containerSpec:", "containerSpec: {args: , env: }", "diskSpec: {}"]
)
def test_what_is_left_empty_is_as_if_it_were_not_there(task):
    write("job.yaml", job(task))
    assert spec.replica(spec.read("job.yaml"), "job.yaml") == spec.Replica("trainer.task", (), {})


# The contract


def test_the_trainer_sees_its_own_contract_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("AIP_MODEL_DIR", "gs://elsewhere/model")
    monkeypatch.setenv("AIP_DATA_FORMAT", "csv")
    monkeypatch.setenv("CLOUD_ML_TRIAL_ID", "7")
    monkeypatch.setenv("TF_CONFIG", "{}")
    monkeypatch.setenv("SOMETHING_ELSE", "stays")
    write("job.yaml", job("containerSpec: {env: [{name: RUN, value: $(CLOUD_ML_JOB_ID)/$(NONE)}]}"))
    replica = spec.replica(spec.read("job.yaml"), "job.yaml")
    env = local.environment(tmp_path / "run-1", replica)
    assert env["AIP_MODEL_DIR"] == f"{tmp_path}/run-1/model/"
    assert json.loads(env["CLUSTER_SPEC"])["task"] == {"type": "workerpool0", "index": 0}
    assert env["RUN"] == "run-1/$(NONE)"
    assert env["SOMETHING_ELSE"] == "stays"
    assert not {"AIP_DATA_FORMAT", "CLOUD_ML_TRIAL_ID", "TF_CONFIG"} & set(env)


def test_runs_of_the_same_second_get_directories_of_their_own(tmp_path):
    made = [local.new_run_dir("job", tmp_path / "runs") for _ in range(50)]
    assert len(set(made)) == 50
    assert all(path.is_dir() for path in made)
    assert any(path.name.endswith("-2") for path in made)  # there was such a second


# Whole runs


def test_a_job_file_runs_and_leaves_all_that_a_run_has(project, tmp_path):
    foreign = {
        "AIP_MODEL_DIR": str(tmp_path / "elsewhere" / "model"),
        "AIP_CHECKPOINT_DIR": str(tmp_path / "elsewhere" / "checkpoints"),
        "TF_CONFIG": "not JSON",
    }
    done = run(project, "configs/cpu.yaml", "--", "--epochs=2", "--hidden_units", "8", env=foreign)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "elsewhere").exists()
    [run_dir] = (project / "runs").glob("cpu-*")
    assert {
        *("model", "checkpoints", "logs", "run.json", "schema.json", "history.csv"),
        *("evaluation.json", "report.html", "chief-0.log"),
    } == {path.name for path in run_dir.iterdir()}
    assert (run_dir / "model" / "saved_model.pb").is_file()
    assert list(run_dir.glob("logs/eval/*"))

    record = read_json(run_dir / "run.json")
    history = (run_dir / "history.csv").read_text(encoding="utf-8").splitlines()
    assert record["status"] == "succeeded"
    assert record["flags"]["hidden_units"] == [8]
    assert len(history) == 3
    assert set(record["metrics"]) < set(history[0].split(","))
    assert f"eval accuracy: {record['metrics']['val_accuracy']:.4f}" in done.stdout
    assert f"run directory: {run_dir}" in done.stdout
    assert f"report: {run_dir / 'report.html'}" in done.stdout
    log = (run_dir / "chief-0.log").read_text(encoding="utf-8")
    shown = [line for line in log.splitlines() if not re.match(local.NOISE, line)]
    assert shown == done.stdout.splitlines()[: len(shown)]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["--", "--target", "nothing"], 2, "no column 'nothing'; there are: species"),
        (["--", "--epochs", "0"], 2, "argument --epochs: '0' is not a whole number above 0"),
        (["job.yaml"], 2, "error: job.yaml: the job has no field 'x'"),
        (["none.yaml"], 2, "error: none.yaml: cannot be read (No such file or directory)"),
        (["--epochs", "2"], 2, "unknown: --epochs; the trainer's flags stand after a lone --"),
    ],
    ids=["data", "flag", "job", "no-job", "no-dashes"],
)
def test_a_run_that_fails_says_why_and_leaves_nothing(project, words, code, expected):
    write(str(project / "job.yaml"), "x: 1")
    before = [path for path in tree(project) if "__pycache__" not in path]
    done = run(project, *words)
    assert done.returncode == code
    assert expected in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert [path for path in tree(project) if "__pycache__" not in path] == before


def processes() -> str:
    return subprocess.run(
        ["ps", "-A", "-ww", "-o", "command"], capture_output=True, text=True
    ).stdout


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C reaches a whole console there")
def test_ctrl_c_stops_the_trainer_at_a_checkpoint_and_leaves_no_process(project):
    marker = f"--cache-dir={project}/unused"  # tells our trainer from any other, in the list of ps
    process = subprocess.Popen(
        [sys.executable, "scripts/train_local.py", "--", "--epochs=100000", marker],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,  # the tests themselves are not to be interrupted
    )
    try:
        assert any(line.startswith("epoch 1/") for line in process.stdout)
        assert processes().count(f"trainer.task --epochs=100000 {marker}") == 1
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
        printed, _ = process.communicate(timeout=WAIT)
    finally:
        process.kill()
    assert marker not in processes()
    assert process.returncode == 75  # "start me again", see trainer/task.py
    assert "Traceback" not in printed
    [run_dir] = (project / "runs").glob("cpu-*")
    assert read_json(run_dir / "run.json")["status"] == "preempted"
    assert list((run_dir / "checkpoints").iterdir())


def test_a_run_goes_on_in_the_directory_that_job_dir_names(project):
    words = ["--", "--job-dir", "runs/mine", "--epochs"]
    assert run(project, *words, "2").returncode == 0

    done = run(project, *words, "3")

    assert done.returncode == 0, done.stderr
    assert "goes on after epoch 2" in done.stdout
    assert [path.name for path in (project / "runs").glob("[!.]*")] == ["mine"]
    assert read_json(project / "runs" / "mine" / "run.json")["flags"]["epochs"] == 3


def test_a_local_run_into_a_bucket_is_refused(project):
    done = run(project, "--", "--job-dir=gs://bucket/runs")

    assert done.returncode == 2
    assert done.stderr.startswith("error: --job-dir gs://bucket/runs: a local run writes to")
    assert "Traceback" not in done.stderr
