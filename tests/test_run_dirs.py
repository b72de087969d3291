"""A run's directory on this machine: nothing of the user's is deleted or overwritten, one run at a time."""

import json
import os
import signal
import subprocess
import sys

import pytest

from conftest import fork_trainers, forked

pytestmark = pytest.mark.slow  # starts many processes
JOB = """
workerPoolSpecs:
  - machineSpec: {machineType: n2-standard-4}
    replicaCount: 1
    pythonPackageSpec: {pythonModule: trainer.act, args: [ACT]}
scheduling: {timeout: 600s}
"""
# A job's program that needs no TensorFlow.
ACT = """
import os, sys, time
print("started", flush=True)
if "wait" in sys.argv:
    time.sleep(300)
os._exit("fail" in sys.argv)
"""


@pytest.fixture(scope="module")
def project(bake):
    project = bake(fresh=True)
    (project.path / "trainer" / "act.py").write_text(ACT, encoding="utf-8")
    for act in ("done", "fail", "wait"):
        job = project.path / "configs" / f"{act}.yaml"
        job.write_text(JOB.replace("ACT", act), encoding="utf-8")
    return project


def launch(project, job, run_dir, *flags, **environ):
    command = ["python", "scripts/train_local.py", f"configs/{job}.yaml"]
    return project.run([*command, "--", "--job-dir", run_dir, *flags], check=False, **environ)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("job", "flags", "code"),
    [("done", [], 0), ("fail", [], 1), ("cpu", ["--train-files=nope.csv"], 2)],
)
def test_files_of_the_user_and_logs_of_the_job_stay(project, tmp_path, job, flags, code):
    run_dir = tmp_path / "keep" / "exp"
    run_dir.mkdir(parents=True)
    (run_dir / "notes.log").write_text("mine")

    done = launch(project, job, run_dir, *flags)

    assert done.returncode == code, done.stderr
    assert (run_dir / "notes.log").read_text() == "mine"
    assert (run_dir / "chief-0.log").read_text()


def test_a_failed_job_without_a_directory_of_its_own_keeps_its_logs(project):
    done = project.run(["python", "scripts/train_local.py", "configs/fail.yaml"], check=False)

    [run_dir] = (project.path / "runs").glob("fail-*")
    assert "started" in (run_dir / "chief-0.log").read_text()
    assert f"its output: {run_dir}" in done.stderr


@pytest.mark.parametrize("command", ["launcher", "trainer"])
@pytest.mark.parametrize(
    "files",
    [
        {"run.json": '{"epochs": 3}', "history.csv": "epoch\n1\n"},
        {"run.json": "no JSON"},
        {"run.json": "[]"},
        {"history.csv": "my years of work"},
        {"schema.json": "{}"},
    ],
    ids=lambda files: "+".join(files),
)
def test_a_directory_of_somebody_else_is_refused(project, tmp_path, command, files):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    before = content(tmp_path)

    if command == "launcher":
        done = launch(project, "cpu", tmp_path)
    else:
        done = project.run(["python", "-m", "trainer.task", "--job-dir", tmp_path], check=False)

    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path}: holds a {next(iter(files))} that no run of ")
    assert content(tmp_path) == before


def test_a_run_of_another_project_keeps_its_report(project, tmp_path):
    record = {"status": "succeeded", "project": "Another", "flags": {}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    (tmp_path / "report.html").write_text("theirs")

    done = launch(project, "cpu", tmp_path)

    assert done.returncode == 2
    assert "holds a run.json that no run of " in done.stdout
    assert "report:" not in done.stdout
    assert (tmp_path / "report.html").read_text() == "theirs"


@pytest.mark.skipif(os.name == "nt", reason="there is no kill -9 there")
def test_a_directory_in_use_is_refused_until_its_launcher_is_dead(project, tmp_path):
    command = [sys.executable, "scripts/train_local.py", "configs/wait.yaml"]
    first = subprocess.Popen(
        [*command, "--", "--job-dir", str(tmp_path)],
        cwd=project.path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert "started" in first.stdout.readline()
        before = content(tmp_path)
        second = launch(project, "done", tmp_path)
        assert content(tmp_path) == before
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
    third = launch(project, "done", tmp_path)

    assert second.returncode == 2
    assert second.stderr == (
        f"error: {tmp_path}: another run is using it; wait for its end, or give another --job-dir\n"
    )
    assert third.returncode == 0, third.stderr


@pytest.mark.slow
def test_two_trainers_do_not_share_a_directory(project, tmp_path):
    job_dir = ["--job-dir", str(tmp_path / "run")]
    command = ["python", *forked("trainer.task"), *job_dir]
    first = subprocess.Popen(
        [sys.executable, *command[1:], "--epochs=100000", "--checkpoint-every=0"],
        cwd=project.path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert any(line.startswith("epoch 1/") for line in first.stdout)
        second = project.run([*command, "--epochs=100000"], check=False)
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate()
    third = project.run([*command, "--epochs=1"], check=False)

    assert second.returncode == 2
    assert second.stderr.splitlines()[-1] == (
        f"error: {tmp_path / 'run'}: another run is using it; wait for its end, or give another "
        "--job-dir"
    )
    assert third.returncode == 0 and "resuming after epoch" in third.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "starts"),
    [
        ("def build(examples", 1),  # the model cannot be built
        ("def own_loss(", 1),  # the first step fails
        ("def at_epoch_3", 2),
    ],
)
def test_a_bug_does_not_start_again_and_again(bake, tmp_path, where, starts):
    """An error before the first step is a mistake; a later one is retried while there is progress."""
    project = bake(fresh=True)
    name = "engine/telemetry" if starts == 2 else "model"
    source = project.path / "trainer" / f"{name}.py"
    text = source.read_text(encoding="utf-8")
    if starts == 2:
        before = "        self.profile.close()\n        if self.bar"
        bug = '        if row["epoch"] == 3:\n            raise ValueError("my bug")\n'
        assert text.count(before) == 1
        text = text.replace(before, bug + before)
    else:
        text = text.replace("SparseCategoricalCrossentropy(from_logits=True)", "get(own_loss)")
        text += "\n\ndef own_loss(y_true, y_pred):\n    return 0.0 * y_pred\n"
        [line] = [line for line in text.splitlines(True) if line.startswith(where)]
        text = text.replace(line, f'{line}    raise ValueError("my bug")\n')
    source.write_text(text, encoding="utf-8")
    job = project.path / "configs" / "retried.yaml"
    job.write_text(project.read("configs/cpu.yaml").replace("disableRetries: true", ""))

    done = launch(project, "retried", tmp_path / "run", "--epochs=5", **fork_trainers())

    log = (tmp_path / "run" / "chief-0.log").read_text()
    assert log.count("ValueError: my bug") == starts
    assert done.returncode == (2 if starts == 1 else 1)
