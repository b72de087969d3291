"""A run that was killed ends with the weights that it would have had.

It breaks where something that training changes lies outside of the model and its optimizer, or where
something is drawn at random without the seed.
"""

import subprocess
import sys

import own
from conftest import ROOT, train

# A trainer that ends as kill -9 ends it, just after its first checkpoint.
KILLED = """
import os, sys
from trainer import task
from trainer.engine.checkpoint import Checkpoints

save = Checkpoints.save
Checkpoints.save = lambda *args: (save(*args), os._exit(9))
task.main(sys.argv[1:])
"""


def test_killed_and_resumed_the_weights_are_the_same(trained, tmp_path, capsys):
    flags = ["--job-dir", str(tmp_path / "run"), "--epochs", "2", "--checkpoint-every", "0"]
    command = [sys.executable, "-c", KILLED, *flags, *own.FLAGS]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == 9, killed.stderr
    assert not (tmp_path / "run/model").exists()

    resumed = train(tmp_path / "run", *own.FLAGS)

    assert "resuming" in capsys.readouterr().out
    for one, other in zip(trained.model.variables, resumed.model.variables, strict=True):
        assert one.numpy().tobytes() == other.numpy().tobytes(), one.path
    assert (trained.job_dir / "history.csv").read_bytes() == (
        resumed.job_dir / "history.csv"
    ).read_bytes()
