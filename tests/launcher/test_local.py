"""A job's life on this machine, played by `player.py`: restarts, limits, ends, nothing left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import ROOT

from launcher.common.document import Document
from launcher.jobfile import spec
from launcher.local import faults, local

pytestmark = pytest.mark.slow

WAIT = 60  # seconds; generous, for a machine with other things to do


def job(*flags: str, workers: int = 0, **scheduling) -> spec.Job:
    """A job of players."""
    task = {"pythonModule": "tests.player", "args": list(flags)}
    pools = [{"replicaCount": 1, "pythonPackageSpec": task}]
    if workers:
        pools.append({"replicaCount": workers, "pythonPackageSpec": task})
    message = {"workerPoolSpecs": pools, "scheduling": scheduling}
    return spec.Job(Document(Path("job.yaml"), message), message, tuning=False)


class Played:
    """A run of players, and all that it said."""

    def __init__(self, played: spec.Job, **options):
        self.said: list[str] = []
        self.lines: list[str] = []
        self.run_dir = Path("runs/job").absolute()
        self.run = local.Run(
            played,
            self.run_dir,
            say=self.said.append,
            show=lambda replica, line: self.lines.append(f"{replica} {line}"),
            **options,
        )

    def to_the_end(self) -> local.Outcome:
        self.outcome = self.run.run()
        assert not any(alive(pid) for pid in self.pids()), "a process was left"
        return self.outcome

    def starts(self, name: str = "chief-0") -> int:
        role, index = name.split("-")
        return next(m.starts for m in self.run.members if str(m.replica) == f"{role}:{index}")

    def pids(self) -> list[int]:
        files = self.run_dir.glob("starts-*")
        return [int(line) for file in files for line in file.read_text().splitlines()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    try:  # it may have ended, and nobody has asked for its exit code yet
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not Path("/proc/self").exists()


def until(condition) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def test_the_primary_ends_the_job_and_the_rest_is_stopped():
    played = Played(job("chief=done", "worker=wait", workers=2))
    assert played.to_the_end() == local.Outcome("succeeded", 0)
    assert [member.state for member in played.run.members] == ["exit code 0", "stopped", "stopped"]


def test_who_does_not_hear_is_made_to_end(monkeypatch):
    monkeypatch.setattr(local, "GRACE", 0.5)
    played = Played(job("chief=done", "worker=deaf", workers=1))
    assert played.to_the_end().code == 0
    assert played.run.members[1].code == 137


def test_a_replica_that_fails_starts_again_by_itself():
    played = Played(job("chief=epochs:worker-1:3", "worker:1=fail7,fail7,done", workers=2))
    assert played.to_the_end().state == "succeeded"
    assert [played.starts(name) for name in ("chief-0", "worker-0", "worker-1")] == [1, 1, 3]
    assert played.said[0] == "worker:1 ended with exit code 7: it starts again (1 of 5)"


def test_restarts_have_a_limit_for_the_replica_and_for_the_job():
    played = Played(job("chief=saved7"))
    outcome = played.to_the_end()
    assert (outcome.state, outcome.code) == ("failed", 7)
    assert played.starts() == (1 + local.REPLICA_RESTARTS) * (1 + local.JOB_RESTARTS)


def test_a_failure_that_repeats_without_progress_is_not_retried():
    played = Played(job("chief=fail7"))
    outcome = played.to_the_end()
    assert (outcome.state, outcome.code, played.starts()) == ("failed", 7, 2)
    assert outcome.tail.splitlines() == [
        *("the last lines of chief:0:", "chief 0 plays fail7", "what it said last")
    ]
    assert played.said[-1] == (
        "chief:0 ended with exit code 7 again, without a new epoch or checkpoint: no other start"
    )


@pytest.mark.parametrize(
    ("codes", "starts"),
    [
        ("fail7,fail8,fail7", 3),
        ("fail7,fail8,fail9", 3),
        ("fail75", 1 + local.REPLICA_RESTARTS),
        ("fail75,fail7,fail75,fail7", 4),
    ],
)
def test_nor_is_one_whose_exit_code_differs_or_that_asks_for_another_start(codes, starts):
    played = Played(job(f"chief={codes}"))
    assert played.to_the_end().state == "failed"
    assert played.starts() == starts
    assert "without a new epoch or checkpoint: no other start" in played.said[-1]


def test_all_start_again_where_the_job_says_so():
    played = Played(
        job(
            *("chief=epochs:worker-0:2", "worker:0=fail7,wait"),
            workers=2,
            restartJobOnWorkerRestart=True,
        )
    )
    assert played.to_the_end().state == "succeeded"
    assert [played.starts(name) for name in ("chief-0", "worker-0")] == [2, 2]


@pytest.mark.parametrize("code", [7, 75])
def test_without_retries_the_first_failure_is_the_end(code):
    played = Played(job(f"chief=fail{code}", disableRetries=True))
    assert played.to_the_end().code == code
    assert played.starts() == 1
    assert "disableRetries" in played.said[0]


def test_a_mistake_is_not_made_twice():
    played = Played(job("worker:0=fail2", "chief=wait", workers=1))
    assert played.to_the_end().code == 2
    assert played.starts("worker-0") == 1
    assert "a mistake, which another start would repeat" in played.said[0]


def test_time_is_up():
    played = Played(job("chief=wait", timeout="1s"))
    assert played.to_the_end() == local.Outcome("timeout", local.TIMED_OUT)
    assert played.said == ["time is up: scheduling.timeout is 1s"]


def test_a_preempted_job_begins_anew():
    played = Played(
        job("chief=wait,done", "worker=wait", workers=1), preempt=faults.parse_moment("0.3s")
    )
    assert played.to_the_end().state == "succeeded"
    assert [played.starts(name) for name in ("chief-0", "worker-0")] == [2, 2]


def test_a_killed_replica_counts_as_failed():
    played = Played(
        job("chief=epochs:worker-0:2", "worker=wait", workers=1),
        kills=[faults.parse_kill("worker@epoch3")],
    )
    assert played.to_the_end().state == "succeeded"
    assert played.starts("worker-0") == 2
    assert played.said[0] == "worker:0 is killed after epoch3, as --kill asks"
    assert "exit code 137" in played.said[1]


def test_two_kills_on_purpose_are_no_failure_that_repeats():
    kills = [faults.parse_kill("chief@0.5s"), faults.parse_kill("chief@1.5s")]
    played = Played(job("chief=wait,wait,done"), kills=kills)
    assert played.to_the_end().state == "succeeded"
    assert played.starts() == 3


def test_a_fault_for_nobody_is_refused():
    with pytest.raises(spec.SpecError, match="no such replica; there are: chief:0$"):
        Played(job(), kills=[faults.parse_kill("worker:1@epoch2")])


@pytest.mark.parametrize(("act", "code"), [("wait", 75), ("deaf", 137)])
def test_a_stop_from_another_thread(monkeypatch, act, code):
    monkeypatch.setattr(local, "GRACE", 0.5 if act == "deaf" else WAIT)
    played = Played(job(f"chief={act}"))

    def stop():
        until(lambda: played.lines)
        played.run.stop()

    threading.Thread(target=stop, daemon=True).start()
    assert played.to_the_end() == local.Outcome("stopped", code)


def test_what_a_replica_leaves_behind_ends_with_it():
    played = Played(job("chief=mess"))
    started = time.monotonic()
    assert played.to_the_end().code == 0
    assert time.monotonic() - started < 30, "it waited for the process that was left behind"


def test_logs_keep_everything_in_the_order_it_came():
    played = Played(job("chief=fail7,epochs"))
    played.to_the_end()
    lines = (played.run_dir / "chief-0.log").read_text(encoding="utf-8").splitlines()
    assert [f"chief:0 {line}" for line in lines] == played.lines
    assert len(lines) == 2 + 1 + 40


@pytest.mark.skipif(os.name == "nt", reason="there is no kill -9 there")
@pytest.mark.parametrize("act", ["wait", "deaf"])
def test_a_killed_launcher_leaves_nothing(tmp_path, act):
    program = (
        "import json, sys; from pathlib import Path; from launcher.local import local; from launcher.jobfile import spec\n"
        "from launcher.common.document import Document\n"
        "message, run_dir = json.loads(sys.argv[1]), Path(sys.argv[2])\n"
        "local.Run(spec.Job(Document(run_dir, message), message, tuning=False), run_dir).run()\n"
    )
    message = job(f"chief={act}", f"worker={act}", workers=2).message
    run_dir = tmp_path / "run"
    launcher = subprocess.Popen(
        [sys.executable, "-c", program, json.dumps(message), str(run_dir)], cwd=ROOT
    )
    try:
        until(lambda: len(list(run_dir.glob("starts-*"))) == 3)
        pids = [int(file.read_text()) for file in run_dir.glob("starts-*")]
        until(lambda: all("plays" in log.read_text() for log in run_dir.glob("*.log")))
    finally:
        os.kill(launcher.pid, signal.SIGKILL)
        launcher.wait()
    until(lambda: not any(alive(pid) for pid in pids))
