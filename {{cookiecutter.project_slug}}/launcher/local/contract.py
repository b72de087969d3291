"""The replicas of a job, and the environment that Vertex AI gives to each."""

from __future__ import annotations

import json
import re
from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from launcher.common.document import SpecError
from launcher.jobfile.job import ROLES, Job
from launcher.jobfile.program import Program, expand, expand_all


@dataclass(frozen=True)
class Replica:
    """One process of a job."""

    role: str
    index: int  # within its role
    program: Program

    def __str__(self) -> str:
        return f"{self.role}:{self.index}"

    @property
    def is_primary(self) -> bool:
        """The one whose end is the job's end."""
        return self.role == ROLES[0]

    @property
    def pool(self) -> str:
        return f"workerpool{ROLES.index(self.role)}"


def list_replicas(
    job: Job, flags: Sequence[str] = (), counts: Mapping[str, int] | None = None
) -> list[Replica]:
    """The replicas of a job, the primary first.

    Args:
        flags: come after the args of the pools that run the chief's program, so that they win.
        counts: {role: number} instead of the file's own; 0 leaves a pool out.

    Raises:
        SpecError: the job cannot have so many replicas of a role.
    """
    counts, replicas = dict(counts or {}), []
    for pool in job.pools:
        program = replace(pool.program, args=tuple(word for _, word in pool.args(flags)))
        for index in range(counts.pop(pool.role, pool.replicas)):
            replicas.append(Replica(pool.role, index, program))
    for role, count in counts.items():
        if count:
            raise SpecError(f"--replicas {role}={count}: the job file has no pool for it")
    chiefs = sum(replica.is_primary for replica in replicas)
    if chiefs != 1:
        raise SpecError(f"a job has one chief, the primary replica, not {chiefs}")
    roles = {replica.role for replica in replicas}
    if "ps" in roles and "worker" not in roles and not replicas[0].program.foreign:
        raise SpecError(
            "parameter servers need at least one worker: --replicas ps=0 leaves them out"
        )
    return replicas


def parse_counts(text: str) -> dict[str, int]:
    """ "worker=1,ps=0" → {"worker": 1, "ps": 0}.

    Raises:
        ArgumentTypeError: not of that form.
    """
    counts = {}
    for part in text.split(","):
        role, _, count = part.strip().partition("=")
        if role not in ROLES or not re.fullmatch(r"\d{1,2}", count):
            raise ArgumentTypeError(f"{part!r}: write ROLE=N, such as worker=1,ps=0")
        counts[role] = int(count)
    return counts


@dataclass(frozen=True)
class Contract:
    """What is the same for all replicas of a job."""

    run_dir: Path  # stands for baseOutputDirectory; a trial has its own
    addresses: Mapping[Replica, str]  # "host:port" of each
    trial: str | None = None
    spec: Mapping = field(default_factory=dict)  # the CustomJobSpec

    @property
    def id(self) -> str:
        return f"{self.run_dir.parent.name}-{self.trial}" if self.trial else self.run_dir.name

    def environment(self, replica: Replica) -> dict[str, str]:
        """The variables of one replica: the platform's, then its pool's, `$(VAR)` expanded."""
        env = {
            "AIP_MODEL_DIR": f"{self.run_dir}/model/",
            "AIP_CHECKPOINT_DIR": f"{self.run_dir}/checkpoints/",
            "AIP_TENSORBOARD_LOG_DIR": f"{self.run_dir}/logs/",
            "CLOUD_ML_JOB_ID": self.id,
            "CLOUD_ML_PROJECT_ID": "0",  # there it is a number
            "CLUSTER_SPEC": json.dumps(
                {
                    "cluster": self._cluster(lambda other: other.pool),
                    "environment": "local",
                    "task": self._task(replica, replica.pool),
                    "job": self.id,
                }
            ),
        }
        if len(self.addresses) > 1:
            cluster = self._cluster(lambda other: other.role)
            cluster.pop("evaluator", None)  # it watches the cluster from outside
            task = self._task(replica, replica.role)
            task["cloud"] = self.id  # an id that the service uses for itself
            config = {"cluster": cluster, "environment": "local", "job": self.spec, "task": task}
            env["TF_CONFIG"] = json.dumps(config)
        if self.trial:
            env["CLOUD_ML_TRIAL_ID"] = self.trial
            env["CLOUD_ML_HP_METRIC_FILE"] = f"{self.run_dir}/hypertune/output.metrics"
        return expand_all(replica.program.env, env)

    def resolve(self, replica: Replica) -> tuple[Replica, dict[str, str]]:
        """The replica with `$(VAR)` expanded in its command and args, and its environment."""
        env, program = self.environment(replica), replica.program
        command = tuple(expand(word, env) for word in program.command)
        args = tuple(expand(word, env) for word in program.args)
        return replace(replica, program=replace(program, command=command, args=args)), env

    def _cluster(self, name) -> dict[str, list[str]]:
        cluster: dict[str, list[str]] = {}
        for replica, address in self.addresses.items():
            cluster.setdefault(name(replica), []).append(address)
        return cluster

    def _task(self, replica: Replica, kind: str) -> dict:
        trial = {"trial": self.trial} if self.trial else {}
        return {"type": kind, "index": replica.index, **trial}
