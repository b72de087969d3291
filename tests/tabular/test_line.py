"""The straight line that a model begins with, and the defaults of flags that depend on the table."""

from __future__ import annotations

import re

import numpy as np
import pytest
from conftest import read_json, train, write
from own import load, own_data

from trainer import options, task
from trainer.columns import line

pytestmark = pytest.mark.slow


def make_table(rows, outlier="", classes=False, columns=2) -> str:
    """A CSV file: numbers, a category of three values, and a target that is a line of them."""
    rng = np.random.default_rng(0)
    numbers, category = rng.normal(size=(rows, columns)), rng.integers(3, size=rows)
    values = 3 * numbers[:, 0] - numbers[:, 1] + np.array([0, 5, -5])[category] + 7
    values += 0.1 * rng.normal(size=rows)
    targets = [*np.where(values > 7, "high", "low")] if classes else [f"{v:.5f}" for v in values]
    if outlier:
        targets[rows // 2] = outlier
    names = [f"x{i}" for i in range(columns)]
    lines = [",".join([*names, "c", "y"])]
    for row, c, target in zip(numbers, category, targets, strict=True):
        lines.append(",".join([*(f"{x:.5f}" for x in row), "uvw"[c], target]))
    return write("t.csv", "\n".join(lines))


def read(examples, part="train") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    arrays = getattr(examples, part).arrays()
    return tuple(np.array(arrays[name]) for name in ("numbers", "categories", "target"))


def predict(examples, numbers, categories) -> np.ndarray:
    kernel, places, bias = examples.line
    return numbers @ kernel + places[categories].sum(axis=1) + bias


@pytest.mark.parametrize("outlier", ["", "1e6"])
def test_the_line_finds_a_straight_target_whatever_one_slip_says(outlier):
    examples = load(make_table(300, outlier), "y")

    numbers, categories, target = read(examples, "eval")
    values = predict(examples, numbers, categories) * examples.std + examples.mean

    right = target[:, 0] < 1e5
    assert np.sqrt(np.mean(np.square(values - target)[right])) < 0.2


@pytest.mark.parametrize("columns", [2, 400])  # more rows than columns, and the other way round
def test_the_line_is_that_of_ridge_regression(columns, monkeypatch):
    monkeypatch.setattr(line, "RIDGES", [3.0])
    examples = load(make_table(200, columns=columns), "y")

    numbers, categories, target = read(examples)
    features = np.column_stack([numbers, np.eye(examples.vocabulary)[categories[:, 0]]])
    centred = features - features.mean(axis=0)
    weights = np.linalg.solve(
        centred.T @ centred + 3 * np.eye(features.shape[1]),
        centred.T @ ((target - examples.mean) / examples.std),
    )

    np.testing.assert_allclose(examples.line.kernel, weights[:columns], atol=1e-5)
    np.testing.assert_allclose(examples.line.places, weights[columns:], atol=1e-5)


def test_the_line_of_classes_is_that_of_logistic_regression():
    """At the best weights nothing is left to gain: the slope of the loss and its ridge is 0."""
    examples = load(make_table(300, classes=True), "y")

    numbers, categories, target = read(examples)
    logits = predict(examples, numbers, categories)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    left = np.eye(2)[target] - shares

    np.testing.assert_allclose(numbers.T @ left, examples.line.kernel, atol=0.05)
    np.testing.assert_allclose(left.sum(axis=0), 0, atol=0.05)
    assert np.mean(logits.argmax(axis=1) == target) > 0.97


def test_a_large_or_wide_table_is_fitted_to_a_part_of_it(monkeypatch):
    monkeypatch.setattr(line, "ROWS", 50)
    monkeypatch.setattr(line, "PLACES", 2)
    examples = load(make_table(400), "y")

    numbers, categories, target = read(examples)
    error = predict(examples, numbers, categories) - (target - examples.mean) / examples.std

    assert np.count_nonzero(examples.line.places) == 2
    frequent = np.argsort(-np.bincount(categories[:, 0]), kind="stable")[:2]
    assert np.mean(np.square(error[np.isin(categories[:, 0], frequent)])) < 0.1


def choose(rows, *flags) -> dict:
    """The flags of a run without a model, as they are when training begins."""
    from trainer.engine.parser import derive_defaults

    parsed = task.parse(["--job-dir", "runs/a", *flags])
    derive_defaults(parsed, type("Examples", (), {"train": type("Part", (), {"rows": rows})}))
    return vars(parsed)


def test_defaults_suit_the_rows():
    """A larger table has larger batches, fewer epochs and less that holds the network back."""
    tables = (2, 60, 300, 3000, 30_000, 300_000, 3_000_000)
    chosen = [choose(rows) for rows in tables]

    def values(name):
        return [one[name] for one in chosen]

    assert values("batch_size") == sorted(values("batch_size"))
    for name in ("epochs", "weight_decay", "dropout"):
        assert values(name) == sorted(values(name), reverse=True), name
    steps = [
        one["epochs"] * -(-rows // one["batch_size"])
        for rows, one in zip(tables, chosen, strict=True)
    ]
    assert min(steps[1:]) >= 150 and max(steps) < 60_000


@pytest.mark.parametrize(
    "steps, rows, pays",
    [(400, 3200, True), (50, 3200, False), (122, 500_000, True), (24, 100_000, False)],
)
def test_xla_compiles_where_an_epoch_pays_for_it(steps, rows, pays):
    """By many small steps, or by fewer large ones."""
    import tensorflow as tf

    from trainer.engine.training import choose_xla

    assert choose_xla("auto", tf.distribute.get_strategy(), steps, rows) == pays


def test_a_flag_that_is_given_stays():
    given = ["--epochs", "3", "--batch-size", "7", "--hidden-units", "", "--dropout", "0"]
    given += ["--weight-decay", "0", "--learning-rate", "0.5"]

    flags = choose(300, *given)

    assert (flags["epochs"], flags["batch_size"], flags["hidden_units"]) == (3, 7, ())
    assert (flags["dropout"], flags["weight_decay"], flags["learning_rate"]) == (0, 0, 0.5)


def test_chosen_flags_are_logged_recorded_and_repeated(tmp_path, capsys):
    first = train(tmp_path / "first", *own_data("species"), "--dropout", "0.1")

    said = re.search(
        r"^chosen for 275 training rows: (.*); give a flag", capsys.readouterr().out, re.M
    )
    recorded = read_json(first.job_dir / "run.json")["flags"]
    words = said[1].split()
    for flag, value in zip(words[::2], words[1::2], strict=True):
        kept = recorded[flag.removeprefix("--").replace("-", "_")]
        assert value == (",".join(map(str, kept)) if isinstance(kept, list) else f"{kept:g}")
    assert set(words[::2]) == {
        f"--{name.replace('_', '-')}"
        for name in options.derive(task.parse([]), first.data)
        if name not in ("epochs", "dropout")  # they were given
    }

    again = train(tmp_path / "again", "--repeat", str(first.job_dir / "run.json"))

    assert "chosen for" not in capsys.readouterr().out
    assert read_json(again.job_dir / "run.json")["flags"]["batch_size"] == recorded["batch_size"]
    for one, other in zip(first.model.variables, again.model.variables, strict=True):
        assert one.numpy().tobytes() == other.numpy().tobytes(), one.path
