"""A run that was killed goes on, and ends as if nothing had happened."""

import json
import random
import shutil
import signal
import sys
import time

import pytest

import cluster
from conftest import forked
from test_training import write_census

pytestmark = pytest.mark.slow

ONE = {"chief": 1}
# Dropout and early stopping, so that seeds and the best weights must come back too; steps enough
# that a kill hits the middle of an epoch as often as not.
FLAGS = ["--target", "income_bracket", "--batch-size", "16", "--epochs", "12", "--dropout", "0.2"]
FLAGS += ["--early-stopping", "9", "--checkpoint-every", "0", "--hidden-units", "64", "--jit", "on"]


@pytest.fixture(scope="module")
def undisturbed(bake, tmp_path_factory):
    """(flags, weights, history, seconds) of a run that nobody killed."""
    place = tmp_path_factory.mktemp("undisturbed")
    write_census(place / "census.csv", 4000)
    flags = [
        "--train-files",
        str(place / "census.csv"),
        "--cache-dir",
        str(place / "cache"),
        *FLAGS,
    ]
    start = time.monotonic()
    [replica] = cluster.start(bake(), place / "log", ONE, place / "run", *flags)
    assert cluster.finish([replica]) == [0], replica.text()
    seconds = time.monotonic() - start
    return flags, replica.weights, (place / "run" / "history.csv").read_bytes(), seconds


def kill_and_go_on(project, place, undisturbed, share, how=signal.SIGKILL):
    """Ends the run after a share of its time and starts it again; the first and the second run."""
    flags, weights, history, seconds = undisturbed
    [first] = cluster.start(project, place / "log", ONE, place / "run", *flags)
    time.sleep(share * seconds)
    first.process.send_signal(how)
    cluster.finish([first])
    [second] = cluster.run(project, place / "log", ONE, place / "run", *flags)
    assert second.weights == weights
    assert (place / "run" / "history.csv").read_bytes() == history
    return first, second


@pytest.mark.parametrize("share", [0.5, pytest.param(0.9, marks=pytest.mark.soak)])
def test_killed(bake, tmp_path, undisturbed, share):
    kill_and_go_on(bake(), tmp_path, undisturbed, share)

    assert not list((tmp_path / "run").rglob("*.partial"))


@pytest.mark.soak
def test_killed_at_twenty_random_points(bake, tmp_path, undisturbed):
    points = random.Random(0)
    for number in range(20):
        kill_and_go_on(bake(), tmp_path / str(number), undisturbed, points.uniform(0.2, 1.0))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to be polite with")
def test_preempted(bake, tmp_path, undisturbed):
    """SIGTERM while it trains: a checkpoint, and an exit code that means "start me again"."""
    flags, weights, _, _ = undisturbed
    flags = [*flags, "--checkpoint-every", "3600"]
    [first] = cluster.start(bake(), tmp_path / "log", ONE, tmp_path / "run", *flags)
    while "epoch 1/" not in first.text():
        assert first.process.poll() is None, first.text()
        time.sleep(0.02)

    first.process.terminate()
    [code] = cluster.finish([first])
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    [second] = cluster.run(bake(), tmp_path / "log", ONE, tmp_path / "run", *flags)

    assert code == 75, first.text()
    assert record["status"] == "preempted"
    assert "resuming after epoch" in second.text()
    assert second.weights == weights


@pytest.fixture(scope="module")
def short(bake, tmp_path_factory, undisturbed):
    """The directory of a run of the first six epochs, to be copied."""
    place = tmp_path_factory.mktemp("short")
    flags = [*undisturbed[0], "--epochs", "6"]
    cluster.run(bake(), place / "log", ONE, place / "run", *flags)
    return place / "run"


@pytest.mark.parametrize(
    "damage", ["half", pytest.param("empty", marks=pytest.mark.soak), "flipped"]
)
def test_a_torn_checkpoint_falls_back(bake, tmp_path, undisturbed, short, damage):
    flags, weights, history, _ = undisturbed
    shutil.copytree(short, tmp_path / "run")
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    whole = newest.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    newest.write_bytes({"half": whole[:middle], "empty": b"", "flipped": flipped}[damage])

    [again] = cluster.run(bake(), tmp_path / "log", ONE, tmp_path / "run", *flags)

    assert f"{newest.name} is corrupt" in again.text()
    assert "using the one before it" in again.text()
    assert "resuming after epoch" in again.text()
    assert again.weights == weights
    assert (tmp_path / "run" / "history.csv").read_bytes() == history


def test_another_run_in_the_same_directory_is_refused(bake, tmp_path):
    cluster.run(bake(), tmp_path / "log", ONE, tmp_path / "run", "--epochs", "1")
    before = (tmp_path / "run" / "run.json").read_bytes()

    flags = ["--job-dir", str(tmp_path / "run"), "--learning-rate", "0.5"]
    done = bake().run(["python", *forked("trainer.task"), *flags], check=False)

    assert done.returncode == 2
    assert "holds a run with --learning-rate 0.001, this one has 0.5" in done.stderr
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_repeated_from_its_record(bake, tmp_path):
    flags = ["--epochs", "4", "--dropout", "0.1", "--hidden-units", "16,8", "--optimizer", "sgd"]
    cluster.run(bake(), tmp_path / "log", ONE, tmp_path / "run", *flags)

    repeat = ["--repeat", str(tmp_path / "run" / "run.json")]
    [again] = cluster.run(bake(), tmp_path / "log", ONE, tmp_path / "again", *repeat)

    one, two = ((tmp_path / name / "history.csv").read_bytes() for name in ("run", "again"))
    assert one == two
    assert "warning: not as in" not in again.text()


def test_trials_report_and_never_share_a_directory(bake, tmp_path):
    """hypertune's format: an object a line, the value a text under its metric id."""
    for trial in ("1", "2"):
        environ = {
            "CLOUD_ML_TRIAL_ID": trial,
            "CLOUD_ML_HP_METRIC_FILE": str(tmp_path / f"metrics-{trial}" / "output.metrics"),
        }
        flags = ["--job-dir", str(tmp_path / "study"), "--epochs", "2"]
        bake().run(["python", *forked("trainer.task"), *flags], **environ)

        lines = (tmp_path / f"metrics-{trial}" / "output.metrics").read_text().splitlines()
        reports = [json.loads(line) for line in lines]
        accuracy = [report for report in reports if "val_accuracy" in report]
        assert [report["global_step"] for report in accuracy] == ["1", "2"]
        assert {report["trial"] for report in reports} == {trial}
        assert all(0 <= float(report["val_accuracy"]) <= 1 for report in accuracy)
        assert all(isinstance(report["val_accuracy"], str) for report in accuracy)
        assert (tmp_path / "study" / trial / "model" / "saved_model.pb").is_file()
