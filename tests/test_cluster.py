"""One job over several processes: the same numbers, one model, nothing else left."""

import json
import random
import re

import pytest

import cluster

pytestmark = pytest.mark.slow

SYNC = {"one": {"chief": 1}, "two": {"chief": 1, "worker": 1}, "four": {"chief": 1, "worker": 3}}
# Dropout draws other numbers on each replica.
FLAGS = ["--epochs", "5", "--batch-size", "32", "--dropout", "0"]


@pytest.fixture(scope="module")
def alone(bake, tmp_path_factory):
    """The metrics of one process without any cluster."""
    job_dir = tmp_path_factory.mktemp("alone") / "run"
    cluster.run(bake(), job_dir.parent / "log", {"chief": 1}, job_dir, *FLAGS)
    return metrics(job_dir)


def metrics(job_dir):
    return json.loads((job_dir / "run.json").read_text(encoding="utf-8"))["metrics"]


def left_behind(job_dir):
    names = {re.sub(r"step-\d+", "step", p.name) for p in job_dir.rglob("*") if p.is_file()}
    return {re.sub(r"events\.out\..*", "events", name) for name in names}


@pytest.mark.parametrize("size", ["two", pytest.param("four", marks=pytest.mark.soak)])
def test_synchronous_workers_agree(bake, alone, tmp_path, monkeypatch, size):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))

    replicas = cluster.run(bake(), tmp_path / "log", SYNC[size], tmp_path / "run", *FLAGS)

    assert len({replica.weights for replica in replicas}) == 1
    assert replicas[0].weights
    assert metrics(tmp_path / "run") == pytest.approx(alone, abs=1e-3)
    assert len(list(tmp_path.rglob("saved_model.pb"))) == 1
    files = left_behind(tmp_path / "run")
    assert {name for name in files if "partial" in name or "temp" in name} == set()
    assert [path for path in temporary.rglob("*") if path.is_file()] == []


def test_a_batch_that_replicas_cannot_share_evenly(bake, alone, tmp_path):
    """32 rows over 3 replicas: the global batch is still what --batch-size says."""
    roles = {"chief": 1, "worker": 2}

    cluster.run(bake(), tmp_path / "log", roles, tmp_path / "run", *FLAGS)

    assert metrics(tmp_path / "run") == pytest.approx(alone, abs=1e-3)


@pytest.mark.soak  # test_local_jobs.py has them, too
def test_parameter_servers(bake, alone, tmp_path):
    roles = {"chief": 1, "worker": 2, "ps": 1}

    cluster.run(bake(), tmp_path / "log", roles, tmp_path / "run", *FLAGS)

    assert metrics(tmp_path / "run") == pytest.approx(alone, abs=1e-3)
    assert len(list(tmp_path.rglob("saved_model.pb"))) == 1


def test_metrics_continue_in_the_middle_of_an_epoch(bake, tmp_path):
    """Without its newest checkpoint, a run continues as if it had been killed before that one.
    Three replicas: halves of a float32 sum add up to it, thirds do not."""
    roles, run_dir = {"chief": 1, "worker": 2}, tmp_path / "run"
    flags = ["--target", "body_mass_g", "--task", "regression", "--epochs", "1"]
    flags += ["--batch-size", "5", "--checkpoint-every", "0"]
    [undisturbed, *_] = cluster.run(bake(), tmp_path / "log", roles, run_dir, *flags)
    history = (run_dir / "history.csv").read_bytes()
    sorted((run_dir / "checkpoints").iterdir())[-1].unlink()

    [again, *_] = cluster.run(bake(), tmp_path / "log", roles, run_dir, *flags)

    assert re.search(r"resuming after epoch 0, step [1-9]\d* of the next", again.text())
    assert again.weights == undisturbed.weights
    assert (run_dir / "history.csv").read_bytes() == history


TRIO = {"chief": 1, "worker": 2}
LONG = ["--epochs", "60", "--checkpoint-every", "0", "--dropout", "0.2"]


@pytest.fixture(scope="module")
def undisturbed(bake, tmp_path_factory):
    """(weights, history) of a chief and two workers that nobody killed."""
    place = tmp_path_factory.mktemp("undisturbed")
    [chief, *_] = cluster.run(bake(), place / "log", TRIO, place / "run", *LONG)
    return chief.weights, (place / "run" / "history.csv").read_bytes()


def lose_one_and_go_on(project, place, undisturbed, victim, epoch):
    """kill -9 of one of three: the others end, and together they continue; exit codes and logs of
    those that were left."""
    weights, history = undisturbed
    replicas = cluster.start(project, place / "log", TRIO, place / "run", *LONG)
    try:
        cluster.wait_for_epoch(replicas[0], epoch)
    except AssertionError:
        for replica in replicas:
            replica.process.kill()
        raise
    replicas[victim].process.kill()
    codes = cluster.finish(replicas)
    again = cluster.run(project, place / "log", TRIO, place / "run", *LONG)

    survivors = [number for number in range(3) if number != victim]
    assert all(codes[number] for number in survivors), [replicas[n].text() for n in survivors]
    assert all("resuming after epoch" in replica.text() for replica in again)
    assert {replica.weights for replica in again} == {weights}
    assert (place / "run" / "history.csv").read_bytes() == history
    return [(codes[number], replicas[number].text()) for number in survivors]


@pytest.mark.soak  # test_local_jobs.py loses one, too
def test_a_lost_worker_ends_the_others_and_all_go_on(bake, tmp_path, undisturbed):
    survivors = lose_one_and_go_on(bake(), tmp_path, undisturbed, victim=1, epoch=15)

    for code, log in survivors:
        assert code == 75, log
        assert (
            "another replica, or a server, was lost: start the same command again to resume" in log
        )


@pytest.mark.soak
def test_replicas_lost_at_random_points(bake, tmp_path, undisturbed):
    points = random.Random(1)
    for number in range(20):
        victim, epoch = number % 3, points.randint(1, 55)
        lose_one_and_go_on(bake(), tmp_path / str(number), undisturbed, victim, epoch)
