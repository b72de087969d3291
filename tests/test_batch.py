"""Predictions for all instances of a file: on this machine, and by a job on Vertex AI, against stand-ins.

The stand-ins take what the API's own messages take. What they cannot show: quota, machines, and how
the service forms its requests and files. See `standins/batches.py`.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time

import filelock
import pytest

from cloud_lab import BUCKET, PROJECT, REGION
from standins.batches import FILES
from standins.cloud import DROPPED, LOST, SECRET, Fault
from test_endpoints import error_of, is_empty, run, trained  # noqa: F401

pytestmark = pytest.mark.slow  # the real SDK, and a training
CREATE = "POST .*/batchPredictionJobs$"
EVAL = "data/penguins_eval.csv"


@pytest.fixture
def lab(lab, trained):  # noqa: F811
    """An answer is a bird's weight."""
    lab.cloud.serving.answer = lambda birds: [{"value": b["body_mass_g"]} for b in birds]
    return lab


def batch(lab, *words, **options):
    return run(lab, "batch", *(words or (EVAL,)), "--model", "runs/one", **options)


def config(lab, text):
    """configs/batch.yaml with more in it."""
    path = lab.folder / "batch.yaml"
    path.write_text(lab.project.read("configs/batch.yaml") + text, encoding="utf-8")
    return path


def read(lab, uri):
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return [json.loads(line) for line in lab.cloud.buckets.read(bucket, name).splitlines()]


def results(folder):
    return [[json.loads(line) for line in (folder / name).open("rb")] for name in FILES]


def predict(lab, path):
    command = ["python", "scripts/predict.py", "--model", "runs/one/model", path]
    return list(map(json.loads, lab.project.run(command, check=False).stdout.splitlines()))


# In the cloud


def test_a_table_becomes_a_job_that_is_followed_to_its_end(lab):
    done = batch(lab)

    assert done.out.startswith("1 replica of e2-highmem-2: at most $0.1040 an hour, ")
    [job] = lab.cloud.batches.sent
    [uri] = job["inputConfig"]["gcsSource"]["uris"]
    assert f"instances: {uri}, 69" in done.out
    assert re.search(r"queued\nrunning\nsucceeded, 69 instances done, 0 failed\ncost: ", done.out)
    folder = f"gs://{BUCKET}/batch/prediction-one"
    assert f"predictions: {folder}\nbring back: gcloud storage cp -r {folder} ." in done.out
    sent, predicted = read(lab, uri), read(lab, f"{folder}/{FILES[0]}")
    assert [line["instance"] for line in predicted] == sent and len(sent) == 69
    assert [line["prediction"]["value"] for line in predicted] == [b["body_mass_g"] for b in sent]


def test_a_dry_run_prints_what_is_sent_which_is_what_google_s_client_sends(lab):
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import aiplatform_v1 as api
    from google.protobuf import json_format

    path = config(lab, "instanceConfig: {keyField: body_mass_g, excludedFields: [year]}\n")
    uri = f"gs://{BUCKET}/in/birds.jsonl"
    lab.cloud.buckets.write(BUCKET, "in/birds.jsonl", b'{"body_mass_g": 1, "year": 2}\n')
    printed = batch(lab, uri, "--config", path, "--dry-run").out
    assert lab.cloud.requests == [] and is_empty(lab)
    bodies = [json.loads(body) for body in re.findall(r"<<'END'\n(.*?)\nEND", printed, re.DOTALL)]
    lab.cloud.serving.answer = lambda instances: instances
    batch(lab, uri, "--config", path)
    [[version]] = lab.cloud.serving.versions.values()
    assert version.display_name == bodies[0]["model"]["displayName"]
    [sent], body = lab.cloud.batches.sent, bodies[1]
    body["model"] = sent["model"]  # known once it is uploaded
    assert sent == body
    assert body["instanceConfig"] == {"keyField": "body_mass_g", "excludedFields": ["year"]}
    client = api.JobServiceClient(
        credentials=AnonymousCredentials(),
        transport="rest",
        client_options={"api_endpoint": lab.cloud.proxy.address},
    )
    message = json_format.ParseDict(body, api.BatchPredictionJob.pb(api.BatchPredictionJob()))
    parent = f"projects/{PROJECT}/locations/{REGION}"
    job = api.BatchPredictionJob.wrap(message)
    client.create_batch_prediction_job(parent=parent, batch_prediction_job=job)
    assert lab.cloud.batches.sent == [sent, sent]
    assert read(lab, f"gs://{BUCKET}/batch/prediction-one/{FILES[0]}") == [
        {"key": 1, "prediction": {}}
    ]


@pytest.mark.parametrize("fault", [LOST, DROPPED])
def test_a_lost_answer_starts_nothing_twice(lab, fault):
    lab.cloud.faults = [Fault(CREATE, fault, times=1)]
    with lab.giving_up_soon():
        done = batch(lab, code=2 if fault == DROPPED else 0)
    assert "looking for what became of it" in done.err
    if fault == DROPPED:
        assert "it is unknown whether it takes effect" in error_of(done)
        batch(lab)
    assert len(lab.cloud.batches.sent) == 1


@pytest.mark.parametrize(
    ("status", "message", "says"),
    [
        (403, "Permission denied", "roles/aiplatform.user"),
        (429, "The following quota metrics exceed quota limits: x", "quota is used up"),
    ],
)
def test_a_refusal_removes_what_the_command_created(lab, status, message, says):
    lab.cloud.faults = [Fault(CREATE, status, message)]
    assert says in error_of(batch(lab, code=2))
    assert is_empty(lab)


def test_the_same_command_follows_a_job_that_runs_and_starts_another_after_its_end(lab):
    lab.cloud.faults = [Fault(r"GET .*/batchPredictionJobs/\d+", 403, "denied", times=1)]
    error = error_of(batch(lab, code=2))
    assert "denied" in error and "; the job continues. To see whether" in error
    assert "nothing of this project" in run(lab, "endpoints", "cleanup", "--yes").out
    assert "nothing is sent again" in batch(lab).out
    assert len(lab.cloud.batches.sent) == 1 == len(lab.cloud.serving.versions)
    assert "nothing is sent again" not in batch(lab).out
    assert len(lab.cloud.batches.sent) == 2


def test_how_a_job_fails(lab):
    lab.cloud.batches.ends = "FAILED"
    done = batch(lab, code=2)
    assert error_of(done) == "error: The container ran out of memory."
    lab.cloud.batches.ends = "SUCCEEDED"
    lab.cloud.serving.answer = lambda birds: [{"error": "no"}] + [{"value": 1}] * (len(birds) - 1)
    done = batch(lab, code=2)
    assert "68 instances done, 1 failed" in done.out
    assert error_of(done) == "error: instances without a prediction: 1"


def test_what_the_server_would_refuse_is_left_out_and_shown(lab, tmp_path):
    good = predict_one = json.dumps(dict.fromkeys(BIRD) | {"body_mass_g": 7})
    (tmp_path / "b.jsonl").write_text(f"{good}\n{{\n{predict_one}\n[1]\n", encoding="utf-8")
    done = batch(lab, tmp_path / "b.jsonl", code=2)
    assert "the model does not take, left out: 2; the first: not JSON" in done.out
    assert error_of(done) == "error: instances without a prediction: 2"
    [uri] = lab.cloud.batches.sent[0]["inputConfig"]["gcsSource"]["uris"]
    assert len(read(lab, uri)) == 2
    errors = read(lab, uri.replace("instances.jsonl", "errors.jsonl"))
    assert errors[1]["instance"] == [1] and "expected an object" in errors[1]["error"]["message"]


def test_a_batch_of_large_instances_fits_a_request(lab, tmp_path):
    bird = dict.fromkeys(BIRD) | {"island": "x" * 1_000_000, "body_mass_g": 1}
    (tmp_path / "large.jsonl").write_text(f"{json.dumps(bird)}\n" * 2, encoding="utf-8")
    assert "batchSize: 9, not 64, since" in batch(lab, tmp_path / "large.jsonl").out
    assert lab.cloud.batches.sent[0]["manualBatchTuningParameters"] == {"batchSize": 9}
    bird["island"] *= 10
    (tmp_path / "large.jsonl").write_text(f"{json.dumps(bird)}\n", encoding="utf-8")
    done = batch(lab, tmp_path / "large.jsonl", code=2)
    assert "an instance has 10,000,1" in error_of(done)


def test_what_is_in_the_cloud_already(lab):
    lab.cloud.serving.answer = lambda instances: [{"value": 1} for _ in instances]
    table = "bq://p1.birds.new"
    batch(lab, table)
    job = lab.cloud.batches.sent[-1]
    source = {"bigquerySource": {"inputUri": table}, "instancesFormat": "bigquery"}
    assert (job["inputConfig"], job["instanceConfig"]) == (source, {"instanceType": "object"})
    lab.cloud.buckets.write(BUCKET, "in/list.txt", f"gs://{BUCKET}/in/list.txt\n".encode())
    batch(lab, f"gs://{BUCKET}/in/list.txt")
    assert lab.cloud.batches.sent[-1]["inputConfig"]["instancesFormat"] == "file-list"
    rows = (lab.project.path / EVAL).read_bytes()
    lab.cloud.buckets.write(BUCKET, "in/rows.csv", rows)
    assert ", 69" in batch(lab, f"gs://{BUCKET}/in/rows.csv").out
    assert lab.cloud.batches.sent[-1]["inputConfig"]["instancesFormat"] == "jsonl"
    assert "copy it here" in error_of(batch(lab, f"gs://{BUCKET}/in/folder", code=2))
    for name in ("in/none.csv", "in/none.jsonl"):
        assert "there is no such object" in error_of(batch(lab, f"gs://{BUCKET}/{name}", code=2))
    lab.cloud.buckets.described[BUCKET] = {"location": "EUROPE-WEST4"}
    try:
        done = batch(lab, table, code=2)
    finally:
        del lab.cloud.buckets.described[BUCKET]
    assert "gs://lab is in europe-west4, and the job runs in us-central1" in error_of(done)


def test_a_model_in_a_bucket_is_copied(lab):
    model = lab.project.path / "runs/one/model"
    for path in filter(lambda path: path.is_file(), model.rglob("*")):
        name = f"elsewhere/three/model/{path.relative_to(model)}"
        lab.cloud.buckets.write(BUCKET, name, path.read_bytes())
    run(lab, "batch", EVAL, "--model", f"gs://{BUCKET}/elsewhere/three")
    assert lab.cloud.batches.sent[0]["displayName"] == "three"


# On this machine

BIRD = ["island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex", "year"]  # fmt: skip


def test_a_local_prediction_has_the_bits_of_predict_py(lab, tmp_path):
    done = batch(lab, EVAL, "--local", "--output", tmp_path / "out")
    good, bad = results(tmp_path / "out")
    assert [line["prediction"] for line in good] == predict(lab, EVAL) and bad == []
    assert f"predictions: {tmp_path / 'out' / FILES[0]}, 69 instances" in done.out
    assert lab.cloud.requests == []
    assert "predicted before" in batch(lab, EVAL, "--local", "--output", tmp_path / "out").out


def test_a_bad_row_is_in_the_other_file_and_shifts_none(lab, tmp_path):
    header, *rows = lab.project.read(EVAL).splitlines()[:6]
    keyed = [f"bird,{header}", *(f"b{i},{row}" for i, row in enumerate(rows))]
    keyed[2] = keyed[2].replace(",200", ",20O")
    keyed.insert(4, "b9,1,2")
    (tmp_path / "rows.csv").write_text("\n".join(keyed), encoding="utf-8")
    (tmp_path / "plain.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    path = config(lab, "instanceConfig: {keyField: bird}\n")
    words = tmp_path / "rows.csv", "--config", path, "--local", "--output", tmp_path / "out"
    done = batch(lab, *words, code=2)
    assert "2 of 6 instances have none" in error_of(done)
    good, bad = results(tmp_path / "out")
    answers = dict(zip(["b0", "b1", "b2", "b3", "b4"], predict(lab, tmp_path / "plain.csv"), strict=True))  # fmt: skip
    assert [line["key"] for line in good] == ["b0", "b2", "b3", "b4"]
    assert all(line["prediction"] == answers[line["key"]] for line in good)
    assert [line.get("key") for line in bad] == ["b1", None]
    assert {line["error"]["status"] for line in bad} == {"INVALID_ARGUMENT"}
    assert (
        "feature 'year'" in bad[0]["error"]["message"] and "3 values" in bad[1]["error"]["message"]
    )


def test_a_prediction_that_is_killed_resumes_and_ends_with_the_same_bytes(lab, tmp_path):
    header, *rows = lab.project.read(EVAL).splitlines()
    rows[3] = rows[3].replace(",20", ",2O")
    (tmp_path / "many.csv").write_text("\n".join([header, *rows * 30]), encoding="utf-8")
    path = lab.folder / "small.yaml"
    text = lab.project.read("configs/batch.yaml").replace("batchSize: 64", "batchSize: 2")
    path.write_text(text, encoding="utf-8")
    script = [sys.executable, "scripts/batch.py", str(tmp_path / "many.csv"), "--local"]
    script += ["--model=runs/one", f"--config={path}", "--output"]
    environ = {**os.environ, **lab.environ}
    kills, state = 0, tmp_path / "killed.partial/batch.json"
    while not (tmp_path / "killed").exists():
        child = subprocess.Popen([*script, str(tmp_path / "killed")], cwd=lab.project.path, env=environ)  # fmt: skip
        before = state.read_bytes() if state.exists() else b""
        end = time.monotonic() + 60
        while kills < 3 and child.poll() is None and time.monotonic() < end:
            if state.exists() and state.read_bytes() != before:
                time.sleep(0.02 * kills)
                child.send_signal(signal.SIGKILL)
                kills += 1
            time.sleep(0.002)  # this process would take half the machine
        assert child.wait(60) in (2, -signal.SIGKILL)
    assert kills == 3
    whole = subprocess.run([*script, str(tmp_path / "whole")], cwd=lab.project.path, env=environ)
    assert whole.returncode == 2
    for name in (*FILES, "batch.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    good, bad = results(tmp_path / "whole")
    assert (len(good), len(bad)) == (68 * 30, 30)


def test_a_txt_is_a_table_where_no_instance_is_a_file(lab, tmp_path):
    (tmp_path / "birds.txt").write_bytes((lab.project.path / EVAL).read_bytes())
    batch(lab, tmp_path / "birds.txt", "--local", "--output", tmp_path / "out")
    good, bad = results(tmp_path / "out")
    assert [line["prediction"] for line in good] == predict(lab, EVAL) and not bad


def test_nothing_is_overwritten(lab, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / FILES[0]).write_text("mine", encoding="utf-8")
    words = EVAL, "--local", "--output", out
    assert "name another folder by --output" in error_of(batch(lab, *words, code=2))
    assert [path.read_text() for path in out.iterdir()] == ["mine"]
    assert "is there already" in error_of(batch(lab, EVAL, "--local", "--output", ".", code=2))
    (tmp_path / "bad.csv").write_bytes(b"year\n\xe9\n")
    for wrong, says in {
        "nothing.csv": "nothing.csv: no such file or folder on this machine",
        "gs://lab/in/rows.csv": "copy what is in a bucket",
        "-": "no such file or folder",
        tmp_path / "bad.csv": "bad.csv: not a text in UTF-8",
    }.items():
        words = wrong, "--local", "--output", tmp_path / "new"
        assert says in error_of(batch(lab, *words, code=2))
        assert {path.name for path in tmp_path.iterdir()} == {"out", "bad.csv"}


def test_another_command_or_another_file_is_refused(lab, tmp_path):
    rows = lab.project.read(EVAL)
    (tmp_path / "rows.csv").write_text(rows, encoding="utf-8")
    words = tmp_path / "rows.csv", "--local", "--output", tmp_path / "out"
    (tmp_path / "out.partial").mkdir()
    with filelock.FileLock(tmp_path / "out.partial/.lock"):
        assert "another run is using it; wait for its end, or name another" in error_of(
            batch(lab, *words, code=2)
        )
    batch(lab, *words)
    before = results(tmp_path / "out")
    (tmp_path / "rows.csv").write_text(rows[:-40], encoding="utf-8")
    assert "holds predictions for other instances" in error_of(batch(lab, *words, code=2))
    assert results(tmp_path / "out") == before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_file_needs_no_more_memory(lab, tmp_path):
    bird = dict.fromkeys(BIRD) | {"island": "x" * 3000}
    with open(tmp_path / "large.jsonl", "w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(bird | {'year': year})}\n" for year in range(20_000))
    code = "import sys; from launcher.cli import batch; from predictor import batch as needs\n"
    code += "batch.main(sys.argv[1:], needs)\n"
    code += "print(*(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    words = [
        tmp_path / "large.jsonl",
        "--local",
        "--model=runs/one",
        f"--output={tmp_path / 'out'}",
    ]
    done = lab.project.run(["python", "-c", code, *words])
    assert (tmp_path / "out" / FILES[0]).stat().st_size > 60e6
    assert int(re.search(r"VmHWM:\s+(\d+) kB", done.stdout)[1]) < 130_000


def test_without_a_project_it_runs_on_this_machine(bake, lab, tmp_path):
    lab.settings(project='""')
    try:
        done = batch(lab, EVAL, "--output", tmp_path / "out")
    finally:
        lab.settings()
    assert done.out.startswith("no project in project.yaml: on this machine, by ")
    assert lab.cloud.requests == []


BROKEN = {  # {a file's text: the faults that it has}
    "manualBatchTuningParameters: {batchSize: 0}": [
        "dedicatedResources: is missing",
        "manualBatchTuningParameters.batchSize: is 0; write 1 to 320",
    ],
    "dedicatedResources:\n  machineSpec: {machineType: n9-standard-4}\n  startingReplicaCount: 3\n"
    "  maxReplicaCount: 2\nmodel: x\ninputConfig: {gcsSource: {uris: [gs://lab/x]}}": [
        ":2: dedicatedResources.machineSpec.machineType: n9-standard-4 is no machine type",
        ":4: dedicatedResources.maxReplicaCount: is 2, less than startingReplicaCount",
        ":5: model: is filled in by batch.py",
        ":6: inputConfig.gcsSource: is filled in by batch.py",
    ],
    "{machine}inputConfig: {instancesFormat: tf-record}\ninstanceConfig:\n  instanceType: array\n"
    "  includedFields: [a]\n  excludedFields: [b]\noutputConfig: {predictionsFormat: csv}": [
        ":2: inputConfig.instancesFormat: is tf-record, which the serving image does not read",
        ":4: instanceConfig.instanceType: is array",
        ":6: instanceConfig.excludedFields: stands beside includedFields",
        ":7: outputConfig.predictionsFormat: is csv, and does not go with gcsDestination",
    ],
    "dedicatedResources: {machineSpec: {machineType: e2-highmem-2}}": [
        ":1: dedicatedResources.maxReplicaCount: is missing, and the service takes up to 10 then",
    ],
    "{machine}inputConfig: {instancesFormat: file-list}\ninstanceConfig: {keyField: id}\n"
    "outputConfig: {bigqueryDestination: {outputUri: p.d}}\n"
    "encryptionSpec: {kmsKeyName: projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k}": [
        ":3: instanceConfig: does not go with instancesFormat file-list",
        ":4: outputConfig.bigqueryDestination.outputUri: is p.d, no table of BigQuery",
        ":5: encryptionSpec.kmsKeyName: is a key in europe-west4, and its model is in us-central1",
    ],
    "dedicatedResource: {}\ninstanceConfig: {keyfield: id}": [
        ":1: dedicatedResource: the API has no such field here; did you mean dedicatedResources?",
        ":2: instanceConfig.keyfield: the API has no such field here; did you mean keyField?",
    ],
}
MACHINE = "dedicatedResources: {machineSpec: {machineType: e2-highmem-2}, maxReplicaCount: 1}\n"


@pytest.mark.parametrize("text", BROKEN)
def test_a_wrong_file_is_refused_with_its_lines(lab, tmp_path, text):
    path = tmp_path / "file.yaml"
    path.write_text(text.replace("{machine}", MACHINE), encoding="utf-8")
    lines = run(lab, "check", path, code=2).err.splitlines()
    assert len(lines) == len(BROKEN[text]), lines
    for line, fault in zip(lines, BROKEN[text], strict=True):
        assert fault in line
    assert SECRET not in "".join(lines)
