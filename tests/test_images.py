"""A bake for images: a study, replicas of one process, and densenet121 in two phases.

The phases take minutes of compiling and are for `make soak`: tests/image/test_model.py has the same
promises with a small network."""

import csv
import hashlib
import json
import signal
import time

import numpy as np
import pytest
import yaml
from PIL import Image

import cluster
from conftest import fork_trainers

pytestmark = pytest.mark.slow

ONE = {"chief": 1}
SIZE = 32  # the smallest that densenet121 takes
# The file that a user brings. New batch normalisations would let no signal through, so they get
# statistics; saved without the head that Keras's own has, as `--weights` explains.
MAKE_WEIGHTS = f"""
import keras, sys
keras.utils.set_random_seed(3)
network = keras.applications.DenseNet121(include_top=False, weights=None, input_shape=({SIZE}, {SIZE}, 3))
for layer in network.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.momentum = 0.5
for seed in range(6):
    network(keras.random.uniform((16, {SIZE}, {SIZE}, 3), -1, 1, seed=seed), training=True)
network.save_weights(sys.argv[1])
"""
# The model's variables, in the order of a checkpoint: [path, of the backbone?, of its last
# layers, those that learn?, a statistic?, checksum of what the file gave].
TELL = """
import json, sys
from hashlib import sha256
from trainer import data, model, task
from trainer.engine import runtime
flags = task.parse(sys.argv[1:])
built = model.build(data.load(flags, runtime.read("runs/unused")), flags)
backbone = built.get_layer("backbone")
backbone.unfreeze(flags.fine_tune_layers)
last = {id(weight) for weight in backbone.trainable_variables}
known = {id(variable): variable for variable in backbone.variables}
print("TOLD " + json.dumps([
    [v.path, id(v) in known, id(v) in last, "moving" in v.path, sha256(v.numpy().tobytes()).hexdigest()]
    for v in built.variables
]))
"""


@pytest.fixture(scope="module")
def project(bake):
    return bake(problem="image")


@pytest.fixture(scope="module")
def flags(project, tmp_path_factory):
    """Those of a run of densenet121 over 48 images of two kinds."""
    place = tmp_path_factory.mktemp("photos")
    for i in range(48):
        label = "ab"[i % 2]
        pixels = np.random.default_rng(i).integers(
            0, 128 + 127 * (i % 2), (SIZE, SIZE, 3), np.uint8
        )
        (place / "in" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / "in" / label / f"{i}.png")
    weights = place / "densenet121.weights.h5"
    project.run(["python", "-c", MAKE_WEIGHTS, weights])
    return [
        *(f"--data={place / 'in'}", f"--image-size={SIZE}", f"--cache-dir={place / 'cache'}"),
        *("--backbone=densenet121", f"--weights={weights}", "--hidden-units=", "--batch-size=16"),
        *("--head-epochs=2", "--fine-tune-layers=20", "--fine-tune-rate=0.001"),
        *("--augment=flip,shift", "--checkpoint-every=0"),
    ]


@pytest.fixture(scope="module")
def given(project, flags):
    """What the trainer begins with: a line for each variable of the model."""
    said = project.run(["python", "-c", TELL, *flags]).stdout
    [line] = (line for line in said.splitlines() if line.startswith("TOLD "))
    told = json.loads(line.removeprefix("TOLD "))
    assert sum(of_backbone for _, of_backbone, *_ in told) == 604  # DenseNet121's without its head
    return told


@pytest.fixture(scope="module")
def head(project, flags, tmp_path_factory):
    """The directory of a run of the first phase alone."""
    place = tmp_path_factory.mktemp("head")
    alone = ["--epochs=2", "--fine-tune-layers=0"]
    cluster.run(project, place / "log", ONE, place / "run", *flags, *alone)
    return place / "run"


@pytest.fixture(scope="module")
def both(project, flags, tmp_path_factory):
    """The directory and the replica of a run of both phases that nobody disturbed."""
    place = tmp_path_factory.mktemp("both")
    [replica] = cluster.run(project, place / "log", ONE, place / "run", *flags, "--epochs=5")
    return place / "run", replica


def checksums(run_dir, count):
    """Of the model's variables, which come first in a checkpoint."""
    newest = sorted((run_dir / "checkpoints").iterdir())[-1]
    with np.load(newest) as archive:
        arrays = (archive[f"arr_{i}"] for i in range(count))
        return [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays]


@pytest.mark.soak
def test_the_first_phase_leaves_the_backbone_as_the_file_gave_it(given, head):
    after = checksums(head, len(given))
    for (path, of_backbone, _, _, before), now in zip(given, after, strict=True):
        assert (now == before) or not of_backbone, path
    changed = {path for (path, *_, before), now in zip(given, after, strict=True) if now != before}
    assert {"logits/kernel", "logits/bias"} <= changed


@pytest.mark.soak
def test_the_second_phase_changes_the_last_layers_and_no_statistic(given, head, both):
    run_dir, replica = both
    after = zip(given, checksums(head, len(given)), checksums(run_dir, len(given)), strict=True)
    moved = [(told, one != two) for told, one, two in after if told[1]]
    for (path, _, learns, statistic, _), changed in moved:
        assert changed == (learns and not statistic), path
    assert sum(changed for _, changed in moved) >= 20
    assert "phase 2 of 2: fine-tuning, at most 3 epochs" in replica.text()
    record = json.loads((run_dir / "run.json").read_text(encoding="utf-8"))
    assert record["phases"] == {"head": 1, "fine-tuning": 3}  # the first epoch of each


@pytest.mark.soak
def test_killed_in_the_second_phase(project, flags, both, tmp_path):
    flags = [*flags, "--epochs=5"]
    [first] = cluster.start(project, tmp_path / "log", ONE, tmp_path / "run", *flags)
    deadline = time.monotonic() + 300
    while "epoch 4/5" not in first.text():
        assert first.process.poll() is None and time.monotonic() < deadline, first.text()
        time.sleep(0.02)
    first.process.send_signal(signal.SIGKILL)
    cluster.finish([first])
    assert not (tmp_path / "run" / "model").exists(), "it was killed too late"

    [second] = cluster.run(project, tmp_path / "log", ONE, tmp_path / "run", *flags)

    run_dir, undisturbed = both
    assert "resuming after epoch" in second.text() and "phase 2 of 2" in second.text()
    assert second.weights == undisturbed.weights
    assert (tmp_path / "run" / "history.csv").read_bytes() == (run_dir / "history.csv").read_bytes()


def test_a_study_of_two_trials(bake, tmp_path):
    project = bake(fresh=True, problem="image")
    job = yaml.safe_load(project.read("configs/tuning.yaml")) | {"maxTrialCount": 2}
    [pool] = job["trialJobSpec"]["workerPoolSpecs"]
    pool["containerSpec"]["args"] = ["--epochs=1"]
    (project.path / "configs" / "few.yaml").write_text(yaml.safe_dump(job), encoding="utf-8")
    command = ["python", "scripts/train_local.py", "configs/few.yaml"]
    said = project.run(command, timeout=600, **fork_trainers()).stdout
    assert "2 of 2 done" in said
    [table] = project.path.glob("runs/few-*/study.csv")
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert {row["state"] for row in rows} == {"succeeded"}
    for row in rows:
        assert {"model", "gallery", "report.html"} <= {
            path.name for path in (table.parent / row["trial"]).iterdir()
        }


def test_replicas_of_one_process(project, tmp_path):
    """MirroredStrategy, with all that weighs and spreads the truth."""
    flags = ["--strategy=mirrored", "--epochs=4", "--class-weights=balanced"]
    cluster.run(project, tmp_path / "log", ONE, tmp_path / "run", *flags, "--label-smoothing=0.1")
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["metrics"]["val_accuracy"] > 0.9
