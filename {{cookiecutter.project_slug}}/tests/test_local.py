"""One local run of a job file, as `scripts/train_local.py` starts it: a model and a report come out."""

import subprocess
import sys

import own
from conftest import read_json


def test_a_local_run_leaves_a_model_and_a_report(project):
    words = ["configs/smoke.yaml", "--", *own.FLAGS]
    command = [sys.executable, "scripts/train_local.py", *words]
    done = subprocess.run(command, cwd=project, capture_output=True, encoding="utf-8")

    assert done.returncode == 0, done.stdout + done.stderr
    [run_dir] = (project / "runs").glob("smoke-*")
    assert read_json(run_dir / "run.json")["status"] == "succeeded"
    assert (run_dir / "model/saved_model.pb").is_file()
    assert "</html>" in (run_dir / "report.html").read_text(encoding="utf-8")
    assert f"report: {run_dir / 'report.html'}" in done.stdout
