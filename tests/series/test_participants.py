"""A label that says nothing but who somebody is: what the figures of an honest split, and of a leak, are."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import read_json, train, write

pytestmark = pytest.mark.slow
PARTICIPANTS, CHANNELS = 40, 8


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Each participant has levels of their own, in three recordings; half of them have a disease, by lot."""
    random = np.random.default_rng(0)
    ill = random.permutation(np.arange(PARTICIPANTS) % 2)
    lines = [",".join(["subject", "trial", *(f"c{i}" for i in range(CHANNELS)), "disease"])]
    for who, label in enumerate(ill):
        levels = random.normal(size=CHANNELS)
        for trial in range(3):
            for values in levels + random.normal(0, 0.3, (60, CHANNELS)):
                cells = [f"{value:.3f}" for value in values]
                lines.append(",".join([f"s{who}", str(trial), *cells, ["no", "yes"][label]]))
    path = tmp_path_factory.mktemp("data") / "t.csv"
    return write(str(path), "\n".join([*lines, ""]))


def run(table, tmp_path, *flags):
    """The record of a run, its accuracy with its interval, and that of recordings."""
    flags = ["--data", table, "--target", "disease", "--window", "20", "--hop", "20", *flags]
    trained = train(tmp_path / "run", *flags, "--epochs", "20", "--hidden-units", "32")
    record = read_json(trained.job_dir / "run.json")
    sections = read_json(trained.job_dir / "evaluation.json")["sections"]
    interval = record["intervals"]["val_accuracy"]
    return trained, record["metrics"]["val_accuracy"], interval, sections[0]["values"][0]


def test_on_new_participants_the_interval_includes_chance(table, tmp_path):
    trained, accuracy, (low, high), recordings = run(table, tmp_path)
    held_out = {trained.data.recordings.participants[i] for i in trained.data.eval.number}
    training = {trained.data.recordings.participants[i] for i in trained.data.train.number}
    assert len(held_out) == 8 and not held_out & training
    assert low < 0.5 < high and low < accuracy < high
    assert recordings["interval"][0] < 0.5 < recordings["interval"][1]
    assert "warning" not in trained.data.describe()
    last = (trained.job_dir / "history.csv").read_text(encoding="utf-8").splitlines()[-1]
    assert float(last.split(",")[2]) > 0.9  # it has learned whom it knows


def test_a_split_by_row_is_too_good_and_warned_of(table, tmp_path):
    trained, accuracy, *_ = run(table, tmp_path, "--split", "row")
    assert accuracy > 0.9
    assert "warning: --split row holds out windows of recordings that are in training, too" in (
        trained.data.describe()
    )
