"""The network beside the SavedModel: it answers as TensorFlow does, with the same bits in any company."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, Trained, train, write

from codec.answers import to_plain
from codec.session import open_session
from predictor import runtime
from predictor.explain import explain
from predictor.instances import InstanceError
from predictor.model import Model, Parameters, read_parameters
from trainer.engine import export, network

pytestmark = pytest.mark.slow
BATCHES = [1, 2, 7, 64, 1000]


def read_rows(trained: Trained) -> list[dict]:
    """Held-out rows as a client sends them."""
    with open(ROOT / "data/penguins_eval.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = {column.name: column.kind for column in trained.schema.features}

    def read(name: str, text: str):
        missing = text in ("", "NA")
        return None if missing else float(text) if kinds[name] == "number" else text

    return [{name: read(name, row[name]) for name in kinds} for row in rows]


@pytest.fixture(scope="module")
def birds(penguins) -> list[dict]:
    return read_rows(penguins)


def write_json(answers: list[dict]) -> list[str]:
    return [json.dumps(answer, default=to_plain) for answer in answers]


# The same answers as TensorFlow's


@pytest.mark.parametrize("run", ["penguins", "masses"])
def test_onnxruntime_answers_as_tensorflow_does(run, request):
    trained: Trained = request.getfixturevalue(run)
    arrays = trained.data.eval.arrays()
    inputs = {name: np.array(arrays[name]) for name in ("numbers", "categories")}
    lean, full = runtime.load(trained.model_dir), runtime.TensorFlow(trained.model_dir)

    got, expected = lean.call(inputs), full.call(inputs)
    full.close()

    assert got.keys() == expected.keys() and isinstance(lean, runtime.Onnx)
    for name, truth in expected.items():
        if truth.dtype.kind == "f":
            bound = max(1e-5 * np.ptp(truth), 5e-7 * np.abs(truth).max())
            np.testing.assert_allclose(got[name], truth, rtol=0, atol=bound)
        else:
            texts = np.array([[text.decode() for text in row] for row in np.atleast_2d(truth)])
            assert (np.atleast_2d(got[name]) == texts).all(), name


@pytest.mark.parametrize(
    "rows", ["1.5,2,p\n-3,4,q\n", "u,v,1\nw,x,2.5\n"], ids=["numbers", "texts"]
)
def test_columns_of_one_kind_have_a_network_too(rows, tmp_path):
    """It may then not use the other input."""
    write("t.csv", "a,b,y\n" + rows * 20)
    run = train(tmp_path / "run", "--train-files", "t.csv", "--target", "y", "--epochs", "1")
    model = Model(run.model_dir)
    requests = [*model.inputs.open("t.csv")]
    assert model.runtime_name == "onnxruntime" and len([*model.predict(requests)]) == 40


# The same bits in any company


@pytest.mark.parametrize("run", ["penguins", "masses"])
def test_an_instance_gets_the_same_bits_alone_and_among_a_thousand(run, request):
    trained = request.getfixturevalue(run)
    model, random = Model(trained.model_dir), np.random.default_rng(0)
    places = trained.schema.offsets
    inputs = {
        "numbers": random.normal(0, 3, (1000, trained.schema.width)).astype(np.float32),
        "categories": (random.integers(0, 2, (1000, len(places))) + places).astype(np.int32),
    }
    [whole] = model.call([inputs])
    whole.pop("labels", None)
    for size, start in itertools.product(BATCHES, (0, 3, 500, 999)):
        part = {name: array[start : start + size] for name, array in inputs.items()}
        [got] = model.call([part])
        for name, array in whole.items():
            assert array[start : start + size].tobytes() == got[name].tobytes() or (
                array.dtype.kind == "O" and (array[start : start + size] == got[name]).all()
            ), (name, size, start)


def test_joined_requests_get_the_answers_that_each_gets_alone(penguins, birds):
    model = Model(penguins.model_dir)
    requests = [birds[:1], birds[1:4], birds[4:5], birds[5:50]]
    joined = model.call([model.inputs.encode_request(request).inputs for request in requests])
    for request, outputs in zip(requests, joined, strict=True):
        assert write_json(model.word(outputs)) == write_json(model.answer(request))


def test_where_company_would_change_bits_each_row_is_run_alone(tmp_path, monkeypatch):
    """A mean over some columns begins elsewhere in memory in each row."""
    layers = keras.Sequential([keras.layers.Dense(65), keras.layers.LayerNormalization()])
    export_model(layers, tmp_path / "model", monkeypatch)
    lean, x = runtime.load(tmp_path / "model"), examples(1000).eval.inputs["x"]

    whole = lean.call({"x": x})["probabilities"]

    assert isinstance(lean, runtime.Onnx) and lean._alone
    for size, start in itertools.product(BATCHES, (0, 3, 999)):
        part = lean.call({"x": x[start : start + size]})["probabilities"]
        assert part.tobytes() == whole[start : start + size].tobytes(), (size, start)


def test_gelu_has_a_network_too(tmp_path, monkeypatch):
    layers = [keras.layers.Dense(65, activation="gelu"), keras.layers.Dense(3)]
    export_model(keras.Sequential(layers), tmp_path / "model", monkeypatch)
    assert isinstance(runtime.load(tmp_path / "model"), runtime.Onnx)


# A network that does not convert, or does not answer alike


def examples(rows: int):
    inputs = {"x": np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)}

    def batches(size: int):
        yield 1, ({"x": inputs["x"][np.newaxis, :size]},)

    held_out = SimpleNamespace(rows=rows, inputs=inputs, batches=batches)
    schema = SimpleNamespace(to_json=lambda: "{}\n")
    return SimpleNamespace(eval=held_out, schema=schema, classes=["a", "b"])


class Backwards(keras.layers.Layer):
    """No operation of ONNX prints the digits of a number."""

    def call(self, x):
        texts = tf.strings.as_string(x)
        return x + tf.strings.to_number(tf.strings.reduce_join(texts, axis=1))[:, tf.newaxis] * 0


def export_model(layer, path, monkeypatch) -> None:
    x = keras.Input((4,), name="x")
    model = keras.Model({"x": x}, keras.layers.Dense(2)(layer(x)))
    monkeypatch.setattr(export, "Inputs", WithoutRaw)
    assert export.write(model, examples(64), str(path)) is None


class WithoutRaw(tf.Module):
    def __init__(self, schema):
        super().__init__()

    def signatures(self, encoded):
        return {}


def test_a_layer_without_an_equal_costs_the_network_and_not_the_run(tmp_path, monkeypatch, capfd):
    stale = tmp_path / "model/assets.extra/network.onnx"
    stale.parent.mkdir(parents=True)
    stale.write_text("of a shorter training")

    export_model(Backwards(), tmp_path / "model", monkeypatch)

    [line] = [one for one in capfd.readouterr().out.splitlines() if "network.onnx" in one]
    assert line.startswith("model/ has no network.onnx, so TensorFlow will serve it: it does not")
    assert not stale.exists() and (tmp_path / "model/saved_model.pb").exists()


def test_a_network_that_answers_otherwise_is_not_written(tmp_path, monkeypatch, capfd):
    class Other:
        def __init__(self, data):
            self.session = open_session(data)
            self.get_inputs = self.session.get_inputs

        def run(self, names, inputs):
            values = self.session.run(names, inputs)
            return [a + np.float32(1e-3) if a.dtype == np.float32 else a for a in values]

    monkeypatch.setattr(network, "open_session", Other)
    export_model(keras.layers.Identity(), tmp_path / "model", monkeypatch)
    assert "probabilities differs from TensorFlow's by 0.001" in capfd.readouterr().out
    assert not (tmp_path / "model/assets.extra/network.onnx").exists()


# Without the network


@pytest.fixture(scope="module")
def without_network(penguins, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("full") / "model"
    ignore = shutil.ignore_patterns("network.onnx")
    return str(shutil.copytree(penguins.model_dir, path, ignore=ignore))


def test_tensorflow_answers_where_there_is_no_network(without_network, penguins, birds):
    lean, full = Model(penguins.model_dir), Model(without_network)
    assert full.runtime_name == "tensorflow"
    for one, other in zip(lean.answer(birds), full.answer(birds), strict=True):
        assert one["class"] == other["class"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=2e-6)
    full.close()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_child_that_dies_is_one_line_and_its_parent_takes_it_along(without_network, birds):
    model = Model(without_network)
    child = model.load()._child
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(runtime.ModelError, match="TensorFlow's process ended with -9"):
        model.answer(birds[:1])
    model.close()

    script = f"""if True:
        import os, signal
        from predictor.runtime import TensorFlow
        print(TensorFlow({without_network!r})._child.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    deadline = time.monotonic() + 20
    while _is_alive(int(done.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # where nobody waits for orphans, they stay as zombies
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_row_is_answered_within_a_second_without_tensorflow(penguins, birds, tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(birds[0]), encoding="utf-8")
    script = [ROOT / "scripts/predict.py", "--model", penguins.model_dir, tmp_path / "one.json"]
    before = os.times()  # of the processor: other tests run at the same time
    done = subprocess.run([sys.executable, *script], capture_output=True, text=True)
    after = os.times()
    assert done.returncode == 0 and done.stderr.endswith("(onnxruntime)\n")
    used = after.children_user + after.children_system
    assert used - before.children_user - before.children_system < 1
    probe = "import sys; from launcher.cli import predict; from predictor import predict as needs; "
    probe += "predict.main(sys.argv[1:], needs); print(sorted(sys.modules))"
    command = [sys.executable, "-c", probe, *script[1:]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    for name in ("tensorflow", "keras", "pyarrow"):
        assert f"'{name}'" not in done.stdout


def test_a_prediction_reports_to_nobody_and_leaves_no_file(penguins, birds, tmp_path):
    """onnxruntime sends telemetry from version 1.29 on, unless it is turned off before its import."""
    (tmp_path / "one.json").write_text(json.dumps(birds[0]), encoding="utf-8")
    (tmp_path / "home").mkdir()
    home = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(tmp_path / "home"))
    command = [sys.executable, ROOT / "scripts/predict.py", "--model", penguins.model_dir]
    subprocess.run([*command, tmp_path / "one.json"], env=os.environ | home, check=True)
    assert not [*(tmp_path / "home").rglob("*")]


# What a request may ask for


def test_parameters_are_checked():
    assert read_parameters(None) == read_parameters({}) == Parameters(None, False, False)
    assert read_parameters({"top": 2, "explain": True}) == Parameters(2, True, False)
    for value, expected in [
        (1, "parameters: expected an object, got 1"),
        ({"tap": 1}, "parameters: unknown name 'tap'; did you mean 'top'?"),
        ({"top": 0}, "parameters: top is 0; expected a number from 1"),
        ({"top": True}, "parameters: top is true; expected a number from 1"),
        ({"partial": 1}, "parameters: partial is 1; expected true or false"),
    ]:
        with pytest.raises(InstanceError) as refused:
            read_parameters(value)
        assert str(refused.value) == expected


def test_a_request_is_answered_by_position(penguins, birds):
    model = Model(penguins.model_dir)
    good, bad = birds[0], birds[1] | {"year": "2007"}
    first, second, third = model.answer([good, bad, good], Parameters(top=1))
    assert first == third and len(first["probabilities"]) == 1
    assert second["error"].startswith("instance 1: feature 'year' is \"2007\"; expected a number")
    for wrong in ([], {}, None):
        with pytest.raises(InstanceError, match="instances: expected a list"):
            model.answer(wrong)


def test_columns_and_rows_of_a_request_are_read_alike(penguins, birds):
    """The fast way reads columns, the slow way each value of each row."""
    inputs = Model(penguins.model_dir).inputs
    odd = [
        birds[0] | {"sex": None, "year": None, "species": "unknown"},
        birds[0] | {"sex": " male\t", "island": "\ud800", "year": float("inf")},
        birds[0] | {"sex": "", "year": -(2**70), "body_mass_g": float("nan")},
    ]
    fast = inputs.encode_request([*birds, *odd])
    slow = super(type(inputs), inputs).encode_request([*birds, *odd])
    assert fast.errors == slow.errors == {} and fast.rows == slow.rows == len(birds) + 3
    for name, array in fast.inputs.items():
        assert array.tobytes() == slow.inputs[name].tobytes()
    mixed = inputs.encode_request([1, birds[0] | {"year": 10**400}, {}, birds[0] | {"wings": 2}])
    assert [*mixed.errors] == [0, 1, 2, 3] and mixed.inputs == {}


# What each feature adds


@pytest.mark.parametrize("run", ["penguins", "masses"])
def test_attributions_add_up_and_leave_out_what_is_as_in_the_baseline(run, request):
    trained = request.getfixturevalue(run)
    model = Model(trained.model_dir)
    baseline = model.inputs.make_baseline()
    instance = next(row for row in read_rows(trained) if None not in row.values())
    instance |= {"year": baseline["year"]}

    [answer] = model.answer([instance], Parameters(explain=True))

    how = answer["explanation"]
    gap = sum(how["attributions"].values()) - (how["value"] - how["baseline"])
    assert abs(gap) < 1e-5 * max(1, abs(how["value"]))
    assert how["attributions"]["year"] == 0 and how["attributions"].keys() == baseline.keys()
    [expected] = model.answer([baseline])
    label = answer.get("class")
    score = expected["probabilities"][label] if label else expected["value"]
    assert how["baseline"] == pytest.approx(float(score))


@pytest.mark.parametrize("count", [12, 14])
def test_attributions_of_a_known_function(count):
    """A sum: each term. A product of two: half of it each. Above 12 features: the same, by samples."""

    def answer(instances):
        return [
            {"value": sum(i * x[f"f{i}"] for i in range(count)) + x["f0"] * x["f1"]}
            for x in instances
        ]

    names = [f"f{i}" for i in range(count)]
    how = explain(answer, dict.fromkeys(names, 1.0), dict.fromkeys(names, 0.0))
    again = explain(answer, dict.fromkeys(names, 1.0), dict.fromkeys(names, 0.0))
    expected = {name: float(i) for i, name in enumerate(names)}
    expected["f0"] += 0.5
    expected["f1"] += 0.5
    assert how == again and how["score"] == "value"
    assert how["attributions"] == pytest.approx(expected, abs=1e-9)
