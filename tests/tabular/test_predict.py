"""From a raw value to an answer: what a client may send, and that it gets what training would give."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, Trained, train, write
from own import load
from ways import answer_in_all_ways

from launcher.cli import predict
from predictor import predict as predictor
from codec.schema import Column, Schema
from launcher.jobfile import trainer_rules
from predictor.inputs import Inputs
from predictor.instances import InstanceError, read
from predictor.model import read_schema
from codec.columns import blocks, tables

pytestmark = pytest.mark.slow

BIRD = {
    "island": "Torgersen",
    "bill_length_mm": 39.1,
    "bill_depth_mm": 18.7,
    "flipper_length_mm": 181,
    "body_mass_g": 3750,
    "sex": "male",
    "year": 2007,
}
AS_CSV = ",".join(BIRD) + "\n" + ",".join(str(value) for value in BIRD.values()) + "\n"


def answers(capsys, model: Trained, text: str) -> list[dict]:
    """What the script prints for these instances."""
    write("instances", text)
    capsys.readouterr()
    assert predict.main(["--model", model.model_dir, "instances"], predictor) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def refusal(model: Trained, text: str) -> str:
    """Why the text is refused, or else its last instance."""
    try:
        *_, last = read(io.StringIO(text), "f", Inputs(read_schema(model.model_dir)))
    except InstanceError as error:
        last = error
    assert isinstance(last, InstanceError) and "\n" not in str(last)
    return str(last)


# The forms in which instances come


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"instances": [BIRD, BIRD]}, indent=2),
        json.dumps([BIRD, BIRD]),
        f"{json.dumps(BIRD)}\n\n{json.dumps(BIRD)}\n",
        "\ufeff" + AS_CSV + AS_CSV.splitlines()[1],
        AS_CSV.replace("\n", "\r\n") + AS_CSV.splitlines()[1],
        ",".join(["species", *AS_CSV.splitlines(True)[:1]])
        + f"Adelie,{AS_CSV.splitlines()[1]}\n\n,{AS_CSV.splitlines()[1]}\n",
    ],
    ids=["request", "list", "lines", "csv", "csv-crlf", "csv-with-target"],
)
def test_the_same_instances_in_each_form(capsys, penguins, text):
    first, second = answers(capsys, penguins, text)
    assert first == second
    assert list(first) == ["class", "probabilities"]
    assert list(first["probabilities"]) == ["Adelie", "Chinstrap", "Gentoo"]
    assert first["class"] == max(first["probabilities"], key=first["probabilities"].get)
    assert sum(first["probabilities"].values()) == pytest.approx(1, abs=1e-6)


def test_missing_values_come_as_null_as_nothing_or_as_a_token(capsys, penguins):
    gaps = BIRD | {"sex": None, "body_mass_g": None}
    [as_null] = answers(capsys, penguins, json.dumps(gaps))
    for nothing in ("", "NA", " ? "):
        row = ",".join(nothing if value is None else str(value) for value in gaps.values())
        assert answers(capsys, penguins, ",".join(gaps) + "\n" + row) == [as_null]
    for unseen in ("unseen", "\ud800"):  # half of a surrogate pair: UTF-8 cannot hold it
        assert answers(capsys, penguins, json.dumps(gaps | {"sex": unseen})) == [as_null]
    assert answers(capsys, penguins, json.dumps(BIRD | {"sex": " male\t"})) == answers(
        capsys, penguins, json.dumps(BIRD)
    )
    assert answers(capsys, penguins, json.dumps(BIRD)) != [as_null]


# What is refused


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"bill_lenght_mm": 1}, "unknown feature 'bill_lenght_mm'; did you mean 'bill_length_mm'?"),
        ({"wings": 2}, "unknown feature 'wings'; there are: island, bill_length_mm,"),
        ({"year": "2007"}, "feature 'year' is \"2007\"; expected a number without quotes, or null"),
        ({"year": True}, "feature 'year' is true; expected a number without quotes, or null"),
        ({"year": [2007]}, "feature 'year' is [2007]; expected a number without quotes, or null"),
        ({"year": 10**400}, "feature 'year' is 1000"),
        ({"year": "\ud800"}, "feature 'year' is \"\\ud800\"; expected a number without quotes"),
        ({"sex": 1}, "feature 'sex' is 1; expected a text in quotes"),
        ({"sex": None, "island": {}}, "feature 'island' is {}; expected a text in quotes"),
    ],
)
def test_a_wrong_value_is_named_with_its_instance_and_feature(penguins, change, expected):
    text = json.dumps({"instances": [BIRD, BIRD | change]})
    assert refusal(penguins, text).startswith(f"f: instance 1: {expected}")


def test_a_feature_that_is_not_there_is_named(penguins):
    short = {name: value for name, value in BIRD.items() if name != "year"}
    expected = "feature 'year' is not there; expected a number, or null for a missing value"
    assert refusal(penguins, json.dumps({"instances": [short]})) == f"f: instance 0: {expected}"
    lines = f"{json.dumps(BIRD)}\n\n{json.dumps(short)}\n"
    assert refusal(penguins, lines) == f"f:3: instance 1: {expected}"
    no_year = AS_CSV.replace(",year", "").replace(",2007", "")
    assert refusal(penguins, no_year) == f"f:2: instance 0: {expected}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "f: empty; expected instances as JSON, JSON lines or CSV"),
        ("[]", 'f: expected {"instances": [{…}, …]}, got []'),
        ('{"instances": {}}', 'f: expected {"instances": [{…}, …]}, got {}'),
        ('{"instances": [1]}', "f: instance 0: expected an object of features, got 1"),
        ('{"parameters": {}, "instances": [1]}', "f: 'parameters' beside instances is not read"),
        ('{"instances": [\n{"year": 1},\n]}', "f: not JSON ("),
        (json.dumps(BIRD) + '\n{"year": }\n', "f:2: instance 1: not JSON ("),
        (AS_CSV + "1,2\n", "f:3: instance 1: 2 values, but the header has 7"),
        (AS_CSV + AS_CSV.splitlines()[1].replace("2007", "20O7"), "f:3: instance 1: feature 'year' is \"20O7\"; expected a number"),
        (AS_CSV.replace("2007", "2_007"), "f:2: instance 0: feature 'year' is \"2_007\"; expected a number"),
        (AS_CSV.splitlines()[0], "f: a header and no rows"),
        (AS_CSV.replace("year", "sex"), "f: column 'sex' stands in the header more than once"),
        (AS_CSV + '"' + "x" * 5_000_000, "f: near line 3: not CSV ("),
    ],
)  # fmt: skip
def test_a_fault_in_the_form_is_one_line(penguins, text, expected):
    assert refusal(penguins, text).startswith(expected)


BAD = BIRD | {"year": "2007"}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"instances": [BAD, BIRD, 1, BIRD]}),
        "\n".join([json.dumps(BAD), json.dumps(BIRD), "{", json.dumps(BIRD)]),
        AS_CSV.replace("2007", "20O7")
        + AS_CSV.splitlines()[1]
        + "\n1,2\n"
        + AS_CSV.splitlines()[1],
    ],
    ids=["request", "lines", "csv"],
)
def test_each_instance_has_its_line_and_a_bad_one_an_error(capsys, penguins, text):
    write("f", text)
    capsys.readouterr()
    assert predict.main(["--model", penguins.model_dir, "f"], predictor) == 2
    printed = capsys.readouterr()
    first, second, third, fourth = map(json.loads, printed.out.splitlines())
    assert first["error"].startswith("f:") and third["error"].startswith("f:")
    assert second["class"] == fourth["class"] == "Adelie"
    assert printed.err.splitlines() == [
        f"model: {penguins.model_dir} (onnxruntime)",
        'error: 2 of 4 instances have no answer; see "error"',
    ]


def test_the_script_ends_with_2_and_one_line(capsys, penguins):
    import tensorflow as tf

    write("latin", "\xe9".encode("latin-1"))
    write("short", "{")
    write("short.csv", AS_CSV)
    images, old = "images", "old"
    write("images/assets.extra/schema.json", '{"labels": ["a"], "pictures": {"size": 8}}')
    tf.saved_model.save(tf.Module(), old)
    no_network = shutil.ignore_patterns("network.onnx")
    shutil.copytree(f"{penguins.model_dir}/assets.extra", f"{old}/assets.extra", ignore=no_network)
    for model, file, expected in [
        (penguins.model_dir, "short", "error: short: not JSON ("),
        (penguins.model_dir, "none", "error: none: cannot be read (No such file or directory)"),
        (penguins.model_dir, "latin", "error: latin: not a text in UTF-8"),
        ("nowhere", "short", "error: nowhere: no exported model"),
        (images, "short", f"error: {images}: a model of another kind of data; predict"),
        (old, "short.csv", f"error: {old}: the model has no signature 'encoded'; train it again"),
    ]:
        assert predict.main(["--model", model, file], predictor) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        *before, line = printed.err.splitlines()
        assert line.startswith(expected)
        assert all(one.startswith(f"model: {model} (") for one in before)


# The same numbers as in training


def in_memory(run: Trained) -> np.ndarray:
    """The trained model's output for the held-out rows, as training encoded them."""
    arrays = run.data.eval.arrays()
    inputs = {name: np.array(arrays[name]) for name in ("numbers", "categories")}
    return run.model(inputs, training=False).numpy()


def test_a_classifier_answers_as_it_did_in_memory(capsys, penguins):
    logits = in_memory(penguins).astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    file = ROOT / "data" / "penguins_eval.csv"
    given = answers(capsys, penguins, file.read_text(encoding="utf-8"))
    shares = [list(answer["probabilities"].values()) for answer in given]
    np.testing.assert_allclose(shares, expected, rtol=0, atol=1e-6)
    labels = penguins.schema.labels
    assert [answer["class"] for answer in given] == [labels[i] for i in expected.argmax(axis=1)]
    assert len({answer["class"] for answer in given}) > 1


def test_a_regression_answers_as_it_did_in_memory(capsys, masses):
    expected = in_memory(masses)[:, 0]
    text = (ROOT / "data" / "penguins_eval.csv").read_text(encoding="utf-8")
    values = [answer["value"] for answer in answers(capsys, masses, text)]
    np.testing.assert_allclose(values, expected[: len(values)], rtol=1e-6)


def test_an_instance_gets_the_same_bits_in_every_way(capsys, penguins):
    inputs = Inputs(penguins.schema)
    birds = [inputs.to_json(b) for b in inputs.open(str(ROOT / "data" / "penguins_eval.csv"))][:16]
    write("birds.jsonl", "\n".join(map(json.dumps, birds)))
    ways = answer_in_all_ways(capsys, penguins.model_dir, "birds.jsonl", birds)
    first, *others = ways.values()
    assert len(first) == 16 and all(way == first for way in others), ways
    logits = in_memory(penguins).astype(np.float64)[:16]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    shares = [list(answer["probabilities"].values()) for answer in first]
    np.testing.assert_allclose(shares, expected, rtol=0, atol=1e-6)


@pytest.mark.skipif(os.name == "nt", reason="a closed pipe is no error of its own there")
def test_standard_input_and_a_reader_that_has_seen_enough(capsys, penguins):
    request = json.dumps({"instances": [BIRD] * 2000})
    script = [sys.executable, str(ROOT / "scripts" / "predict.py"), "--model", penguins.model_dir]
    pipe = subprocess.PIPE
    with subprocess.Popen([*script, "-"], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        process.stdin.write(request.encode())
        process.stdin.close()
        first = json.loads(process.stdout.readline())
        process.stdout.close()  # as `… | head -1` does, long before all of it is printed
        errors = process.stderr.read().decode()
    assert process.returncode == 0
    assert errors == f"model: {penguins.model_dir} (onnxruntime)\n"
    assert first == answers(capsys, penguins, request)[0]


def wild_table(rng: np.random.Generator, rows: int, seen: bool) -> str:
    """A CSV of numbers and texts as people write them; unless `seen`, wilder than in training."""
    wild = [
        lambda: str(rng.normal() * 10.0 ** rng.integers(-300, 300)),
        lambda: str(rng.integers(2**53, 2**63)),
        lambda: rng.choice(["inf", "-inf", "1e999", "+1", "-0", ".5", "5.", "1E+05", "9" * 40]),
    ]
    texts = ["a", "A", "é", "日本", "[UNK]", 'q"q', "x,y", "two\nlines", "\xa0nbsp", "0", "-1"]
    unseen = ["zebra", "a\tb", "\n", "UNK", "é".encode().decode("latin-1"), "[unk]"]

    def number(mean: float, std: float) -> str:
        makers = [lambda: str(rng.normal(mean, std))] * 5
        makers += [lambda: rng.choice(["", "NA", "?", "nan", "  "])] + ([] if seen else wild)
        return makers[rng.integers(len(makers))]()

    def text() -> str:
        value = rng.choice(texts if seen else [*texts, *unseen, "", "NULL", "-"])
        padded = rng.choice(["", " ", "\t"]) + value + rng.choice(["", " "])
        return '"' + padded.replace('"', '""') + '"'

    lines = [
        f"{number(1.6e9, 3)},{number(0.1, 1e-3)},{rng.choice(['-999', '-9', '1e6', number(3, 1)])},"
        f"{text()},{text()},,{'yn'[i % 2]}"
        for i in range(rows)
    ]
    return "n1,n2,coded,t1,t2,none,y\n" + "\n".join(lines) + "\n"


def encode_three_ways(schema: Schema, path: str) -> list[dict]:
    """A file's rows as training, `predict.py` and the exported model encode them."""
    import tensorflow as tf

    from trainer import inputs
    from codec.columns import encode

    encoder = encode.TableEncoder(schema)
    read = blocks.read_blocks([tables.open_source(path)], encoder.types)
    batches = [encoder(block.columns)[0] for block in read]
    trained = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}

    reader = Inputs(schema)
    instances = list(reader.open(path))
    raw = {}
    for column in schema.features:
        values = [instance[column.name] for instance in instances]
        if column.kind != "number":  # as a client might send it who does not use our reader
            values = [f" {value or '?'}\t" for value in values]
        raw[column.input] = tf.constant(values, tf.float64 if column.kind == "number" else None)
    served = tf.function(inputs.Inputs(schema))(raw)
    served = {name: array.numpy() for name, array in served.items()}
    del trained["target"]
    return [trained, reader.encode(instances), served]


def assert_equal(ways: list[dict]) -> dict:
    """Equal to the bit, types included; returns one of them."""
    first, *others = ways
    for other in others:
        assert first.keys() == other.keys()
        for name, array in first.items():
            assert array.dtype == other[name].dtype
            np.testing.assert_array_equal(array, other[name])
    return first


@pytest.mark.parametrize("seed", range(3))
def test_what_a_client_sends_is_encoded_as_training_encodes_it(seed):
    rng = np.random.default_rng(seed)
    write("train.csv", wild_table(rng, 400, seen=True))
    write("wild.csv", wild_table(rng, 3000, seen=False))
    write("kinds.json", '{"columns": [{"name": "none", "kind": "category"}]}')
    schema = load("train.csv", "y", "--schema", "kinds.json").schema
    assert [len(schema.numbers), len(schema.categories)] == [3, 3]
    assert schema.numbers[2].codes == [-999, -9]

    encoded = assert_equal(encode_three_ways(schema, "wild.csv"))
    assert len(np.unique(encoded["categories"])) > 15
    assert len(np.unique(encoded["numbers"])) > 1000


DATES = {
    "2020-01-31": "year-month-day",
    "1/31/2020 9:05 PM": "month/day/year",
    "31/1/20 23:59:59.75": "day/month/year",
    "31.1.2020 10.15": "day.month.year",
    "1/2020": "month/year",
    "2020 Jan": "year month's name",
    "31. January 2020": "day month's name year",
    "Sat, Feb 29th, 2020 at 3pm": "month's name day year",
    "Sept 2020": "month's name year",
    "2020-W05": "year-week",
    "2020Q1": "year-quarter",
    "Q1 2020": "quarter-year",
}


@pytest.mark.parametrize("example", DATES)
def test_a_date_is_encoded_as_training_encodes_it(example):
    """Dates of all forms, and texts that are none in this one, which count as missing."""
    texts = [
        *DATES,
        "",
        " NA",
        "2020-02-30",
        "0000-00-00",
        "2020",
        "1 \u017fep 2020",
        "\u0663.1.2020",
        "x",
        f"\t{example} ",
    ]
    texts += [f"19{i}-{1 + i % 13}-{1 + i % 32} {i % 25}:{i}" for i in range(10, 99)]
    texts += [f"{1 + i % 13}/{1 + i % 32}/{i} {i % 13}:{i}:{i}.{i} PM" for i in range(10, 99)]
    write("t.csv", "a,n,y\n" + "".join(f'"{text}",{i},{i}\n' for i, text in enumerate(texts)))
    parts = ["season", "weekday", "hour"]
    numbers = [Column("n", "number", input="n")]
    a = Column("a", "date", "", 1, mean=1e4, std=5e3, form=DATES[example], parts=parts, input="a")
    encoded = assert_equal(encode_three_ways(Schema("y", "regression", [a, *numbers]), "t.csv"))
    numbers = encoded["numbers"]
    assert numbers.shape == (len(texts), 21)
    missing = numbers[:, -1] == 1
    assert not numbers[missing, 1:-1].any() and 0 < (~missing).sum() < len(texts)
    assert np.abs(numbers[:, 2:]).max() <= 1


def test_a_client_sends_dates_as_texts():
    a = Column("a", "date", form="year-month-day", example="2020-01-31")
    inputs = Inputs(Schema("y", "regression", [a]))
    for value in (None, "2020-01-31", "soon", "\ud800"):
        inputs.check("f", {"a": value})
    for value in (20200131, True, ["2020-01-31"]):
        with pytest.raises(InstanceError, match="f: feature 'a' is .*; expected a date in quotes"):
            inputs.check("f", {"a": value})


@pytest.mark.parametrize(
    ("rows", "widths"),
    [
        ("1.5,2,p\n-3,4,q\n,,q\n", {"numbers": 4, "categories": 0}),
        ("u,v,p\nw,x,q\n,,q\n", {"numbers": 0, "categories": 2}),
    ],
    ids=["numbers", "texts"],
)
def test_columns_may_all_be_of_one_kind(rows, widths):
    write("t.csv", "a,b,y\n" + rows * 9)
    encoded = assert_equal(encode_three_ways(load("t.csv", "y").schema, "t.csv"))
    assert {name: array.shape[1] for name, array in encoded.items()} == widths


def test_columns_may_have_any_name(capsys, tmp_path):
    names = ["bill length (mm)", "class", "0x", "größe!", "self", "_id", "日本", "a,b", "A,B"]
    header = ",".join(f'"{name}"' for name in names)
    rng = np.random.default_rng(0)
    rows = [",".join(f"{v:.3f}" for v in rng.normal(size=9)) + f",{'pq'[i % 2]}" for i in range(80)]
    write("odd.csv", "\n".join([f"{header},the target?", *rows]))
    run = train(tmp_path / "run", "--train-files", "odd.csv", "--target", "the target?")
    assert [column.name for column in run.schema.features] == names
    instance = dict(zip(names, range(9), strict=True))
    [by_name] = answers(capsys, run, json.dumps(instance))
    assert answers(capsys, run, f"{header}\n0,1,2,3,4,5,6,7,8\n") == [by_name]
    assert "unknown feature 'size'" in refusal(run, json.dumps({**instance, "size": 1}))


# Metrics that a job file may name


@pytest.mark.parametrize("run", ["penguins", "masses"])
def test_the_metrics_that_the_trainer_tells_are_those_that_it_writes(run, request):
    trained = request.getfixturevalue(run)
    header = (trained.job_dir / "history.csv").read_text(encoding="utf-8").splitlines()[0]
    metrics = trainer_rules.ask_trainer(())["metrics"][trained.schema.task]
    assert header.split(",") == ["epoch", *metrics]
    assert "describe" not in json.loads((trained.job_dir / "run.json").read_text())["flags"]
