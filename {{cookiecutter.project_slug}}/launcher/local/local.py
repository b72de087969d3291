"""Runs a job on this machine as Vertex AI would: replicas, restarts, time limit, end.

The service's rules that hold here: a job succeeds when its primary replica exits with 0, and the
others are then stopped; a replica that fails is started again, then the job from its beginning,
each a limited number of times; `restartJobOnWorkerRestart`, `disableRetries` and `timeout` are
honoured; a machine that was taken away comes back, and the program starts from its beginning.

One rule is stricter than the service's: a replica that fails without a new epoch or checkpoint since
its last failures would fail again: it is not retried the second time with the same exit code, nor the
third time with any; after 75, which asks for another start, not after `REPLICA_RESTARTS`.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.common.files import update_hash
from launcher.jobfile.spec import Job, SpecError
from launcher.local import contract, faults, run_dirs
from launcher.local.contract import Replica
from launcher.local.process import LOST, Process, Processes

REPLICA_RESTARTS, JOB_RESTARTS = 5, 3  # the service's own limits
GRACE = 30.0  # seconds between a polite stop, time for a checkpoint, and a kill
AFTER_PRIMARY = 2.0  # seconds that the others have to end by themselves when the primary has
MISTAKE = 2  # a trainer's exit code for what would happen again: a wrong flag, wrong data
START_AGAIN = 75  # a trainer's exit code for: start me again, I resume from my checkpoint
TIMED_OUT = 124  # as of timeout(1)
FRUITLESS = 3  # failures without progress, with whatever exit codes
TICK = 0.2  # seconds between looks at the clock


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    state: str  # succeeded, failed, stopped or timeout
    code: int  # 0: succeeded; 75: stopped with a checkpoint; else that of the replica that failed
    tail: str = ""  # the last lines of the first replica that failed

    def __str__(self) -> str:
        states = {"timeout": "ran out of time", "stopped": "was stopped"}
        return f"{states.get(self.state, self.state)}, with exit code {self.code}"


class Member:
    """A replica and its present process."""

    def __init__(self, replica: Replica):
        self.replica = replica
        self.process: Process | None = None
        self.code: int | None = None  # of its last end; None while it runs
        self.stopped = False  # by us, so its exit code is no failure
        self.restarts = 0  # since the job's last start
        self.starts = 0  # in all
        self.progress = faults.Progress()  # its last epoch
        self.failures: list[int] = []  # exit codes since the job's last progress
        self.mark: tuple | None = None  # the job's progress at the last failure

    @property
    def runs(self) -> bool:
        return self.process is not None and self.code is None

    @property
    def state(self) -> str:
        """For people."""
        if self.process is None:
            return "not started"
        again = f", started {self.starts} times" if self.starts > 1 else ""
        if self.runs:
            return ("stopping" if self.stopped else "running") + again
        return ("stopped" if self.stopped and self.code else f"exit code {self.code}") + again


class Run:
    """One job with all its replicas. `run` may be called in any thread, `stop` from any other."""

    def __init__(
        self,
        job: Job,
        run_dir: Path,
        *,
        flags: Sequence[str] = (),
        trial: str | None = None,
        counts: Mapping[str, int] | None = None,
        kills: Sequence[faults.Kill] = (),
        preempt: faults.Moment | None = None,
        host=None,
        say: Callable[[str], None] = print,
        show: Callable[[Replica, str], None] = lambda replica, line: None,
    ):
        """Prepare the job; start nothing.

        Args:
            run_dir: stands for baseOutputDirectory; a trial has its own.
            flags: come after the job file's own args, so that they win.
            counts: {role: replicas} instead of the file's.
            kills, preempt: faults on purpose.
            host: starts the replicas: `Processes` (the default), `Forks` or `Containers`.
            say: takes a line about the job.
            show: takes the lines of the replicas, which their logs have in any case.

        Raises:
            SpecError: the job cannot have these replicas, or a fault is for none of them.
        """
        self.members = [Member(r) for r in contract.list_replicas(job, flags, counts)]
        self.spec, self.scheduling = job.spec, job.scheduling
        self.run_dir, self.trial = Path(run_dir), trial
        self.kills = [(kill, self._find_member(kill)) for kill in kills]
        self.preempt, self.host = preempt, host or Processes()
        self.say, self.show = say, show
        self.events: queue.Queue = queue.Queue()
        self.began = time.monotonic()
        self.stopping = self.firmly = False
        self.final = False  # what failed would fail again, or may not be retried
        self.epoch = 0  # the newest of any replica, in all starts
        self.code = 1  # of the last failure
        self.tail = ""  # of the first

    @property
    def metric_file(self) -> Path:
        """The file that a trial's replicas report to."""
        return self.run_dir / "hypertune" / "output.metrics"

    def stop(self, firmly: bool = False) -> None:
        """End the job: each replica may write its checkpoint, and is killed after `GRACE`."""
        self.firmly = self.firmly or firmly
        self.stopping = True

    def run(self) -> Outcome:
        """Run the job to its end; nothing that it started is left then.

        Raises:
            SpecError: the host, or the run's directory, cannot take the job; nothing was started.
        """
        self.began = time.monotonic()
        replicas = [member.replica for member in self.members]
        with self.host.open(replicas) as addresses, run_dirs.lock(self.run_dir):
            self.contract = contract.Contract(self.run_dir, addresses, self.trial, self.spec)
            try:
                state = self._run_attempts()
            finally:
                self._end_all(firmly=True)
        if state == "failed":
            return Outcome(state, self.code, self.tail)
        codes = {"succeeded": 0, "timeout": TIMED_OUT, "stopped": self.members[0].code}
        return Outcome(state, codes[state])

    def _run_attempts(self) -> str:
        failures = 0
        while True:
            for member in self.members:
                member.restarts = 0
                self._start(member)
            state = self._run_attempt()
            if state == "preempted":
                self.say("the machines are back: the job starts again from its beginning")
            elif state == "failed" and not self.final and failures < JOB_RESTARTS:
                failures += 1
                self._end_all(firmly=True)
                self.say(f"the job starts again from its beginning ({failures} of {JOB_RESTARTS})")
            else:
                return state

    def _run_attempt(self) -> str:
        """From a start to an end: succeeded, failed, preempted, stopped or timeout."""
        while True:
            if self.stopping:
                return self._end("stopped")
            if self._seconds() > self.scheduling.timeout:
                self.say(f"time is up: scheduling.timeout is {self.scheduling.timeout:.10g}s")
                return self._end("timeout")
            if self._inject_faults():
                return self._end("preempted")
            for member in self._take_events():
                if member is self.members[0] and member.code == 0:
                    self._end_all(AFTER_PRIMARY)
                    return "succeeded"
                if member.code and not self._restart(member):
                    return "failed"

    def _end(self, state: str) -> str:
        """End all politely; the primary may have succeeded just now."""
        self._end_all()
        return "succeeded" if self.members[0].code == 0 else state

    def _restart(self, member: Member) -> bool:
        """Start a failed replica again, or all; return False where the job has failed by it."""
        if member.code == LOST:
            self.say(f"{member.replica} was killed with the fork server: it starts again")
            self._start(member)
            return True
        event = f"{member.replica} ended with exit code {member.code}"
        self.code = member.code
        mark = self.epoch, self._hash_checkpoints()
        member.failures = [*(member.failures if mark == member.mark else ()), member.code]
        member.mark = mark
        if not self.tail:
            self.tail = "\n".join([f"the last lines of {member.replica}:", *member.process.tail])
        final = ""
        if member.code == MISTAKE:
            final = ": a mistake, which another start would repeat"
        elif self.scheduling.disable_retries:
            final = "; the job's disableRetries says: no other start"
        elif _repeats(member.failures):
            final = " again, without a new epoch or checkpoint: no other start"
        if final or member.restarts == REPLICA_RESTARTS:
            self.final = bool(final)
            self.say(event + (final or f", after {REPLICA_RESTARTS} restarts"))
            return False
        member.restarts += 1
        count = f"({member.restarts} of {REPLICA_RESTARTS})"
        if self.scheduling.restart_together and len(self.members) > 1:
            self.say(f"{event}: all start again, by restartJobOnWorkerRestart {count}")
            self._end_all(firmly=True)
            for other in self.members:
                self._start(other)
        else:
            self.say(f"{event}: it starts again {count}")
            self._start(member)
        return True

    def _inject_faults(self) -> bool:
        """Kill the replicas whose moment has come; return True when it is time for a preemption."""
        newest = max(member.progress.epoch for member in self.members)
        for fault in list(self.kills):
            kill, member = fault
            # One that prints no epochs, such as a parameter server, takes those of the others.
            if member.runs and kill.when.reached(self._seconds(), member.progress.epoch or newest):
                self.kills.remove(fault)
                self.say(f"{member.replica} is killed after {kill.when}, as --kill asks")
                member.process.stop(firmly=True)
                member.mark = None  # the program did not fail: this is no repetition
        if self.preempt and self.preempt.reached(self._seconds(), newest):
            self.say(f"all machines are taken away after {self.preempt}, as --preempt-after asks")
            self.preempt = None
            return True
        return False

    def _find_member(self, kill: faults.Kill) -> Member:
        members = {str(member.replica): member for member in self.members}
        if kill.replica not in members:
            names = ", ".join(members)
            raise SpecError(f"--kill {kill.replica}: no such replica; there are: {names}")
        return members[kill.replica]

    def _start(self, member: Member) -> None:
        member.code, member.stopped, member.progress = None, False, faults.Progress()
        member.starts += 1
        replica, env = self.contract.resolve(member.replica)
        member.process = self.host.start(
            replica,
            env,
            self.run_dir / f"{replica.role}-{replica.index}.log",
            line=lambda process, text: self.events.put((member, process, text, None)),
            end=lambda process, code: self.events.put((member, process, "", code)),
        )

    def _take_events(self) -> list[Member]:
        """Wait a moment for lines and ends of the processes; return the members that ended."""
        ended, wait = [], TICK
        with contextlib.suppress(queue.Empty):
            while True:
                member, process, line, code = self.events.get(timeout=wait)
                wait = 0.001  # takes what else is there by now
                if process is not member.process:
                    continue  # of a start before the present one
                if code is None:
                    member.progress = faults.read_progress(line) or member.progress
                    self.epoch = max(self.epoch, member.progress.epoch)
                    self.show(member.replica, line)
                else:
                    member.code = code
                    ended.append(member)
        return ended

    def _end_all(self, patience: float = 0.0, firmly: bool = False) -> None:
        """Wait for the end of all: they are stopped after `patience` and killed `GRACE` later.

        The primary is stopped first, and the others when it has ended, or after half of `GRACE`: they
        may hold what it needs for its checkpoint, such as the weights.
        """
        begin, primary = time.monotonic(), self.members[0]
        killed = False
        while running := [member for member in self.members if member.runs]:
            waited = time.monotonic() - begin - patience
            kill = firmly or self.firmly or waited > GRACE
            for member in running:
                turn = member is primary or not primary.runs or waited > GRACE / 2
                if (kill and not killed) or (waited >= 0 and turn and not member.stopped):
                    member.stopped = True
                    member.process.stop(firmly=kill)
            killed = kill
            self._take_events()

    def _hash_checkpoints(self) -> bytes:
        """By content: a program may write its newest checkpoint over the one before."""
        digest = hashlib.sha256()
        for path in sorted((self.run_dir / "checkpoints").rglob("*")):
            digest.update(str(path).encode())
            with contextlib.suppress(OSError):  # a folder, or just removed
                update_hash(digest, path)
        return digest.digest()

    def _seconds(self) -> float:
        return time.monotonic() - self.began


def _repeats(codes: Sequence[int]) -> bool:
    """Whether the last of these failures, all without progress in between, would come again."""
    again = codes.count(START_AGAIN)
    if codes[-1] == START_AGAIN:
        return again > REPLICA_RESTARTS
    return codes.count(codes[-1]) > 1 or len(codes) - again >= FRUITLESS
