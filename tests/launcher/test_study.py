"""Tuning studies: what is searched, when a trial is stopped, what survives, what a study leaves.

The trials are real processes: `toy_trainer.py`, which starts in no time.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, read_json, write

from launcher.jobfile import spec
from launcher.jobfile.study import read_study
from launcher.local import contract
from launcher.study.trial import Curves, below_median, read_reports
from launcher.study.search import Search, list_flags
from launcher.study.study import Study

pytestmark = pytest.mark.slow

WAIT = 120  # seconds; generous, for a machine with other things to do
X = {"parameterId": "x", "doubleValueSpec": {"minValue": 0.01, "maxValue": 1}}
EVERY_KIND = [
    {**X, "scaleType": "UNIT_LOG_SCALE"},
    {
        "parameterId": "momentum",
        "doubleValueSpec": {"minValue": 0.5, "maxValue": 0.999},
        "scaleType": "UNIT_REVERSE_LOG_SCALE",
    },
    {
        "parameterId": "layers",
        "integerValueSpec": {"minValue": "1", "maxValue": "4"},  # int64 may come as a text
        "scaleType": "UNIT_LINEAR_SCALE",
    },
    {"parameterId": "units", "discreteValueSpec": {"values": [8, 16, 64]}},
    {
        "parameterId": "optimizer",
        "categoricalValueSpec": {"values": ["adam", "sgd"]},
        "conditionalParameterSpecs": [
            {
                "parentCategoricalValues": {"values": ["adam"]},
                "parameterSpec": {
                    "parameterId": "decay",
                    "doubleValueSpec": {"minValue": 0, "maxValue": 1},
                },
            },
            {
                "parentCategoricalValues": {"values": ["sgd"]},
                "parameterSpec": {
                    "parameterId": "decay",
                    "categoricalValueSpec": {"values": ["none", "step"]},
                    "conditionalParameterSpecs": [
                        {
                            "parentCategoricalValues": {"values": ["step"]},
                            "parameterSpec": {
                                "parameterId": "every",
                                "integerValueSpec": {"minValue": 10, "maxValue": 20},
                            },
                        }
                    ],
                },
            },
        ],
    },
]


def choices(id: str, *values: str) -> dict:
    return {"parameterId": id, "categoricalValueSpec": {"values": list(values)}}


def numbers(id: str, *values: float) -> dict:
    return {"parameterId": id, "discreteValueSpec": {"values": list(values)}}


def grid(*parameters: dict, **fields) -> dict:
    return {"parameters": list(parameters), "algorithm": "GRID_SEARCH", **fields}


@pytest.fixture
def project(project) -> Path:
    """With the toy trainer as a module of its own."""
    write(
        str(project / "tests" / "toy_trainer.py"), (ROOT / "tests" / "toy_trainer.py").read_bytes()
    )
    return project


def job_file(study_spec: dict, *args: str, path: str = "toy.yaml", **fields) -> Path:
    """A HyperparameterTuningJob of the toy trainer."""
    package = {
        "executorImageUri": "us-docker.pkg.dev/project/repo/image:latest",
        "packageUris": ["gs://bucket/trainer.tar.gz"],
        "pythonModule": "tests.toy_trainer",
        "args": list(args),
    }
    pool = {"machineSpec": {"machineType": "n2-standard-4"}, "replicaCount": 1}
    message = {
        "displayName": "toy",
        "maxTrialCount": 6,
        "parallelTrialCount": 2,
        "studySpec": {"metrics": [{"metricId": "loss", "goal": "MINIMIZE"}], **study_spec},
        "trialJobSpec": {
            "workerPoolSpecs": [{**pool, "pythonPackageSpec": package}],
            "scheduling": {"timeout": "600s"},
        },
        **fields,
    }
    return Path(write(path, yaml.safe_dump(message, allow_unicode=True)))


def make(path: Path, *flags: str, study_dir: Path | None = None, **options) -> Study:
    Path("configs").mkdir(exist_ok=True)
    places = {"runs_dir": Path("runs").absolute(), "configs": Path("configs").absolute()}
    return Study(spec.load(path), flags, study_dir, **places, **options)


def table(study: Study) -> list[dict]:
    with open(study.path / "study.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def starts(study_dir: Path) -> list[dict]:
    """Every start of every trial, by time."""
    lines = [line for path in study_dir.glob("*/starts.jsonl") for line in read(path)]
    return sorted(map(json.loads, lines), key=lambda start: start["at"])


def search(study_spec: dict, count: int, path: str = "study.journal") -> Search:
    return Search(Path(path), read_study(study_spec), count)


def tried(study_spec: dict, count: int, path: str, worth=lambda values: values["x"]) -> list[dict]:
    """The parameters of a study without trainers."""
    found = search(study_spec, count, path)
    for trial in found.unfinished():
        found.finish(replace(trial, state="succeeded", value=worth(trial.parameters)))
    while trial := found.next():
        found.finish(replace(trial, state="succeeded", value=worth(trial.parameters)))
    return [trial.parameters for trial in found.trials()]


# What is searched


def test_every_kind_and_scale_gives_the_values_that_it_promises():
    random = {"parameters": EVERY_KIND, "algorithm": "RANDOM_SEARCH"}
    found = tried(random, 80, "random")
    assert all(0.01 <= each["x"] <= 1 for each in found)
    assert 0.07 < statistics.median(each["x"] for each in found) < 0.14  # the middle of its logs
    assert all(0.5 <= each["momentum"] <= 0.999 for each in found)
    # As far from the top, 0.999, as a logarithmic scale's middle, 0.707, is from the bottom.
    assert 0.76 < statistics.median(each["momentum"] for each in found) < 0.82
    assert {each["layers"] for each in found} == {1, 2, 3, 4}
    assert {each["units"] for each in found} == {8.0, 16.0, 64.0}
    assert {each["optimizer"] for each in found} == {"adam", "sgd"}


def test_a_condition_decides_which_parameters_there_are():
    found = tried({"parameters": EVERY_KIND}, 60, "tpe")
    kinds = {(each["optimizer"], type(each["decay"]).__name__, "every" in each) for each in found}
    assert kinds == {
        ("adam", "float", False),
        ("sgd", "str", False),
        ("sgd", "str", True),
    }
    assert all(each["decay"] == "step" for each in found if "every" in each)


def test_parameters_reach_the_trainer_as_the_service_passes_them():
    chosen = {"learning_rate": 0.01, "layers": 3, "units": 32.0, "optimizer": "adam"}
    assert list_flags(chosen) == [
        *("--learning_rate", "0.01", "--layers", "3"),
        *("--units", "32.0", "--optimizer", "adam"),
    ]


def test_a_grid_visits_every_point_once_and_ends():
    below = {
        "parentIntValues": {"values": ["2"]},
        "parameterSpec": {**choices("kind", "a", "b")},
    }
    layers = {"parameterId": "layers", "integerValueSpec": {"minValue": 1, "maxValue": 2}}
    study_spec = grid({**layers, "conditionalParameterSpecs": [below]}, numbers("x", 0.5, 1))
    found = tried(study_spec, 100, "grid")
    assert found == [
        {"layers": 1, "x": 0.5},
        {"layers": 1, "x": 1.0},
        {"layers": 2, "kind": "a", "x": 0.5},
        {"layers": 2, "kind": "a", "x": 1.0},
        {"layers": 2, "kind": "b", "x": 0.5},
        {"layers": 2, "kind": "b", "x": 1.0},
    ]
    assert tried(study_spec, 3, "cut") == found[:3]
    endless = {"parameterId": "seed", "integerValueSpec": {"minValue": 0, "maxValue": 2**40}}
    assert len(tried(grid(numbers("x", 1), endless), 5, "endless")) == 5


@pytest.mark.parametrize("algorithm", [None, "RANDOM_SEARCH"])
def test_a_study_repeats_itself_even_if_it_was_interrupted(algorithm):
    study_spec = {"parameters": EVERY_KIND, "algorithm": algorithm}
    whole = tried(study_spec, 16, "whole")
    assert tried(study_spec, 16, "again") == whole
    assert len({json.dumps(each) for each in whole}) == 16

    tried(study_spec, 9, "in-two")
    search(study_spec, 16, "in-two").next()  # begun, and never ended
    with open("in-two", "ab") as file:
        file.write(b'{"op_code": 4, "wor')  # half a line, as a crash leaves it
    assert tried(study_spec, 16, "in-two") == whole


def test_the_search_learns():
    def worth(values):
        return abs(math.log10(values["x"]) + 0.5) + (0 if values["optimizer"] == "adam" else 1)

    found = tried({"parameters": EVERY_KIND}, 40, "tpe", worth)
    first, last = (statistics.fmean(map(worth, part)) for part in (found[:10], found[-10:]))
    assert last < first / 2


def test_a_study_of_two_metrics_is_refused():
    metrics = [{"metricId": name, "goal": "MINIMIZE"} for name in ("loss", "seconds")]
    path = job_file({"parameters": [X], "metrics": metrics})
    with pytest.raises(spec.SpecError) as refused:
        make(path)
    assert re.match(
        r"toy.yaml:\d+: studySpec.metrics\[1\]: here a study has one", str(refused.value)
    )
    assert "\n" not in str(refused.value)
    assert not Path("runs").exists()


def test_a_flag_that_the_study_sets_is_refused():
    with pytest.raises(spec.SpecError, match="--learning-rate: the study sets it"):
        make(job_file(grid(numbers("learning_rate", 1, 2))), "--learning-rate=3")


# When a trial is stopped


def test_below_the_median_of_the_means_up_to_the_same_step():
    others = [[(1, 1.0), (2, 3.0), (9, 100.0)], [(1, 2.0), (2, 4.0)], [(1, 5.0), (2, 7.0)]]
    assert below_median([(1, 1.9)], others)  # the median of 1, 2 and 5 is 2
    assert not below_median([(1, 2.0)], others)
    assert below_median([(1, 2.0), (2, 2.9)], others)  # of 2, 3 and 6 it is 3
    assert not below_median([(1, 3.1), (2, 0.0)], others)  # its best counts
    assert not below_median([(1, 0.0)], others[:2])  # too few to say


@pytest.mark.parametrize("rule", ["decayCurveStoppingSpec", "convexAutomatedStoppingSpec"])
def test_a_rule_that_only_vertex_ai_has_is_refused(rule):
    path = job_file(grid(numbers("floor", 1, 2), **{rule: {}}))
    words = rf"toy.yaml:\d+: studySpec.{rule}: only Vertex AI .*; write medianAutomatedStoppingSpec"
    with pytest.raises(spec.SpecError, match=words):
        make(path)


@pytest.mark.parametrize("by_time", [False, True])
def test_a_running_trial_is_stopped(by_time):
    floors = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 9]
    rules = {"medianAutomatedStoppingSpec": {"useElapsedDuration": by_time}}
    slow = {"parameterSpec": numbers("pause", 0.06), "parentDiscreteValues": {"values": [9]}}
    floor = numbers("floor", *floors) | {"conditionalParameterSpecs": [slow]}
    path = job_file(grid(floor, **rules), "--x=0.3", "--steps=40", maxTrialCount=7)
    study = make(path)
    assert study.run() == 0
    rows = {float(row["floor"]): row for row in table(study)}
    assert rows[0.1]["state"] == rows[0.2]["state"] == "succeeded"
    last = rows[9]
    assert last["state"] == "stopped early"
    assert float(last["loss"]) == pytest.approx(9 + 1 / float(last["step"]))  # its best by then
    assert float(last["step"]) < 40
    assert len(starts(study.path)) == 7
    assert "stopped early" in (study.path / "report.html").read_text(encoding="utf-8")


# What is measured


def test_a_torn_report_file_is_read_as_far_as_it_makes_sense():
    write("metrics", "")
    assert read_reports(Path("metrics"), "loss") == {}
    assert read_reports(Path("none"), "loss") == {}
    lines = [
        '{"timestamp": 1.5, "trial": "1", "loss": "0.5", "global_step": "1", "checkpoint_path": ""}',
        '{"timestamp": 1.6, "trial": "1", "accuracy": "0.9", "global_step": "1"}',
        '{"timestamp": 2.5, "trial": "1", "loss": "nan", "global_step": "2"}',
        '{"timestamp": 3.5, "trial": "1", "loss": 0.25, "global_step": 3.0}',
        "[]\nnull\n7",
        '{"timestamp": 4.5, "trial": "1", "loss": "0.1',
    ]
    write("metrics", "\n".join(lines))
    found = read_reports(Path("metrics"), "loss")
    assert repr(found) == "{1.0: (0.5, 1.5), 2.0: (nan, 2.5), 3.0: (0.25, 3.5)}"


def test_measurements_are_kept_once_and_survive_a_crash():
    curves = Curves(Path("measurements.csv"))
    for _ in range(3):  # the file is read again and again
        curves.add(1, 2.0, 0.5, 1.0)
        curves.add(1, 1.0, math.nan, 0.5)
    with open("measurements.csv", "a") as file:
        file.write("1,3.0,0.")
    again = Curves(Path("measurements.csv"))
    assert repr(again.of(1)) == "[(1.0, nan, 0.5), (2.0, 0.5, 1.0)]"
    again.add(1, 3.0, 0.75, 2.0)
    assert Curves(Path("measurements.csv")).of(1)[-1] == (3.0, 0.75, 2.0)
    assert again.chosen(1, best=False, maximize=False) == (3.0, 0.75)
    assert again.chosen(1, best=True, maximize=False) == (2.0, 0.5)
    assert again.chosen(2, best=True, maximize=False) is None


# Whole studies


def test_a_study_of_every_kind_leaves_all_that_it_promises(capsys):
    path = job_file(
        {"parameters": EVERY_KIND}, "--pause=0.01", maxTrialCount=30, parallelTrialCount=3
    )
    study = make(path, "--steps=4", top=2)
    assert study.run() == 0
    rows = table(study)
    assert sorted(int(row["trial"]) for row in rows) == list(range(1, 31))
    values = [float(row["loss"]) for row in rows]
    assert values == sorted(values)

    for row in rows:  # each in a directory of its own, with its own parameters and those of all
        [start] = starts_of = [s for s in starts(study.path) if s["trial"] == row["trial"]]
        assert len(starts_of) == 1
        argv = start["argv"]
        assert argv[:2] == ["--pause=0.01", "--steps=4"]
        given = dict(zip(argv[2::2], argv[3::2], strict=True))
        assert given == {
            f"--{id}": row[id]
            for id in ("x", "momentum", "layers", "units", "optimizer", "decay", "every")
            if row[id]
        }
        expected = (float(row["x"]) - 0.3) ** 2 + 1 / 4
        assert float(row["loss"]) == pytest.approx(expected)
        assert (study.path / row["trial"] / "ended").exists()

    begins = [(start["at"], 1) for start in starts(study.path)]
    ends = [(float(p.read_text()), -1) for p in study.path.glob("*/ended")]
    running = most = 0
    for _, change in sorted(begins + ends):
        running += change
        most = max(most, running)
    assert 2 <= most <= 3

    printed = capsys.readouterr().out
    assert "30 trials, 3 at a time, by Bayesian search (optuna 5" in printed
    assert f"best {rows[0]['loss'][:4]}" in printed
    assert "30 of 30 done" in printed and " left" in printed
    best_line = next(line for line in printed.splitlines() if line.startswith(" 1  "))
    assert best_line.split()[1] == rows[0]["trial"]

    page = (study.path / "report.html").read_text(encoding="utf-8")
    assert page.count("<polyline") == 30
    assert "PED-ANOVA" in page
    assert all(f'href="{trial}/chief-0.log"' in page for trial in range(1, 31))
    assert "src=" in page and 'src="http' not in page

    for name, row in (("best.yaml", rows[0]), ("best-2.yaml", rows[1])):
        text = Path("configs", name).read_text(encoding="utf-8")
        assert f"trial {row['trial']} of 30, loss" in text.splitlines()[1]
        best = spec.load(Path("configs", name))
        assert not best.tuning
        [replica] = contract.list_replicas(best)
        assert replica.program.args[:2] == ("--pause=0.01", "--steps=4")
        assert f"--x={row['x']}" in replica.program.args
        assert f"--units={row['units']}" in replica.program.args
        assert '"--x=' in text


def test_trials_within_the_interval_of_the_best_are_a_tie(capsys):
    """Losses of 0.33333, 0.33343 and 0.69333: a tenth of a thousandth means nothing here."""
    path = job_file(grid(numbers("x", 0.3, 0.31, 0.9)), "--error=0.01")
    study = make(path)
    assert study.run() == 0

    printed = capsys.readouterr().out
    places = re.findall(r"^ *(=?\d+) +\d+ +0\.\d+ +0\.\d+ to 0\.\d+ ", printed, re.MULTILINE)
    assert places == ["=1", "=1", "3"]
    explained = (
        "The 95 % interval is as far as loss is known from these held-out rows: others, as many "
        "(69), would give other values. Trials 1, 2 are within the interval of the best: a tie, "
        "as far as these rows show."
    )
    assert explained in printed
    assert explained in (study.path / "report.html").read_text(encoding="utf-8")
    for row in table(study):
        assert float(row["high"]) - float(row["low"]) == pytest.approx(0.02)


def test_a_study_of_seeds_compares_its_settings(capsys):
    """Losses of 0.33, 0.33 and 0.37, each with noise of about 0.007: the last one is worse."""
    seeds = {"parameterId": "seed", "integerValueSpec": {"minValue": 1, "maxValue": 4}}
    path = job_file(grid(numbers("x", 0.3, 0.31, 0.5), seeds), maxTrialCount=12)
    study = make(path)
    assert study.run() == 0

    by_x = {}
    for row in table(study):
        by_x.setdefault(float(row["x"]), {})[row["seed"]] = float(row["loss"])
    means = {x: statistics.mean(values.values()) for x, values in by_x.items()}
    first, second, last = sorted(means, key=means.get)
    assert last == 0.5 and all(set(values) == {"1", "2", "3", "4"} for values in by_x.values())
    apart = [by_x[last][seed] - by_x[first][seed] for seed in "1234"]
    half = 3.182 * statistics.stdev(apart) / 2  # Student's t with three degrees of freedom
    verdict = rf"x {first:g} beats x 0.5: loss is better by (\S+) \(95 % interval: (\S+) to (\S+)\), over the same 4"
    printed = capsys.readouterr().out
    page = (study.path / "report.html").read_text(encoding="utf-8")
    for text in (printed, page):
        mean, low, high = map(float, re.search(verdict, text).groups())
        assert mean == pytest.approx(means[last] - means[first], abs=0.001)
        assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.002)
        assert f"x {first:g} does not clearly beat x {second:g}: loss is better by" in text
    spread = statistics.stdev(by_x[first].values())
    assert f"x {first:g}: loss {means[first]:.3f} ± {spread:.2g}, over 4 seeds" in printed
    assert "The best trial" not in page and not Path("configs/best.yaml").exists()


def test_a_study_of_folds_compares_its_settings(capsys):
    """The toy ignores its fold, so that a setting has no spread, and the difference is certain."""
    folds = {"parameterId": "fold", "integerValueSpec": {"minValue": 1, "maxValue": 3}}
    assert make(job_file(grid(numbers("x", 0.3, 0.5), folds), maxTrialCount=6)).run() == 0
    printed = capsys.readouterr().out
    assert re.search(r"^x 0.3: loss \S+, over 3 folds$", printed, re.MULTILINE)
    assert re.search(r"^x 0.3 beats x 0.5: .*, over the same 3 folds\.$", printed, re.MULTILINE)


def test_trials_that_fail_do_not_end_a_study(capsys):
    path = job_file(grid(choices("fault", "exit", "nan", "silent", "none")), "--x=0.3")
    study = make(path)
    assert study.run() == 0
    rows = {row["fault"]: row for row in table(study)}
    assert {fault: row["state"] for fault, row in rows.items()} == {
        "none": "succeeded",
        "exit": "failed",
        "nan": "infeasible",
        "silent": "infeasible",
    }
    assert table(study)[0]["fault"] == "none"
    assert rows["exit"]["why"] == "exit code 2: this trial was told to fail"
    assert rows["nan"]["why"] == "loss was not a finite number"
    assert rows["silent"]["why"] == "it never reported loss"
    assert "trial 1 failed: exit code 2" in capsys.readouterr().out


def test_a_trial_whose_log_cannot_be_written_says_so(capsys):
    study = make(job_file(grid(numbers("x", 1))))
    (study.path / "1" / "chief-0.log").mkdir(parents=True)
    assert study.run() == 1
    [row] = table(study)
    assert row["state"] == "failed" and str(study.path / "1" / "chief-0.log") in row["why"]
    assert f"trial 1 failed: {row['why']}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("chosen", "state"), [("LAST_MEASUREMENT", "infeasible"), ("BEST_MEASUREMENT", "succeeded")]
)
def test_the_last_measurement_counts_or_the_best(chosen, state):
    study_spec = grid(choices("fault", "nan"), measurementSelectionType=chosen)
    study = make(job_file(study_spec, "--x=0.3", "--steps=4"))
    study.run()
    [row] = table(study)
    assert row["state"] == state
    assert row["step"] == ("" if state == "infeasible" else "3.0")


def test_a_metric_that_is_never_reported_is_named():
    study = make(job_file(grid(numbers("x", 1)), "--metric=accuracy"))
    assert study.run() == 1
    [row] = table(study)
    assert row["why"] == "it never reported loss"
    assert not list(Path("configs").iterdir())


@pytest.mark.parametrize(("limit", "tried"), [({}, 5), ({"maxFailedTrialCount": 2}, 2)])
def test_a_study_gives_up_when_too_many_trials_fail(limit, tried, capsys):
    xs = numbers("x", *range(1, 9))
    path = job_file(grid(xs), "--fault=exit", maxTrialCount=8, parallelTrialCount=1, **limit)
    study = make(path)
    assert study.run() == 1
    assert len(starts(study.path)) == tried
    assert read_json(study.path / "study.json")["state"] == "failed"
    assert f"{tried} trials failed" in capsys.readouterr().out
    # It is not to go on by itself; and looked at again, it starts nothing.
    assert make(path, study_dir=study.path).run() == 1
    assert len(starts(study.path)) == tried


# What survives


def test_a_study_that_is_stopped_goes_on(capsys):
    hold = Path(write("hold", "1")).absolute()
    path = job_file(grid(numbers("x", 0.1, 0.2, 0.3, 0.4)), "--steps=30", f"--hold={hold}")
    study = make(path)

    def stop():
        while not all((study.path / id / "checkpoints" / "step").exists() for id in "12"):
            time.sleep(0.05)
        study.stop()

    threading.Thread(target=stop, daemon=True).start()
    assert study.run() == 75
    assert "the same command resumes it" in capsys.readouterr().out
    assert sorted(start["trial"] for start in starts(study.path)) == ["1", "2"]
    left = int((study.path / "1" / "checkpoints" / "step").read_text())
    assert 0 < left < 30
    hold.unlink()
    assert {row["state"] for row in table(study)} == {"unfinished"}
    assert not list(Path("configs").iterdir())

    again = make(path)
    assert again.path == study.path and not again.dir.was_killed
    assert again.run() == 0
    begun = sorted((start["trial"], *start["argv"]) for start in starts(study.path))
    assert [trial for trial, *_ in begun] == ["1", "1", "2", "2", "3", "4"]
    assert begun[0] == begun[1] and begun[2] == begun[3]
    assert len(table(again)) == 4
    assert {row["state"] for row in table(again)} == {"succeeded"}
    steps = [step for step, _, _ in again.curves.of(1)]
    assert steps == list(range(1, 31))  # before and after
    seconds = [seconds for _, _, seconds in again.curves.of(1)]
    assert seconds == sorted(seconds)  # run time, without the pause between

    third = make(path)  # it is finished, so this is another one
    third.dir.close()
    assert third.path != study.path


def command(*words: str) -> list[str]:
    return [sys.executable, "scripts/train_local.py", *words]


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there")
def test_a_study_whose_process_is_killed_goes_on(project):
    hold = Path(write("hold", "6")).absolute()
    path = job_file(
        {"parameters": [X]}, *("--steps=8", f"--hold={hold}"), path=str(project / "toy.yaml"),
        maxTrialCount=12,
    )  # fmt: skip
    log = open("log.txt", "wb")  # noqa: SIM115
    process = subprocess.Popen(
        command(str(path)), cwd=project, stdout=log, stderr=log, start_new_session=True
    )
    try:
        deadline = time.monotonic() + WAIT
        while len(list(project.glob("runs/toy-*/*/ended"))) < 5:
            assert process.poll() is None and time.monotonic() < deadline, Path(
                "log.txt"
            ).read_text()
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    hold.unlink()
    [study_dir] = project.glob("runs/toy-*")
    before = starts(study_dir)
    assert 5 <= len(before) < 12
    assert not read_json(study_dir / "study.json")["closed"]  # so that its replicas are waited for

    done = subprocess.run(
        command(str(path)), cwd=project, capture_output=True, encoding="utf-8", timeout=WAIT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"study {study_dir} resumes" in done.stdout
    assert [each.name for each in project.glob("runs/*")] == [study_dir.name]
    begun = starts(study_dir)
    assert {start["trial"] for start in begun} == {str(id) for id in range(1, 13)}
    argvs = {(start["trial"], *start["argv"]) for start in begun}
    assert len(argvs) == 12  # a trial that began twice did so with the same parameters
    with open(study_dir / "study.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 12
    assert spec.load(project / "configs" / "best.yaml")


def test_two_processes_do_not_run_one_study():
    path = job_file(grid(numbers("x", 0.1, 0.2)))
    study = make(path)
    with pytest.raises(spec.SpecError, match="another run is using it; .* with --new"):
        make(path)
    other = make(path, new=True)
    assert other.path != study.path
    for each in (study, other):
        each.dir.close()


def test_a_study_whose_model_has_changed_is_not_resumed(monkeypatch):
    path = job_file(grid(numbers("x", 0.1, 0.2)))
    make(path).dir.close()
    monkeypatch.setattr("launcher.project.sources.digest", lambda names: "of another model.py")

    with pytest.raises(spec.SpecError, match="other code in trainer/ or codec/.* with --new"):
        make(path)
    make(path, new=True).dir.close()


def test_a_trial_on_changed_data_is_not_ranked_with_the_others():
    data, seen = Path(write("data.csv", "as the first trial saw it")).absolute(), []
    args = ["--error=0.01", f"--digest-of={data}"]
    path = job_file(grid(numbers("x", 0.1, 0.2, 0.3)), *args, parallelTrialCount=1)

    def say(text: str) -> None:
        seen.append(text)
        if text.startswith("trial 1 succeeded"):
            data.write_text("changed", encoding="utf-8")

    study = make(path)
    study.say = say
    assert study.run() == 1
    assert [row["state"] for row in table(study)] == ["succeeded", "failed"]
    assert [row["trial"] for row in table(study)] == ["1", "2"]  # though 0.2 would have won
    why = f"the study failed: {data} has changed since the first trials; put it back, or start"
    assert any(text.startswith(why) for text in seen)


def test_a_directory_goes_on_only_with_its_own_study(tmp_path):
    path = job_file(grid(numbers("x", 0.1, 0.2)))
    mine = tmp_path / "mine"
    study = make(path, study_dir=mine)
    assert study.run() == 0
    assert study.path == mine

    text = path.read_text()
    other = Path(write("other.yaml", text.replace("0.2", "0.5")))
    refused = [
        (dict(path=other, study_dir=mine), "holds a study with other parameters, metric or job"),
        (
            dict(path=path, study_dir=mine, flags=["--steps=2"]),
            "holds a study with other trainer flags",
        ),
        (dict(path=path, study_dir=mine, new=True), "holds a study already"),
        (dict(path=path, study_dir=mine / "1"), "not empty, and no study"),
    ]
    for asked, why in refused:
        flags = asked.pop("flags", [])
        with pytest.raises(spec.SpecError, match=why):
            make(asked.pop("path"), *flags, **asked)

    Path("configs", "best.yaml").unlink()
    again = make(Path(write("toy.yaml", "# a comment\n" + text)), study_dir=mine, top=2)
    assert again.run() == 0
    assert len(starts(mine)) == 2  # nothing was trained
    assert {each.name for each in Path("configs").iterdir()} == {"best.yaml", "best-2.yaml"}
    best = Path("configs", "best.yaml")
    best.write_text("mine", encoding="utf-8")
    assert make(path, study_dir=mine).run() == 0
    assert best.read_text(encoding="utf-8") == "mine"
    assert spec.load(best.with_name(f"{mine.name}-best.yaml"))


def test_more_trials_can_be_asked_of_a_study(tmp_path):
    mine = tmp_path / "mine"
    assert make(job_file({"parameters": [X]}, maxTrialCount=3), study_dir=mine).run() == 0
    first = starts(mine)
    study = make(job_file({"parameters": [X]}, maxTrialCount=5), study_dir=mine)
    assert study.run() == 0
    assert len(table(study)) == 5
    assert starts(mine)[:3] == first
    assert len(starts(mine)) == 5


def test_a_plain_run_does_not_load_the_optimiser():
    code = "import sys, launcher.cli.start; sys.exit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
