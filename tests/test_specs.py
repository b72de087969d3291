"""The product's reader of job files, held against Google's own: the SDK's messages, and gcloud."""

import copy
import importlib.util
import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml

from conftest import PRODUCT, ROOT

# The product's launcher, unrendered: it holds no template variable.
sys.path += [str(PRODUCT), str(ROOT / "tools")]

import vertex_messages

pytestmark = pytest.mark.slow  # the SDK alone takes two seconds to import

CONFIGS = sorted((PRODUCT / "configs").glob("*.yaml"))
CONFIGS = [path for path in CONFIGS if path.stem not in ("batch", "endpoint", "model")]  # no jobs


def broken_texts():
    """The broken job files of the product's own tests."""
    path = ROOT / "tests/launcher/broken.py"
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location("broken", path))
    module.__spec__.loader.exec_module(module)
    return {"JOB": module.JOB, "STUDY": module.STUDY, "TPU": module.TPU, **module.texts()}


def google_accepts(value):
    """Whether the SDK's own message accepts it."""
    from google.cloud.aiplatform_v1 import CustomJobSpec, HyperparameterTuningJob
    from google.protobuf import json_format

    message = HyperparameterTuningJob if "studySpec" in value else CustomJobSpec
    try:
        json_format.ParseDict(value, message.pb(message()))
    except (json_format.ParseError, ValueError, TypeError, AttributeError):
        return False
    return True


def we_accept(value):
    from launcher.common.document import Document
    from launcher.jobfile import schema

    name = "HyperparameterTuningJob" if "studySpec" in value else "CustomJobSpec"
    _, faults = schema.read_message(Document("job.yaml", value), name)
    return not faults


def test_the_table_is_what_the_sdk_says():
    assert vertex_messages.TABLE.read_text(encoding="utf-8") == vertex_messages.make()


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_both_accept_our_job_files(path):
    value = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert google_accepts(value)
    assert we_accept(value)


ODD = [0, 1, -1, 1.5, 2**31, 2**63, 1e400, True, None, "", "x", "1", "1.5", "3s", "1e3", "SPOT"]
ODD += [
    [],
    {},
    [None],
    ["x"],
    [1],
    {"x": "y"},
    [{}],
    "2030-01-01T00:00:00Z",
    "\ud800",
    "3.1234567890s",
]


def mutations(value):
    """Copies of a message in which one thing is another: a value, a key, a level."""

    def places(node, path=()):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in items:
            yield (*path, key)
            if isinstance(child, (dict, list)):
                yield from places(child, (*path, key))

    for path in places(value):
        for odd in [*ODD, "gone", "unknown", "wrapped"]:
            changed = copy.deepcopy(value)
            around = changed
            for key in path[:-1]:
                around = around[key]
            if odd == "gone":
                del around[path[-1]]
            elif odd == "unknown" and isinstance(around, dict):
                around[f"{path[-1]}s"] = around.pop(path[-1])
            elif odd == "wrapped":
                around[path[-1]] = [around[path[-1]]]
            else:
                around[path[-1]] = copy.deepcopy(odd)
            yield (*path, odd), changed


def test_what_google_refuses_we_refuse():
    """Of tens of thousands of files; we refuse more than Google does, which is ours to say."""
    tried = accepted = 0
    texts = {path.name: path.read_text(encoding="utf-8") for path in CONFIGS} | broken_texts()
    for name, text in texts.items():
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError):
            continue
        if not isinstance(value, dict):
            continue
        whole = name in ("JOB", "STUDY", "TPU", "tuning.yaml", "flex_start.yaml")
        for keys, changed in [((), value), *(mutations(value) if whole else ())]:
            tried += 1
            if we_accept(changed):
                accepted += 1
                assert google_accepts(changed), (name, keys)
    assert tried > 3000
    assert accepted > 300


def test_what_is_an_empty_job_for_google_is_a_fault_for_us():
    """gcloud drops what it does not know; the SDK takes snake case, which gcloud drops."""
    for value in ({"worker_pool_specs": [{}]}, {"workerPoolSpecs": [{"replica_count": 3}]}):
        assert google_accepts(value)
        assert not we_accept(value)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The stand-in, and an environment in which gcloud talks to it alone."""
    from standins import vertex
    from standins.proxy import Proxy

    if not shutil.which("gcloud"):
        pytest.skip("gcloud is not installed")
    played = vertex.Vertex()
    with Proxy({"us-central1-aiplatform.googleapis.com": played}) as proxy:
        folder = tmp_path_factory.mktemp("gcloud")
        yield played, {**os.environ, **vertex.gcloud(proxy.address, folder)}


def gcloud(environ, *words):
    command = [shutil.which("gcloud"), "ai", *map(str, words)]
    return subprocess.run(command, env=environ, capture_output=True, encoding="utf-8", timeout=120)


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_gcloud_sends_our_job_files_unchanged(path, lab):
    from google.protobuf import json_format

    vertex, environ = lab
    value = yaml.safe_load(path.read_text(encoding="utf-8"))
    kind = "hp-tuning-jobs" if "studySpec" in value else "custom-jobs"
    options = ["--region=us-central1", f"--display-name={value.get('displayName', 'x')}"]
    done = gcloud(environ, kind, "create", *options, f"--config={path}", "--format=json")
    assert done.returncode == 0, done.stderr

    sent = vertex.resources[json.loads(done.stdout)["name"]]
    if kind == "hp-tuning-jobs":
        ours = json_format.ParseDict(value, type(sent)())
        for field in ("name", "state", "create_time"):
            sent.ClearField(field)
    else:
        sent = sent.job_spec
        ours = json_format.ParseDict(value, type(sent)())
    assert sent == ours


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "customJobs", {"displayName": 1}, 400),
        ("POST", "customJobs", {"jobSpec": {"workerPools": []}}, 400),
        ("GET", "customJobs/7", {}, 404),
        ("GET", "nothings", {}, 404),
        ("POST", "endpoints/7:predict", {"instances": []}, 501),
        ("POST", "tensorboards", {"displayName": "x"}, 200),
    ],
)
def test_the_stand_in_refuses_what_the_service_would(method, path, body, status):
    from standins.proxy import Request
    from standins.vertex import Vertex

    path = ["v1", "projects", "p1", "locations", "us-central1", *path.split("/")]
    answer = Vertex()(Request(method, "http://x", path, {}, {}, json.dumps(body).encode()))
    assert answer.status == status
    assert ("error" in json.loads(answer.body)) == (status != 200)


def test_a_job_goes_through_its_states(lab):
    vertex, environ = lab
    path = PRODUCT / "configs" / "cpu.yaml"
    options = ["--region=us-central1", "--display-name=states"]
    done = gcloud(environ, "custom-jobs", "create", *options, f"--config={path}", "--format=json")
    job = json.loads(done.stdout)
    assert job["state"] == "JOB_STATE_QUEUED"
    states = [
        json.loads(gcloud(environ, "custom-jobs", "describe", job["name"], "--format=json").stdout)[
            "state"
        ]
        for _ in range(3)
    ]
    assert states == ["JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED"]
    listed = gcloud(
        environ, "custom-jobs", "list", "--region=us-central1", '--filter=displayName="states"', "--format=json"
    )  # fmt: skip
    assert [job["displayName"] for job in json.loads(listed.stdout)] == ["states"]
