"""The job files of a bake, run by `scripts/train_local.py` as their users run them."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import answers
from conftest import fork_trainers

pytestmark = pytest.mark.slow

# Files in a bake's configs/ that one process plays; the others are tested by name below.
SINGLE = ["multi_gpu", "smoke"]
LIKE_MULTI_GPU = ["gpu", "flex_start", "tpu"]  # to the trainer

# Epochs by which a job is long enough to be disturbed: images take longer than 300 rows.
EPOCHS = {"tabular": {"workers": 20, "spot": 100}}
EPOCHS |= dict.fromkeys(("image", "series"), {"workers": 6, "spot": 16})
SOAK = pytest.mark.soak
SERIES = pytest.param("series", marks=SOAK)  # to the launcher like the others
ELSE_LATER = pytest.mark.parametrize(
    "project",
    [answers.PROBLEMS[0], *(pytest.param(other, marks=SOAK) for other in answers.PROBLEMS[1:])],
    indirect=True,
)


@pytest.fixture(scope="module", params=["tabular", "image", SERIES])
def project(bake, request):
    project = bake(problem=request.param)
    project.accuracy = {"series": 0.5}.get(request.param, 0.9)  # which five epochs reach
    project.epochs = {job: f"--epochs={count}" for job, count in EPOCHS[request.param].items()}
    return project


def train(project, config, run_dir, *words, flags=()):
    """Runs a job file into a directory; gives its output."""
    command = ["python", "scripts/train_local.py", f"configs/{config}.yaml", *words]
    return project.run([*command, "--", "--job-dir", run_dir, *flags], **fork_trainers()).stdout


def weights(said):
    """The checksums that the replicas printed."""
    return set(re.findall(r"weights (\w+)", said))


def loss(said):
    return float(re.search(r"eval loss: (\S+)", said)[1])


def table(run_dir):
    return (run_dir / "history.csv").read_bytes()


@pytest.mark.parametrize(
    ("project", "config"),
    [
        *(("tabular", config) for config in [*SINGLE, "tpu"]),
        *(pytest.param("tabular", config, marks=SOAK) for config in ("gpu", "flex_start")),
        ("image", "smoke"),
        *(pytest.param("image", config, marks=SOAK) for config in ["multi_gpu", *LIKE_MULTI_GPU]),
        *(pytest.param("series", config, marks=SOAK) for config in SINGLE + LIKE_MULTI_GPU),
    ],
    indirect=["project"],
)
def test_one_process(project, tmp_path, config):
    said = train(project, config, tmp_path / "run", flags=["--epochs=1"])
    assert len(weights(said)) == 1
    asked = "the job asks for" in said
    assert asked == (config in ("gpu", "multi_gpu", "flex_start", "tpu")), said


@pytest.fixture(scope="module")
def together(project, tmp_path_factory):
    """What multi_worker.yaml gives when nobody disturbs it."""
    run_dir = tmp_path_factory.mktemp("together") / "run"
    said = train(project, "multi_worker", run_dir, flags=[project.epochs["workers"]])
    assert said.count(": exit code 0\n") == 3
    assert said.count("epoch 1/") == 1  # the chief's; the others have it in their logs
    [checksum] = weights(said)
    assert len(list(run_dir.glob("*.log"))) == 3
    return checksum, table(run_dir)


@ELSE_LATER
@pytest.mark.parametrize("victim", ["worker:1", pytest.param("chief", marks=SOAK)])
def test_a_killed_replica_changes_nothing(project, tmp_path, together, victim):
    run_dir = tmp_path / "run"
    words = ["--kill", f"{victim}@epoch3"]
    flags = [project.epochs["workers"], "--checkpoint-every=0.2"]
    said = train(project, "multi_worker", run_dir, *words, flags=flags)
    assert "is killed after epoch3, as --kill asks" in said
    assert "resuming after epoch" in said
    assert weights(said) == {together[0]}
    assert table(run_dir) == together[1]


@ELSE_LATER
def test_a_smaller_cluster_trains_to_the_same(project, tmp_path):
    flags = ["--epochs=5", "--dropout=0"]  # which draws other numbers elsewhere
    whole = train(project, "multi_worker", tmp_path / "whole", flags=flags)
    said = train(project, "multi_worker", tmp_path / "run", "--replicas=worker=1", flags=flags)
    assert len(list((tmp_path / "run").glob("*.log"))) == 2
    assert len(weights(said)) == 1
    assert loss(said) == pytest.approx(loss(whole), abs=1e-3)


@SOAK  # with one that is killed, all of it is tested below
def test_parameter_servers(project, tmp_path):
    serve(project, tmp_path / "run")


@ELSE_LATER
@pytest.mark.parametrize(
    "victim",
    ["worker:0", pytest.param("ps:0", marks=SOAK), pytest.param("chief", marks=SOAK)],
)
def test_a_killed_task_of_parameter_servers(project, tmp_path, victim):
    said = serve(project, tmp_path / "run", "--kill", f"{victim}@epoch2")
    assert "is killed after epoch2" in said


@ELSE_LATER
@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C reaches a whole console there")
def test_a_polite_stop_of_parameter_servers_writes_a_checkpoint(project, tmp_path):
    stop_and_resume(project, tmp_path / "run", epoch=2)


@SOAK
@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C reaches a whole console there")
def test_twenty_polite_stops_of_parameter_servers(project, tmp_path):
    moments = random.Random(0)
    for number in range(20):
        pause = moments.uniform(0, 2)
        stop_and_resume(project, tmp_path / str(number), moments.randint(1, 9), pause)


def stop_and_resume(project, run_dir, epoch, pause=0.0):
    """The only checkpoint of the run is the one that the stop writes, and the next run has it."""
    words = ["configs/parameter_server.yaml", "--", "--job-dir", run_dir]
    launcher = subprocess.Popen(
        [sys.executable, "scripts/train_local.py", *map(str, words)]
        + ["--epochs=100000", "--checkpoint-every=3600"],
        cwd=project.path,
        env={**os.environ, **fork_trainers()},
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        assert any(f"epoch {epoch}/" in line for line in launcher.stdout)
        time.sleep(pause)
        launcher.send_signal(signal.SIGTERM)
        said, _ = launcher.communicate(timeout=300)
    finally:
        launcher.kill()
    assert launcher.returncode == 75, said
    assert "chief:0: stopped" in said
    assert list((run_dir / "checkpoints").glob("*.npz")), said
    again = train(project, "parameter_server", run_dir, flags=["--epochs=1"])
    assert "resuming after epoch" in again


def serve(project, run_dir, *words):
    said = train(project, "parameter_server", run_dir, *words, flags=["--epochs=5"])
    assert "chief:0: exit code 0" in said
    assert (run_dir / "model" / "saved_model.pb").is_file()
    assert float(re.findall(r"eval accuracy: (\S+)", said)[0]) > project.accuracy
    return said


@ELSE_LATER
def test_a_preempted_spot_job_ends_as_if_nothing_had_been(project, tmp_path):
    flags = [project.epochs["spot"]]
    calm = train(project, "spot", tmp_path / "calm", flags=flags)
    said = train(project, "spot", tmp_path / "run", "--preempt-after=epoch5", flags=flags)
    assert "the job starts again from its beginning" in said
    assert "resuming after epoch" in said
    assert weights(said) == weights(calm)
    assert table(tmp_path / "run") == table(tmp_path / "calm")


@ELSE_LATER
@pytest.mark.skipif(os.name == "nt", reason="there is no kill -9 there")
def test_a_killed_launcher_leaves_no_trainer(project, tmp_path):
    run_dir = tmp_path / "run"
    words = ["configs/multi_worker.yaml", "--", "--job-dir", run_dir, "--epochs=100000"]
    launcher = subprocess.Popen(
        [sys.executable, "scripts/train_local.py", *map(str, words)],
        cwd=project.path,
        env={**os.environ, **fork_trainers()},  # forks end with their clients, which are listed
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        assert any("epoch 3/" in line for line in launcher.stdout)
        before = [pid for pid in trainers(run_dir) if is_replica(pid)]
    finally:
        os.kill(launcher.pid, signal.SIGKILL)
        launcher.communicate()
    assert len(before) == 3
    deadline = time.monotonic() + 60
    while left := trainers(run_dir):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def is_replica(pid):
    """And no process that a replica has started in its turn, as to make shards of images."""
    return b"trainer.task" in Path(f"/proc/{pid}/cmdline").read_bytes()


def trainers(run_dir):
    """The processes that were told to write there."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            command = environ.with_name("cmdline").read_bytes()
            if str(run_dir).encode() in environ.read_bytes() and b"guard.py" not in command:
                found.append(int(environ.parent.name))
        except OSError:  # it has ended, or is not ours
            continue
    return found
