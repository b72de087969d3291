"""A model becomes a service on Vertex AI: the verbs, and Google's own SDK, against stand-ins.

The stand-ins take what the API's own messages take. What they cannot show: permissions, quota,
machines, images that are pulled, whether a container is healthy. See `standins/serving.py`.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cloud_lab import PROJECT, REGION
from conftest import forked
from standins.cloud import DROPPED, LOST, SECRET, Fault
from standins.jobs import NUMBER
from standins.serving import ATTACHMENT

pytestmark = pytest.mark.slow  # the real SDK, and a training
UPLOAD, CREATE, DEPLOY = "POST .*models:upload", "POST .*/endpoints$", "POST .*:deployModel"
NAME = "penguin-lab"


@pytest.fixture(scope="module")
def trained(cloud_lab):
    """Two runs of one epoch; what each answers to the first held-out row."""
    answers = {}
    for name in ("one", "two"):
        if not (cloud_lab.project.path / "runs" / name).exists():  # another file's tests made it
            words = [*forked("trainer.task"), "--epochs", "1", "--job-dir", f"runs/{name}"]
            cloud_lab.project.run(["python", *words, "--seed", {"one": "1", "two": "2"}[name]])
        row = ["python", "scripts/predict.py", "--model", f"runs/{name}/model"]
        lines = cloud_lab.project.run([*row, "data/penguins_eval.csv"]).stdout.splitlines()
        answers[name] = json.loads(lines[0])
    return answers


@pytest.fixture
def lab(lab, trained):
    """What is deployed answers as the run `one` does."""
    lab.cloud.serving.answer = lambda instances: [trained["one"] for _ in instances]
    return lab


def run(lab, script, *words, code=0, **options):
    done = lab.run(script, *words, **options)
    assert done.code == code, f"{done.out}\n{done.err}"
    assert "Traceback" not in done.err and SECRET not in done.out + done.err
    return done


def deploy(lab, *words, **options):
    words = words if words and not words[0].startswith("-") else ("runs/one", *words)
    return run(lab, "deploy", *words, **options)


def error_of(done):
    (line,) = (line for line in done.err.splitlines() if line.startswith("error: "))
    return line


def sent(lab, rpc):
    return [message for name, message in lab.cloud.serving.sent if name == rpc]


def is_empty(lab):
    return not lab.cloud.serving.endpoints() and not lab.cloud.serving.versions


def test_a_run_becomes_an_address_that_answers_as_predict_does(lab, trained):
    done = deploy(lab, "--until", "23:59")

    endpoint = lab.cloud.serving.endpoint()
    host = endpoint["dedicatedEndpointDns"]
    assert f"address: https://{host}/v1/{endpoint['name']}:predict" in done.out
    assert "price: $2.50 a day, used or not" in done.out
    assert f"undo: python scripts/endpoints.py undeploy {NAME} one" in done.out
    assert f"a prediction: {json.dumps(trained['one'])}, the same as here" in done.out
    assert re.fullmatch(r"\d{8}-\d{4}", endpoint["labels"]["until"])
    [deployed] = endpoint["deployedModels"]
    assert endpoint["trafficSplit"] == {deployed["id"]: 100}
    [version] = lab.cloud.serving.versions[deployed["model"]]
    assert set(version.version_aliases) == {"one", "default"}
    assert version.labels["project"] == NAME and version.labels["run"] == "one"
    image = f"{REGION}-docker.pkg.dev/{PROJECT}/{NAME}/{NAME}-serving:"
    assert version.container_spec.image_uri.startswith(image)


CHANGES = ("UploadModel", "CreateEndpoint", "DeployModel")


def read_changes(lab):
    """What was sent to get a model deployed; the ids and the project's number are X."""
    text = json.dumps([sent(lab, rpc) for rpc in CHANGES], sort_keys=True)
    return re.sub(rf"{NUMBER}|{PROJECT}|\b\d+(?=@1)|(?<=endpoints/)\d+", "X", text)


def run_printed(lab, commands, folder):
    """Runs what a dry run has printed, as somebody who fills in the ids; as nobody in particular."""
    gcloud = folder / "gcloud"
    gcloud.write_text("#!/bin/sh\necho token\n", encoding="utf-8")
    gcloud.chmod(0o755)
    tools = {"PATH": f"{folder}:{os.environ['PATH']}"} if commands[0].startswith("curl") else {}
    for command in commands:
        if lab.cloud.serving.endpoints():
            [(endpoint, _)] = lab.cloud.jobs.resources.items()
            [model] = lab.cloud.serving.versions
            command = command.replace("ENDPOINT_ID", endpoint.rpartition("/")[2])
            command = command.replace("MODEL_ID", model.rpartition("/")[2])
        environ = {**os.environ, **lab.environ, **tools}
        done = subprocess.run(["bash", "-c", command], env=environ, capture_output=True, text=True)
        assert done.returncode == 0 and '"error"' not in done.stdout, done.stderr + done.stdout
        lab.cloud.serving.get_on()


@pytest.mark.parametrize("kind", [[], ["--shared"], ["--private"]], ids=str)
def test_a_dry_run_prints_what_is_sent_and_sends_nothing(lab, kind, tmp_path):
    printed = deploy(lab, *kind, "--dry-run").out
    assert lab.cloud.requests == [] and is_empty(lab)
    deploy(lab, *kind)
    ours = read_changes(lab)
    run(lab, "endpoints", "cleanup", "--yes")
    lab.cloud.serving.reset()
    run_printed(lab, re.findall("^curl .*?^END$", printed, re.DOTALL | re.MULTILINE), tmp_path)
    assert read_changes(lab) == ours
    if kind != ["--private"]:
        row = tmp_path / "row.csv"
        row.write_text("".join(lab.project.read("data/penguins_eval.csv").splitlines(True)[:2]))
        name = lab.cloud.serving.endpoint()["displayName"]
        run_printed(lab, [run(lab, "predict", row, "--endpoint", name, "--curl").out], tmp_path)
        assert lab.cloud.requests[-1].endswith(":predict")


def test_gcloud_sends_the_same_and_plays_the_rest_of_the_life(lab, tmp_path):
    if not shutil.which("gcloud"):
        pytest.skip("gcloud is not installed")
    printed = deploy(lab, "--shared", "--dry-run").out
    assert deploy(lab, "--dry-run").out.count("# or: gcloud") == 2  # none for a host of its own
    deploy(lab, "--shared")
    ours = read_changes(lab)
    run(lab, "endpoints", "cleanup", "--yes")
    lab.cloud.serving.reset()
    run_printed(lab, re.findall("^# or: (gcloud .*)$", printed, re.MULTILINE), tmp_path)
    assert read_changes(lab) == ours

    endpoint = lab.cloud.serving.endpoint()
    [deployed], [model] = endpoint["deployedModels"], lab.cloud.serving.versions
    where = f"--project={PROJECT} --region={REGION}"
    request = tmp_path / "request.json"
    request.write_text('{"instances": [{}]}', encoding="utf-8")
    ai = "gcloud ai endpoints"
    number = endpoint["name"].rpartition("/")[2]
    run_printed(lab, [f"{ai} predict {number} {where} --json-request={request}"], tmp_path)
    assert f"POST /v1/projects/{PROJECT}/locations/{REGION}/endpoints/{number}:predict" in lab.cloud.requests  # fmt: skip
    run_printed(
        lab,
        [
            f"{ai} undeploy-model {number} {where} --deployed-model-id={deployed['id']}",
            f"{ai} delete {number} {where} --quiet",
            f"gcloud ai models delete {model.rpartition('/')[2]} {where} --quiet",
        ],
        tmp_path,
    )
    assert is_empty(lab)


@pytest.mark.parametrize(("timeout", "known"), [("1800s", True), ("1800.5s", False)])
def test_gcloud_is_named_only_where_it_takes_the_same(lab, timeout, known):
    body = {"model": {"containerSpec": {"deploymentTimeout": timeout}}}
    step = lab.module("cloud.vertex").Step("", "projects/p/locations/r/models:upload", body)
    assert bool(lab.module("endpoints.commands").to_gcloud(step)) == known


@contextlib.contextmanager
def asking_by_sdk(lab):
    """Within the block, the SDK that it gives asks the stand-ins."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import aiplatform

    with lab.asking():
        aiplatform.init(
            project=PROJECT,
            location=REGION,
            credentials=AnonymousCredentials(),
            api_endpoint=lab.cloud.proxy.address,
            api_transport="rest",
        )
        yield aiplatform


def test_the_life_of_two_versions_with_the_sdk_looking_on(lab, trained):
    deploy(lab)
    lab.cloud.serving.answer = lambda instances: [trained["two"] for _ in instances]
    done = deploy(lab, "runs/two", "--traffic", "10")
    assert "the same as here" in done.out
    with asking_by_sdk(lab) as aiplatform:
        [endpoint] = aiplatform.Endpoint.list(filter=f'labels.project="{NAME}"')
        models = {one.display_name: one.id for one in endpoint.list_models()}
        assert endpoint.traffic_split == {models["one"]: 90, models["two"]: 10}
        [model] = aiplatform.Model.list(filter=f'labels.project="{NAME}"')
        aliases = {
            v.version_id: v.version_aliases for v in model.versioning_registry.list_versions()
        }
        assert aliases == {"1": ["one", "default"], "2": ["two"]}

    done = run(lab, "endpoints", "list")
    assert re.search(r"penguin-lab +one +90 % +1 × e2-highmem-2", done.out)
    assert re.search(r"penguin-lab +two +10 %", done.out) and "$2.50" in done.out

    run(lab, "endpoints", "traffic", NAME, "two=100", "one=0")
    assert "one=0 two=100" in run(lab, "endpoints", "traffic", NAME, "two=100").out
    assert re.search(r"penguin-lab +one +0 %", run(lab, "endpoints", "list").out)
    run(lab, "endpoints", "undeploy", NAME, "two")
    assert lab.cloud.serving.endpoint()["trafficSplit"] == {models["one"]: 100}
    run(lab, "endpoints", "undeploy", NAME)
    assert "no model on it, and no cost" in run(lab, "endpoints", "list").out
    run(lab, "endpoints", "cleanup", "--yes")
    assert is_empty(lab)


def test_the_sdk_plays_the_rest_of_the_life(lab, trained):
    deploy(lab)
    lab.cloud.serving.answer = lambda instances: [trained["two"] for _ in instances]
    deploy(lab, "runs/two", "--traffic", "10")
    with asking_by_sdk(lab) as aiplatform:
        [endpoint] = aiplatform.Endpoint.list(filter=f'labels.project="{NAME}"')
        ids = {one.display_name: one.id for one in endpoint.list_models()}
        for split in ({"one": 90, "two": 10}, {"one": 0, "two": 100}, {"one": 100, "two": 0}):
            endpoint.update(traffic_split={ids[name]: share for name, share in split.items()})
            shown = run(lab, "endpoints", "list").out
            for name, share in split.items():
                assert re.search(rf"{NAME} +{name} +{share} %", shown)
        answer = endpoint.predict([{}], use_dedicated_endpoint=True)
        assert answer.predictions == [trained["two"]]
        endpoint.undeploy(ids["two"])
        endpoint.delete(force=True)
        [model] = aiplatform.Model.list(filter=f'labels.project="{NAME}"')
        model.delete()
    assert is_empty(lab)


def put_in_bucket(lab, run, folder):
    """Copies a run, without what no model needs, into the bucket."""
    path = lab.project.path / "runs" / run
    for file in [path / "run.json", *(path / "model").rglob("*")]:
        if file.is_file():
            name = f"{folder}/{file.relative_to(path).as_posix()}"
            lab.cloud.buckets.write("lab", name, file.read_bytes())


def versions_in(text):
    return json.loads(text)["model_versions"]


def test_run_record_and_model_version_refer_to_each_other(lab):
    deploy(lab)
    [version] = sent(lab, "MergeVersionAliases")
    assert version["name"] in versions_in(lab.project.read("runs/one/run.json"))
    [uploaded] = sent(lab, "UploadModel")
    assert uploaded["model"]["versionDescription"] == "one" == uploaded["model"]["labels"]["run"]


@pytest.mark.parametrize("source", ["gs://lab/served/one", "gs://lab/served/one/model/"])
def test_a_run_in_a_bucket_is_deployed_from_there(lab, source):
    put_in_bucket(lab, "one", "served/one")
    printed = deploy(lab, source, "--dry-run").out
    assert is_empty(lab) and sent(lab, "UploadModel") == []
    done = deploy(lab, source)
    assert "the same as here" in done.out
    [uploaded], [version] = sent(lab, "UploadModel"), sent(lab, "MergeVersionAliases")
    assert uploaded["model"]["containerSpec"]["imageUri"] in printed
    assert uploaded["model"]["labels"]["run"] == "one"
    assert version["name"] in versions_in(lab.cloud.buckets.read("lab", "served/one/run.json"))


def test_a_model_alone_in_a_bucket_is_deployed(lab):
    put_in_bucket(lab, "one", "bare")
    lab.cloud.buckets.remove("lab", "bare/run.json")
    done = deploy(lab, "gs://lab/bare/model", "--instance", "data/penguins_eval.csv")
    assert "the same as here" in done.out and f"undeploy {NAME} bare" in done.out


def test_a_network_that_the_bucket_no_longer_has_is_not_served(lab):
    put_in_bucket(lab, "one", "replaced")
    deploy(lab, "gs://lab/replaced", "--dry-run")
    name = "model/assets.extra/network.onnx"
    lab.cloud.buckets.remove("lab", f"replaced/{name}")
    error = error_of(deploy(lab, "gs://lab/replaced", "--dry-run", code=2))
    assert f"/lab/replaced/{name}: gs://lab/replaced/{name} is gone" in error
    (lab.project.path / "runs/.models/lab/replaced" / name).unlink()
    deploy(lab, "gs://lab/replaced", "--dry-run")


def test_a_private_endpoint_says_how_it_is_reached(lab):
    printed = deploy(lab, "--private", "--dry-run").out
    done = deploy(lab, "--private")
    [created] = sent(lab, "CreateEndpoint")
    connected = {"enablePrivateServiceConnect": True, "projectAllowlist": [PROJECT]}
    assert created["endpoint"]["privateServiceConnectConfig"] == connected
    assert json.dumps(connected, indent=2).replace("\n", "\n  ") in printed
    assert "no prediction was made" in done.out and "address:" not in done.out
    assert f"--target-service-attachment={ATTACHMENT}" in done.out
    error = error_of(run(lab, "predict", "data/penguins_eval.csv", "--endpoint", f"{NAME}-private", code=2))  # fmt: skip
    assert "only its network reaches it" in error
    run(lab, "endpoints", "cleanup", "--yes")
    assert is_empty(lab)


class OneRun:
    """Runs jobs by writing what a real run left into their folders; or has them fail."""

    def __init__(self, lab, error=None):
        self.lab, self.error = lab, error

    def start(self, resource, _):
        folder = resource["jobSpec"]["baseOutputDirectory"]["outputUriPrefix"]
        put_in_bucket(self.lab, "one", folder.removeprefix("gs://lab/"))
        return self

    def describe(self):
        if self.error:
            return {"state": "JOB_STATE_FAILED", "error": {"code": 3, "message": self.error}}
        return {"state": "JOB_STATE_SUCCEEDED"}


@pytest.fixture
def runs_jobs(lab):
    lab.cloud.jobs.runner = OneRun(lab)
    return lab.cloud.jobs.runner


SMOKE = ["train_cloud", "configs/smoke.yaml", "--then", "deploy"]


def test_a_job_is_deployed_once_it_has_succeeded(lab, runs_jobs):
    dry = run(lab, *SMOKE, "--dry-run").out
    assert dry.startswith("# once the job has succeeded, it is deployed: $2.50 a day")
    done = run(lab, *SMOKE)
    price, sent_, end, address = (
        done.out.index(text)
        for text in (
            "deployed: $2.50 a day",
            "sent: smoke-",
            " succeeded after ",
            "address: https://",
        )
    )
    assert price < sent_ < end < address
    [version] = sent(lab, "UploadModel")
    assert version["model"]["labels"]["run"] == re.search("sent: (smoke-[0-9-]+)", done.out)[1]


def test_a_job_that_fails_deploys_nothing(lab, runs_jobs):
    runs_jobs.error = "exit code 2"
    done = run(lab, *SMOKE, code=1)
    assert "exit code 2" in error_of(done) and is_empty(lab)
    lab.cloud.faults = [Fault("POST .*/customJobs$", 403, "Permission denied")]
    assert "roles/aiplatform.user" in error_of(run(lab, *SMOKE, code=2)) and is_empty(lab)


def test_who_follows_a_job_later_learns_how_to_deploy_it(lab, runs_jobs):
    name = re.search("sent: (.*),", run(lab, *SMOKE[:2]).out)[1]
    command = f"python scripts/deploy.py gs://lab/runs/{name}\n"
    assert command in run(lab, "jobs", "logs", name, "--follow").out
    assert command in run(lab, "jobs", "show", name).out


def test_what_cannot_be_deployed_is_refused_before_anything_is_sent(lab):
    before, path = len(lab.cloud.jobs.sent), lab.project.path / "configs" / "endpoint.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("minReplicaCount: 1", "minReplicaCount: 0"), encoding="utf-8")
    try:
        assert "minReplicaCount: is 0" in error_of(run(lab, *SMOKE, code=2))
    finally:
        path.write_text(text, encoding="utf-8")
    done = run(lab, "train_cloud", "configs/tuning.yaml", "--then", "deploy", code=2)
    assert "a study has many runs" in error_of(done) and len(lab.cloud.jobs.sent) == before


def test_a_request_that_is_too_large_is_refused_in_one_line(lab):
    deploy(lab, "--shared")
    lab.cloud.faults = [Fault("POST .*:predict$", 413, "Request payload size exceeds the limit.")]
    words = ["predict", "data/penguins_eval.csv", "--endpoint", f"{NAME}-shared"]
    assert "Request payload size exceeds the limit" in error_of(run(lab, *words, code=2))


@pytest.mark.parametrize(("words", "size"), [((), 1_000_000), (("--shared",), 400_000)])
def test_requests_to_an_endpoint_are_split_to_fit_and_keep_their_order(lab, tmp_path, words, size):
    deploy(lab, *words)
    bird = dict.fromkeys(["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"])
    bird |= {"island": "a", "sex": "b"}
    large = [{**bird, "year": i, "island": "x" * size} for i in range(12)]
    small = [{**bird, "year": i} for i in range(12, 412)]
    counts = []

    def answer(instances):
        counts.append(len(instances))
        return [{"value": one["year"]} for one in instances]

    lab.cloud.serving.answer = answer
    (tmp_path / "f").write_text("\n".join(map(json.dumps, [*large, *small])), encoding="utf-8")
    name = NAME + "-shared" * bool(words)
    printed = run(
        lab, "predict", tmp_path / "f", "--endpoint", name, "--model", "runs/one/model"
    ).out
    assert [json.loads(line)["value"] for line in printed.splitlines()] == list(range(412))
    assert counts == ([3, 3, 3, 256, 147] if words else [9, 256, 147])
    (tmp_path / "f").write_text(json.dumps({**bird, "year": 1, "island": "x" * 10 * size}))
    words = "predict", tmp_path / "f", "--endpoint", name, "--model", "runs/one/model"
    assert re.search(
        r"instance 0: [\d,]+ bytes, and a request has", error_of(run(lab, *words, code=2))
    )


def test_bare_values_of_a_server_that_is_not_ours_are_printed(lab):
    deploy(lab)
    lab.cloud.serving.answer = lambda instances: [[0.25, 0.75] for _ in instances]
    words = "data/penguins_eval.csv", "--model", "runs/one/model"
    printed = run(lab, "predict", *words, "--endpoint", NAME).out
    assert set(printed.splitlines()) == {'{"prediction": [0.25, 0.75]}'}


def test_the_same_command_again_makes_nothing_a_second_time(lab):
    deploy(lab)
    done = deploy(lab)
    assert "model: uploaded already" in done.out and "deployed already" in done.out
    assert [rpc for rpc, _ in lab.cloud.serving.sent].count("DeployModel") == 1
    assert len(lab.cloud.serving.endpoints()) == 1 == len(lab.cloud.serving.versions)


@pytest.mark.parametrize("request_", [UPLOAD, CREATE, DEPLOY])
def test_a_lost_answer_makes_nothing_twice(lab, request_):
    lab.cloud.faults = [Fault(request_, LOST, times=1)]
    done = deploy(lab)
    assert "looking for what became of it" in done.err
    rpcs = [rpc for rpc, _ in lab.cloud.serving.sent]
    assert [rpcs.count(rpc) for rpc in ("UploadModel", "CreateEndpoint", "DeployModel")] == [
        1,
        1,
        1,
    ]


@pytest.mark.parametrize("request_", [UPLOAD, CREATE, DEPLOY])
def test_a_request_that_never_arrives_leaves_its_fate_open_and_removes_nothing(lab, request_):
    lab.cloud.faults = [Fault(request_, DROPPED, times=1)]
    with lab.giving_up_soon():
        done = deploy(lab, code=2)
    assert "it is unknown whether it takes effect" in error_of(done)
    deploy(lab)
    rpcs = [rpc for rpc, _ in lab.cloud.serving.sent]
    assert [rpcs.count(rpc) for rpc in ("UploadModel", "CreateEndpoint", "DeployModel")] == [
        1,
        1,
        1,
    ]


@pytest.mark.parametrize(
    ("request_", "status", "message", "says"),
    [
        (UPLOAD, 403, "Permission denied", "roles/aiplatform.user"),
        (CREATE, 403, "Permission denied", "roles/aiplatform.user"),
        (DEPLOY, 403, "Permission denied", "roles/aiplatform.user"),
        (DEPLOY, 429, "The following quota metrics exceed quota limits: x", "quota is used up"),
    ],
)
def test_a_refusal_removes_what_the_command_created(lab, request_, status, message, says):
    lab.cloud.faults = [Fault(request_, status, message)]
    assert says in error_of(deploy(lab, code=2))
    assert is_empty(lab)


def test_relative_paths_are_those_of_the_caller(lab, trained, monkeypatch):
    monkeypatch.chdir(lab.project.path / "docs")
    predict = lab.module("endpoints.compare").predict
    model, rows = Path("../runs/one/model"), Path("../data/penguins_eval.csv")
    assert json.loads(predict(model, rows, [])) == trained["one"]


def test_of_two_models_the_one_that_is_deployed_is_asked(lab, trained):
    serving = lab.cloud.serving
    serving.answer = lambda instances: [trained[serving.answering] for _ in instances]
    deploy(lab)
    assert "the same as here" in deploy(lab, "runs/two", "--traffic", "10").out
    assert serving.parameters == {"partial": True}  # or a refusal by the other model would end it
    run(lab, "endpoints", "undeploy", NAME, "two")
    serving.answer = None  # which no request reaches
    assert "the model gets no traffic" in deploy(lab, "runs/two", "--traffic", "0").out


@pytest.mark.parametrize("lost", [0, 1])
def test_a_server_that_is_never_healthy_shows_its_log_and_leaves_nothing(lab, lost):
    lab.cloud.faults = [Fault(DEPLOY, LOST, times=lost)]
    lab.cloud.serving.unhealthy = "error: model/: no exported model"
    done = deploy(lab, code=2)
    assert "never became ready" in error_of(done)
    assert "  error: model/: no exported model" in done.err
    assert is_empty(lab)


def test_a_failure_leaves_what_was_there_before(lab):
    deploy(lab)
    before = lab.cloud.serving.endpoint()
    lab.cloud.serving.unhealthy = "out of memory"
    deploy(lab, "runs/two", "--traffic", "50", code=2)
    assert lab.cloud.serving.endpoint() == before
    [[version]] = lab.cloud.serving.versions.values()
    assert set(version.version_aliases) == {"one", "default"}


def test_another_answer_than_here_is_a_failure(lab, trained):
    lab.cloud.serving.answer = lambda instances: [trained["two"] for _ in instances]
    assert "another model or other code" in error_of(deploy(lab, code=2))
    assert is_empty(lab)


def test_a_deployment_that_cannot_be_looked_at_keeps_what_it_needs(lab, trained):
    deploy(lab)
    lab.cloud.faults = [Fault("GET .*/endpoints/[0-9]+/operations/", 503)]
    with lab.giving_up_soon():
        done = deploy(lab, "runs/two", "--traffic", "50", code=2)
    assert "what was begun continues on Vertex AI" in error_of(done) and "removed" not in done.err
    lab.cloud.faults = []
    lab.cloud.serving.answer = lambda instances: [trained["two"] for _ in instances]
    done = deploy(lab, "runs/two", "--traffic", "50")
    assert "model: uploaded already" in done.out and "deployed already" in done.out
    assert len(sent(lab, "DeployModel")) == 2


def test_a_model_that_answers_wrongly_gives_the_traffic_back(lab, tmp_path, trained):
    deploy(lab)
    lab.cloud.serving.answer = lambda instances: [trained["two"] for _ in instances]
    deploy(lab, "runs/two", "--traffic", "10")
    before = lab.cloud.serving.endpoint()
    assert sorted(before["trafficSplit"].values()) == [10, 90]
    other = tmp_path / "endpoint.yaml"
    text = lab.project.read("configs/endpoint.yaml")
    other.write_text(text.replace("e2-highmem-2", "e2-highmem-4"), encoding="utf-8")
    assert "another model" in error_of(deploy(lab, "--config", other, code=2))
    assert lab.cloud.serving.endpoint() == before


def test_two_versions_of_one_name_and_the_split_of_the_file(lab, tmp_path, trained):
    deploy(lab)
    [first] = lab.cloud.serving.endpoint()["trafficSplit"]
    lab.cloud.serving.answer = lambda instances: [trained["two"] for _ in instances]
    deploy(lab, "runs/two", "--traffic", "50")
    lab.cloud.serving.answer = lambda instances: [trained["one"] for _ in instances]
    other = tmp_path / "endpoint.yaml"
    text = lab.project.read("configs/endpoint.yaml").replace("e2-highmem-2", "e2-highmem-4")
    other.write_text(text.replace('"0": 100', f'"0": 20\n  "{first}": 80'), encoding="utf-8")
    assert f"undeploy {NAME} one@3" in deploy(lab, "--config", other).out
    shown = run(lab, "endpoints", "list").out
    for name, share in {"one@1": 80, "two": 0, "one@3": 20}.items():
        assert re.search(rf"{NAME} +{name} +{share} %", shown)
    error = error_of(run(lab, "endpoints", "traffic", NAME, "one=100", code=2))
    assert "models are one@1, two, one@3" in error
    run(lab, "endpoints", "undeploy", NAME, "one@1")
    assert len(lab.cloud.serving.endpoint()["deployedModels"]) == 2


def test_what_a_colleague_deploys_meanwhile_keeps_its_traffic(lab, trained):
    from google.cloud.aiplatform_v1 import DeployModelRequest
    from google.protobuf import json_format

    deploy(lab)
    serving, [request] = lab.cloud.serving, sent(lab, "DeployModel")
    [first] = serving.endpoint()["trafficSplit"]
    request["trafficSplit"] = {"0": 50, first: 50}
    serving.looks = 10  # it runs while the next command looks
    message = DeployModelRequest.pb(DeployModelRequest())
    lab.cloud.jobs.handlers["DeployModel"](json_format.ParseDict(request, message))
    serving.answer = lambda instances: [trained["two"] for _ in instances]
    deploy(lab, "runs/two", "--traffic", "10")
    assert sorted(serving.endpoint()["trafficSplit"].values()) == [10, 45, 45]


def test_what_a_request_removed_whose_answer_was_lost_is_gone(lab):
    deploy(lab)
    lab.cloud.faults = [Fault("POST .*:undeployModel", LOST, times=1)]
    assert "undeployed one" in run(lab, "endpoints", "undeploy", NAME).out
    assert "deployedModels" not in lab.cloud.serving.endpoint()
    deploy(lab)
    lab.cloud.faults, lab.cloud.serving.looks = [Fault("POST .*:undeployModel", LOST, times=1)], 5
    run(lab, "endpoints", "cleanup", "--yes")
    assert is_empty(lab)


def test_after_a_kill_cleanup_finds_the_endpoint(lab, monkeypatch):
    serving, handlers, end = lab.cloud.serving, lab.cloud.jobs.handlers, time.monotonic() + 120
    really_deploy = handlers["DeployModel"]

    def take_long(message):
        serving.looks = 1_000_000
        return really_deploy(message)

    monkeypatch.setitem(handlers, "DeployModel", take_long)
    script = [sys.executable, "scripts/deploy.py", "runs/one"]
    child = subprocess.Popen(script, cwd=lab.project.path, env={**os.environ, **lab.environ})
    while not sent(lab, "DeployModel") and time.monotonic() < end:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert len(serving.endpoints()) == 1 and max(o[0] for o in serving.operations.values()) > 100
    serving.looks = 1
    for operation in serving.operations.values():
        operation[0] = min(operation[0], 2)
    done = run(lab, "endpoints", "cleanup", code=2)
    assert f"endpoint {NAME}" in done.out and f"model {NAME}" in done.out
    assert "give --yes" in error_of(done)
    done = run(lab, "endpoints", "cleanup", typed="n\n", code=2)
    assert len(lab.cloud.serving.endpoints()) == 1
    assert "nothing" in run(lab, "endpoints", "cleanup", "--older", "1d").out
    run(lab, "endpoints", "cleanup", typed="y\n")
    assert is_empty(lab)


OLD = "2025-01-01T00:00:00Z"
BOARD = f"projects/{NUMBER}/locations/{REGION}/tensorboards/{{}}"


def docker_image(name, digit, tag):
    parent = f"projects/{PROJECT}/locations/{REGION}/repositories/{NAME}/dockerImages"
    size = {"imageSizeBytes": "400000000", "uploadTime": OLD}
    return {"name": f"{parent}/{name}@sha256:{digit * 64}", "tags": [tag], **size}


def workbench(name, label, state):
    path = f"projects/{PROJECT}/locations/{REGION}-b/instances/{name}"
    machine = {"gceSetup": {"machineType": f"zones/{REGION}-b/machineTypes/e2-standard-4"}}
    return {
        "name": path,
        "state": state,
        "labels": {"project": label},
        "createTime": OLD,
        **machine,
    }


@pytest.fixture
def littered(lab):
    """A project with one of everything that is ours, and as much that is not."""
    from google.cloud import aiplatform_v1 as api

    cloud, other = lab.cloud, "penguin-lab-two"
    cloud.docker_images = [
        docker_image(NAME, "1", "one"),
        docker_image(f"{NAME}-serving", "2", "two"),
        docker_image(other, "3", "three"),
        docker_image(NAME, "4", "running"),
    ]
    cloud.instances = [
        workbench("ours", NAME, "ACTIVE"),
        workbench("stopped", NAME, "STOPPED"),
        workbench("other", other, "ACTIVE"),
    ]
    for number, (label, name) in enumerate([(NAME, "curves"), (other, "theirs"), (NAME, "used")]):
        board = api.Tensorboard(name=BOARD.format(number), display_name=name)
        board.labels["project"], board.create_time = label, OLD
        cloud.jobs.resources[board.name] = api.Tensorboard.pb(board)
    image = f"{REGION}-docker.pkg.dev/{PROJECT}/{NAME}/{NAME}:running"
    pool = {"container_spec": {"image_uri": image, "args": [f"gs://lab/scratch/{NAME}/busy/x"]}}
    spec = {"worker_pool_specs": [pool], "tensorboard": BOARD.format(2)}
    job = api.CustomJob(name=BOARD.format(9).replace("tensorboards", "customJobs"), job_spec=spec)
    job.labels["project"], job.state = NAME, api.JobState.JOB_STATE_RUNNING
    cloud.jobs.resources[job.name] = api.CustomJob.pb(job)
    for name in ("old/a", "old/b", "busy/x"):
        cloud.buckets.write("lab", f"scratch/{NAME}/{name}", b"x" * 100)
    for name in (f"scratch/{other}/a", "runs/a/run.json", "scratch/a"):
        cloud.buckets.write("lab", name, b"{}")
    yield lab
    for name in cloud.buckets.names("lab", "scratch/"):
        cloud.buckets.remove("lab", name)


def list_all(cloud):
    """What there is of everything that cleanup looks at."""
    return {
        "images": [
            one["name"].rpartition("/")[2].partition("@")[0] + ":" + one["tags"][0]
            for one in cloud.docker_images
        ],
        "instances": [one["name"].rpartition("/")[2] for one in cloud.instances],
        "boards": [
            r.display_name for n, r in cloud.jobs.resources.items() if "/tensorboards/" in n
        ],
        "objects": cloud.buckets.names("lab", "scratch/") + cloud.buckets.names("lab", "runs/a/"),
    }


def test_cleanup_deletes_all_that_is_ours_and_nothing_else(littered):
    deploy(littered)
    before = list_all(littered.cloud)
    listed = run(littered, "endpoints", "cleanup", typed="n\n", code=2).out
    assert list_all(littered.cloud) == before
    lines = listed.splitlines()
    assert re.fullmatch(
        rf"endpoint {NAME} \(one with 100 % of the traffic\): \S+ s old, \$0\.\d+ so far by these models",
        lines[0],
    )
    assert lines[1].startswith(f"model {NAME} with all its versions: ")
    assert re.fullmatch(r"TensorBoard curves: \d+ days old, unknown cost", lines[2])
    assert re.fullmatch(rf"image {NAME}:one: \d+ days old, 0.4 GB", lines[3])
    assert lines[4].startswith(f"image {NAME}-serving:two: ")
    assert re.fullmatch(
        rf"scratch gs://lab/scratch/{NAME}/old: .* old, 2 objects, 0.0 GB", lines[5]
    )
    instance = (
        r"Workbench instance ours \(e2-standard-4\) with the files on its disks: \d+ days old, "
    )
    assert re.fullmatch(instance + r"at most about \$[\d,.]+ so far, plus its disks", lines[6])
    assert lines[7].startswith("Delete all of these?") and len(lines) == 8

    run(littered, "endpoints", "cleanup", "--yes")
    assert is_empty(littered)
    assert list_all(littered.cloud) == {
        "images": ["penguin-lab-two:three", f"{NAME}:running"],
        "instances": ["stopped", "other"],
        "boards": ["theirs", "used"],
        "objects": [
            "scratch/a",
            "scratch/penguin-lab-two/a",
            f"scratch/{NAME}/busy/x",
            "runs/a/run.json",
        ],
    }


def test_cleanup_leaves_what_is_younger(littered):
    out = run(littered, "endpoints", "cleanup", "--older", "1d", "--yes").out
    assert "deleted the image" in out and "scratch" not in out
    assert f"scratch/{NAME}/old/a" in littered.cloud.buckets.names("lab")


def test_an_api_that_is_off_has_nothing_and_a_refusal_hides_nothing_else(littered):
    off = "Notebooks API has not been used in project 1 before or it is disabled."
    littered.cloud.faults = [Fault("GET /v2/.*instances", 403, off)]
    assert "Workbench" not in run(littered, "endpoints", "cleanup", "--yes").out
    littered.cloud.docker_images = [docker_image(NAME, "5", "five")]
    littered.cloud.faults = [Fault("DELETE .*/packages/", 403, "Permission denied")]
    done = run(littered, "endpoints", "cleanup", "--yes", code=2)
    assert f"the image {NAME}:five stays: " in done.err
    assert "roles/artifactregistry.repoAdmin" in done.err
    assert "deleted the Workbench instance ours" in done.out


def test_a_deadline_that_has_passed_is_warned_of(lab):
    deploy(lab, "--until", "23:59")
    [name] = lab.cloud.serving.endpoints()
    lab.cloud.jobs.resources[name].labels["until"] = "20250101-0000"
    deploy(lab)
    assert (
        "still paid for; run: python scripts/endpoints.py undeploy"
        in run(lab, "endpoints", "list").out
    )


def test_the_logs_of_an_endpoint(lab):
    deploy(lab)
    number = lab.cloud.serving.endpoints()[0].rpartition("/")[2]
    lab.cloud.log.write_endpoint(number, "listening on http://0.0.0.0:8080", "INFO")
    assert run(lab, "endpoints", "logs", NAME).out == "listening on http://0.0.0.0:8080\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["endpoints", "traffic", NAME, "one=50"], "sum to 50"),
        (["endpoints", "traffic", NAME, "nine=100"], "models are one"),
        (["endpoints", "undeploy", NAME, "nine"], "there is one"),
        (["endpoints", "logs", "nowhere"], "there is penguin-lab"),
        (["deploy", "runs/two", "--shared", "--traffic", "10"], "leave --traffic out"),
        (["deploy", "runs/nine"], "no exported model"),
        (["deploy", "gs://lab/nothing/"], "gs://lab/nothing: there is nothing"),
        (["deploy", "gs://lab"], "name a folder in it"),
        (["deploy", "--until", "2025-01-01T18:00"], "it has passed; write 18:00 or 20"),
        (["deploy", "--until", "24:00"], "hour must be in 0..23"),
    ],
)
def test_a_wrong_command_is_one_line_and_changes_nothing(lab, words, says):
    deploy(lab)
    before = lab.cloud.serving.endpoint()
    assert says in error_of(run(lab, *words, code=2))
    assert lab.cloud.serving.endpoint() == before


FILES = {  # {a file's text: the faults that it has}
    "deployedModel: {}": ["deployedModel.dedicatedResources: is missing"],
    "deployedModel:\n  dedicatedResources:\n    machineSpec: {machineType: n2-standard-4}\n"
    "    minReplicaCount: 0\n  model: x": [
        ":4: deployedModel.dedicatedResources.minReplicaCount: is 0",
        ":5: deployedModel.model: is filled in by deploy.py",
    ],
    "containerSpec:\n  imageUri: gcr.io/x/y\n  env: [{name: AIP_HTTP_PORT, value: '1'}]\n"
    "  predictRoute: predict": [
        ":2: containerSpec.imageUri: gcr.io/x/y is in Container Registry",
        ":3: containerSpec.env[0].name: AIP_HTTP_PORT is set by Vertex AI",
        ":4: containerSpec.predictRoute: is predict",
    ],
    "containerSpec: {imageUri: europe-west4-docker.pkg.dev/p1/r/i}": [
        "is an image in europe-west4, and the endpoint is in us-central1"
    ],
    "containerSpec: {imageUrl: x}": ["did you mean imageUri?"],
}


@pytest.mark.parametrize("text", FILES)
def test_a_wrong_file_is_refused_with_its_lines(lab, tmp_path, text):
    path = tmp_path / "file.yaml"
    path.write_text(text, encoding="utf-8")
    done = run(lab, "check", path, code=2)
    lines = done.err.splitlines()
    assert len(lines) == len(FILES[text])
    for line, fault in zip(lines, FILES[text], strict=True):
        assert fault in line
