"""The trials of a study are forked from one process: they are what processes of their own would be.

Where no import of TensorFlow is tested, that process is itself a fork (`fork_trainers`).
"""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from conftest import fork_trainers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere trials are not forked"),
]
WAIT = 120  # seconds; generous, for a machine with other things to do
TENSORFLOW = r"[IWE]\d{4} |WARNING: All log messages before absl"  # its own lines in a log
# A trial first does what the variable ACTS says: "1=wait,2=hang,3=exit,4=report"; with ONCE at its
# first start. One that reports has succeeded without a training.
ACTS = """
import os, pathlib, signal, subprocess, sys, time
acts = dict(pair.split("=") for pair in os.environ.get("ACTS", "").split(",") if pair)
trial = os.environ.get("CLOUD_ML_TRIAL_ID")
act, once = acts.get(trial), os.environ.get("ONCE")
if once and act:
    act = None if os.path.exists(once + trial) else act
    open(once + trial, "w").close()
if act in ("wait", "hang"):
    sleep = [sys.executable, "-c", "import time; time.sleep(300)"]
    subprocess.Popen(sleep, start_new_session=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if act == "hang" else lambda *_: sys.exit(75))
    print("waiting", os.getpid(), flush=True)
    time.sleep(300)
if act == "exit":
    sys.exit("a reason")
if act == "report":
    path = pathlib.Path(os.environ["CLOUD_ML_HP_METRIC_FILE"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"timestamp": 1, "global_step": 1, "val_loss": 0.5}\\n')
    sys.exit()
"""


@pytest.fixture(scope="module")
def project(bake):
    project = bake(fresh=True)
    (project.path / "acts.py").write_text(ACTS, encoding="utf-8")
    main = 'if __name__ == "__main__":\n'
    task = project.read("trainer/task.py").replace(main, f"{main}    import acts\n")
    (project.path / "trainer" / "task.py").write_text(task, encoding="utf-8")
    local = project.read("launcher/local/local.py")
    assert local.count("GRACE = 30.0") == 1  # seconds that a test would wait for
    local = local.replace("GRACE = 30.0", "GRACE = 2.0")
    (project.path / "launcher" / "local" / "local.py").write_text(local, encoding="utf-8")
    return project


class Study:
    """A study of at most three short trials, two at a time; its command runs.

    Args:
        environ: what the command has in addition to this process's variables.
        variables: those of the job file.
    """

    def __init__(self, project, name, *words, trials=3, timeout="600s", environ=None, **variables):
        self.project, self.path = project, project.path / "runs" / name
        job = yaml.safe_load(project.read("configs/tuning.yaml"))
        job |= {"maxTrialCount": trials, "maxFailedTrialCount": trials}
        units = {"parameterId": "hidden_units", "categoricalValueSpec": {"values": ["4", "8"]}}
        seeds = {"parameterId": "seed", "discreteValueSpec": {"values": [1, 2]}}
        job["studySpec"] |= {"parameters": [units, seeds], "algorithm": "GRID_SEARCH"}
        job["trialJobSpec"]["scheduling"]["timeout"] = timeout
        container = job["trialJobSpec"]["workerPoolSpecs"][0]["containerSpec"]
        container["args"] = ["--epochs=3", "--jit=off"]
        container["env"] = [{"name": name, "value": text} for name, text in variables.items()]
        config = project.path / f"{name}.yaml"
        config.write_text(yaml.safe_dump(job), encoding="utf-8")
        command = [sys.executable, "scripts/train_local.py", config, *words]
        self.process = subprocess.Popen(
            [*command, "--", "--job-dir", self.path],
            cwd=project.path,
            env={**os.environ, **(fork_trainers() if environ is None else environ)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self):
        """Waits for the end; returns the exit code. Nothing that the study has started is left."""
        self.printed, _ = self.process.communicate(timeout=WAIT)
        assert not self.processes(), self.printed
        return self.process.returncode

    def processes(self):
        """{process id: that of its parent} of all that the study has started."""
        parents = {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended
                status, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
                if Path(os.readlink(path / "cwd")) == self.project.path and status != "Z":
                    parents[int(path.name)] = int(parent)
        parents.pop(self.process.pid, None)
        return parents

    def wait_for(self, trial):
        """Waits until a trial acts; returns its process id."""
        log, deadline = self.path / trial / "chief-0.log", time.monotonic() + WAIT
        while not (log.exists() and (act := re.search(r"waiting (\d+)", log.read_text("utf-8")))):
            assert self.process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        return int(act[1])

    def rows(self):
        """{trial: its line in study.csv}"""
        with open(self.path / "study.csv", encoding="utf-8", newline="") as file:
            return {row["trial"]: row for row in csv.DictReader(file)}

    def states(self):
        return {trial: row["state"] for trial, row in self.rows().items()}

    def seconds_to_import(self, trial):
        record = json.loads((self.path / trial / "run.json").read_text("utf-8"))
        return record["timings"]["import tensorflow"]


def test_forked_trials_equal_processes_of_their_own(project):
    apart = Study(project, "apart", "--no-fork", environ={}, ACTS="3=exit")
    assert apart.finish() == 0
    forked = Study(project, "forked", environ={}, ACTS="3=exit")
    assert forked.finish() == 0

    assert forked.seconds_to_import("1") < apart.seconds_to_import("1") / 10
    for trial in "123":
        rows, logs = [], []
        for study in (apart, forked):
            rows.append(study.rows()[trial] | {"seconds": ""})
            log = (study.path / trial / "chief-0.log").read_text("utf-8")
            log = re.sub(r" +\((\d.* s.*|.* reused)\)", "", log.replace(str(study.path), "STUDY"))
            logs.append([line for line in log.splitlines() if not re.match(TENSORFLOW, line)])
        assert rows[0] == rows[1]
        assert logs[0] == logs[1]
    for trial in "12":
        names = ["history.csv", "evaluation.json", "schema.json", "model/variables/variables.index"]
        for name in names:
            files = [(study.path / trial / name).read_bytes() for study in (apart, forked)]
            assert files[0] == files[1], name
    assert forked.rows()["3"]["why"] == "exit code 1: a reason"


def test_a_killed_trial_disturbs_no_other(project):
    study = Study(project, "killed", ACTS="1=wait")
    os.kill(study.wait_for("1"), signal.SIGKILL)

    assert study.finish() == 0
    assert study.states() == {"1": "failed", "2": "succeeded", "3": "succeeded"}
    assert study.rows()["1"]["why"] == "killed by signal 9"


def test_a_trial_that_hangs_is_ended_by_its_time_limit(project):
    study = Study(project, "hanging", timeout="5s", ACTS="1=hang,2=report,3=report")
    study.wait_for("1")

    assert study.finish() == 0
    assert study.states() == {"1": "failed", "2": "succeeded", "3": "succeeded"}
    assert study.rows()["1"]["why"].startswith("ran out of time")


def test_trials_end_with_the_process_that_forks_and_start_again_without_it(project):
    study = Study(project, "orphans", ACTS="1=wait,2=hang", ONCE="orphan-")
    waiting, hanging = study.wait_for("1"), study.wait_for("2")
    parents = study.processes()
    assert parents[waiting] == parents[hanging] != study.process.pid
    os.kill(parents[waiting], signal.SIGKILL)

    assert study.finish() == 0
    assert set(study.states().values()) == {"succeeded"}
    assert study.printed.count("was killed with the fork server: it starts again") == 2
    line = "from here on each trial imports TensorFlow by itself: the process that forks was killed"
    assert study.printed.count(line) == 1


def test_a_stopped_study_leaves_no_process(project):
    study = Study(project, "stopped", ACTS="1=wait,2=hang")
    study.wait_for("1")
    study.wait_for("2")
    study.process.send_signal(signal.SIGINT)
    time.sleep(1)
    study.process.send_signal(signal.SIGINT)  # firmly
    assert study.finish() == 75
    assert study.states() == {"1": "unfinished", "2": "unfinished"}


def test_a_killed_study_leaves_no_process(project):
    study = Study(project, "lost", ACTS="1=wait,2=hang")
    study.wait_for("1")
    study.wait_for("2")
    study.process.kill()
    study.process.communicate()
    deadline = time.monotonic() + WAIT
    while study.processes():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_variable_of_the_trial_itself_gives_it_a_process_of_its_own(project):
    """TensorFlow may read any variable when it is imported."""
    study = Study(
        project,
        "variable",
        trials=2,
        environ={},
        XLA_FLAGS="--xla_dump_to=/none/$(CLOUD_ML_TRIAL_ID)",
    )
    assert study.finish() == 0
    assert study.seconds_to_import("1") > 0.2


def test_no_fork_where_an_import_starts_threads(bake):
    project = bake(fresh=True)
    with open(project.path / "trainer" / "model.py", "a", encoding="utf-8") as file:
        file.write("\nimport tensorflow\nONE = tensorflow.constant(1)\n")
    study = Study(project, "threads", trials=2)
    assert study.finish() == 0
    line = r"each trial imports TensorFlow by itself: RuntimeError: importing the trainer starts \d+ thr"
    assert len(re.findall(line, study.printed)) == 1
    assert set(study.states().values()) == {"succeeded"}
