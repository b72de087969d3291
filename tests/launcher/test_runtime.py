"""What the platform tells a job, and what the trainer makes of it: one row, one environment."""

import json
import re

import pytest

from trainer.engine import runtime
from trainer.engine.runtime import JobError

AIP = {
    "AIP_MODEL_DIR": "gs://b/base/model/",
    "AIP_CHECKPOINT_DIR": "gs://b/base/checkpoints/",
    "AIP_TENSORBOARD_LOG_DIR": "gs://b/base/logs/",
}
AIP_TRIAL = {name: value.replace("base", "base/7") for name, value in AIP.items()}


def tf_config(cluster, role="chief", index=0, **more):
    task = {"type": role, "index": index, **more}
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task, "environment": "cloud"})}


def cluster_spec(cluster, pool="workerpool0", index=0, **more):
    task = {"type": pool, "index": index, **more}
    return {"CLUSTER_SPEC": json.dumps({"cluster": cluster, "task": task, "environment": "cloud"})}


TWO = {"chief": ["a:1"], "worker": ["b:1"]}
FOUR = {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}
POOLS = {"workerpool0": ["a:1"], "workerpool1": ["b:1", "c:1"], "workerpool2": ["d:1"]}


def dirs(base):
    return f"{base}/model", f"{base}/checkpoints", f"{base}/logs"


# name: (--job-dir, environment, job directory, (model, checkpoints, logs), role, index, replicas)
TABLE = {
    "nothing": (None, {}, None, ("model", "checkpoints", "logs"), "chief", 0, 1),
    "a job dir": ("out", {}, "out", dirs("out"), "chief", 0, 1),
    "a trailing slash": ("out/", {}, "out", dirs("out"), "chief", 0, 1),
    "many slashes": ("/data/out//", {}, "/data/out", dirs("/data/out"), "chief", 0, 1),
    "a bucket": ("gs://b/x/", {}, "gs://b/x", dirs("gs://b/x"), "chief", 0, 1),
    "a bucket alone": ("gs://b", {}, "gs://b", dirs("gs://b"), "chief", 0, 1),
    "a mounted bucket": ("/gcs/b/x", {}, "/gcs/b/x", dirs("/gcs/b/x"), "chief", 0, 1),
    "the platform's": (None, AIP, "gs://b/base", dirs("gs://b/base"), "chief", 0, 1),
    "the platform's first": ("out", AIP, "gs://b/base", dirs("gs://b/base"), "chief", 0, 1),
    "only the logs": (
        *("out", {"AIP_TENSORBOARD_LOG_DIR": "/tb/"}, "out"),
        *(("out/model", "out/checkpoints", "/tb"), "chief", 0, 1),
    ),
    "only the model": (
        *("out", {"AIP_MODEL_DIR": "/m/model/"}, "/m"),
        *(("/m/model", "out/checkpoints", "out/logs"), "chief", 0, 1),
    ),
    "only the model, no job dir": (
        *(None, {"AIP_MODEL_DIR": "/m/model/"}, "/m", dirs("/m"), "chief", 0, 1),
    ),
    "a trial of a job dir": (
        *("out", {"CLOUD_ML_TRIAL_ID": "7"}, "out/7", dirs("out/7"), "chief", 0, 1),
    ),
    "a trial of the platform": (
        *(None, AIP_TRIAL | {"CLOUD_ML_TRIAL_ID": "7"}),
        *("gs://b/base/7", dirs("gs://b/base/7"), "chief", 0, 1),
    ),
    "a trial of both": (
        *("out", AIP_TRIAL | {"CLOUD_ML_TRIAL_ID": "7"}),
        *("gs://b/base/7", dirs("gs://b/base/7"), "chief", 0, 1),
    ),
    "a trial told by TF_CONFIG": (
        *("out", tf_config({}, trial="3"), "out/3", dirs("out/3"), "chief", 0, 1),
    ),
    "a trial told by CLUSTER_SPEC": (
        *("out", cluster_spec({"workerpool0": ["a:1"]}, trial="3")),
        *("out/3", dirs("out/3"), "chief", 0, 1),
    ),
    "an empty trial": ("out", {"CLOUD_ML_TRIAL_ID": ""}, "out", dirs("out"), "chief", 0, 1),
    "an empty variable": ("out", {"AIP_MODEL_DIR": ""}, "out", dirs("out"), "chief", 0, 1),
    "an empty TF_CONFIG": ("out", {"TF_CONFIG": " "}, "out", dirs("out"), "chief", 0, 1),
    "TF_CONFIG of nothing": ("out", {"TF_CONFIG": "{}"}, "out", dirs("out"), "chief", 0, 1),
    "an empty cluster": ("out", tf_config({}), "out", dirs("out"), "chief", 0, 1),
    "a null cluster": ("out", tf_config(None), "out", dirs("out"), "chief", 0, 1),
    "a cluster of one": ("out", tf_config({"chief": ["a:1"]}), "out", dirs("out"), "chief", 0, 1),
    "a master": (
        "out",
        tf_config({"master": ["a:1"]}, "master"),
        "out",
        dirs("out"),
        "chief",
        0,
        1,
    ),
    "a master of two": (
        *("out", tf_config({"master": ["a:1"], "worker": ["b:1"]}, "master")),
        *("out", dirs("out"), "chief", 0, 2),
    ),
    "the chief of two": ("out", tf_config(TWO), "out", dirs("out"), "chief", 0, 2),
    "the worker of two": ("out", tf_config(TWO, "worker"), "out", dirs("out"), "worker", 0, 2),
    "index as a text": ("out", tf_config(FOUR, "worker", "1"), "out", dirs("out"), "worker", 1, 4),
    "a parameter server": ("out", tf_config(FOUR, "ps"), "out", dirs("out"), "ps", 0, 4),
    "workers without a chief": (
        *("out", tf_config({"worker": ["a:1", "b:1"]}, "worker")),
        *("out", dirs("out"), "chief", 0, 2),
    ),
    "an evaluator outside": (
        *("out", tf_config(TWO, "evaluator"), "out", dirs("out"), "evaluator", 0, 2),
    ),
    "an evaluator inside": (
        *("out", tf_config(TWO | {"evaluator": ["e:1"]}), "out", dirs("out"), "chief", 0, 2),
    ),
    "a pool alone": (
        *("out", cluster_spec({"workerpool0": ["a:1"]}), "out", dirs("out"), "chief", 0, 1),
    ),
    "the first pool": ("out", cluster_spec(POOLS), "out", dirs("out"), "chief", 0, 4),
    "the second pool": (
        *("out", cluster_spec(POOLS, "workerpool1", 1), "out", dirs("out"), "worker", 1, 4),
    ),
    "the third pool": (
        *("out", cluster_spec(POOLS, "workerpool2"), "out", dirs("out"), "ps", 0, 4),
    ),
    "the fourth pool": (
        *("out", cluster_spec(POOLS, "workerpool3"), "out", dirs("out"), "evaluator", 0, 4),
    ),
    "TF_CONFIG before CLUSTER_SPEC": (
        *("out", tf_config(TWO, "worker") | cluster_spec(POOLS)),
        *("out", dirs("out"), "worker", 0, 2),
    ),
}


@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE.keys())
def test_an_environment(case):
    job_dir, environ, job, directories, role, index, replicas = case

    found = runtime.read(job_dir, environ)

    assert found.job_dir == job
    assert (found.model_dir, found.checkpoint_dir, found.log_dir) == directories
    assert (found.role, found.index) == (role, index)
    assert max(1, sum(map(len, found.cluster.values()))) == replicas
    assert found.is_chief == (role == "chief")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"TF_CONFIG": "{'cluster': 1}"},
            r"TF_CONFIG: expected {\"cluster\": .*, got .*'cluster': 1",
        ),
        ({"TF_CONFIG": "[]"}, r"TF_CONFIG: expected .*, got '\[\]'"),
        ({"CLUSTER_SPEC": "oops"}, "CLUSTER_SPEC: expected .*, got 'oops'"),
        ({"TF_CONFIG": '{"cluster": []}'}, "expected .*, got .*cluster.*\\[\\]"),
        ({"TF_CONFIG": '{"task": "chief"}'}, "expected .*, got .*task.*chief"),
        (tf_config({"boss": ["a:1"]}), "unknown role 'boss'; expected one of chief, worker"),
        (tf_config(TWO, "boss"), "unknown role 'boss'"),
        (tf_config({"worker": "a:1"}), r'expected .*\["host:port"\].*, got .*"a:1"'),
        (tf_config({"worker": ["a"]}), r'expected .*\["host:port"\].*, got .*\["a"\]'),
        (tf_config({"worker": [1]}), r'expected .*\["host:port"\].*, got .*\[1\]'),
        (tf_config({"chief": ["a:1", "b:1"]}), "a cluster has one chief, not 2"),
        (tf_config({"chief": ["a:1"], "worker": ["a:1"]}), "two replicas share an address"),
        (tf_config({"chief": ["a:1"], "ps": ["b:1"]}), "need at least one worker"),
        (
            tf_config(TWO, "worker", 5),
            r"this task is worker 5, but the cluster has .*\"worker\": 1",
        ),
        (tf_config(TWO, "ps"), "this task is ps 0, but the cluster has"),
        (tf_config(TWO, "worker", "x"), r'expected .*"index": 0.*, got .*"index": "x"'),
        (tf_config({}, "chief", 3), 'this task is chief 3, but the cluster has {"chief": 1}'),
    ],
)
def test_a_wrong_environment_shows_what_was_given(environ, message):
    with pytest.raises(JobError) as error:
        runtime.read("out", environ)

    assert re.search(message, str(error.value))
    assert "\n" not in str(error.value)


def test_hosted_is_told_by_the_environment():
    assert runtime.read("out", tf_config(TWO)).hosted
    assert not runtime.read("out", {}).hosted


def test_the_metric_file():
    assert runtime.read("out", {}).metric_file == "/tmp/hypertune/output.metrics"
    assert runtime.read("out", {"CLOUD_ML_HP_METRIC_FILE": "/m"}).metric_file == "/m"


def test_the_contract_is_kept_for_the_record():
    environ = AIP | {"CLOUD_ML_JOB_ID": "9", "HOME": "/root", "SECRET": "x"}

    assert dict(runtime.read(None, environ).contract) == AIP | {"CLOUD_ML_JOB_ID": "9"}


def test_two_runs_in_one_second_get_two_directories(tmp_path):
    from datetime import datetime

    second = datetime(2026, 1, 2, 3, 4, 5)
    root = str(tmp_path / "runs")

    made = [runtime.new_job_dir(root, second) for _ in range(3)]

    assert [path.rpartition("/")[2] for path in made] == [
        "20260102-030405",
        "20260102-030405-2",
        "20260102-030405-3",
    ]
