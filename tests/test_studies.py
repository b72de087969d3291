"""The tuning study of a bake, with real training: interrupted, killed, resumed, and its winner.

It has fewer trials than the bake's file says; `make soak` runs that file as it is.
"""

import csv
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from conftest import fork_trainers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Ctrl-C and kill -9 are another matter there"),
]
TRAIN = ["python", "scripts/train_local.py"]
WAIT = 600  # seconds; generous, for a machine with other things to do
TRIALS = 8  # the fewest of which a report ranks the parameters
BEGUN = "classification of"  # a trainer's first line


class Tuned:
    """A finished study."""

    def __init__(self, project, path, starts):
        self.project, self.path = project, path
        self.starts = starts  # what each start of the command printed
        with open(path / "study.csv", encoding="utf-8", newline="") as file:
            self.rows = list(csv.DictReader(file))  # the best first


def trials_over(project):
    """Those that are told of in the journal as ended."""
    journals = list(project.path.glob("runs/tuning-*/study.journal"))
    text = "".join(journal.read_text(encoding="utf-8") for journal in journals)
    return text.count('"outcome"')


def is_training(project):
    """Whether a trial is in the middle of its training."""
    logs = [log.read_text("utf-8") for log in project.path.glob("runs/tuning-*/*/chief-0.log")]
    starts = [log.rpartition(BEGUN)[2] for log in logs]
    return any("epoch 2/" in start and "done:" not in start for start in starts)


def start_and_stop(project, trials, number):
    """Starts the study, and sends it a signal when so many trials are over; what it printed."""
    log = project.path / "stopped.log"
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [sys.executable, *TRAIN[1:], "configs/tuning.yaml"],
            cwd=project.path,
            env={**os.environ, **fork_trainers()},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        deadline = time.monotonic() + WAIT
        try:
            while trials_over(project) < trials or not is_training(project):
                assert process.poll() is None, log.read_text(encoding="utf-8")
                assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
                time.sleep(0.02)
            process.send_signal(number)
            process.wait(WAIT)
        finally:
            process.kill()
            process.wait()
    return log.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def study(bake):
    """The study of `configs/tuning.yaml`: Ctrl-C, kill -9, then to its end."""
    project = bake(fresh=True)
    config = project.read("configs/tuning.yaml")
    assert config.count("maxTrialCount: 12") == 1
    config = config.replace("maxTrialCount: 12", f"maxTrialCount: {TRIALS}")
    (project.path / "configs/tuning.yaml").write_text(config, encoding="utf-8")
    first = start_and_stop(project, 1, signal.SIGINT)
    second = start_and_stop(project, 3, signal.SIGKILL)
    command = [*TRAIN, "configs/tuning.yaml", "--top", str(TRIALS)]
    done = project.run(command, timeout=1200, **fork_trainers())
    [path] = project.path.glob("runs/tuning-*")
    return Tuned(project, path, [first, second, done.stdout])


def train(project, config, *flags):
    """Runs a job file; its directory and its metrics."""
    done = project.run([*TRAIN, config, *flags], timeout=WAIT, **fork_trainers())
    line = next(line for line in done.stdout.splitlines() if line.startswith("run directory: "))
    return metrics(Path(line.removeprefix("run directory: ")))


def metrics(run_dir):
    return json.loads((run_dir / "run.json").read_text(encoding="utf-8"))["metrics"]


def test_an_interrupted_study_has_all_its_trials_once(study):
    first, second, last = study.starts
    assert "the same command resumes it" in first
    assert "resumes, " in second and "resumes, " in last
    assert sorted(int(row["trial"]) for row in study.rows) == list(range(1, TRIALS + 1))
    assert {row["state"] for row in study.rows} == {"succeeded"}
    assert f"{TRIALS} of {TRIALS} done" in last
    values = [float(row["val_loss"]) for row in study.rows]
    assert values == sorted(values)
    assert all(0 <= float(row["low"]) < float(row["high"]) < 2 for row in study.rows)
    assert "The 95 % interval is as far as val_loss is known" in last


def test_no_directory_is_shared(study):
    for row in study.rows:
        trial = study.path / row["trial"]
        record = json.loads((trial / "run.json").read_text(encoding="utf-8"))
        assert record["status"] == "succeeded"
        assert record["flags"]["learning_rate"] == float(row["learning_rate"])
        assert record["flags"]["dropout"] == float(row["dropout"])
        assert record["environment"]["CLOUD_ML_TRIAL_ID"] == row["trial"]
        assert {"model", "checkpoints", "logs", "report.html"} <= {p.name for p in trial.iterdir()}
        losses = [
            float(epoch["val_loss"])
            for epoch in csv.DictReader((trial / "history.csv").read_text().splitlines())
        ]
        assert float(row["val_loss"]) == min(losses)  # measurementSelectionType says: the best
    assert len(list(study.path.glob("*/model/saved_model.pb"))) == TRIALS


def test_the_winner_beats_the_default_parameters(study):
    job = yaml.safe_load(study.project.read("configs/tuning.yaml"))["trialJobSpec"]
    args = job["workerPoolSpecs"][0]["containerSpec"]["args"]
    default = train(study.project, "configs/cpu.yaml", "--", *args)
    assert float(study.rows[0]["val_loss"]) < default["val_loss"]


def test_the_job_file_of_the_winner_trains_to_its_metric(study):
    best = train(study.project, "configs/best.yaml")
    assert best["val_loss"] == pytest.approx(float(study.rows[0]["val_loss"]), rel=1e-6)


def test_a_trial_that_was_killed_ends_as_if_it_had_not_been(study):
    logs = {row["trial"]: study.path / row["trial"] / "chief-0.log" for row in study.rows}
    went_on = [trial for trial, log in logs.items() if log.read_text().count(BEGUN) > 1]
    assert went_on
    place = [row["trial"] for row in study.rows].index(went_on[0])
    config = "configs/best.yaml" if place == 0 else f"configs/best-{place + 1}.yaml"
    assert f"trial {went_on[0]} of {TRIALS}" in study.project.read(config)
    undisturbed = train(study.project, config)
    assert undisturbed == pytest.approx(metrics(study.path / went_on[0]), rel=1e-6)


@pytest.mark.parametrize("seeds", [2, pytest.param(5, marks=pytest.mark.soak)])
def test_the_study_of_seeds_compares_two_values_of_a_flag(bake, seeds):
    project = bake(fresh=True)
    config = project.read("configs/repeats.yaml")
    assert config.count("maxTrialCount: 10 ") == config.count("maxValue: 5 ") == 1
    config = config.replace("maxTrialCount: 10 ", f"maxTrialCount: {2 * seeds} ")
    config = config.replace("maxValue: 5 ", f"maxValue: {seeds} ")
    (project.path / "configs/repeats.yaml").write_text(config, encoding="utf-8")
    command = [*TRAIN, "configs/repeats.yaml", "--", "--epochs", "2"]
    done = project.run(command, timeout=1200, **fork_trainers())
    [path] = project.path.glob("runs/repeats-*")
    with open(path / "study.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    pairs = {(float(row["learning_rate"]), row["seed"]) for row in rows}
    assert pairs == {(rate, str(seed)) for rate in (0.001, 0.01) for seed in range(1, seeds + 1)}
    assert len({row["val_loss"] for row in rows}) == 2 * seeds  # each seed is another training
    losses = {(row["learning_rate"], row["seed"]): float(row["val_loss"]) for row in rows}
    apart = [losses["0.001", seed] - losses["0.01", seed] for seed in "12345"[:seeds]]
    student = {2: 12.706, 5: 2.776}[seeds]  # Student's t
    half = student * statistics.stdev(apart) / seeds**0.5
    better = ["0.01", "0.001"] if statistics.mean(apart) > 0 else ["0.001", "0.01"]
    verb = "beats" if abs(statistics.mean(apart)) > half else "does not clearly beat"
    verdict = f"learning_rate {better[0]} {verb} learning_rate {better[1]}: val_loss is better by"
    assert verdict in done.stdout and "a tie" not in done.stdout
    assert verdict in (path / "report.html").read_text(encoding="utf-8")
    assert not (project.path / "configs/best.yaml").exists()


@pytest.mark.soak
def test_the_study_of_folds_leaves_each_participant_out_once(bake):
    project = bake(fresh=True, problem="series")
    command = [*TRAIN, "configs/folds.yaml", "--", "--epochs=1"]
    printed = project.run(command, timeout=WAIT, **fork_trainers()).stdout
    [path] = project.path.glob("runs/folds-*")

    left_out = []
    for trial in range(1, 11):
        with open(path / str(trial) / "predictions.csv", encoding="utf-8", newline="") as file:
            [participant] = {row["participant"] for row in csv.DictReader(file)}
        left_out.append(participant)
    values = [
        json.loads((path / str(trial) / "run.json").read_text(encoding="utf-8"))["metrics"]
        for trial in range(1, 11)
    ]
    mean = statistics.fmean(value["val_accuracy"] for value in values)

    assert sorted(left_out) == [f"p{number:02}" for number in range(1, 11)]
    [shown] = re.findall(r"val_accuracy (\S+) ± \S+, over 10 folds", printed)
    assert float(shown) == pytest.approx(mean, abs=0.02)
    page = (path / "report.html").read_text(encoding="utf-8")
    assert f"{shown} ± " in page and "the best mean over folds" in page


def test_the_report_shows_every_trial(study):
    page = (study.path / "report.html").read_text(encoding="utf-8")
    for trial in range(1, TRIALS + 1):
        assert f'href="{trial}/report.html"' in page
    assert page.count("<polyline") == TRIALS
    assert "PED-ANOVA" in page
    assert "://" not in page
