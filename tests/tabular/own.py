"""What the tests know of tables: the trainer as its flags reach it, two trained models, a mistake."""

from __future__ import annotations

import pytest
from conftest import ROOT, Trained, train, tree

from codec.schema import Column
from trainer import data, task
from trainer.engine import runtime

MISTAKE = (["--target", "nothing"], "no column 'nothing'; there are: species")


def load(train_files: str, target: str, *flags: str) -> data.Examples:
    """What the trainer makes of these flags, up to the point where it would import TensorFlow."""
    argv = ["--train-files", train_files, "--target", target, "--job-dir", "runs/a", *flags]
    parsed = task.parse(argv)
    return data.load(parsed, runtime.read(parsed.job_dir))


def column(loaded: data.Data, name: str) -> Column:
    return next(c for c in loaded.schema.columns if c.name == name)


def refusal(train_files: str, target: str, *flags: str) -> str:
    """The line in which the trainer refuses these flags; checks that it left nothing on disk."""
    before = tree()
    with pytest.raises(runtime.JobError) as refused:
        load(train_files, target, *flags)
    message = str(refused.value)
    assert "\n" not in message
    assert tree() == before
    return message


@pytest.fixture(scope="session")
def penguins(tmp_path_factory) -> Trained:
    """A classifier of the data that came with this project's template."""
    return train(tmp_path_factory.mktemp("penguins") / "run", *own_data("species"))


@pytest.fixture(scope="session")
def masses(tmp_path_factory) -> Trained:
    """A regression: the penguins' body mass in grams."""
    return train(tmp_path_factory.mktemp("masses") / "run", *own_data("body_mass_g"))


def own_data(target: str) -> list[str]:
    files = [str(ROOT / "data" / f"penguins_{part}.csv") for part in ("train", "eval")]
    return ["--train-files", files[0], "--eval-files", files[1], "--target", target]
