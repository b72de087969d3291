"""What each replica of a job is told: roles by the order of pools, addresses, directories."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from launcher.common.document import Document
from launcher.jobfile import spec
from launcher.local import contract, faults, process
from trainer.engine import runtime


def pool(count: int = 1, **task) -> dict:
    return {"replicaCount": count, "containerSpec": task}


def job_of(*pools: dict) -> spec.Job:
    message = {"workerPoolSpecs": list(pools)}
    return spec.Job(Document(Path("job.yaml"), message), message, tuning=False)


def roles(*pools: dict, counts: dict | None = None) -> list[str]:
    found = contract.list_replicas(job_of(*pools), counts=counts)
    return [str(replica) for replica in found]


def environments(*pools: dict, trial: str | None = None) -> dict[str, dict]:
    replicas = contract.list_replicas(job_of(*pools))
    addresses = {replica: f"host-{i}:2222" for i, replica in enumerate(replicas)}
    job = contract.Contract(Path("/runs/job"), addresses, trial)
    return {str(replica): job.environment(replica) for replica in replicas}


def test_the_order_of_pools_gives_the_roles():
    assert roles(pool()) == ["chief:0"]
    assert roles(pool(), pool(2), pool()) == ["chief:0", "worker:0", "worker:1", "ps:0"]
    assert roles(pool(), {}, {}, pool()) == ["chief:0", "evaluator:0"]


def test_fewer_replicas_than_the_file_says():
    four = (pool(), pool(3), pool(2))
    assert roles(*four, counts={"worker": 1, "ps": 0}) == ["chief:0", "worker:0"]
    assert roles(*four, counts={"worker": 0, "ps": 0}) == ["chief:0"]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"evaluator": 1}, "--replicas evaluator=1: the job file has no pool for it"),
        ({"chief": 2}, "a job has one chief, the primary replica, not 2"),
        ({"chief": 0}, "a job has one chief, the primary replica, not 0"),
        ({"worker": 0}, "parameter servers need at least one worker: --replicas ps=0 leaves"),
    ],
)
def test_replicas_that_a_job_cannot_have(counts, expected):
    with pytest.raises(spec.SpecError) as refused:
        roles(pool(), pool(3), pool(2), counts=counts)
    assert str(refused.value).startswith(expected)


@pytest.mark.parametrize("text", ["worker", "worker=", "worker=x", "master=1", "worker=-1", ""])
def test_counts_that_cannot_be_read(text):
    with pytest.raises(argparse.ArgumentTypeError, match="write ROLE=N"):
        contract.parse_counts(text)


def test_a_single_replica_has_no_tf_config():
    [env] = environments(pool()).values()
    assert "TF_CONFIG" not in env
    cluster = json.loads(env["CLUSTER_SPEC"])
    assert cluster["cluster"] == {"workerpool0": ["host-0:2222"]}
    assert cluster["task"] == {"type": "workerpool0", "index": 0}
    assert env["AIP_MODEL_DIR"] == "/runs/job/model/"
    assert env["AIP_CHECKPOINT_DIR"] == "/runs/job/checkpoints/"
    assert env["AIP_TENSORBOARD_LOG_DIR"] == "/runs/job/logs/"


def test_a_cluster_as_its_replicas_see_it():
    found = environments(pool(), pool(2), pool(), pool())
    config = json.loads(found["worker:1"]["TF_CONFIG"])
    assert config["cluster"] == {
        "chief": ["host-0:2222"],
        "worker": ["host-1:2222", "host-2:2222"],
        "ps": ["host-3:2222"],
    }
    assert config["task"] == {"type": "worker", "index": 1, "cloud": "job"}
    spec_of = json.loads(found["evaluator:0"]["CLUSTER_SPEC"])
    assert spec_of["cluster"]["workerpool3"] == ["host-4:2222"]
    assert json.loads(found["evaluator:0"]["TF_CONFIG"])["task"]["type"] == "evaluator"


def test_the_trainer_reads_it_as_it_was_meant():
    for name, env in environments(pool(), pool(2), pool(), pool(), trial="7").items():
        place = runtime.read(environ=env)
        assert f"{place.role}:{place.index}" == name
        assert place.job_dir == "/runs/job"
        assert place.trial == "7"
        assert place.metric_file == "/runs/job/hypertune/output.metrics"


# By the rules of Kubernetes (third_party/forked/golang/expansion).
EXPANSIONS = {
    "$(CLOUD_ML_JOB_ID)/x": "job/x",
    "$(A)$(A)-$(AIP_MODEL_DIR)": "oneone-/runs/job/model/",
    "$(NONE)+$(A)": "$(NONE)+one",
    "$$(A)": "$(A)",
    "$$$(A)": "$one",
    "$$$$(A)": "$$(A)",
    "cost: $5, $A, ${A}, $": "cost: $5, $A, ${A}, $",
    "$(A": "$(A",
    "$()": "$()",
    "$($(A))": "$($(A))",
    "": "",
}


@pytest.mark.parametrize(("text", "expected"), EXPANSIONS.items())
def test_variables_in_env_and_args_are_expanded(text, expected, monkeypatch):
    monkeypatch.setenv("NONE", "of the shell")
    env = [{"name": "A", "value": "one"}, {"name": "B", "value": text}]
    [replica] = contract.list_replicas(job_of(pool(env=env, args=[text])), [text])
    job = contract.Contract(Path("/runs/job"), {replica: "host:2222"})
    resolved, found = job.resolve(replica)
    assert found["B"] == expected
    assert resolved.program.args == (expected, expected)


def test_a_variable_of_the_shell_does_not_leak_into_a_job(monkeypatch):
    monkeypatch.setenv("CLOUD_ML_TRIAL_ID", "99")
    env = [{"name": "LATER", "value": "$(A)"}, {"name": "A", "value": "$(CLOUD_ML_TRIAL_ID)"}]
    [found] = environments(pool(env=env)).values()
    assert (found["LATER"], found["A"]) == ("$(A)", "$(CLOUD_ML_TRIAL_ID)")


def test_ports_are_held_while_the_job_runs():
    replicas = contract.list_replicas(job_of(pool(), pool(3)))
    with process.Processes().open(replicas) as addresses:
        assert len(set(addresses.values())) == 4
        with process.Processes().open(replicas) as others:
            assert not set(addresses.values()) & set(others.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("worker:1@epoch2", faults.Kill("worker:1", faults.Moment(epoch=2))),
        ("chief@30s", faults.Kill("chief:0", faults.Moment(seconds=30))),
        ("ps:0@1.5m", faults.Kill("ps:0", faults.Moment(seconds=90))),
    ],
)
def test_faults_as_they_are_written(text, expected):
    assert faults.parse_kill(text) == expected


@pytest.mark.parametrize("text", ["worker:1", "boss@epoch1", "worker:1@epoch0", "worker@soon", ""])
def test_faults_that_cannot_be_read(text):
    with pytest.raises(argparse.ArgumentTypeError, match="write "):
        faults.parse_kill(text)
