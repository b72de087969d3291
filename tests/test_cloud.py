"""Jobs are sent to the cloud: the launcher, TensorFlow and gcloud, against stand-ins.

The stand-ins take what the API's own messages take, and run what was submitted. What they cannot
show: permissions, quota, machines, images that are fetched, preemption. See `standins/cloud.py`.
"""

import contextlib
import errno
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest import mock

import pytest
import yaml

from cloud_lab import BUCKET, EXECUTOR, PROJECT, REGION
from conftest import PRODUCT
from standins.cloud import DAMAGED, DROPPED, LATE, LOST, PACKED, SECRET, SLOW, Fault
from standins.jobs import states

pytestmark = pytest.mark.slow  # the real clients, for a minute in all

CONFIGS = sorted(path.stem for path in (PRODUCT / "configs").glob("*.yaml"))
CONFIGS = [name for name in CONFIGS if name not in ("batch", "endpoint", "model")]  # no jobs
GCLOUD = shutil.which("gcloud")
CREATE = "POST .*/(customJobs|hyperparameterTuningJobs)$"
LIST = "GET .*/(customJobs|hyperparameterTuningJobs)$"
NO_QUOTA = (
    "The following quota metrics exceed quota limits: "
    "aiplatform.googleapis.com/custom_model_training_nvidia_l4_gpus"
)


@pytest.fixture
def lab(lab):
    """No submission is open."""
    shutil.rmtree(lab.module("cloud.submit").FOLDER, ignore_errors=True)
    return lab


def send(lab, *words, code=0, **options):
    """Sends configs/smoke.yaml, or another; gives what was printed and the jobs that this made."""
    before = len(lab.cloud.jobs.sent)
    words = words if words and not words[0].startswith("-") else ("configs/smoke.yaml", *words)
    done = lab.run("train_cloud", *words, **options)
    assert done.code == code, f"{done.out}\n{done.err}"
    assert "Traceback" not in done.err and SECRET not in done.out + done.err
    return done, [message for _, message in lab.cloud.jobs.sent[before:]]


def error_of(done):
    """The one line of an error; lines about retries are beside it."""
    (line,) = (line for line in done.err.splitlines() if line.startswith("error: "))
    return line


def folder_of(message):
    spec = message.get("trialJobSpec") or message["jobSpec"]
    return spec["baseOutputDirectory"]["outputUriPrefix"].removeprefix(f"gs://{BUCKET}/")


def in_bucket(lab, folder):
    names = lab.cloud.buckets.names(BUCKET, f"{folder}/")
    return [name.removeprefix(f"{folder}/") for name in names]


# One message: printed, sent by us, sent by gcloud.


@contextlib.contextmanager
def fixed_names(lab, name, ids=None):
    submission, ids = lab.module("cloud.submission"), ids or itertools.repeat("5" * 16)
    with (
        mock.patch.object(submission, "_choose_name", lambda job: name),
        mock.patch.object(submission.uuid, "uuid4", lambda: mock.Mock(hex=next(ids))),
    ):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("way", ["container", "package"])
@pytest.mark.parametrize("config", CONFIGS)
def test_what_is_printed_is_what_is_sent_and_what_gcloud_sends(lab, config, way, tmp_path):
    from google.cloud import aiplatform_v1 as api
    from google.protobuf import json_format

    account = f"robot@{PROJECT}.iam.gserviceaccount.com"
    board = f"projects/123/locations/{REGION}/tensorboards/456"
    common = {"service_account": account, "tensorboard": board, "max_cost": '""'}
    lab.package(**common) if way == "package" else lab.settings(**common)
    with fixed_names(lab, f"{config.replace('_', '-')}-{way}"):
        printed, none = send(lab, f"configs/{config}.yaml", "--dry-run", "--", "--seed", "7")
        sent, [message] = send(lab, f"configs/{config}.yaml", "--", "--seed", "7")
    assert none == [] and printed.err == ""
    tuning = "trialJobSpec" in message
    kind = api.HyperparameterTuningJob if tuning else api.CustomJobSpec
    read = json_format.ParseDict(yaml.safe_load(printed.out), kind.pb(kind()))
    assert json_format.MessageToDict(read) == (message if tuning else message["jobSpec"])

    spec = message["trialJobSpec"] if tuning else message["jobSpec"]
    assert spec["serviceAccount"] == account and spec["tensorboard"] == board
    assert f"experiment/{board.replace('/', '+')}+experiments+" in sent.out
    assert folder_of(message) == f"runs/{message['displayName']}"
    for pool in spec["workerPoolSpecs"]:
        task = pool["containerSpec" if way == "container" else "pythonPackageSpec"]
        assert task["args"][-2:] == ["--seed", "7"]
        image = f"{REGION}-docker.pkg.dev/{PROJECT}/penguin-lab/penguin-lab:"
        assert way == "package" or task["imageUri"].startswith(image)
        assert way == "container" or task["packageUris"][0].startswith(f"gs://{BUCKET}/packages/")
    if not GCLOUD:
        pytest.skip("gcloud is not installed: its part was left out")
    if config not in ("smoke", "tuning") and (way, config) != ("container", "multi_worker"):
        return  # test_specs.py sends each job file by gcloud; what is added to them is the same
    (command,) = (line[2:] for line in printed.out.splitlines() if line.startswith("# gcloud"))
    file = tmp_path / "job.yaml"
    file.write_text(printed.out, encoding="utf-8")
    words = shlex.split(command.replace("FILE", str(file)))
    before = len(lab.cloud.jobs.sent)
    environ = {**os.environ, **lab.environ}
    subprocess.run(words, env=environ, check=True, capture_output=True, timeout=120)
    [(_, by_gcloud)] = lab.cloud.jobs.sent[before:]
    assert by_gcloud == message


def test_texts_that_look_like_numbers_stay_texts_for_every_reader(lab):
    to_yaml = lab.module("jobfile.completion").to_yaml
    words = ["1e-3", "0x10", "1_000", "12:30", "no", "null", "~", "2026-01-01", "-", "", "a: b"]
    words += [
        "1.5",
        "é",
        "a\nb",
        "'",
        '"',
        "--lr=1e-3",
        "infinity",
        ".inf",
        "O'Brien #1",
        "=",
        "<<",
    ]
    assert yaml.safe_load(to_yaml({"args": words})) == {"args": words}
    # YAML 1.2, which gcloud's reader knows too, takes more for numbers: nothing bare begins so.
    bare = [line[2:] for line in to_yaml({"args": words}).splitlines()[1:]]
    assert all(re.match(r"[\"'A-Za-z]|\\", word) for word in bare if word)


# Never two jobs, never half of one.


CREATES = re.compile(CREATE)


def creates(lab):
    return sum(bool(CREATES.match(line)) for line in lab.cloud.requests)


def wait_until_sent(lab, before):
    """Until a request that takes effect late has done so."""
    end = time.monotonic() + 60
    while len(lab.cloud.jobs.sent) == before:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("what", [LOST, SLOW, LATE, DAMAGED, PACKED])
def test_a_job_whose_answer_is_lost_is_found_and_not_sent_again(lab, what):
    """LATE as in the field: the client gives up after 60 s, the service executes after 70 s."""
    lab.cloud.faults.append(Fault(CREATE, what, times=1, seconds=0.6))
    with mock.patch.object(lab.module("cloud.errors"), "ANSWER", 0.3):
        done, jobs = send(lab)
    assert (len(jobs), creates(lab)) == (1, 1)
    assert "looking whether the job started" in done.err
    assert ("(the answer is not JSON; perhaps this network" in done.err) == (what == DAMAGED)
    assert f"sent: {jobs[0]['displayName']}, number " in done.out


def test_a_job_that_appears_late_in_lists_is_not_sent_again(lab):
    lab.cloud.faults.append(Fault(CREATE, LOST, times=1))
    really, looks = lab.cloud.jobs._list, []

    def late(route, message):
        looks.append(message.filter)
        answer = really(route, message)
        return type(answer)() if len(looks) < 4 else answer

    with mock.patch.object(lab.cloud.jobs, "_list", late):
        _, [job] = send(lab)
    assert looks == [f'labels.submission="{job["labels"]["submission"]}"'] * 4
    assert creates(lab) == 1


@pytest.mark.parametrize("what", [429, "refused"])
def test_a_request_that_surely_did_nothing_is_repeated(lab, what):
    real = lab.module("cloud.vertex").Vertex._send
    if what == 429:
        lab.cloud.faults.append(Fault(CREATE, what, times=2))
    calls = []

    def unreachable(self, *words):
        """Nobody listens at first: port 9 of this machine."""
        calls.append(words)
        if what == "refused" and len(calls) < 3:
            import requests

            requests.post("http://127.0.0.1:9/", timeout=5)
        return real(self, *words)

    with mock.patch.object(lab.module("cloud.vertex").Vertex, "_send", unreachable):
        _, jobs = send(lab)
    assert len(calls) == 3 and len(jobs) == 1


@pytest.mark.parametrize("what", [DROPPED, 500, 503, 504])
def test_a_job_of_unknown_fate_is_not_sent_again_until_it_is_known(lab, what):
    lab.cloud.faults.append(Fault(CREATE, what, times=1))
    with lab.giving_up_soon():
        done, jobs = send(lab, code=2)
    assert jobs == [] and creates(lab) == 1
    match = re.search(
        r"it is unknown whether (smoke-\S+) starts; python scripts/jobs.py show \1 ", done.err
    )
    assert match and "no job was started" not in done.err
    # The same command, given again: too early, and then so late that the request is over.
    done, jobs = send(lab, code=2)
    assert jobs == [] and creates(lab) == 1
    assert error_of(done).startswith(
        f"error: {match[1]} was sent before, its answer was lost, and it may"
    )
    assert f"python scripts/jobs.py show {match[1]} shows" in error_of(done)
    _, jobs = send(lab, "--", "--seed=8")  # another job
    assert len(jobs) == 1
    with mock.patch.object(lab.module("cloud.submit"), "LATEST", 0.0):
        _, jobs = send(lab)
    assert len(jobs) == 1 and creates(lab) == 3
    assert list(lab.module("cloud.submit").FOLDER.iterdir()) == []


def test_a_job_of_unknown_fate_is_the_same_job_after_a_commit(lab):
    lab.package()
    lab.cloud.faults.append(Fault(CREATE, DROPPED, times=1))
    with lab.giving_up_soon():
        send(lab, code=2)
    path = lab.project.path / "notes.txt"
    path.write_text("saved meanwhile", encoding="utf-8")
    try:
        done, jobs = send(lab, code=2)
    finally:
        path.unlink()
    assert jobs == [] and creates(lab) == 1
    assert "was sent before, its answer was lost" in error_of(done)


def test_where_every_request_hangs_nothing_is_claimed_to_be_known(lab):
    lab.cloud.faults += [Fault(CREATE, LATE, seconds=1.5), Fault(LIST, LATE, seconds=1.5)]
    before = len(lab.cloud.jobs.sent)
    with lab.giving_up_soon(ANSWER=0.5, LIMIT=1.0):
        done, _ = send(lab, code=2)
        assert "it is unknown whether smoke-" in error_of(done)
        wait_until_sent(lab, before)
        done, jobs = send(lab, code=2)
        assert "look whether the job started: no good answer" in error_of(done) and jobs == []
    lab.cloud.faults.clear()
    before = lab.cloud.jobs.sent[-1][1]["displayName"]
    done, jobs = send(lab)
    assert jobs == [] and creates(lab) == 1
    assert "the same command sent this job before, and it started" in done.out
    assert f"sent: {before}, number " in done.out
    assert len(send(lab)[1]) == 1  # its fate is known: this is another one


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_command_that_is_killed_while_it_sends_and_repeated_starts_one_job(lab):
    lab.cloud.faults.append(Fault(CREATE, LATE, times=1, seconds=6.0))
    before = len(lab.cloud.jobs.sent)
    process = subprocess.Popen(
        [sys.executable, "scripts/train_cloud.py", "configs/smoke.yaml"],
        cwd=lab.project.path,
        env={**os.environ, **lab.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        end = time.monotonic() + 60
        while not creates(lab) and time.monotonic() < end:
            time.sleep(0.02)
    finally:
        process.kill()
        process.communicate()
    done, jobs = send(lab, code=2)
    assert "it may still start: nothing is sent again before" in error_of(done)
    wait_until_sent(lab, before)
    done, jobs = send(lab)
    assert "the same command sent this job before, and it started" in done.out
    assert (jobs, creates(lab)) == ([], 1)


def test_two_commands_at_once_do_not_share_a_note(lab):
    submit, submission = lab.module("cloud.submit"), lab.module("cloud.submission")
    this = submission.plan(
        lab.module("jobfile.spec").load(lab.project.path / "configs" / "smoke.yaml")
    )
    note = submit.find_note(this)
    submit.write_note(this)
    with pytest.raises(lab.module("cloud.errors").CloudError, match="another command is sending"):
        submit.write_note(this)
    note.write_text("half", encoding="utf-8")
    done, jobs = send(lab, code=2)
    assert jobs == [] and "delete this file" in error_of(done)


def test_nothing_is_sent_without_a_note(lab):
    folder = lab.module("cloud.submit").FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("no folder", encoding="utf-8")
    try:
        done, jobs = send(lab, code=2)
    finally:
        folder.unlink()
    assert jobs == [] and creates(lab) == 0
    assert "nothing is sent without it" in error_of(done)

    def fill_disk(path, *_, **__):
        Path(path).touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with mock.patch.object(lab.module("cloud.submit"), "open", fill_disk, create=True):
        done, jobs = send(lab, code=2)
    assert "(No space left on device), and nothing is sent" in error_of(done)
    assert list(folder.iterdir()) == [] == jobs


def test_jobs_of_one_second_write_into_folders_of_their_own(lab):
    with fixed_names(lab, "smoke-20260301-120000", (f"{n:016}" for n in range(9))):
        names = [send(lab)[1][0] for _ in range(3)]
        # Both look at the same moment, and find the folder free.
        with mock.patch.object(lab.module("cloud.storage").Store, "is_free", lambda *_: True):
            names += [send(lab)[1][0]]
    wanted = ["", "-2", "-3", "-4"]
    assert [m["displayName"] for m in names] == [f"smoke-20260301-120000{end}" for end in wanted]
    assert [folder_of(m) for m in names] == [f"runs/{m['displayName']}" for m in names]


def test_an_upload_whose_answer_is_lost_is_known_again(lab):
    lab.cloud.faults.append(Fault("POST /upload", LOST, times=1))
    with fixed_names(lab, "mine-alone"):
        _, [message] = send(lab)
    assert message["displayName"] == "mine-alone"


def test_a_job_resumes_in_the_folder_of_another_only_with_job_dir(lab):
    folder = f"gs://{BUCKET}/runs/mine"
    for _ in range(2):
        _, [message] = send(lab, "--", "--job-dir", f"{folder}/", "--epochs=3")
        assert message["jobSpec"]["baseOutputDirectory"]["outputUriPrefix"] == folder
        args = message["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]["args"]
        assert args == ["--epochs=2", "--epochs=3"]
    done, none = send(lab, "--", "--job-dir=runs/mine", code=2)
    assert none == [] and "a cloud job writes to a bucket" in error_of(done)


# Where a job writes, and what it names in buckets.

JOB = """\
workerPoolSpecs:
- machineSpec: {machineType: n1-standard-4}
  replicaCount: 1
  TASK
baseOutputDirectory: {outputUriPrefix: "gs://lab/kept"}
scheduling: {timeout: 3600s}
"""


def job_file(lab, task='containerSpec: {args: ["--epochs=1"]}', output="gs://lab/kept"):
    path = lab.folder / "job.yaml"
    text = JOB.replace("TASK", task).replace("gs://lab/kept", output)
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("output", [f"gs://{BUCKET}", f"gs://{BUCKET}/"])
def test_a_whole_bucket_as_output_means_a_folder_of_the_jobs_own_in_it(lab, output):
    path, name = job_file(lab, output=output), f"root-{len(output)}"
    with fixed_names(lab, name, (f"{n:016}" for n in itertools.count())):
        printed, _ = send(lab, path, "--dry-run")
        assert f"it gets a folder of its own there, gs://{BUCKET}/runs/{name}." in printed.out
        both = [send(lab, path)[1][0] for _ in range(2)]
    assert [folder_of(message) for message in both] == [f"runs/{name}", f"runs/{name}-2"]
    touched = {line.split("/b/")[1].split("/")[0] for line in lab.cloud.requests if "/b/" in line}
    assert touched == {BUCKET}


def test_a_slash_at_the_end_of_an_output_is_no_part_of_its_name(lab):
    _, [message] = send(lab, job_file(lab, output=f"gs://{BUCKET}/slash/"))
    assert folder_of(message) == "slash" and in_bucket(lab, "slash") == ["job.yaml"]


BAD_URIS = [
    "gs://BUCKET/../x",
    "gs://lab/a/../b",
    "gs://lab/..",
    "gs://lab/./x",
    "gs://lab//x",
    "gs://lab/x//",
    "gs:///x",
    "gs://",
    "gs://Lab/x",
    "gs://la/x",
    "gs://-lab/x",
    "gs://lab./x",
    "gs://l..ab/x",
    "gs://10.0.0.1/x",
    f"gs://{'x' * 64}/x",
    "gs://my lab/x",
    "gs://lab/a\tb",
    f"gs://lab/{'x' * 1025}",
]


ALL_FIELDS = """\
workerPoolSpecs:
- machineSpec: {machineType: n1-standard-4}
  replicaCount: 1
  containerSpec: {args: [FLAG], env: [{name: A, value: URI}]}
- machineSpec: {machineType: n1-standard-4}
  replicaCount: 1
  pythonPackageSpec: {executorImageUri: img, pythonModule: their.main, packageUris: [URI]}
baseOutputDirectory: {outputUriPrefix: URI}
scheduling: {timeout: 3600s}
"""
PREFIXES = [
    ":4: workerPoolSpecs[0].containerSpec.args[0]: ",
    ":4: workerPoolSpecs[0].containerSpec.env[0].value: ",
    ":7: workerPoolSpecs[1].pythonPackageSpec.packageUris[0]: ",
    ":8: baseOutputDirectory.outputUriPrefix: ",
]


@pytest.mark.parametrize("uri", BAD_URIS)
def test_a_uri_that_leaves_its_folder_or_names_no_bucket_is_refused_everywhere(lab, uri):
    flag = f"--train-files=gs://lab/a,{uri}"
    text = ALL_FIELDS.replace("FLAG", json.dumps(flag)).replace("URI", json.dumps(uri))
    path = lab.folder / "uri.yaml"
    path.write_text(text, encoding="utf-8")
    done, _ = send(lab, str(path), "--dry-run", code=2)
    lines = [line.removeprefix(f"error: {path}") for line in done.err.splitlines()]
    assert len(lines) == 4
    for line, prefix in zip(lines, PREFIXES, strict=True):
        assert line.startswith(prefix)
    for flags in (["--job-dir", uri], [flag])[: 2 if uri in BAD_URIS[:2] else 1]:
        done, _ = send(lab, "--dry-run", "--", *flags, code=2)
        assert " a path has " in error_of(done) or " cannot be the name of a b" in error_of(done)


@pytest.mark.parametrize("bucket", ["Lab", "la", "lab.", "l..ab", "10.0.0.1", "x" * 64, "my lab"])
def test_a_bucket_of_the_project_that_cannot_be_is_refused(lab, bucket):
    lab.settings(bucket=f'"{bucket}"')
    done, _ = send(lab, "--dry-run", code=2)
    assert re.search(
        r"project.yaml:\d+: gcp.bucket: is .*; write the bucket's name", error_of(done)
    )


def test_uris_that_the_service_takes_are_taken(lab):
    args = json.dumps(["--train-files=gs://data.of.lab/x/*.csv,gs://b_1/y"])
    send(lab, job_file(lab, f"containerSpec: {{args: {args}}}"), "--dry-run")
    find = lab.module("project.buckets").find_uri_problems
    assert (
        list(find(["--a=gs://$(BUCKET)//x", "gs://lab/a b/ü..c/.hidden/", "/local//x", "-", ""]))
        == []
    )
    # What another image makes of its args is its own affair.
    theirs = (
        'containerSpec: {imageUri: "us-docker.pkg.dev/them/images/theirs:1", args: ["gs://lab//x"]}'
    )
    send(lab, job_file(lab, theirs), "--dry-run")


def test_a_package_without_an_image_to_install_it_on_is_refused(lab):
    for image in ("", 'executorImageUri: "", '):
        task = f"pythonPackageSpec: {{{image}packageUris: [gs://{BUCKET}/mypkg-0.1.tar.gz], pythonModule: mypkg.train}}"
        done, _ = send(lab, job_file(lab, task), "--dry-run", code=2)
        assert ":4: workerPoolSpecs[0].pythonPackageSpec.executorImageUri: is missing" in error_of(
            done
        )
        assert "write an image that has Python and pip" in error_of(done)
    # For our own package project.yaml names the image, here and where the file leaves it empty.
    lab.package()
    for image in ("", 'executorImageUri: "", '):
        task = f"pythonPackageSpec: {{{image}pythonModule: trainer.task}}"
        _, [message] = send(lab, job_file(lab, task))
        package = message["jobSpec"]["workerPoolSpecs"][0]["pythonPackageSpec"]
        assert package["executorImageUri"] == EXECUTOR and package["packageUris"]


FAR = {"location": "EUROPE-WEST1", "locationType": "region"}


@pytest.mark.parametrize(
    ("described", "near"),
    [
        ({"location": "US-CENTRAL1", "locationType": "region"}, True),
        ({"location": "US", "locationType": "multi-region"}, True),
        ({"location": "NAM4", "locationType": "dual-region"}, True),
        ({"location": "US", "customPlacementConfig": {"dataLocations": ["US-CENTRAL1", "US-WEST1"]}}, True),
        ({"location": "US", "customPlacementConfig": {"dataLocations": ["US-EAST1", "US-WEST1"]}}, False),
        ({"location": "US-CENTRAL1", "locationType": "zone", "customPlacementConfig": {"dataLocations": ["us-central1-a"]}}, True),
        ({"location": "US-EAST1", "locationType": "region"}, False),
        ({"location": "EU", "locationType": "multi-region"}, False),
        ({"location": "EUR4", "locationType": "dual-region"}, False),
        (FAR, False),
    ],
)  # fmt: skip
def test_a_bucket_in_another_region_causes_a_warning_before_anything_is_copied(
    lab, described, near
):
    with mock.patch.dict(lab.cloud.buckets.described, {BUCKET: described}):
        done, jobs = send(lab)
    assert len(jobs) == 1
    lines = [line for line in done.err.splitlines() if line.startswith("warning: ")]
    assert len(lines) == (not near)
    if not near:
        parts = described.get("customPlacementConfig", {}).get("dataLocations")
        where = " and ".join(parts or [described["location"]]).lower()
        assert lines[0].startswith(
            f"warning: gs://{BUCKET} is in {where}, and the job runs in {REGION}"
        )
        assert "billed as traffic between regions" in lines[0]


def test_every_bucket_that_a_job_names_is_looked_at(lab):
    path = job_file(
        lab, 'containerSpec: {args: ["--train-files=gs://other/x.csv,gs://closed/y,gs://none/z"]}'
    )
    with mock.patch.dict(lab.cloud.buckets.described, {"other": FAR}):
        lab.cloud.buckets.add("other")
        done, jobs = send(lab, path)
    assert len(jobs) == 1 and done.err.count("warning: ") == 1
    assert "warning: gs://other is in europe-west1" in done.err


def test_a_tensorboard_needs_its_bucket_in_the_same_region(lab):
    account = f"robot@{PROJECT}.iam.gserviceaccount.com"
    board = f"projects/123/locations/{REGION}/tensorboards/456"
    lab.settings(service_account=account, tensorboard=board)
    with mock.patch.dict(lab.cloud.buckets.described, {BUCKET: FAR}):
        done, jobs = send(lab, code=2)
    assert jobs == [] and not any("/upload/" in line for line in lab.cloud.requests)
    assert f"take a bucket in {REGION}, or leave the TensorBoard out" in error_of(done)


# What goes wrong, at each step. By request, and what it is called in the message.

STEPS = {
    "image": ("GET .*/repositories/[^/]+/packages/", "look for the image"),
    "package": ("GET .*/packages/[0-9a-f]+/trainer", "look for gs://lab/packages"),
    "data": (f"GET /storage/v1/b/{BUCKET}/o$", "list gs://lab/data"),
    "record": ("POST /upload/", "upload to gs://lab/runs/smoke-"),
    "create": (CREATE, "start the job"),
    "watch": ("GET .*/customJobs/", "look at smoke-"),
    "log": ("POST /v2/entries:list", "read the log of smoke-"),
}
SENT = ("watch", "log")  # steps of a job that runs already
ROLES = {"image": "artifactregistry.reader", "create": "aiplatform.user"}
ROLES |= {"watch": "aiplatform.user", "log": "logging.viewer"}


@pytest.fixture(scope="module")
def key(cloud_lab):
    """The environment of a robot that is logged in with a key."""
    return cloud_lab.cloud.login(cloud_lab.folder / "key.json")


def disturbed(lab, step, key, code, *faults):
    """Sends a job with faults at a step; gives what was printed, of which step, and the jobs."""
    lab.settings() if step == "image" else lab.package()
    if step == "record":  # let the code be there, so that the record is all that is uploaded
        send(lab)
        lab.cloud.reset()
    lab.cloud.faults += faults
    wait = ["--wait"] if step in SENT else []
    done, jobs = send(lab, *wait, code=code, **key)
    for message in jobs:  # whatever happens, what a job names is there as a whole
        for pool in message["jobSpec"]["workerPoolSpecs"]:
            for uri in (pool.get("pythonPackageSpec") or {}).get("packageUris", []):
                bucket, _, name = uri.removeprefix("gs://").partition("/")
                assert name in lab.cloud.buckets.names(bucket)
    return done, jobs


@pytest.mark.parametrize(
    ("step", "what"),
    [
        (step, what)
        for step in STEPS
        for what in (429, 500, 503, DROPPED, LOST, SLOW)
        # After these nobody knows whether the job started, so it is not sent again: see above.
        if (step, what) not in {("create", 500), ("create", 503), ("create", DROPPED)}
    ],
)
@pytest.mark.slow
def test_a_transient_fault_is_retried(lab, key, step, what):
    fault = Fault(STEPS[step][0], what, times=2, seconds=1.0)
    answer = 0.5 if what == SLOW else 30.0
    with mock.patch.object(lab.module("cloud.errors"), "ANSWER", answer):
        done, jobs = disturbed(lab, step, key, 0, fault)
    assert fault.seen == 2 or (step, what) in {("create", LOST), ("create", SLOW)}
    assert len(jobs) == 1
    assert "trying again" in done.err or "looking whether the job started" in done.err
    assert "error: " not in done.err


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_lasting_fault_is_reported_in_time(lab, key, step):
    request, words = STEPS[step]
    with lab.giving_up_soon():
        done, jobs = disturbed(lab, step, key, 0 if step == "log" else 2, Fault(request, 503))
    if step == "log":  # the job is watched on, without its lines
        assert f"{words}" in done.err and "no good answer within" in done.err
        return
    assert error_of(done).startswith(f"error: {words}")
    words = "no good answer (" if step == "create" else "no good answer within"
    assert words in error_of(done)
    assert len(jobs) == (step in SENT)
    assert ("the job keeps running; come back: " in done.err) == (step == "watch")


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_missing_role_is_reported_with_the_caller_and_the_grant(lab, key, step):
    request, words = STEPS[step]
    fault = Fault(request, 403, f"Permission denied on resource, {SECRET}")
    done, jobs = disturbed(lab, step, key, 0 if step == "log" else 2, fault)
    (line,) = (line for line in done.err.splitlines() if words in line)
    robot = f"robot@{PROJECT}.iam.gserviceaccount.com"
    assert f"signed in as service account {robot}" in line
    role = f"roles/{ROLES.get(step, 'storage.objectUser')}"
    assert f"who lacks {role}: Permission denied" in line
    command = line.partition("to grant it: ")[2].split("; the job keeps running")[0]
    assert f"--member=serviceAccount:{robot}" in command and f"--role={role}" in command
    assert command.startswith("gcloud ") and "(secret)" in line
    assert fault.seen == 1 and len(jobs) == (step in SENT)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_refused_login_is_reported_with_the_command_to_log_in(lab, key, step):
    request, words = STEPS[step]
    fault = Fault(request, 401, "Request had invalid authentication credentials.")
    done, jobs = disturbed(lab, step, key, 0 if step == "log" else 2, fault)
    (line,) = (line for line in done.err.splitlines() if words in line)
    assert f"robot@{PROJECT}.iam.gserviceaccount.com" in line
    assert "gcloud auth application-default login" in line
    assert len(jobs) == (step in SENT)


REFUSED = {
    "no quota": (CREATE, 429, NO_QUOTA, {}, "the quota is used up, or there is none: The follow"),
    "no API": (
        CREATE,
        403,
        "Vertex AI API has not been used in project 1 before or it is disabled. Enable it by "
        "visiting https://console.developers.google.com/apis/api/aiplatform.googleapis.com then",
        {},
        "refused: Vertex AI API has not been used in project 1 before or it is disabled. Enable it",
    ),
    "no quota project": (
        CREATE,
        403,
        "Your application is authenticating by using local Application Default Credentials. The "
        "API requires a quota project, which is not set by default.",
        {},
        "which is not set by default.; python scripts/doctor.py --cloud names what is missing",
    ),
    "no billing": (
        CREATE,
        403,
        "This API method requires billing to be enabled.",
        {},
        "requires billing to be enabled.; python scripts/doctor.py --cloud names what is missing",
    ),
    "no account": (
        CREATE,
        404,
        f"Service account robot@{PROJECT}.iam.gserviceaccount.com does not exist.",
        {"service_account": f"robot@{PROJECT}.iam.gserviceaccount.com"},
        f"run: gcloud iam service-accounts create robot --project={PROJECT}",
    ),
    "may not act": (
        CREATE,
        403,
        "You do not have permission to act as service_account.",
        {"service_account": f"robot@{PROJECT}.iam.gserviceaccount.com"},
        f"gcloud iam service-accounts add-iam-policy-binding robot@{PROJECT}",
    ),
    "no bucket": (
        "none",
        0,
        "",
        {"bucket": "absent"},
        f"gcloud storage buckets create gs://absent --project={PROJECT} --location={REGION} "
        "--uniform-bucket-level-access",
    ),
    "closed bucket": ("none", 0, "", {"bucket": "closed"}, "who lacks roles/storage.objectUser"),
    "no project": (CREATE, 400, "Project 4711 is not found.", {}, "Project 4711 is not found."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_missing_is_reported_with_the_command_that_creates_it(lab, key, case):
    request, status, message, settings, expected = REFUSED[case]
    lab.settings(**settings)
    fault = Fault(request, status, message)
    lab.cloud.faults.append(fault)
    done, jobs = send(lab, code=2, **key)
    assert expected in error_of(done) and jobs == []
    assert fault.seen <= 1, "nothing of this passes by itself"


def test_an_upload_that_fails_is_no_package_that_a_job_could_name(lab, key):
    lab.package()
    for name in lab.cloud.buckets.names(BUCKET, "packages/"):
        lab.cloud.buckets.remove(BUCKET, name)
    lab.cloud.faults.append(Fault("POST /upload", 503))
    with lab.giving_up_soon():
        done, jobs = send(lab, code=2, **key)
    assert error_of(done).startswith(f"error: upload to gs://{BUCKET}/packages/")
    assert jobs == [] and not any("Jobs" in line for line in lab.cloud.requests)
    lab.cloud.reset()
    lab.cloud.faults.append(Fault("POST /upload", LOST, times=1))
    _, jobs = send(lab, **key)
    assert len(jobs) == 1


def test_a_login_is_retried_and_an_expired_one_is_reported(lab, key):
    lab.cloud.faults.append(Fault("POST /token", 503, times=1))
    assert len(send(lab, **key)[1]) == 1
    lab.cloud.faults.append(Fault("POST /token", 400, "invalid_grant: Token has been revoked."))
    done, jobs = send(lab, code=2, **key)
    assert "gcloud auth application-default login" in error_of(done) and jobs == []


def test_nobody_is_logged_in(lab, tmp_path):
    nobody = {
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "false",
        "CLOUDSDK_CONFIG": str(tmp_path),
        "HOME": str(tmp_path),
        "GOOGLE_APPLICATION_CREDENTIALS": "",
    }
    done, jobs = send(lab, code=2, **nobody)
    assert "gcloud auth application-default login" in error_of(done) and jobs == []


ACCOUNT = (
    '{"type": "service_account", "client_email": "a@b", "private_key": "no", "token_uri": "x"}'
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "key.json was not found"),
        ("folder", "Is a directory"),
        ("", "key.json is not a valid json file"),
        ("[]", "nobody is logged in ("),
        ('{"client_email": "a@b"}', "nobody is logged in (The file "),
        ('{"type": "unheard_of"}', "nobody is logged in (The file "),
        (ACCOUNT, "nobody is logged in (Failed to load service account credentials from "),
    ],
)
def test_a_key_that_is_named_and_cannot_be_used_is_named(lab, tmp_path, text, expected):
    path = tmp_path / "key.json"
    if text == "folder":
        path.mkdir()
    elif text is not None:
        path.write_text(text, encoding="utf-8")
    named = {"GOOGLE_APPLICATION_CREDENTIALS": str(path), "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "no"}
    done, jobs = send(lab, code=2, **named)
    error = error_of(done)
    assert jobs == [] and expected in error and "(('" not in error
    advice = "run: unset GOOGLE_APPLICATION_CREDENTIALS && gcloud auth application-default login"
    assert f"{advice} (GOOGLE_APPLICATION_CREDENTIALS is {path}, which counts before " in error


def test_the_clients_are_not_installed(lab):
    with mock.patch.dict(sys.modules, {"google.cloud.storage": None}):
        done, jobs = send(lab, code=2)
    assert 'pip install -c constraints.txt -e ".[cloud]"' in error_of(done) and jobs == []


# While it runs.


class TalkingRunner:
    """A runner whose replicas print lines, and then end as the test says."""

    def __init__(self, lines, error=None):
        self.lines, self.error = lines, error

    def start(self, resource, log):
        for task, text, severity in self.lines:
            log.write(resource["name"].rpartition("/")[2], task, text, severity)
        return self

    def describe(self):
        if not self.error:
            return {"state": "JOB_STATE_SUCCEEDED"}
        return {"state": "JOB_STATE_FAILED", "error": {"code": 3, "message": self.error}}

    def stop(self):
        """There is nothing to stop."""


def test_lines_name_their_replica_and_the_failed_one_is_shown_last(lab):
    lines = [(f"workerpool{i}-0", f"hello {n}", "INFO") for n in range(30) for i in (0, 1)]
    lines += [("workerpool1-1", "It broke:", "ERROR"), ("workerpool1-1", "out of memory", "ERROR")]
    lines += [("workerpool0-0", "I wait", "INFO"), ("", "Job is failing.", "INFO")]
    lab.cloud.jobs.runner = TalkingRunner(
        lines, "The replica workerpool1-1 exited with status 137."
    )
    done, _ = send(lab, "configs/multi_worker.yaml", "--wait", code=1)
    shown = done.out.splitlines()
    assert "chief:0 | hello 29" in shown and "worker:0 | hello 29" in shown
    assert "service | Job is failing." in shown
    assert shown.index("chief:0 | hello 0") < shown.index("chief:0 | hello 29")
    assert sum(line == "worker:1 | out of memory" for line in shown) == 1
    tail = [line for line in done.err.splitlines() if " | " in line]
    assert tail == ["  worker:1 | It broke:", "  worker:1 | out of memory"]
    assert "The replica workerpool1-1 exited with status 137." in error_of(done)


def test_a_long_log_is_shown_whole_and_each_line_once(lab):
    lines = [("workerpool0-0", f"line {n}", "INFO") for n in range(2500)]
    lab.cloud.jobs.runner = TalkingRunner(lines)
    done, _ = send(lab, "--wait")
    shown = [line for line in done.out.splitlines() if line.startswith("line ")]
    assert shown == [f"line {n}" for n in range(2500)]


def test_a_job_that_waits_long_says_how_long_and_why_that_may_be(lab):
    with mock.patch.object(lab.module("cloud.remote_job"), "LONG", 0.0):
        done, _ = send(lab, "--wait")
    lines = [line for line in done.out.splitlines() if "has been" in line]
    assert len(lines) >= 1
    assert re.search(
        r"has been (queued|pending) for [\d.]+ s: no machine of this kind is free, or th", lines[0]
    )
    assert "there is no quota" in lines[0] and "quotas?project=" in lines[0]


@pytest.mark.parametrize("state", ["CANCELLED", "EXPIRED"])
def test_a_job_that_is_ended_by_others_is_no_success(lab, state):
    lab.cloud.jobs.life = states("QUEUED", "RUNNING", state)
    done, _ = send(lab, "--wait", code=1)
    why = {"CANCELLED": "somebody stopped it, by jobs.py cancel", "EXPIRED": "gives no reason"}
    assert re.search(rf"{state.lower()}( after [\d.]+ s)?: .*{why[state]}", error_of(done))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C reaches a whole console there")
def test_ctrl_c_leaves_the_job_alone_and_says_how_to_come_back(lab):
    lab.cloud.jobs.life = states("QUEUED", "RUNNING")  # for ever
    before = len(lab.cloud.jobs.sent)
    process = subprocess.Popen(
        [sys.executable, "scripts/train_cloud.py", "configs/smoke.yaml", "--wait"],
        cwd=lab.project.path,
        env={**os.environ, **lab.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    killer = threading.Timer(120, process.kill)
    killer.start()
    try:
        for line in process.stdout:
            if line.startswith("[launcher]"):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        killer.cancel()
        process.kill()
    assert process.returncode == 130, err
    [(_, message)] = lab.cloud.jobs.sent[before:]
    assert f"{message['displayName']} keeps running without us" in out
    assert f"come back: python scripts/jobs.py logs {message['displayName']} --follow" in out
    assert "Traceback" not in err and not any(":cancel" in line for line in lab.cloud.requests)


# What it costs.


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_job_that_may_cost_more_is_refused(lab, dry):
    done, jobs = send(lab, "configs/gpu.yaml", "--max-cost", "1", *dry, code=2)
    assert re.search(
        r"may cost \$\d+\.\d\d, above the limit of \$1\.00|limit is \$1", error_of(done)
    )
    assert jobs == [] and lab.cloud.requests == []
    done, jobs = send(lab, "configs/tpu.yaml", "--max-cost", "1000", *dry, code=2)
    assert "unknown" in error_of(done) and jobs == []


def test_the_limit_of_the_project_asks(lab):
    lab.settings(max_cost="0.5")
    done, jobs = send(lab, "configs/gpu.yaml", code=2)
    assert "gcp.max_cost in project.yaml: this job may cost $" in error_of(done)
    assert ", and the limit is $0.50" in error_of(done)
    assert "no terminal to ask on" in error_of(done) and jobs == [] and lab.cloud.requests == []
    done, jobs = send(lab, "configs/tpu.yaml", code=2)
    assert "what this job costs is unknown, and the limit is" in error_of(done) and jobs == []
    assert "unknown price of " in done.out and "--max-cost" not in error_of(done)
    assert "set another limit there, or none" in error_of(done)
    done, jobs = send(lab, "configs/gpu.yaml", typed="\n", code=2)
    assert error_of(done) == "error: not sent" and jobs == []
    done, jobs = send(lab, "configs/gpu.yaml", typed="y\n")
    assert "[y/N]" in done.out and len(jobs) == 1
    _, jobs = send(lab, "configs/gpu.yaml", "--max-cost=100")  # given by hand, it counts instead
    assert len(jobs) == 1
    done, jobs = send(lab, "configs/tpu.yaml", code=2)
    assert "costs is unknown" in error_of(done) and jobs == []
    lab.settings(max_cost='""')
    assert len(send(lab, "configs/tpu.yaml")[1]) == 1


# The code, and where it comes from.


def test_what_is_not_committed_is_reported_and_kept_beside_the_run(lab, tmp_path):
    root = lab.project.path
    model = lab.project.read("trainer/model.py")
    (root / "trainer" / "model.py").write_text(model + "\n# tried\n", encoding="utf-8")
    (root / "trainer" / "new file.py").write_text("X = 1\n", encoding="utf-8")
    (root / "trainer" / "weights.bin").write_bytes(bytes(range(256)))
    (root / "key.json").write_text('{"private_key": "do not send"}', encoding="utf-8")
    try:
        done, [message] = send(lab)
    finally:
        lab.project.run(["git", "stash", "-qu"])
        lab.project.run(["git", "stash", "drop", "-q"])
    assert "Changes that are not committed (" in done.out
    assert message["labels"]["git_commit"].endswith("-dirty")
    env = message["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]["env"]
    assert {"name": "GIT_DIRTY", "value": "true"} in env
    diff = lab.cloud.buckets.read(BUCKET, f"{folder_of(message)}/git.diff")
    assert b"do not send" not in diff
    clone = tmp_path / "clone"
    lab.project.run(["git", "clone", "-q", ".", clone])
    (tmp_path / "git.diff").write_bytes(diff)
    lab.project.run(["git", "-C", clone, "apply", tmp_path / "git.diff"])
    assert (clone / "trainer" / "model.py").read_text(encoding="utf-8") == model + "\n# tried\n"
    assert (clone / "trainer" / "new file.py").read_text(encoding="utf-8") == "X = 1\n"
    assert (clone / "trainer" / "weights.bin").read_bytes() == bytes(range(256))


def test_files_of_this_machine_are_not_named_to_another(lab):
    flags = ["--", "--train-files=data/penguins_train.csv", "--target=species"]
    assert len(send(lab, *flags)[1]) == 1  # the image holds data/
    done, jobs = send(lab, "--", f"--train-files={lab.project.path}/data/*.csv", code=2)
    assert "is on this machine, and the job runs on another" in error_of(done) and jobs == []
    lab.package()
    done, jobs = send(lab, *flags, code=2)
    assert f"run gcloud storage cp -r data/penguins_train.csv gs://{BUCKET}/data/" in error_of(done)
    assert jobs == [] and lab.cloud.requests[-1:] != ["POST"]


def test_without_docker_cloud_build_builds_the_image_once(lab, tmp_path):
    lab.cloud.images = False
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "git").symlink_to(shutil.which("git"))
    done, [message] = send(lab, PATH=str(tools))
    image = message["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]["imageUri"]
    assert "docker is not installed: Cloud Build builds the image" in done.out
    [build] = lab.cloud.builds.values()
    assert build["status"] == "SUCCESS" and build["images"] == [image]
    source = build["source"]["storageSource"]
    archive = lab.cloud.buckets.read(BUCKET, source["object"])
    (tmp_path / "source.tgz").write_bytes(archive)
    names = lab.project.run(["tar", "tzf", tmp_path / "source.tgz"]).stdout.split()
    assert {"Dockerfile", "setup.py", "constraints.txt", "trainer/task.py"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith(("/", ".git/"))]
    _, [again] = send(lab, PATH=str(tools))  # an unchanged tree
    assert len(lab.cloud.builds) == 1
    assert again["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]["imageUri"] == image


def test_an_image_that_cannot_be_built_starts_no_job(lab, tmp_path):
    lab.cloud.images = False
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "git").symlink_to(shutil.which("git"))
    lab.cloud.builds.clear()
    with mock.patch.object(lab.cloud, "build_life", ("QUEUED", "FAILURE")):
        done, jobs = send(lab, code=2, PATH=str(tools))
    assert "the image's build ended with FAILURE" in error_of(done) and jobs == []
    assert "its log: https://" in error_of(done)
    lab.cloud.repository = False
    done, jobs = send(lab, code=2, PATH=str(tools))
    assert (
        "gcloud artifacts repositories create penguin-lab --repository-format=docker "
        f"--location={REGION} --project={PROJECT}" in error_of(done)
    )
    assert jobs == []


# Files, in both directions.


def test_a_folder_is_copied_and_what_is_equal_stays(lab, tmp_path, capsys):
    storage, local_files = lab.module("cloud.storage"), lab.module("cloud.local_files")
    source, back = tmp_path / "source", tmp_path / "back"
    large = bytes(9 << 20)  # goes up in pieces
    files = {"a.txt": b"a", "deep/er/b.bin": large, "empty": b"", "with space é.txt": b"x"}
    for name, data in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    target = f"gs://{BUCKET}/copies/{tmp_path.name}"
    with lab.asking():
        store = lab.store()
        entries = local_files.hash_files(source, local_files.list_names(source))
        for count in (4, 0):
            storage.upload_new(store, source, entries, target)
            assert capsys.readouterr().out.startswith(f"{target}: copied {count} files, ")
        lab.cloud.faults.append(Fault("GET /download", DROPPED, times=3))
        assert storage.download_folder(store, target, back) == 4
        (back / "a.txt").write_bytes(b"b")  # as long, and another
        (back / "deep/er/b.bin").write_bytes(b"half")
        (back / "mine").write_bytes(b"stays")
        assert storage.download_folder(store, target, back, skip=r"^deep/") == 1
        assert storage.download_folder(store, target, back) == 1
        assert {n: (back / n).read_bytes() for n in files} == files
        assert (back / "mine").exists() and not list(back.rglob("*.partial"))
        lab.cloud.buckets.write(BUCKET, f"copies/{tmp_path.name}/../../evil", b"")
        with pytest.raises(lab.module("cloud.errors").CloudError, match="nothing was copied"):
            storage.download_folder(store, target, back)


def test_a_download_that_breaks_leaves_nothing_half(lab, tmp_path):
    storage = lab.module("cloud.storage")
    lab.cloud.buckets.write(BUCKET, "broken/one", b"x" * 1000)
    lab.cloud.faults.append(Fault("GET /download", 503))
    unavailable = pytest.raises(
        lab.module("cloud.errors").CloudError, match="no good answer within"
    )
    with lab.asking(), lab.giving_up_soon(), unavailable:
        storage.download_folder(lab.store(), f"gs://{BUCKET}/broken", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_download_is_refused(lab, tmp_path):
    storage, error = lab.module("cloud.storage"), lab.module("cloud.errors").CloudError
    lab.cloud.buckets.write(BUCKET, "damaged/one", b"x" * 1000)
    lab.cloud.faults.append(Fault("GET /download", DAMAGED))
    with lab.asking():
        store = lab.store()
        with pytest.raises(error, match="gs://lab/damaged/one"):
            storage.download_folder(store, f"gs://{BUCKET}/damaged", tmp_path)
        assert list(tmp_path.iterdir()) == []
        lab.cloud.reset()
        assert storage.download_folder(store, f"gs://{BUCKET}/damaged", tmp_path) == 1
    assert (tmp_path / "one").read_bytes() == b"x" * 1000


# What project.yaml lacks.


@pytest.mark.parametrize("key_", ["project", "region", "bucket", "image_repository"])
def test_an_empty_setting_is_reported_with_what_to_write(lab, key_):
    lab.settings(**{key_: '""'})
    done, _ = send(lab, "--dry-run", code=2)
    assert f": gcp.{key_}: is empty; write " in error_of(done)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"code": "zip"}, "gcp.code: is zip; write container or package"),
        ({"max_cost": "much"}, "gcp.max_cost: is much; write dollars"),
        ({"code": "package"}, "gcp.executor_image is empty"),
        (
            {"code": "package", "executor_image": "us-docker.pkg.dev/vertex-ai/training/tf-cpu.2-15.py310:latest"},
            "TensorFlow up to 2.17 are gone since 2026-07-11",
        ),
    ],
)  # fmt: skip
def test_wrong_settings_are_reported(lab, settings, expected):
    lab.settings(**settings)
    done, _ = send(lab, "--dry-run", code=2)
    assert expected in error_of(done)


def test_labels_are_made_legal(lab):
    text = lab.plain.replace("  labels:\n", '  labels:\n    Team Größe: "A/B: 4%"\n    1st: ""\n')
    (lab.project.path / "project.yaml").write_text(text, encoding="utf-8")
    try:
        with mock.patch.object(
            lab.module("cloud.submission").getpass, "getuser", lambda: "Ada.Lovelace@x"
        ):
            _, [message] = send(lab, "configs/multi_gpu.yaml")
    finally:
        lab.project.run(["git", "checkout", "-q", "project.yaml"])
    labels = message["labels"]
    assert labels["team_grosse"] == "a_b_4" and labels["st"] == ""
    assert labels["user"] == "ada_lovelace_x" and labels["config"] == "multi_gpu"
    assert labels["project"] == "penguin-lab" and re.fullmatch("[0-9a-f]{16}", labels["submission"])
