"""Jobs in the cloud are found, shown, ended and brought back: the launcher against stand-ins.

Jobs are put into the stand-in as the service would describe them.
"""

import csv
import json
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from unittest import mock

import pytest
from google.protobuf import json_format

from cloud_lab import BUCKET, PROJECT, REGION
from standins.cloud import DAMAGED, DROPPED, SECRET, Fault
from standins.jobs import NUMBER, states
from standins.vertex import Refused, sdk

pytestmark = pytest.mark.slow  # the real clients, for a minute in all

BOARD = f"projects/{NUMBER}/locations/{REGION}/tensorboards/77"
POOL = {
    "machineSpec": {"machineType": "e2-standard-4"},
    "replicaCount": "1",
    "containerSpec": {"imageUri": "an-image", "args": ["--epochs=2"]},
}


@pytest.fixture
def lab(lab):
    """A job stays in the state in which it was put, however often it is looked at."""
    lab.cloud.jobs.life = {}
    return lab


def ago(**span):
    return (datetime.now(timezone.utc) - timedelta(**span)).isoformat().replace("+00:00", "Z")


def put(
    lab, name, number, state="SUCCEEDED", *, study=None, spec=(), project="penguin-lab", **more
):
    """A job, or a study, as the service has it."""
    tuning = study is not None
    kind = "HyperparameterTuningJob" if tuning else "CustomJob"
    route = "hyperparameterTuningJobs" if tuning else "customJobs"
    base = {"baseOutputDirectory": {"outputUriPrefix": f"gs://{BUCKET}/runs/{name}"}}
    own = {"workerPoolSpecs": [POOL], "scheduling": {"timeout": "3600s"}, **base, **dict(spec)}
    message = {
        "name": f"projects/{NUMBER}/locations/{REGION}/{route}/{number}",
        "displayName": name,
        "state": f"JOB_STATE_{state}",
        "createTime": ago(hours=5),
        "labels": {"project": project, "config": "cpu", "git_commit": "1a2b3c4d5e6f-dirty"},
        **({"trialJobSpec": own, **study} if tuning else {"jobSpec": own}),
        **more,
    }
    resource = getattr(sdk(), kind).pb(getattr(sdk(), kind)())
    json_format.ParseDict(message, resource)
    lab.cloud.jobs.resources[message["name"]] = resource
    return resource


def ran(**span):
    """Times of a job that ended an hour ago, after so long."""
    end = datetime.now(timezone.utc) - timedelta(hours=1)
    times = {"startTime": end - timedelta(**span), "endTime": end}
    return {key: time.isoformat().replace("+00:00", "Z") for key, time in times.items()}


def jobs(lab, *words, code=0, **options):
    done = lab.run("jobs", *words, **options)
    assert done.code == code, f"{done.out}\n{done.err}"
    assert "Traceback" not in done.err and SECRET not in done.out + done.err
    return done


def error_of(done):
    (line,) = (line for line in done.err.splitlines() if line.startswith("error: "))
    return line


# Listed and found.


def test_all_pages_are_read_and_the_newest_come_first(lab):
    for i in reversed(range(120)):
        put(lab, f"study-{i:03}", 5000 + i, study={}, createTime=ago(minutes=2 * i + 1))
        put(lab, f"job-{i:03}", 1000 + i, createTime=ago(minutes=2 * i))
    put(lab, "another", 9000, project="seals", createTime=ago(seconds=-5))
    listed = json.loads(jobs(lab, "list", "--json", "--most", "1000").out)
    listed = [{"name": message["displayName"]} for message in listed]
    both = [f"{kind}-{i:03}" for i in range(120) for kind in ("job", "study")]
    assert [job["name"] for job in listed] == both
    shown = jobs(lab, "list", "--all", "--most=3").out.splitlines()
    assert [line.split()[0] for line in shown[1:4]] == ["another", "job-000", "study-000"]
    assert shown[4] == "the 3 newest; for more: --most 30"
    assert "0 trials" in shown[3]
    assert jobs(lab, "list", "--most", "0", code=2).out == ""


def test_a_table_says_how_long_each_job_ran_and_what_it_cost(lab):
    put(lab, "done", 1, "FAILED", createTime=ago(hours=4), **ran(hours=2))
    put(lab, "runs", 2, "RUNNING", createTime=ago(hours=3), startTime=ago(minutes=30))
    put(lab, "waits", 3, "PENDING", createTime=ago(hours=2))
    odd = {"workerPoolSpecs": [{**POOL, "machineSpec": {"machineType": "z9-standard-4"}}]}
    put(lab, "odd\x1b[31m", 4, spec=odd, createTime=ago(hours=1), labels={"project": "penguin-lab"})
    header, *rows = [re.split(r"\s{2,}", line) for line in jobs(lab, "list").out.splitlines()]
    assert header == ["name", "kind", "state", "sent", "time", "config", "commit", "cost"]
    price = cost_of(lab, "done")
    commit = "1a2b3c4d5e6f-dirty"
    half = rows[2].pop()
    assert re.fullmatch(r"\$0\.\d{4} so far", half)
    assert float(half.split()[0][1:]) == pytest.approx(price.per_hour / 2, rel=0.02)
    sent = [row.pop(3) for row in rows]
    assert sent == [f"{hours} h 00 min ago" for hours in (1, 2, 3, 4)]
    assert rows == [
        ["odd?[31m", "job", "succeeded", "–", "–", "–", "$0.00"],  # it never ran
        ["waits", "job", "pending", "–", "cpu", commit, "$0.00"],
        ["runs", "job", "running", "30 min", "cpu", commit],
        ["done", "job", "failed", "2 h 00 min", "cpu", commit, f"${price.most:.4f}"],
    ]
    assert price.hours == pytest.approx(2)
    assert price.most == pytest.approx(2 * price.per_hour)


def cost_of(lab, name):
    """The cost of a job, from what `show --json` prints: the message of the API."""
    remote_job = lab.module("cloud.remote_job")
    message = json.loads(jobs(lab, "show", name, "--json").out)
    return remote_job.compute_cost(remote_job.RemoteJob(message))


def test_no_jobs_are_no_error(lab):
    assert "no jobs of this project" in jobs(lab, "list").out
    assert jobs(lab, "list", "--json").out.strip() == "[]"
    assert "no jobs yet" in jobs(lab, "cost").out


RESOURCE = f"projects/{NUMBER}/locations/{REGION}/customJobs"


@pytest.mark.parametrize(
    ("called", "number"),
    [
        ("gpu-20260301-120000", "711"),
        ("gpu-20260301-120000-2", "712"),
        ("711", "711"),
        (f"{RESOURCE}/711", "711"),
        ("cp", "71"),
        ("72", "720"),
        ("71", "71"),  # a whole number is no beginning
        ("of another", "900"),  # a whole name may be anybody's
        ("901", "901"),
    ],
)
def test_a_job_has_many_names(lab, called, number):
    _several(lab)
    assert json.loads(jobs(lab, "show", called, "--json").out)["name"].endswith(f"/{number}")


@pytest.mark.parametrize(
    ("called", "expected"),
    [
        (
            "gpu",
            r"which one\? gpu-next \(720\), gpu-20260301-120000-2 \(712\), gpu-20260301-120000 \(",
        ),
        ("twice", r"which one\? twice \(903\), twice \(902\)"),
        ("zzz", "no such job .*; python scripts/jobs.py list shows all"),
        ("of anoth", "no such job"),
        (f"{RESOURCE}/7", "no such job"),
        ("", "no such job"),
        ('a" OR state="', "no such job"),
    ],
)
def test_an_unknown_or_ambiguous_name_is_answered_with_candidates(lab, called, expected):
    _several(lab)
    error = error_of(jobs(lab, "show", called, code=2))
    assert re.search(expected, error), error


def _several(lab):
    put(lab, "cpu-20260301-120000", 71, createTime=ago(hours=9))
    for i, name in enumerate(("a", "b", "c")):
        put(lab, f"{name}-old", 60 + i, createTime=ago(days=2))
    put(lab, "gpu-20260301-120000", 711, createTime=ago(hours=8))
    put(lab, "gpu-20260301-120000-2", 712, study=STUDY, createTime=ago(hours=7))
    put(lab, "gpu-next", 720, createTime=ago(hours=6))
    put(lab, "of another", 900, project="seals")
    put(lab, "of another too", 901, project="seals")
    put(lab, "twice", 902, project="seals", createTime=ago(hours=4))
    put(lab, "twice", 903, project="seals", createTime=ago(hours=3))


# Shown.


def test_a_job_that_failed_says_why_and_where_all_of_it_lies(lab):
    error = {"code": 3, "message": "The replica workerpool0-0\nexited with status 1."}
    put(lab, "cpu-1", 7, "FAILED", error=error, spec={"tensorboard": BOARD}, **ran(hours=2))
    shown = jobs(lab, "show", "cpu-1").out
    assert re.search(r"^cpu-1: job 7, failed since \S+ \S+, it ran for 2 h 00 min$", shown, re.M)
    assert "error: The replica workerpool0-0 exited with status 1.\n" in shown
    assert "from configs/cpu.yaml, commit 1a2b3c4d5e6f-dirty" in shown
    assert "1 × e2-standard-4" in shown
    assert f"folder: gs://{BUCKET}/runs/cpu-1\n" in shown
    assert re.search(rf"^page: https://.*/{REGION}/training/7\?project={NUMBER}$", shown, re.M)
    assert "log: python scripts/jobs.py logs cpu-1\n" in shown
    assert "bring back: python scripts/jobs.py fetch cpu-1\n" in shown
    experiment = f"{BOARD}/experiments/7".replace("/", "+")
    assert f"https://{REGION}.tensorboard.googleusercontent.com/experiment/{experiment}\n" in shown
    assert "cancel" not in shown and "quota" not in shown


def test_show_explains_why_a_job_waits_for_long(lab):
    put(lab, "fresh", 1, "QUEUED", createTime=ago(minutes=5))
    put(lab, "stale", 2, "PENDING", createTime=ago(hours=3, minutes=10))
    assert "quota" not in jobs(lab, "show", "fresh").out
    shown = jobs(lab, "show", "stale").out
    assert "pending for 3 h 10 min: no machine of this kind is free, or there is no quota" in shown
    assert f"quotas?project={PROJECT}" in shown
    assert "stop: python scripts/jobs.py cancel stale" in shown


# A study, with everything that the service leaves out because it is 0.


STUDY = {
    "maxTrialCount": 6,
    "studySpec": {
        "metrics": [{"metricId": "val_loss", "goal": "MINIMIZE"}],
        "parameters": [
            {"parameterId": "dropout", "doubleValueSpec": {"minValue": 0, "maxValue": 0.5}},
            {"parameterId": "early_stopping", "integerValueSpec": {"minValue": 0, "maxValue": 4}},
            {"parameterId": "hidden_units", "categoricalValueSpec": {"values": ["8", "8,4"]}},
        ],
    },
}


def trial(number, state, value=None, dropout=0.1, **more):
    chosen = {"dropout": dropout, "early_stopping": 2.0, "hidden_units": "8,4"}
    measured = {"stepCount": "5", "metrics": [{"metricId": "val_loss", "value": value}]}
    return {
        "id": str(number),
        "state": state,
        "parameters": [{"parameterId": key, "value": v} for key, v in chosen.items()],
        **({} if value is None else {"finalMeasurement": measured}),
        **more,
    }


def some_trials():
    return [
        trial(1, "SUCCEEDED", 0.5, startTime=ago(hours=4), endTime=ago(hours=3)),
        trial(2, "SUCCEEDED", 0.0, dropout=0.0, startTime=ago(hours=4), endTime=ago(hours=2)),
        trial(3, "INFEASIBLE", infeasibleReason="exit\ncode 1", startTime=ago(hours=3)),
        trial(4, "ACTIVE", startTime=ago(hours=2)),
    ]


def test_the_trials_of_a_study_are_ranked_and_priced(lab):
    times = {"startTime": ago(hours=4), "endTime": ago(hours=1)}
    study = {**STUDY, "trials": some_trials()}
    put(lab, "tune", 5, "CANCELLED", study=study, spec={"tensorboard": BOARD}, **times)
    shown = jobs(lab, "show", "tune").out
    board = [line.split() for line in shown.splitlines()[-5:]]
    assert board[0] == [
        "trial",
        "val_loss",
        "dropout",
        "early_stopping",
        "hidden_units",
        "state",
        "time",
    ]
    assert board[1][:6] == ["1", "2", "0", "0", "2", "8,4"]  # 0 is the best, and not left out
    assert [row[0] for row in board[3:]] == ["3", "4"]
    assert "infeasible" in board[3] and "failed" in board[4]
    assert f"{REGION}.tensorboard.googleusercontent.com/" in shown
    remote_job = lab.module("cloud.remote_job")
    study = remote_job.RemoteJob(json.loads(jobs(lab, "show", "tune", "--json").out))
    trials = lab.module("cloud.study").ranked(study)
    assert [trial.id for trial in trials] == [2, 1, 3, 4]
    assert trials[0].parameters == {
        "dropout": 0.0,
        "early_stopping": 2,
        "hidden_units": "8,4",
    }
    assert trials[2].why == "exit code 1"
    hours = [trial.seconds / 3600 for trial in trials]
    assert hours == pytest.approx([2, 1, 2, 1], rel=1e-3)
    # Trials 3 and 4 were on a machine until the study was cancelled: 1 + 2 + 2 + 1 hours.
    assert remote_job.compute_cost(study).hours == pytest.approx(6, rel=1e-3)
    priced = jobs(lab, "cost", "tune").out
    hourly = remote_job.compute_cost(study).per_hour
    assert f"tune: ${6 * hourly:.2f}, for 6 h 00 min of running\n" in priced


def test_costs_are_added_and_an_unknown_one_is_not_zero(lab):
    put(lab, "one", 1, **ran(hours=1))
    put(lab, "three", 2, **ran(hours=3))
    odd = {"workerPoolSpecs": [{**POOL, "machineSpec": {"machineType": "z9-standard-4"}}]}
    put(lab, "odd", 3, spec=odd, **ran(hours=1))
    put(lab, "silent", 4, study={**STUDY, "trials": [trial(1, "SUCCEEDED", 1.0)]}, **ran(hours=1))
    hourly = cost_of(lab, "one").per_hour
    lines = jobs(lab, "cost").out.splitlines()
    assert f"three: ${3 * hourly:.4f}, for 3 h 00 min of running" in lines
    assert "odd: unknown, for 1 h 00 min of running" in lines
    assert f"together: ${4 * hourly:.4f}, and 2 of unknown cost" in lines
    two = jobs(lab, "cost", "one", "odd", "one").out
    assert two.count("one: ") == 1 and "three" not in two
    assert f"together: ${hourly:.4f}, and 1 of unknown cost" in two
    assert "z9-standard-4" in two and "unknown price" in two
    assert "no times of trial 1" in jobs(lab, "cost", "silent").out


# Logs.


def test_a_log_is_read_as_it_is_and_followed_to_the_end(lab):
    put(lab, "good", 31, "RUNNING", startTime=ago(minutes=1))
    for i in range(1200):  # more than a page
        lab.cloud.log.write("31", "workerpool0-0", f"line {i}")
    shown = jobs(lab, "logs", "good").out.splitlines()
    assert shown == [f"line {i}" for i in range(1200)]
    lab.cloud.jobs.life = states("RUNNING", "SUCCEEDED")
    followed = jobs(lab, "logs", "good", "--follow").out.splitlines()
    assert followed[:1200] == shown and re.search(r"good succeeded after [\d.]+ s:", followed[-2])

    put(lab, "bad", 32, "RUNNING", startTime=ago(minutes=1), error={"message": "It broke."})
    two = [POOL, {**POOL, "replicaCount": "2"}]
    json_format.ParseDict(
        {"jobSpec": {"workerPoolSpecs": two}}, lab.cloud.jobs.resources[f"{RESOURCE}/32"]
    )
    lab.cloud.log.write("32", "workerpool1-0", "boom", "ERROR")
    lab.cloud.jobs.life = states("RUNNING", "FAILED")
    done = jobs(lab, "logs", "bad", "--follow", code=1)
    assert "worker:0 | boom" in done.out.splitlines()
    assert "bad failed" in error_of(done) and "It broke." in error_of(done)
    assert "no line in its log" not in jobs(lab, "logs", "bad").err  # and its exit code is 0

    put(lab, "mute", 33, **ran(hours=1))
    assert "no line in its log" in jobs(lab, "logs", "mute").err


def test_who_has_seen_enough_leaves_the_job_alone(lab):
    put(lab, "long run", 8, "RUNNING", startTime=ago(minutes=1))
    with mock.patch.object(lab.module("cloud.watch").time, "sleep", side_effect=KeyboardInterrupt):
        done = jobs(lab, "logs", "long run", "--follow", code=130)
    assert "python scripts/jobs.py logs 'long run' --follow" in done.out
    assert not [line for line in lab.cloud.requests if "cancel" in line]


@pytest.mark.slow
def test_a_reader_that_leaves_breaks_nothing(lab):
    put(lab, "talks", 34)
    for i in range(3000):
        lab.cloud.log.write("34", "workerpool0-0", f"line {i} {'x' * 100}")
    process = subprocess.Popen(
        [sys.executable, "scripts/jobs.py", "logs", "talks"],
        cwd=lab.project.path,
        env={**os.environ, **lab.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline().startswith("line 0")
        process.stdout.close()
        assert process.wait(120) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.stderr.close()


# Ended.


def test_a_job_is_cancelled_once_and_asking_again_is_no_error(lab):
    put(lab, "runs", 1, "RUNNING", startTime=ago(minutes=1))
    put(lab, "over", 2, **ran(hours=1))
    assert "runs is being cancelled; see: python" in jobs(lab, "cancel", "runs").out
    assert lab.cloud.jobs.job("runs")["state"] == "JOB_STATE_CANCELLED"
    assert "runs has ended already: cancelled since" in jobs(lab, "cancel", "runs").out
    assert "over has ended already: succeeded since" in jobs(lab, "cancel", "over").out
    assert sum(":cancel" in line for line in lab.cloud.requests) == 1


def test_a_job_that_ends_while_it_is_cancelled_is_reported(lab, monkeypatch):
    put(lab, "quick", 1, "RUNNING", startTime=ago(minutes=1))

    def refuse(_):
        raise Refused(400, "FAILED_PRECONDITION", "The job has ended.")

    monkeypatch.setitem(lab.cloud.jobs.handlers, "CancelCustomJob", refuse)
    assert "cancel quick: The job has ended." in error_of(jobs(lab, "cancel", "quick", code=2))


# Brought back.


def fill(lab, name, status="succeeded", **more):
    """A run in the bucket, as a trainer leaves it."""
    record = {"status": status, "flags": {}, "metrics": {"val_loss": 0.5}}
    record |= {"started": ago(hours=2), "ended": ago(hours=1) if status != "running" else None}
    files = {
        "run.json": json.dumps(record).encode(),
        "history.csv": b"epoch,loss,val_loss\n1,1.0,0.9\n2,0.5,0.5\n",
        "model/": b"",
        "model/saved_model.pb": b"a model",
        "model/variables/variables.index": b"",
        "logs/train/events": b"x" * 200_000,
        **more,
    }
    for path, data in files.items():
        lab.cloud.buckets.write(BUCKET, f"runs/{name}/{path}", data)
    return [path for path in files if not path.endswith("/")]


def downloads(lab):
    names = [line.rpartition("/o/")[2] for line in lab.cloud.requests if "/download/" in line]
    lab.cloud.requests.clear()
    return sorted(names)


def here(lab, name):
    return lab.project.path / "runs" / name


def status(lab, name):
    """As everything that reads runs sees it; None: it is no run."""
    statuses = {run.name: run.status for run in lab.module("report.runs").load_all(here(lab, "."))}
    return statuses.get(name)


def test_a_run_comes_back_whole_and_only_once(lab):
    put(lab, "back-1", 1, **ran(hours=1))
    files = fill(lab, "back-1")
    done = jobs(lab, "fetch", "back-1")
    path = here(lab, "back-1")
    assert f"run directory: {path}" in done.out and f"report: {path / 'report.html'}" in done.out
    assert {name: (path / name).read_bytes() for name in files} == {
        name: lab.cloud.buckets.read(BUCKET, f"runs/back-1/{name}") for name in files
    }
    assert status(lab, "back-1") == "succeeded"
    sent = [name for name in files if (path / name).stat().st_size]  # nothing is sent of the others
    assert downloads(lab) == sorted(f"runs/back-1/{name}" for name in sent)
    logs = f"gs://{BUCKET}/runs/back-1/logs"
    assert f"curves: tensorboard --logdir {logs}\n" in jobs(lab, "show", "back-1").out

    before = {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file()}
    lab.cloud.requests.clear()
    assert "all of it was here already" in jobs(lab, "fetch", "back-1").out
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file()} == before
    assert downloads(lab) == ["runs/back-1/run.json"]  # read, and found to be the same

    (path / "history.csv").write_bytes(b"half")
    (path / "mine.txt").write_text("stays", encoding="utf-8")
    jobs(lab, "fetch", "back-1")
    assert downloads(lab) == ["runs/back-1/history.csv", "runs/back-1/run.json"]
    assert (path / "history.csv").read_bytes().startswith(b"epoch")
    assert (path / "mine.txt").exists()


@pytest.mark.parametrize("how", [503, DROPPED, "Ctrl-C"])
def test_an_interrupted_fetch_leaves_no_run_and_is_resumed(lab, monkeypatch, how):
    name = f"broken-{how}"
    put(lab, name, 2, **ran(hours=1))
    files = fill(lab, name)
    events = f"runs/{name}/logs/train/events"
    if how == "Ctrl-C":
        store = lab.module("cloud.storage").Store
        really = store.download

        def pressed(self, uri, *more):
            if uri.endswith(events):
                raise KeyboardInterrupt
            really(self, uri, *more)

        monkeypatch.setattr(store, "download", pressed)
    else:
        lab.cloud.faults.append(Fault(f"GET /download/.*{events}", how))
    with lab.giving_up_soon():
        done = jobs(lab, "fetch", name, code=2)
    assert ("the same command" if how == "Ctrl-C" else "no good answer") in error_of(done)
    assert status(lab, name) is None
    assert not list(here(lab, name).rglob("*.partial"))
    assert not (here(lab, name) / "report.html").exists()
    first = set(downloads(lab)) - {events}

    monkeypatch.undo()
    lab.cloud.reset()
    put(lab, name, 2, **ran(hours=1))
    jobs(lab, "fetch", name)
    assert status(lab, name) == "succeeded"
    second = set(downloads(lab))
    assert events in second and not (first & second) - {f"runs/{name}/run.json"}
    assert all((here(lab, name) / file).is_file() for file in files)


def test_a_run_that_still_writes_is_never_taken_for_a_finished_one(lab, monkeypatch):
    resource = put(lab, "live", 3, "RUNNING", startTime=ago(hours=2))
    fill(lab, "live", "running")
    store = lab.module("cloud.storage").Store
    really = store.read

    def ends_meanwhile(self, uri):
        data = really(self, uri)
        fill(lab, "live", "succeeded", **{"late.txt": b"late"})
        return data

    gone = Fault("GET /download/.*/events$", 404, "No such object: lab/runs/live", times=1)
    lab.cloud.faults += [gone, Fault("GET /download/.*/history.csv$", DAMAGED, times=1)]
    with mock.patch.object(store, "read", ends_meanwhile):
        assert "later the same command brings the rest" in jobs(lab, "fetch", "live").out
    assert status(lab, "live") == "running"  # its end was not there when we looked
    json_format.ParseDict({"state": "JOB_STATE_SUCCEEDED", "endTime": ago()}, resource)
    # The next time it breaks off: what is here now is neither the one nor the other.
    fill(lab, "live", "succeeded", **{"model/saved_model.pb": b"another", "z": b"z"})
    lab.cloud.faults.append(Fault("GET /download/.*/z$", 503))
    with lab.giving_up_soon():
        jobs(lab, "fetch", "live", code=2)
    assert status(lab, "live") is None
    lab.cloud.faults.clear()
    jobs(lab, "fetch", "live")
    assert status(lab, "live") == "succeeded"


def test_a_file_that_arrives_damaged_is_not_kept_for_whole(lab):
    put(lab, "bent", 4, **ran(hours=1))
    fill(lab, "bent")
    lab.cloud.faults.append(Fault("GET /download/.*history.csv", DAMAGED, times=2))
    jobs(lab, "fetch", "bent")
    assert status(lab, "bent") == "succeeded"
    assert (here(lab, "bent") / "history.csv").read_bytes().endswith(b"0.5\n")
    for file in ("history.csv", "run.json"):
        (here(lab, "bent") / file).unlink()
    lab.cloud.faults[:] = [Fault("GET /download/.*history.csv", DAMAGED)]
    assert "arrived damaged" in error_of(jobs(lab, "fetch", "bent", code=2))
    assert status(lab, "bent") is None


def test_runs_of_this_machine_are_never_written_over(lab):
    put(lab, "mine", 5, **ran(hours=1))
    fill(lab, "mine")
    here(lab, "mine").mkdir(parents=True)
    (here(lab, "mine") / "run.json").write_text('{"status": "local"}', encoding="utf-8")
    assert "is there already" in error_of(jobs(lab, "fetch", "mine", code=2))
    assert [path.name for path in here(lab, "mine").iterdir()] == ["run.json"]


@pytest.mark.parametrize("lock", [".launcher.lock", ".trainer.lock"])
def test_what_a_run_here_has_made_of_a_fetched_one_stays(lab, lock):
    put(lab, "longer", 1, **ran(hours=1))
    fill(lab, "longer")
    jobs(lab, "fetch", "longer")
    path = here(lab, "longer")
    (path / lock).touch()  # as a run with --job-dir runs/longer leaves it
    (path / "history.csv").write_text("of two days on this machine")
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    message = error_of(jobs(lab, "fetch", "longer", code=2))
    assert "a run on this machine has continued there; rename " in message
    assert {f: f.read_bytes() for f in path.rglob("*") if f.is_file()} == before
    path.rename(path.with_name("mine"))
    jobs(lab, "fetch", "longer")
    assert status(lab, "longer") == "succeeded"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"baseOutputDirectory": {}}, "has no baseOutputDirectory"),
        ({"baseOutputDirectory": {"outputUriPrefix": f"gs://{BUCKET}/"}}, "top of gs://lab"),
        ({"baseOutputDirectory": {"outputUriPrefix": "gs://nowhere/a"}}, "bucket does not exist"),
    ],
)
def test_what_cannot_be_fetched_is_reported(lab, spec, expected):
    put(lab, "odd", 6, spec=spec, **ran(hours=1))
    assert expected in error_of(jobs(lab, "fetch", "odd", code=2))
    assert not here(lab, "odd").exists()


def test_a_job_without_a_run_is_reported(lab):
    put(lab, "waits", 7, "PENDING")
    assert "waits (pending) has no run record there" in jobs(lab, "fetch", "waits").out
    assert status(lab, "waits") is None


def test_an_unfinished_study_comes_back_and_later_the_rest(lab):
    study = {**STUDY, "trials": some_trials()}
    put(lab, "tune-2", 8, "RUNNING", study=study, startTime=ago(hours=4))
    for number in (1, 2):
        fill(lab, f"tune-2/{number}")
    jobs(lab, "fetch", "tune-2")
    path = here(lab, "tune-2")
    about = json.loads((path / "study.json").read_text(encoding="utf-8"))
    assert about["state"] == "running" and about["cloud"].endswith("/8")
    assert status(lab, "tune-2/1") == "succeeded"
    assert not (lab.project.path / "configs" / "best.yaml").exists()
    put(lab, "tune-2", 8, "FAILED", study=study, error={"message": "No quota."}, **ran(hours=3))
    fill(lab, "tune-2/3", "failed")
    done = jobs(lab, "fetch", "tune-2")
    rows = list(csv.DictReader((path / "study.csv").open(encoding="utf-8")))
    assert [row["trial"] for row in rows] == ["2", "1", "3", "4"]
    assert rows[0]["val_loss"] == "0.0" and rows[0]["dropout"] == "0.0"
    assert "No quota." in (path / "report.html").read_text(encoding="utf-8")
    best = lab.project.path / "configs" / "best.yaml"
    assert f"job file: {best}" in done.out
    assert "scripts/jobs.py fetch tune-2 wrote it" in best.read_text(encoding="utf-8")
    assert lab.project.run(["python", "scripts/check.py", best]).returncode == 0
    best.unlink()


# Refused, lost, late.


VERBS = {
    "list": (["list"], "GET .*/customJobs", "aiplatform.user"),
    "show": (["show", "cpu-1"], "GET .*/customJobs/1", "aiplatform.user"),
    "logs": (["logs", "cpu-1"], "POST /v2/entries:list", "logging.viewer"),
    "cancel": (["cancel", "cpu-1"], "POST .*:cancel", "aiplatform.user"),
    "cost": (["cost", "cpu-1"], "GET .*/customJobs", "aiplatform.user"),
    "fetch": (["fetch", "cpu-1"], "GET /storage/v1/b/lab/o", "storage.objectUser"),
}


@pytest.fixture(scope="module")
def key(cloud_lab):
    """The environment of a robot that is logged in with a key."""
    return cloud_lab.cloud.login(cloud_lab.folder / "key-of-jobs.json")


@pytest.mark.parametrize("verb", VERBS)
def test_what_goes_wrong_is_reported_in_a_line(lab, key, verb):
    words, request, role = VERBS[verb]
    put(lab, "cpu-1", 1, "RUNNING", startTime=ago(minutes=1))
    for what in (429, 503, DROPPED):
        lab.cloud.faults[:] = [Fault(request, what)]
        with lab.giving_up_soon():
            error = error_of(jobs(lab, *words, code=2, **key))
        assert "no good answer within" in error
        lab.cloud.faults[:] = [Fault(request, what, times=1)]
        jobs(lab, *words, code=0, **key)
        json_format.ParseDict(
            {"state": "JOB_STATE_RUNNING"}, lab.cloud.jobs.resources[f"{RESOURCE}/1"]
        )
    lab.cloud.faults[:] = [Fault(request, 403, "Permission denied.")]
    error = error_of(jobs(lab, *words, code=2, **key))
    assert f"lacks roles/{role}" in error and "robot@" in error and "gcloud" in error
    lab.cloud.faults[:] = [Fault(request, 401, "Invalid credentials.")]
    error = error_of(jobs(lab, *words, code=2, **key))
    assert "gcloud auth application-default login" in error
    lab.cloud.faults[:] = [Fault(request, 404, "It does not exist.")]
    assert "does not exist" in error_of(jobs(lab, *words, code=2, **key))


def test_a_project_that_is_not_set_up_is_reported(lab):
    lab.settings(project='""')
    assert "gcp.project" in error_of(jobs(lab, "list", code=2))
