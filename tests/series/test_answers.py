"""From a recording to an answer: training, predict.py and a request see the same windows, and say the same."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from conftest import read_json, write
from own import flags_of, load, make_rows, write_waves

from launcher.cli import predict
from predictor import predict as predictor
from codec import join
from codec.answers import to_plain
from codec.recordings.read import read_recordings
from codec.schema import Channel, Schema
from codec.windows import encode
from predictor.inputs import Inputs
from predictor.instances import InstanceError
from predictor.model import Model, Parameters, read_parameters
from trainer import model as modelling
from trainer.engine import network
from trainer.series import gradients, timelines
from trainer.series.answered import softmax
from trainer.task import parse

pytestmark = pytest.mark.slow
TASKS = ("classification", "regression", "labelling", "forecasting")
WINDOW, HOP = 32, 16


@pytest.fixture(scope="module")
def recordings():
    """{name: instance} of waves, as a client sends them."""
    made = {}
    for who, trial, t, x, y, *_ in make_rows(lost=23):
        one = made.setdefault(f"{who}, {trial}", {"samples": {"x": [], "y": []}, "time": []})
        for values, text in ((one["samples"]["x"], x), (one["samples"]["y"], y), (one["time"], t)):
            values.append(float(text) if text else None)
    return made


def to_json(answers: list[dict]) -> list[str]:
    return [json.dumps(answer, default=to_plain) for answer in answers]


# The same windows, the same answers


@pytest.mark.parametrize("task", TASKS)
def test_a_request_has_the_windows_of_training(runs, recordings, task):
    trained = runs(task)
    part, inputs = trained.data.eval, Inputs(trained.schema)
    assert {trained.data.recordings.names[i] for i in np.unique(part.number)} <= {*recordings}
    for number in np.unique(part.number):
        rows = np.flatnonzero(part.number == number)
        expected, _ = part.read(rows)
        name = trained.data.recordings.names[number]
        loaded = inputs.load(inputs.check("i", recordings[name]))
        for key, array in expected.items():
            if task == "forecasting":  # the window whose future nobody knows
                assert len(loaded.inputs[key]) == 1
            else:
                assert array.tobytes() == loaded.inputs[key].tobytes()


@pytest.mark.parametrize("task", TASKS)
def test_file_request_and_model_in_memory_agree(runs, recordings, task, capsys):
    trained = runs(task)
    model, instances = Model(trained.model_dir), [*recordings.values()]
    wanted = ["--parameters", '{"windows": true}']
    capsys.readouterr()
    assert predict.main(["--model", trained.model_dir, write_waves(), *wanted], predictor) == 0
    of_file = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert model.runtime_name == "onnxruntime"
    assert [one.pop("recording") for one in of_file] == [*recordings]
    parameters = Parameters(windows=True)
    answers = model.answer(instances, parameters)
    assert to_json(answers) == [json.dumps(one) for one in of_file]
    for i in (0, 7, 23):  # alone, as among others
        assert to_json(model.answer(instances[i : i + 1], parameters)) == to_json(
            answers[i : i + 1]
        )
    outputs = [
        np.asarray(trained.model(model.inputs.encode_request([one]).inputs, training=False))
        for one in instances
    ]
    for answer, output in zip(answers, outputs, strict=True):
        if task == "classification":
            shares = join.average(softmax(output))
            assert [*answer["probabilities"].values()] == pytest.approx(shares, abs=1e-5)
            assert answer["class"] == trained.schema.labels[shares.argmax()]
        elif task == "regression":
            assert answer["value"] == pytest.approx(output.mean(), rel=1e-5)
        elif task == "labelling":
            shares = join.stitch(softmax(output), np.array([0, 16, 28]), 60)
            assert answer["shares"] == pytest.approx(shares.max(axis=1), abs=1e-5)
            assert set(answer["classes"]) <= {"up", "down"} and len(answer["classes"]) == 60
        else:
            assert answer["forecast"]["x"] == pytest.approx(output[0, :, 0], abs=1e-4)


def test_a_forecast_of_a_short_recording_follows_its_last_sample():
    schema = replace(SCHEMA, task="forecasting", labels=[], horizon=2, outputs=["gaze_x"])
    short, long = (np.arange(2.0 * n).reshape(n, 2) for n in (3, 4))
    inputs, starts, length = encode(schema, short)
    assert (starts.tolist(), length) == ([0], 3)
    assert inputs["mask"][0].tolist() == [[False] * 2] + [[True] * 2] * 3
    assert inputs["samples"][0, 1:].tolist() == short.tolist()
    assert encode(schema, long)[0]["samples"][0].tolist() == long.tolist()


def test_windows_are_answered_as_if_each_were_a_recording(runs, recordings):
    trained = runs("classification")
    model, instance = Model(trained.model_dir), recordings["p00, 1"]
    [answer] = model.answer([instance], Parameters(windows=True, top=1))
    spans = [(one.pop("start"), one.pop("end")) for one in answer["windows"]]
    assert spans == [pytest.approx(span) for span in [(0, 1.24), (0.64, 1.88), (1.12, 2.36)]]
    for start, window in zip((0, 16, 28), answer["windows"], strict=True):
        part = {
            name: values[start : start + WINDOW] for name, values in instance["samples"].items()
        }
        assert to_json(model.answer([{"samples": part}], Parameters(top=1))) == to_json([window])


def test_a_recording_has_any_length(runs, recordings):
    model, instance = Model(runs("classification").model_dir), recordings["p00, 1"]
    long = {name: values * 200 for name, values in instance["samples"].items()}  # 749 windows
    first, second = model.answer([{"samples": long}, {"samples": {"x": [1.0], "y": [None]}}])
    assert sum(first["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert second["class"] in ("saw", "sine")
    alone = model.answer([{"samples": long}])
    assert to_json(alone) == to_json([first])


# Masks


def make_dirty(inputs: dict, seed: int = 0) -> dict:
    """The same windows with large numbers wherever the mask is false."""
    random = np.random.default_rng(seed).normal(0, 1e3, inputs["samples"].shape)
    dirty = np.where(inputs["mask"], inputs["samples"], random.astype(np.float32))
    assert not np.array_equal(dirty, inputs["samples"])
    return inputs | {"samples": dirty}


def test_what_is_lost_changes_no_bit(runs, recordings):
    trained, instance = runs("classification"), recordings["p03, 0"]
    model = Model(trained.model_dir)
    short = {name: [*values[:20]] for name, values in instance["samples"].items()}
    short["x"][5] = short["y"][7] = short["x"][7] = None
    padded = {name: [*values, *[None] * 12] for name, values in short.items()}
    one, other = model.answer([{"samples": short}, {"samples": padded}])
    assert to_json([one]) == to_json([other])
    clean = model.inputs.encode_request([{"samples": short}, instance]).inputs
    [before], [after] = model.call([clean]), model.call([make_dirty(clean)])
    assert before["probabilities"].tobytes() == after["probabilities"].tobytes()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("network", ["conv", "gru", "transformer"])
def test_each_network_honours_the_mask(recordings, network, task):
    flags = [*flags_of(task, write_waves()), "--model", network, "--hidden-units", "8,8"]
    examples = load(*flags)
    model = modelling.build(examples, parse(["--job-dir", "runs/a", *flags]))
    values = np.random.default_rng(1).normal(size=(3, WINDOW, 2)).astype(np.float32)
    mask = np.random.default_rng(2).random(values.shape) < 0.7
    mask[1, 20:] = False  # padding
    mask[2] = False  # nothing is known
    clean = {"samples": np.where(mask, values, 0), "mask": mask}
    outputs = [np.asarray(model(each, training=False)) for each in (clean, make_dirty(clean))]
    assert outputs[0].tobytes() == outputs[1].tobytes() and np.isfinite(outputs[0]).all()


@pytest.mark.parametrize("task", TASKS)
def test_a_loss_is_weighted_window_by_window(task):
    """As by workers that share the last batch of an epoch, one with a window more than the other."""
    flags = [*flags_of(task, write_waves()), "--hidden-units", "8,8"]
    examples = load(*flags)
    model = modelling.build(examples, parse(["--job-dir", "runs/a", *flags]))
    inputs, target = examples.train.read(np.arange(3))
    output = model(inputs, training=False)
    weighted = model.compute_loss(None, target, output, np.float32([0, 3, 0]))
    alone = model.compute_loss(None, target[1:2], output[1:2])
    assert float(weighted) == pytest.approx(float(alone), rel=1e-5)


def test_lost_samples_have_no_label(runs, recordings):
    model, instance = Model(runs("labelling").model_dir), recordings["p01, 2"]
    samples = {name: [*values] for name, values in instance["samples"].items()}
    samples["x"][3] = samples["x"][9] = samples["y"][9] = None
    [answer] = model.answer([{"samples": samples}])
    assert answer["classes"][9] is None and answer["classes"][3] in ("up", "down")


def lose(instance: dict, *span: int) -> dict:
    """The instance without the samples of a span."""
    samples = {name: [*values] for name, values in instance["samples"].items()}
    for values in samples.values():
        values[slice(*span)] = [None] * len(values[slice(*span)])
    return instance | {"samples": samples}


def test_a_window_without_a_value_has_no_answer(runs, recordings):
    instance, parameters = lose(recordings["p01, 2"], 33), Parameters(windows=True)
    [answer] = Model(runs("labelling").model_dir).answer([instance], parameters)
    assert answer["classes"][:33] == [None] * 33 and None not in answer["classes"][33:]
    assert [one["start"] for one in answer["windows"]] == pytest.approx([0.64, 1.12])
    [known] = Model(runs("classification").model_dir).answer([instance], parameters)
    shares = [list(one["probabilities"].values()) for one in known["windows"]]
    assert [*known["probabilities"].values()] == pytest.approx(np.mean(shares, axis=0), abs=1e-6)


def test_a_forecast_from_nothing_is_refused(runs, recordings):
    model = Model(runs("forecasting").model_dir)
    encoded = model.inputs.encode_request(
        [recordings["p01, 2"], lose(recordings["p01, 2"], 28, None)]
    )
    assert encoded.errors == {1: "instance 1: its last 32 samples are lost"}


def test_samples_that_fill_a_window_have_no_label(runs, recordings):
    model, instance = Model(runs("labelling").model_dir), recordings["p01, 2"]
    short = {"samples": {name: values[:5] for name, values in instance["samples"].items()}}
    answers = model.answer([short, instance], Parameters(windows=True))
    spans = [[len(one["classes"]) for one in answer["windows"]] for answer in answers]
    assert spans == [[5], [WINDOW] * 3]
    assert [len(one["shares"]) for one in answers[0]["windows"]] == [5]


def test_labels_stand_where_the_client_has_samples(runs, recordings):
    """Times waver, and every other sample is left out: the network still sees equal steps."""
    model, instance = Model(runs("labelling").model_dir), recordings["p01, 2"]
    samples = {name: values[::2] for name, values in instance["samples"].items()}
    time = [t + 0.001 * (i % 2) for i, t in enumerate(instance["time"][::2])]
    [answer] = model.answer([{"samples": samples, "time": time}])
    assert len(answer["classes"]) == len(answer["shares"]) == 30


@pytest.mark.parametrize("pace", [1.008, 0.992])
def test_labels_of_a_clock_that_drifts_stand_where_they_belong(runs, recordings, pace):
    """Its samples stay as they are, in training, too: the first and the last have answers of their own."""
    model, instance = Model(runs("labelling").model_dir), recordings["p01, 2"]
    samples = {name: values * 20 for name, values in instance["samples"].items()}  # 1,200
    time = [100 + 0.04 * pace * i for i in range(1200)]
    parameters = Parameters(windows=True)
    even, drifting = model.answer(
        [{"samples": samples}, {"samples": samples, "time": time}], parameters
    )
    assert drifting["classes"] == even["classes"] and drifting["shares"] == even["shares"]
    assert drifting["windows"][-1]["end"] == pytest.approx(time[-1])


# Explanations


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_what_channels_add_is_the_difference_to_the_mean_of_each(runs, recordings, task):
    model, instance = Model(runs(task).model_dir), recordings["p02, 1"]
    plain, explained = (model.answer([instance], Parameters(explain=e))[0] for e in (False, True))
    explanation = explained.pop("explanation")
    assert to_json([plain]) == to_json([explained])
    added = explanation["attributions"]
    difference = explanation["value"] - explanation["baseline"]
    assert set(added) == {"x", "y"} and sum(added.values()) == pytest.approx(difference, abs=1e-6)
    means = {
        c.name: [None if v is None else c.mean for v in instance["samples"][c.name]]
        for c in model.schema.channels
    }
    [at_means] = model.answer([instance | {"samples": means}])
    expected = at_means.get("value") or at_means["probabilities"][plain["class"]]
    assert explanation["baseline"] == pytest.approx(expected)


def test_labels_and_forecasts_have_no_score_to_explain(runs, recordings):
    model = Model(runs("labelling").model_dir)
    with pytest.raises(InstanceError, match="explain: the answers of this model have no class and"):
        model.answer([recordings["p02, 1"]], Parameters(explain=True))
    assert not model.inputs.explains


def test_a_long_recording_is_not_explained(runs):
    model = Model(runs("regression").model_dir)
    long = dict.fromkeys("xy", [0.5] * ((1 << 22) + 1))
    with pytest.raises(
        InstanceError, match="explain: with 2 channels it takes recordings of up to"
    ):
        model.inputs.explain(model, {"samples": long})


# What is refused

SCHEMA = Schema(
    target="class",
    task="classification",
    channels=[Channel("gaze_x", 0, 1), Channel("gaze_y", 0, 1)],
    window=4,
    hop=2,
    step=0.5,
    time="t",
    labels=["a", "b"],
)
GOOD = {"samples": {"gaze_x": [1, 2], "gaze_y": [None, 0.5]}, "time": [0, 0.5]}


def with_samples(**samples):
    return GOOD | {"samples": GOOD["samples"] | samples}


@pytest.mark.parametrize(
    ("instance", "expected"),
    [
        (3, 'expected {"samples": {"gaze_x": […], "gaze_y": […]}, "time": […]}, got 3'),
        ({"sample": {}}, "unknown field 'sample'; did you mean 'samples'?"),
        ({"time": [1]}, 'samples are not there; expected {"samples": {"gaze_x"'),
        (with_samples(gaze_z=[1, 2]), "unknown channel 'gaze_z'; did you mean 'gaze_"),
        (with_samples(pupil=[1, 2]), "unknown channel 'pupil'; there are: gaze_x, gaze_y"),
        ({"samples": {"gaze_x": [1]}}, "channel 'gaze_y' is not there; expected a list of numbers"),
        (with_samples(gaze_x=4), "channel 'gaze_x' is 4; expected a list of numbers, null where"),
        (with_samples(gaze_y=[1, "2"]), "channel 'gaze_y': sample 1 is \"2\"; expected a list"),
        (with_samples(gaze_y=[1, True]), "channel 'gaze_y': sample 1 is true; expected"),
        (with_samples(gaze_y=[1, 10**400]), "channel 'gaze_y': a number of it is too large"),
        (
            with_samples(gaze_y=[1, 1e39]),
            "channel 'gaze_y': a number of it is too large; expected a list of numbers, null",
        ),
        (with_samples(gaze_y=[1]), "channel 'gaze_y' has 1 samples, and 'gaze_x' has 2"),
        ({"samples": {"gaze_x": [], "gaze_y": []}}, "all samples are lost"),
        ({"samples": {"gaze_x": [None], "gaze_y": [None]}}, "all samples are lost"),
        (GOOD | {"time": [0]}, "time has 1 numbers, and there are 2 samples"),
        (GOOD | {"time": [0, None]}, "sample 1 has no time"),
        (GOOD | {"time": [1, 0]}, "time runs backwards: 0 follows 1"),
        (GOOD | {"time": [1, 1]}, "time repeats: 1 follows 1"),
        (GOOD | {"time": [0, 1e6]}, "time jumps: 2 samples from 0 to 1000000"),
        (
            GOOD | {"time": [0, 1e9]},
            "time: 2,000,000,000 samples at the model's rate; send at most",
        ),
    ],
)
def test_a_wrong_instance_is_named_with_what_is_expected(instance, expected):
    encoded = Inputs(SCHEMA).encode_request([GOOD, instance])
    assert encoded.errors[1].startswith("instance 1: ") and "\n" not in encoded.errors[1]
    assert expected in encoded.errors[1] and encoded.rows == 1


@pytest.mark.parametrize("factor", [1000, 0.001])
def test_times_in_another_unit_are_refused(factor):
    inputs = Inputs(replace(SCHEMA, own_step=0.5))
    samples = {name: [1, 2, 3, 4] for name in SCHEMA.names}
    times = [factor * t for t in (0, 0.5, 1, 1.5)]
    expected = f"a sample each {0.5 * factor:g} of 't', but each 0.5 in training"
    with pytest.raises(InstanceError, match=expected):
        inputs.load(inputs.check("i", {"samples": samples, "time": times}))


@pytest.mark.filterwarnings("error")  # of NumPy, which a client would see
def test_a_time_that_is_lost_is_named():
    inputs = Inputs(replace(SCHEMA, own_step=0.5))
    instance = {"samples": {name: [1, 2, 3] for name in SCHEMA.names}, "time": [0, None, 1]}
    with pytest.raises(InstanceError, match="^i: its sample 1 has no time$"):
        inputs.load(inputs.check("i", instance))


def test_windows_are_asked_for_by_a_parameter_of_this_kind():
    assert read_parameters({"windows": True}, Inputs.PARAMETERS).windows
    with pytest.raises(InstanceError, match="unknown name 'window'; did you mean 'windows'"):
        read_parameters({"window": True}, Inputs.PARAMETERS)
    with pytest.raises(InstanceError, match="unknown name 'windows'; there are: top, explain, par"):
        read_parameters({"windows": True})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("subject,trial,t,x,z\n1,1,0,1,2\n", "no column 'y', a channel of the model; there are: "),
        ("subject,trial,t,x,y\n1,1,0,1,a\n", "t.csv"),
        ("subject,t_ms,x,y\n1,0,1,2\n", "no column 't', the time in training, but 't_ms'"),
        ("subject,x,y\n1,1,2\n", "it has 'subject' and no column 'trial', which names recordings"),
        (
            "trial,t,x,y\n1,0,1,2\n",
            "it has 'trial' and no column 'subject', which names recordings",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_refused_in_one_line(runs, text, expected, capsys):
    capsys.readouterr()
    words = ["--model", runs("classification").model_dir, write("t.csv", text)]
    assert predict.main(words, predictor) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and expected in error


def test_a_recording_of_a_table_may_be_wrong_alone(runs, capsys):
    rows = make_rows(1)
    rows[70][2] = rows[69][2]  # time repeats, in the second recording
    for row in rows[120:180]:
        row[3] = row[4] = ""
    capsys.readouterr()
    path = write_waves("some.csv", rows)
    assert predict.main(["--model", runs("classification").model_dir, path], predictor) == 2
    first, second, third, *_ = map(json.loads, capsys.readouterr().out.splitlines())
    assert "class" in first and second["recording"] == "p00, 1"
    assert "recording p00, 1: time repeats" in second["error"]
    assert "recording p00, 2: all its values are lost" in third["error"]


def test_a_name_may_hold_a_comma(tmp_path):
    """In training and in a table to predict: its trials must not become one recording."""
    rows = [[row[0], row[1], *row[3:6]] for row in make_rows(2)]
    path = write_waves(rows=rows, columns='subject,"Trial, No",x,y,shape')
    schema = load("--data", path, "--target", "shape", "--folds", "2").schema
    again = Schema.from_json(schema.to_json())
    assert again.recording == ["Trial, No"]
    assert [len(values) for _, values, _ in read_recordings(path, again)] == [60] * 8
    assert Inputs(again).list_fields()[0]["columns"]["names"] == ["subject", "Trial, No"]
    old = json.loads(schema.to_json()) | {"recording": "trial, block"}  # of an earlier version
    assert Schema.from_json(json.dumps(old)).recording == ["trial", "block"]


def scramble(graph, random, names: dict) -> None:
    """Give the parts of a graph other names, and another order, as another process does."""

    def name(texts) -> list[str]:
        return [names.setdefault(text, f"{text}-{random.random()}") for text in texts]

    for node in graph.node:
        node.input[:], node.output[:] = name(node.input), name(node.output)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                scramble(attribute.g, random, names)
    for values in (graph.input, graph.output, graph.initializer):
        for value in values:
            [value.name] = name([value.name])
    for parts in (graph.node, graph.initializer):
        kept = random.sample([*parts], len(parts))
        del parts[:]
        parts.extend(kept)


def test_a_network_with_a_loop_has_the_same_bytes_in_each_process():
    import tensorflow as tf

    flags = [*flags_of("classification", write_waves()), "--model", "gru", "--hidden-units", "4,4"]
    model = modelling.build(load(*flags), parse(["--job-dir", "runs/a", *flags]))
    takes = {
        "samples": tf.TensorSpec((None, WINDOW, 2), tf.float32, "samples"),
        "mask": tf.TensorSpec((None, WINDOW, 2), tf.bool, "mask"),
    }
    core = tf.function(lambda inputs: {"output": model(inputs, training=False)}, [takes])
    graph = network._translate(core, takes, {"output"}).graph
    assert any(attribute.HasField("g") for node in graph.node for attribute in node.attribute)
    other = type(graph)()
    other.CopyFrom(graph)
    scramble(other, Random(0), {"": "", "samples": "samples", "mask": "mask", "output": "output"})
    assert other.SerializeToString() != graph.SerializeToString()

    network._arrange(other)

    assert other.SerializeToString(deterministic=True) == graph.SerializeToString(
        deterministic=True
    )


# The report


def read_sections(trained) -> dict[str, dict]:
    sections = read_json(trained.job_dir / "evaluation.json")["sections"]
    return {section["title"]: section for section in sections}


@pytest.mark.parametrize("task", TASKS)
def test_the_report_shows_recordings_and_what_the_model_looked_at(runs, task):
    trained = runs(task)
    made = read_sections(trained)
    shown = made["Recordings and predictions"]["items"]
    held_out = {trained.data.recordings.names[i] for i in trained.data.eval.number}
    assert {item["lines"][-1] for item in shown} <= held_out and shown
    for item in shown:
        assert [row["name"] for row in item["rows"]][:2] == ["x", "y"]
        assert len(item["rows"]) > 2 and item["span"][1] > item["span"][0]
    looked = made["What it looked at"]
    missed = float(re.search(r"by at most ([\d.]+)%", looked["text"])[1])
    assert looked["items"] and missed < 5
    for item in looked["items"]:
        shades = np.array([row["shades"] for row in item["rows"]])
        assert [row["name"] for row in item["rows"]] == ["x", "y"] and np.abs(shades).max() >= 1
    values = made[[*made][0]]["values"]
    assert all(value["interval"] for value in values[:1])


def test_classes_are_confused_participant_by_participant(runs):
    trained = runs("classification")
    made = read_sections(trained)
    [row] = made["Participant by participant"]["rows"]  # one of six is held out
    confusion = np.array(made["What it confuses"]["counts"])
    assert row[1] == confusion.sum() == 4
    assert row[2]["bar"][0] == confusion.trace() / 4
    assert made["How good it is"]["text"].startswith("The intervals are for other recordings")
    with open(trained.job_dir / "predictions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = ["row", "participant", "recording", "start", "truth", "prediction", "accuracy", "loss"]
    assert [*rows[0]] == names and len(rows) == 12
    assert [float(row["start"]) for row in rows[:3]] == pytest.approx([0, 0.64, 1.12])


def test_attributions_add_up():
    import tensorflow as tf

    random = np.random.default_rng(0)
    weights, x = random.normal(size=(5, 2)), random.normal(size=(5, 2))
    found = gradients.attribute(
        lambda part: tf.reduce_sum(part * weights.astype(np.float32), axis=(1, 2)), 0 * x, x
    )
    np.testing.assert_allclose(found.values, weights * x, atol=1e-5)
    assert found.error < 1e-5
    curved = gradients.attribute(lambda part: tf.reduce_prod(part, axis=(1, 2)), 0 * x, x + 2)
    assert curved.error < 1e-4


def test_windows_are_stitched_by_their_means():
    random = np.random.default_rng(0)
    outputs, starts = random.random((3, 4, 2)).astype(np.float32), np.array([0, 2, 3])
    whole = join.stitch(outputs, starts, 7)
    by_hand = [
        np.mean([o[t - s] for o, s in zip(outputs, starts, strict=True) if s <= t < s + 4], axis=0)
        for t in range(7)
    ]
    np.testing.assert_allclose(whole, by_hand, rtol=1e-6)
    cells = timelines.spread(outputs[:, 0], starts, 4)
    assert cells.shape == (timelines.CELLS, 2)
    np.testing.assert_allclose(cells[0], outputs[0, 0], rtol=1e-6)
    np.testing.assert_allclose(cells[-1], outputs[2, 0], rtol=1e-6)
