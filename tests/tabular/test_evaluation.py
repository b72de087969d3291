"""What a run says of its held-out rows: which columns matter, and the rows themselves."""

from __future__ import annotations

import argparse
import csv
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from conftest import read_json, train, write

from codec import files
from launcher.report import comparison, runs
from trainer.columns import importance
from trainer.engine import evaluation
from trainer.engine.runtime import JobError, read
from trainer.engine.training import Progress, Training

pytestmark = pytest.mark.slow


def write_table(path: str, noise: int, rows: int = 800) -> str:
    """The class depends on a number, on whether another one is missing, and on a word."""
    random = np.random.default_rng(0)
    names = [*(f"noise_{i}" for i in range(noise)), "number", "gap", "word", "y"]
    lines = []
    for _ in range(rows):
        number, gap, word = random.normal(), random.random() < 0.5, random.integers(2)
        cells = [*random.normal(size=noise), number, "" if gap else random.normal(), "pq"[word]]
        label = "yes" if number + 2 * gap + 2 * word > 2 else "no"
        lines.append(",".join(map(str, [*cells, label])))
    return write(path, "\n".join([",".join(names), *lines, ""]))


def read_falls(run_dir) -> tuple[dict, str]:
    *_, section = read_json(run_dir / "evaluation.json")["sections"]
    assert section["title"] == "Which columns matter"
    return {name: cell["bar"] for name, cell in section["rows"]}, section["text"]


def test_columns_that_decide_matter_and_the_others_do_not(tmp_path):
    flags = ["--train-files", write_table("t.csv", 2), "--target", "y", "--epochs", "20"]
    falls, text = read_falls(train(tmp_path / "run", *flags).job_dir)
    assert list(falls)[3:] == ["noise_0", "noise_1"] or list(falls)[3:] == ["noise_1", "noise_0"]
    for name in (
        "number",
        "gap",
        "word",
    ):  # of gap only the flag says something: it is shuffled, too
        fall, low, high = falls[name]
        assert 0.05 < low < fall < high < 0.6
    for name in ("noise_0", "noise_1"):
        assert abs(falls[name][0]) < 0.03 and falls[name][1] <= 0.01
    assert "How far accuracy falls" in text and "Of " not in text


def test_of_many_columns_those_are_ranked_that_say_most_alone(tmp_path):
    flags = ["--train-files", write_table("t.csv", 60, 300), "--target", "y"]
    falls, text = read_falls(train(tmp_path / "run", *flags).job_dir)
    assert len(falls) == importance.COLUMNS and {"number", "gap", "word"} < set(falls)
    assert f"Of 63 columns, the {importance.COLUMNS} that alone say most about y." in text


def test_of_many_rows_evenly_spaced_ones_are_listed(penguins, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "KEPT", 20)  # of 69
    flags = argparse.Namespace(batch_size=7, seed=0)
    context = evaluation.Context(penguins.model, penguins.data, flags)
    for target, logits in context.predictions():
        context.add_rows(truth=target, accuracy=logits.argmax(axis=1) == target)
    context.write_rows(read(str(tmp_path)))
    listed = list(csv.DictReader(files.read_text(str(tmp_path / "predictions.csv")).splitlines()))
    whole = list(csv.DictReader((penguins.job_dir / "predictions.csv").open(encoding="utf-8")))
    assert [row["row"] for row in listed] == [str(row) for row in range(0, 69, 4)]
    for row in listed:
        same = whole[int(row["row"])]
        assert penguins.data.classes[int(row["truth"])] == same["truth"]
        assert row["accuracy"] == same["accuracy"]
        assert float(row["loss"]) == pytest.approx(float(same["loss"]), rel=1e-3)


def test_two_runs_that_were_trained_are_compared_row_by_row(tmp_path, penguins):
    other = train(tmp_path / "other", *penguins_flags(penguins), "--seed", "5", "--epochs", "1")
    pair = [runs.load(run.job_dir) for run in (penguins, other)]
    [group] = comparison.group_runs(pair)
    for metric in ("val_accuracy", "val_loss"):
        rows, difference = comparison.compare_rows(*pair, metric)
        expected = pair[0].metrics[metric] - pair[1].metrics[metric]
        assert difference.pairs == 69 and difference.mean == pytest.approx(expected, abs=1e-4)
        assert set(rows["truth"]) <= set(penguins.data.classes) and len(rows) <= 69
    assert len(rows) > 0  # both may be right everywhere, but not to the last digit


def penguins_flags(run) -> list[str]:
    flags = read_json(run.job_dir / "run.json")["flags"]
    names = ("train_files", "eval_files", "target")
    return [word for name in names for word in (f"--{name.replace('_', '-')}", flags[name])]


@pytest.mark.parametrize("target", ["yes,no", "1.5,2.5"])
def test_a_table_without_a_number_is_learned(tmp_path, target):
    """oneDNN ends a process that is to multiply by a matrix without columns."""
    labels = target.split(",")
    lines = [f"{'pqr'[i % 3]},{'uv'[i // 3 % 2]},{labels[i % 3 > 0]}" for i in range(90)]
    flags = ["--train-files", write("t.csv", "\n".join(["a,b,y", *lines, ""])), "--target", "y"]
    flags += ["--task", "classification" if labels[0] == "yes" else "regression"]
    run = train(tmp_path / "run", *flags)
    falls, _ = read_falls(run.job_dir)
    assert run.data.numbers == 0 and set(falls) == {"a", "b"}
    assert falls["a"][0] > 0.2 and falls["b"][0] < 0.1


def test_float16_trains_with_a_scaled_loss_and_answers_in_float32(tmp_path, penguins, monkeypatch):
    trained, export = [], Training.exported_model

    def keep(training):
        trained.append(training.model)
        return export(training)

    monkeypatch.setattr(Training, "exported_model", keep)
    try:
        run = train(tmp_path / "run", *penguins_flags(penguins), "--precision", "mixed_float16")
    finally:
        keras.config.set_dtype_policy("float32")
    assert type(trained[0].optimizer).__name__ == "LossScaleOptimizer"
    assert run.model.compute_dtype == "float32"
    assert read_json(run.job_dir / "run.json")["metrics"]["val_accuracy"] > 0.9
    assert (run.job_dir / "model/assets.extra/network.onnx").is_file()


@pytest.mark.parametrize(("monitor", "best"), [("val_loss", 2), ("val_accuracy", 1)])
def test_an_epoch_is_best_by_what_outputs_says_of_the_metric(monitor, best):
    training = SimpleNamespace(
        flags=SimpleNamespace(monitor=monitor),
        examples=SimpleNamespace(schema=SimpleNamespace(task="classification")),
        model=SimpleNamespace(variables=[]),
        progress=Progress(),
        best=[],
    )
    rows = [{"epoch": 1, "val_loss": 2.0, "val_accuracy": 0.9}]
    rows.append({"epoch": 2, "val_loss": 1.0, "val_accuracy": 0.8, "val_auc": 0.7})
    for row in rows:
        Training.finish_epoch(training, row)
    assert training.progress.best == best
    training.flags.monitor = "val_auc"  # only the model computes it
    with pytest.raises(JobError, match="METRICS in trainer/outputs.py does not say which way auc"):
        Training.finish_epoch(training, rows[1])
