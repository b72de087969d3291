"""What the tests know of recordings: waves made on the spot, the trainer as its flags reach it."""

from __future__ import annotations

import numpy as np
import pytest
from trainer import data, task
from trainer.engine import runtime

from conftest import Trained, train, tree, write

FLAGS: list[str] = []
MISTAKE = (["--target", "nothing"], "no column 'nothing'; there are: ")
SHAPES = ("saw", "sine")
COLUMNS = "subject,trial,t,x,y,shape,phase,size"


def make_rows(
    participants: int = 6, trials: int = 4, samples: int = 60, seed: int = 0, lost: int = 0
) -> list:
    """Samples of waves: `shape` and `size` are of a recording, `phase` ("up", "down") of each sample.

    Of so many samples, one has lost its x; of 0 none.
    """
    random, rows = np.random.default_rng(seed), []
    for who in range(participants):
        for trial in range(trials):
            turns = random.uniform(0, 1) + np.linspace(0, samples / 15, samples)
            size, shape = random.uniform(1, 3), SHAPES[trial % 2]
            x = size * (np.sin(2 * np.pi * turns) if shape == "sine" else turns % 1 * 2 - 1)
            x += random.normal(0, 0.05, samples)
            y = np.cos(2 * np.pi * turns) + random.normal(0, 0.05, samples)
            phase = np.where(np.gradient(x) > 0, "up", "down")
            for i in range(samples):
                cells = [f"p{who:02}", trial, f"{0.04 * i:.2f}", f"{x[i]:.4f}", f"{y[i]:.4f}"]
                cells[3] = "" if lost and i % lost == 7 else cells[3]
                rows.append([*cells, shape, phase[i], f"{size:.4f}"])
    return rows


def write_waves(path: str = "waves.csv", rows: list | None = None, columns: str = COLUMNS) -> str:
    lines = [columns, *(",".join(map(str, row)) for row in rows or make_rows(lost=23))]
    return write(path, "\n".join([*lines, ""]))


def flags_of(task: str, path: str) -> list[str]:
    """Flags of a training for a task, on windows of 32 samples."""
    target = {"classification": "shape", "regression": "size", "labelling": "phase"}.get(task)
    about = ["--target", target] if target else ["--target", "x", "--horizon", "8"]
    return ["--data", path, "--channels", "x,y", "--window", "32", "--hop", "16", *about]


def load(*flags: str) -> data.Examples:
    """What the trainer makes of these flags, up to the point where it would import TensorFlow."""
    parsed = task.parse(["--job-dir", "runs/a", *flags])
    return data.load(parsed, runtime.read(parsed.job_dir))


def refusal(*flags: str) -> str:
    """The line in which the trainer refuses these flags; checks that it left nothing on disk."""

    def read_tree():  # recordings may stay in the cache
        return [name for name in tree() if not name.startswith("runs") or "partial-" in name]

    before = read_tree()
    with pytest.raises(runtime.JobError) as refused:
        load(*flags)
    message = str(refused.value)
    assert "\n" not in message and read_tree() == before
    return message


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """runs(task): a model of waves that was trained for two epochs."""
    made: dict[str, Trained] = {}

    def make(name: str) -> Trained:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            path = write_waves(str(folder / "waves.csv"))
            flags = flags_of(name, path) + ["--hidden-units", "8,8", "--batch-size", "16"]
            made[name] = train(folder / "run", *flags)
        return made[name]

    return make
