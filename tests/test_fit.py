"""`--fit`: Keras's own loop keeps the promises of a job: stop, resume, phases, early stopping, studies."""

import json
import shutil
import sys

import pytest

import cluster
from conftest import fork_trainers
from test_models import ONE, columns, history

pytestmark = pytest.mark.slow

FLAGS = ["--fit", "--batch-size", "32", "--hidden-units", "16", "--dropout", "0.2"]

# Two phases, of which the second trains the last layer alone, and a callback that can stop politely.
EDITS = """


def phases(model, flags):
    def last_layer():
        for layer in model.layers[:-1]:
            layer.trainable = False
        model.compile(optimizer(flags), model.loss, metrics=["accuracy"])

    return [Phase("all", PHASES[0]), Phase("last layer", PHASES[1], last_layer)]


class StopOnce(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        path = os.environ.get("STOP_ONCE")  # a file; where it does not exist yet, SIGTERM comes
        if path and self.model.optimizer.iterations == 12 and not os.path.exists(path):
            open(path, "w").close()
            os.kill(os.getpid(), signal.SIGTERM)


def callbacks(model, flags):
    return [StopOnce()]
"""


@pytest.fixture(scope="module")
def with_phases(bake, tmp_path_factory):
    """with_phases(2, 1): a bake that trains phases of so many epochs."""

    def with_phases(*epochs):
        copy = tmp_path_factory.mktemp("fit") / "project"
        shutil.copytree(bake().path, copy, ignore=shutil.ignore_patterns("runs", ".git"))
        path = copy / "trainer/model.py"
        code = path.read_text(encoding="utf-8")
        code = code.replace("import argparse\n", "import argparse\nimport os\nimport signal\n", 1)
        code = code.replace(
            "\nJIT", f"\nfrom trainer.engine.phase import Phase\n\nPHASES = {epochs}\nJIT"
        )
        path.write_text(code + EDITS, encoding="utf-8")
        return type(bake())(copy)

    return with_phases


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to be polite with")
@pytest.mark.parametrize("phase", [pytest.param(1, marks=pytest.mark.soak), 2])
def test_a_polite_stop_within_an_epoch_resumes_to_the_same_weights(
    with_phases, tmp_path, monkeypatch, phase
):
    """Nine steps an epoch: step 12 of a phase's optimizer lies in the second epoch of the phase."""
    project = with_phases(2, 1) if phase == 1 else with_phases(1, 2)
    flags = [*FLAGS, "--epochs", "3"]
    [calm] = cluster.run(project, tmp_path / "log", ONE, tmp_path / "calm", *flags)

    monkeypatch.setenv("STOP_ONCE", str(tmp_path / "stopped"))
    [first] = cluster.start(project, tmp_path / "log", ONE, tmp_path / "run", *flags)
    [code] = cluster.finish([first])
    [second] = cluster.run(project, tmp_path / "log", ONE, tmp_path / "run", *flags)

    assert code == 75, first.text()
    epoch = phase + 1
    assert f"so the next start trains epoch {epoch} from its beginning" in first.text()
    assert f"after epoch {epoch - 1}, step 0" in second.text()
    assert f"phase {phase} of 2" in second.text()
    assert second.weights == calm.weights is not None
    assert history(tmp_path / "run") == history(tmp_path / "calm")
    record = json.loads((tmp_path / "run/run.json").read_text(encoding="utf-8"))
    assert record["phases"] == {"all": 1, "last layer": 3 if phase == 1 else 2}


def test_early_stopping(bake, tmp_path):
    """With a learning rate that makes it jump, it soon gets no better for two epochs."""
    flags = [*FLAGS, "--epochs", "60", "--early-stopping", "2", "--learning-rate", "3"]

    [replica] = cluster.run(bake(), tmp_path / "log", ONE, tmp_path / "run", *flags)

    losses = columns(history(tmp_path / "run"), "val_loss")
    best = losses.index(min(losses)) + 1
    assert len(losses) == best + 2 < 60
    assert f"exported epoch {best} of {best + 2} (the best val_loss)" in replica.text()


def test_a_study_of_two_trials(bake):
    project = bake(fresh=True)
    config = project.read("configs/tuning.yaml")
    for before, after in {
        "maxTrialCount: 12": "maxTrialCount: 2",
        "parallelTrialCount: 2": "parallelTrialCount: 1",
        '"--epochs=30", "--early-stopping=5"': '"--epochs=2", "--fit"',
    }.items():
        assert config.count(before) == 1
        config = config.replace(before, after)
    (project.path / "configs/fit.yaml").write_text(config, encoding="utf-8")

    command = ["python", "scripts/train_local.py", "configs/fit.yaml"]
    done = project.run(command, **fork_trainers())

    records = [json.loads(path.read_text()) for path in project.path.glob("runs/*/*/run.json")]
    assert [(r["status"], r["flags"]["fit"]) for r in records] == [("succeeded", True)] * 2
    assert "2 of 2 done" in done.stdout
    for record in records:
        assert f"{record['metrics']['val_loss']:.4g}" in done.stdout
