"""Whole runs of job files with the trainer itself: what they show, what they leave behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import own
import pytest
from conftest import read_json, tree, write

from launcher.local import process, run_dirs

pytestmark = pytest.mark.slow

WAIT = 120  # seconds; generous, for a machine with other things to do


def run(project: Path, *words: str, env: dict | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, "scripts/train_local.py", *words]
    env = {**os.environ, **(env or {})}
    return subprocess.run(
        command, cwd=project, env=env, capture_output=True, encoding="utf-8", timeout=WAIT
    )


def test_runs_of_the_same_second_get_directories_of_their_own(tmp_path):
    made = [run_dirs.make("job", tmp_path / "runs") for _ in range(50)]
    assert len(set(made)) == 50
    assert all(path.is_dir() for path in made)
    assert any(path.name.endswith("-2") for path in made)  # there was such a second


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
        *("evaluation.json", "predictions.csv", "report.html", "chief-0.log"),
    } == {path.name for path in run_dir.glob("[!.]*")} - {"gallery"}
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
    shown = [line for line in log.splitlines() if not re.match(process.NOISE, line)]
    assert shown == done.stdout.splitlines()[: len(shown)]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["--", *own.MISTAKE[0]], 2, own.MISTAKE[1]),
        (["--", "--epochs", "0"], 2, "argument --epochs: '0' is not a whole number above 0"),
        (["job.yaml"], 2, "error: job.yaml:1: x: the API has no such field here"),
        (["none.yaml"], 2, "error: none.yaml: cannot be read (No such file or directory)"),
        (["--epochs", "2"], 2, "unknown: --epochs; the trainer's flags stand after a lone --"),
        (["configs/cpu.yaml", "--top=2"], 2, "are for a study, and cpu.yaml is one job"),
    ],
    ids=["data", "flag", "job", "no-job", "no-dashes", "no-study"],
)
def test_a_run_that_fails_says_why_and_leaves_its_log_alone(project, words, code, expected):
    write(str(project / "job.yaml"), "x: 1")
    before = [path for path in tree(project) if "__pycache__" not in path]
    done = run(project, *words)
    assert done.returncode == code
    assert expected in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    left = [p for p in tree(project) if "__pycache__" not in p and p not in before]
    assert {Path(path).name for path in left if not re.fullmatch(r"runs|runs/[^/]*", path)} == (
        {"chief-0.log", ".launcher.lock"} if words[0] == "--" else set()
    )


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
        assert processes().count(f"trainer.task --epochs=100000 {marker}") == 2  # and its guard
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
    assert "resuming after epoch 2" in done.stdout
    assert [path.name for path in (project / "runs").glob("[!.]*")] == ["mine"]
    assert read_json(project / "runs" / "mine" / "run.json")["flags"]["epochs"] == 3


def test_a_local_run_into_a_bucket_is_refused(project):
    done = run(project, "--", "--job-dir=gs://bucket/runs")

    assert done.returncode == 2
    assert done.stderr.startswith("error: --job-dir gs://bucket/runs: a local run writes to")
    assert "Traceback" not in done.stderr
