"""What learns in which phase, and what does not; augmentation, smoothing, weights from elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import ROOT, read_json, train
from own import write_images

from codec.schema import Pictures, Schema
from trainer import model as modelling
from trainer import options, task
from trainer.data import Examples
from trainer.engine import export, steps
from trainer.engine.phase import Phase
from trainer.engine.steps import Steps
from trainer.engine.training import Progress
from trainer.images import explain
from trainer.images.augment import Augment
from trainer.images.backbone import Backbone

pytestmark = pytest.mark.slow

# A small network with batch normalisation; the soak tests of the template take densenet121.
NAME, SIZE = "mobilenet", 32


@pytest.fixture(autouse=True)
def only_train(monkeypatch):
    """To export a large network and to draw its maps takes longer than to train it for so little.
    test_report_images.py does both with one."""
    monkeypatch.setattr(export, "write", lambda model, examples, path: None)
    monkeypatch.setitem(explain.BUDGET, "CPU", 0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    """A file as Keras writes it."""
    path = str(tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5")
    Backbone(NAME, SIZE).network.save_weights(path)
    return path


@pytest.fixture(scope="module")
def flags(weights, tmp_path_factory) -> list[str]:
    folder = write_images(str(tmp_path_factory.mktemp("images") / "in"), SIZE, a=30, b=30)
    given = ["--data", folder, "--image-size", str(SIZE), "--batch-size", "16", "--seed", "1"]
    return [*given, "--backbone", "MobileNet", "--weights", weights, "--hidden-units", ""]


def values(network) -> list[tuple[str, bytes]]:
    """Each variable's name within its layer, and its bits."""
    found = [(variable.path.split("/")[-2:], variable.numpy()) for variable in network.variables]
    return [("/".join(path), value.tobytes()) for path, value in found]


def changed(before: list, after: list) -> set[str]:
    return {one[0] for one, two in zip(before, after, strict=True) if one[1] != two[1]}


def backbone(trained) -> Backbone:
    return trained.model.get_layer("backbone")


def make_shallow(include_top, weights, input_shape, pooling):
    """A network of the layers that MobileNet has, which takes seconds less to compile."""
    image = x = keras.Input(input_shape)
    for width in (8, 16):
        x = keras.layers.Conv2D(width, 3, strides=2, use_bias=False)(x)
        x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(x))
        x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(x))
    return keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))


@pytest.fixture
def shallow(monkeypatch):
    """MobileNet is that network."""
    make_shallow.__module__ = keras.applications.MobileNet.__module__  # of its preprocessing
    monkeypatch.setattr(keras.applications, "MobileNet", make_shallow)


def test_the_head_learns_first_then_the_last_layers(shallow, flags, tmp_path):
    fresh = Backbone(NAME, SIZE).network
    fresh.save_weights(tmp_path / "shallow.weights.h5")
    flags = [*flags, "--weights", str(tmp_path / "shallow.weights.h5")]
    phases = ["--head-epochs", "1", "--fine-tune-layers", "4", "--fine-tune-rate", "0.01"]
    phases += ["--export", "last"]

    one = train(tmp_path / "head alone", *flags, "--epochs", "1")
    two = train(tmp_path / "both", *flags, *phases, "--epochs", "3")

    given, head, tuned = (values(n) for n in (fresh, backbone(one).network, backbone(two).network))
    network = backbone(one).network
    network.trainable = True
    layers = [layer.name for layer in network.layers if layer.trainable_variables]
    assert changed(given, head) == set() and len(layers) == 8
    assert {path.split("/")[0] for path in changed(head, tuned)} == set(layers[-4:])
    assert not [path for path in changed(head, tuned) if "moving" in path]
    assert read_json(two.job_dir / "run.json")["phases"] == {"head": 1, "fine-tuning": 2}
    logits = [values(place.model.get_layer("logits")) for place in (one, two)]
    assert changed(*logits) == {"logits/kernel", "logits/bias"}


def test_a_run_goes_on_inside_of_either_phase(shallow, flags, tmp_path, monkeypatch):
    """Stopped in the middle of its second epoch, and again in the middle of its third."""
    given = [*flags, "--weights", "none", "--head-epochs", "2", "--fine-tune-layers", "3"]
    given += ["--epochs", "3"]
    given += ["--dropout", "0.3", "--augment", "flip,shift", "--early-stopping", "9"]
    given += ["--checkpoint-every", "0", "--hidden-units", "8"]
    whole = train(tmp_path / "whole", *given)
    really_train, stops = Steps.train, [1, 2, None]

    def stopped(steps, *block):
        for call in really_train(steps, *block):
            if len(epochs()) == stops[0]:
                stops.pop(0)
                os.kill(os.getpid(), 15)
            yield call

    def epochs():
        history = tmp_path / "run" / "history.csv"
        return history.read_text().splitlines()[1:] if history.exists() else []

    monkeypatch.setattr(steps, "CALL_SECONDS", 1e-9)  # one step a call
    monkeypatch.setattr(Steps, "train", stopped)
    for _ in range(2):
        assert task.main(["--job-dir", str(tmp_path / "run"), *given]) == task.START_AGAIN
    again = train(tmp_path / "run", *given)

    assert changed(values(whole.model), values(again.model)) == set()
    assert (tmp_path / "run/history.csv").read_bytes() == (
        tmp_path / "whole/history.csv"
    ).read_bytes()


@pytest.mark.parametrize(
    ("epoch", "best", "ends", "over"),
    [
        (4, 3, [], False),
        (5, 3, [], True),  # two epochs without a lower loss
        (10, 9, [], True),  # all its epochs
        (6, 3, [5], False),  # the next phase has as many for itself
        (7, 3, [5], True),
        (7, 6, [5], False),
        (15, 14, [5], True),
        (9, 0, [5], False),  # no loss was ever a number
    ],
)
def test_each_phase_stops_for_itself(epoch, best, ends, over):
    progress = Progress(epoch=epoch, best=best, ends=ends)
    assert progress.is_over(Phase("any", 10), patience=2) == over


def test_every_network_of_keras_is_offered():
    functions = {n.lower() for n, make in vars(keras.applications).items() if n[0].isupper()}
    assert set(options.BACKBONES) == functions


@pytest.mark.parametrize("name", ["mobilenet", "mobilenetv3small"])
def test_each_network_has_its_own_preprocessing(name):
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype("float32")
    network = Backbone(name, SIZE)
    module = {"mobilenet": "mobilenet", "mobilenetv3small": "mobilenet_v3"}[name]
    prepared = getattr(keras.applications, module).preprocess_input(pixels.copy())
    expected = network.network(prepared, training=False)
    np.testing.assert_allclose(network(pixels, training=True), expected, atol=1e-6)


def test_a_grey_image_is_the_same_in_colour():
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 1)).astype("float32")
    network = Backbone(NAME, SIZE)
    np.testing.assert_array_equal(network(pixels), network(np.repeat(pixels, 3, axis=3)))


def test_weights_of_another_network_are_refused_in_a_line(flags, capsys):
    other = [*flags, "--backbone", "mobilenetv2"]
    assert task.main(["--job-dir", "run", *other]) == 2
    told = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert len(told) == 1 and "cannot be loaded into mobilenetv2" in told[0]
    assert "keras.applications.MobileNetV2(include_top=False).save_weights(" in told[0]


def test_a_download_that_fails_names_the_two_other_ways(flags, tmp_path):
    """A proxy that is not there; and nothing that was downloaded before."""
    argv = ["--job-dir", "run", *flags, "--weights", "imagenet"]
    environ = os.environ | {"https_proxy": "http://127.0.0.1:9", "KERAS_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "trainer.task", *argv]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert len(told) == 1 and told[0].startswith("error: --weights imagenet: the download failed")
    assert "--weights FILE" in told[0] and "--weights none" in told[0]


# Augmentation


@pytest.mark.parametrize("name", options.AUGMENTATIONS)
def test_each_augmentation_changes_training_images_alone(name):
    keras.utils.set_random_seed(5)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 12, 10, 3)).astype("float32")
    augment = Augment((name,))
    np.testing.assert_array_equal(augment(pixels, training=False), pixels)
    once, twice = (np.asarray(augment(pixels, training=True)) for _ in range(2))
    assert once.shape == pixels.shape and once.min() >= 0 and once.max() <= 255
    assert not np.array_equal(once, pixels) and not np.array_equal(once, twice)
    keras.utils.set_random_seed(5)
    np.testing.assert_array_equal(Augment((name,))(pixels, training=True), once)


def test_a_flip_is_a_mirror_and_a_shift_moves():
    keras.utils.set_random_seed(1)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 6, 8, 3)).astype("float32")
    flipped = np.asarray(Augment(("flip",))(pixels, training=True))
    same = [np.allclose(a, b, atol=1e-3) for a, b in zip(flipped, pixels, strict=True)]
    mirrored = [np.allclose(a, b[:, ::-1], atol=1e-3) for a, b in zip(flipped, pixels, strict=True)]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert any(same) and any(mirrored)

    ramp = np.tile(np.arange(20, dtype="float32")[None, None, :, None], (16, 20, 1, 1))
    moved = np.asarray(Augment(("shift",))(ramp, training=True))
    by = (moved - ramp)[:, 10, 10, 0]
    np.testing.assert_allclose((moved - ramp)[:, 10, 5:15, 0], np.tile(by[:, None], 10), atol=1e-3)
    assert np.abs(by).max() <= 2.001 and np.ptp(by) > 1


# The small network, the loss


def examples(classes: int, size: int, channels: int) -> Examples:
    """What the data looks like, and no data."""
    schema = Schema(list("abcdefgh"[:classes]), Pictures(size, channels, "fit"))
    return Examples(schema, None, None, {})


@pytest.mark.parametrize("size", [1, 2, 3, 8, 28, 33, 160])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_small_network_takes_any_size(size, channels):
    model = modelling.build(examples(3, size, channels), task.parse([]))
    pixels = np.zeros((2, size, size, channels), np.uint8)
    assert model({"image": pixels}).shape == (2, 3)
    assert model.count_params() < 200_000


def test_smoothing_spreads_a_share_of_the_truth():
    logits = np.array([[2.0, 0.5, -1.0, 0.0]], np.float32)
    shares = np.exp(logits[0]) / np.exp(logits[0]).sum()
    models = [
        modelling.build(examples(4, 8, 3), task.parse(["--label-smoothing", p]))
        for p in ["0", "0.2"]
    ]
    found = [float(model.compute_loss(y=np.array([1]), y_pred=logits)) for model in models]
    truth = np.array([0.05, 0.85, 0.05, 0.05])
    assert found == pytest.approx([-np.log(shares[1]), -(truth * np.log(shares)).sum()], rel=1e-5)


def test_same_seed_same_weights(tmp_path):
    given = ["--augment", "rotate,zoom,brightness", "--epochs", "1"]
    runs = [train(tmp_path / str(i), *given, "--seed", s) for i, s in enumerate("112")]
    one, two, other = (values(run.model) for run in runs)
    assert changed(one, two) == set()
    assert changed(one, other)
