"""A job whose data and results are in a bucket: real TensorFlow, against a bucket in this process."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from urllib.parse import unquote

import pytest

from conftest import forked, user_environ
from standins.buckets import Buckets
from standins.proxy import LOST, Proxy

pytestmark = pytest.mark.slow

EPOCHS = 6
DATA = ["--train-files", "gs://lab/data/*_train.csv", "--eval-files", "gs://lab/data/*_eval.csv"]
FLAGS = [*DATA, "--target=species", f"--epochs={EPOCHS}", "--checkpoint-every=0"]
SECONDS = 100  # for one process, on a busy machine; most of it is the import of TensorFlow


class Lab:
    """A baked repo, a bucket `lab` that holds its data, and the way between them."""

    def __init__(self, project, proxy, buckets, temporary):
        self.project, self.proxy, self.buckets = project, proxy, buckets
        self.temporary = temporary

    def start(self, *command, **environ):
        places = {"TMPDIR": str(self.temporary)}
        return subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=self.project.path,
            env={**user_environ(), **places, **self.proxy.environ(), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def run(self, *command, code=0, **environ):
        """Runs to the end; returns what was printed. A wrong exit code shows it."""
        process = self.start(*command, **environ)
        try:
            out, err = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
        assert process.returncode == code, f"{process.returncode}:\n{out}\n{err}"
        return out, err

    def trainer(self):
        return forked("trainer.task")

    def train(self, name, *flags, code=0):
        return self.run(*self.trainer(), f"--job-dir=gs://lab/{name}", *flags, code=code)

    def checkpoints(self, name):
        return self.buckets.names("lab", f"{name}/checkpoints/step-")

    def stop(self, name, sign):
        """Starts a run, and signals it when there are two checkpoints in the bucket."""
        process = self.start(*self.trainer(), f"--job-dir=gs://lab/{name}", *FLAGS)
        try:
            deadline = time.monotonic() + SECONDS
            while len(self.checkpoints(name)) < 2:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(sign)
            out, _ = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
        assert not self.buckets.names("lab", f"{name}/model/"), "it was stopped too late"
        return process.returncode, out

    def copy(self, name, new):
        """A second run at the same point, as a bucket's owner would make it."""
        for path in self.buckets.names("lab", f"{name}/"):
            data = self.buckets.read("lab", path)
            self.buckets.write("lab", path.replace(name, new, 1), data)

    def result(self, name, out):
        """What must be equal in two runs that were the same run."""
        weights = [line for line in out.splitlines() if line.startswith("weights ")]
        assert json.loads(self.buckets.read("lab", f"{name}/run.json"))["status"] == "succeeded"
        return weights, self.buckets.read("lab", f"{name}/history.csv")


@pytest.fixture(scope="module")
def lab(bake, tmp_path_factory):
    project = bake(fresh=True)
    buckets = Buckets("lab", closed=("closed",))
    for path in (project.path / "data").glob("*.csv"):
        buckets.write("lab", f"data/{path.name}", path.read_bytes())
    with Proxy({"storage.googleapis.com": buckets, "www.googleapis.com": buckets}) as proxy:
        yield Lab(project, proxy, buckets, tmp_path_factory.mktemp("temporary"))


@pytest.fixture(autouse=True)
def nothing_leaks(lab):
    yield
    lab.proxy.faults.clear()
    assert lab.proxy.leaks == []


def test_every_other_host_is_refused_and_noted():
    with Proxy({"storage.googleapis.com": Buckets()}) as proxy:
        assert proxy.server_address[0] == "127.0.0.1"
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({"http": proxy.address, "https": proxy.address})
        )
        for url in ("https://example.org/", "http://metadata.google.internal/"):
            with pytest.raises(OSError, match="403"):
                opener.open(url, timeout=10)
        assert proxy.leaks == ["example.org", "metadata.google.internal"]


@pytest.fixture(scope="module")
def undisturbed(lab):
    """The run that all others must equal: its name, what it printed, its result."""
    before = {path for path in lab.project.path.rglob("*") if "__pycache__" not in path.parts}
    out, _ = lab.train("runs/undisturbed", *FLAGS)
    after = {path for path in lab.project.path.rglob("*") if "__pycache__" not in path.parts}
    assert after == before
    # TensorFlow leaves the functions that it has translated, here as in any run.
    left = [name for name in os.listdir(lab.temporary) if not name.startswith("__")]
    assert left == ["encoded-data"]
    return lab.result("runs/undisturbed", out)


@pytest.fixture(scope="module")
def killed(lab):
    """A run that had no chance to say goodbye: copy it, then go on with the copy."""
    code, _ = lab.stop("runs/killed", signal.SIGKILL)
    assert code == -signal.SIGKILL
    return "runs/killed"


def test_all_that_a_run_leaves_is_in_the_bucket(lab, undisturbed):
    names = lab.buckets.names("lab", "runs/undisturbed/")
    parts = {name.split("/")[2] for name in names}
    files = {"run.json", "history.csv", "schema.json", "evaluation.json", "predictions.csv"}
    assert parts == {*files, "model", "checkpoints", "logs"}
    (weights,), history = undisturbed
    assert len(weights.split()[1]) == 12
    assert history.count(b"\n") == EPOCHS + 1
    assert not [name for name in names if "temp" in name or "tmp" in name or "partial" in name]
    # The model is written once and in one go: it is whole when its saved_model.pb is there.
    posts = [unquote(path) for method, path, _ in lab.proxy.requests if method == "POST"]
    written = [path.partition("undisturbed/model/")[2] for path in posts]
    written = [name for name in written if name]
    model = [name.split("/", 3)[3] for name in names if "/model/" in name]
    assert written[-1] == "saved_model.pb" and sorted(written) == model
    run = json.loads(lab.buckets.read("lab", "runs/undisturbed/run.json"))
    assert [file["path"] for file in run["data"]["train"]["files"]] == [
        "gs://lab/data/penguins_train.csv"
    ]


def test_a_log_is_not_uploaded_anew_with_each_value(lab, undisturbed):
    """A file in a bucket is written whole, and Google refuses to do so more than once a second."""
    posts = [unquote(path) for method, path, _ in lab.proxy.requests if method == "POST"]
    uploads = sum("runs/undisturbed/logs/train/events" in path for path in posts)
    assert uploads
    assert uploads <= EPOCHS + 2  # every epoch is checkpointed here


def test_killed_and_started_again(lab, undisturbed, killed):
    lab.copy(killed, "runs/again")
    out, _ = lab.train("runs/again", *FLAGS)
    assert "resuming after epoch" in out
    assert lab.result("runs/again", out) == undisturbed


def test_preempted_and_started_again(lab, undisturbed):
    code, out = lab.stop("runs/preempted", signal.SIGTERM)
    assert code == 75 and "start the same command again" in out
    # Once more while the bucket stumbles: answers that say "later", and answers that get lost.
    lab.proxy.faults.extend([503, LOST, *[None] * 18] * 5)
    out, _ = lab.train("runs/preempted", *FLAGS)
    assert not lab.proxy.faults, "the faults were to happen during the run"
    assert "resuming after epoch" in out
    assert lab.result("runs/preempted", out) == undisturbed


def tear(lab, path):
    data = lab.buckets.read("lab", path)
    lab.buckets.write("lab", path, data[: len(data) // 2])


def test_a_torn_checkpoint_falls_back_to_the_one_before(lab, undisturbed, killed):
    lab.copy(killed, "runs/torn")
    before, newest = lab.checkpoints("runs/torn")
    tear(lab, newest)
    out, _ = lab.train("runs/torn", *FLAGS)
    assert f"gs://lab/{newest} is corrupt" in out
    step = int(before.rpartition("-")[2].split(".")[0])
    assert f"resuming after epoch {step // 9}, step {step % 9} of the next" in out
    assert lab.result("runs/torn", out) == undisturbed


def test_with_no_whole_checkpoint_it_starts_anew(lab, undisturbed, killed):
    lab.copy(killed, "runs/torn-all")
    torn = lab.checkpoints("runs/torn-all")
    for path in torn:
        tear(lab, path)
    out, _ = lab.train("runs/torn-all", *FLAGS)
    for path in torn:
        assert f"gs://lab/{path} is corrupt" in out
    assert "resuming after" not in out
    assert lab.result("runs/torn-all", out) == undisturbed
    assert "starting from the beginning" in out


PENGUIN = {
    "island": "Biscoe",
    "bill_length_mm": 47.6,
    "bill_depth_mm": 14.5,
    "flipper_length_mm": 215,
    "body_mass_g": 5400,
    "sex": "male",
    "year": 2007,
}
LOAD = """
import json, sys, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
serve = model.signatures["serving_default"]
specs = serve.structured_input_signature[1]
row = {k: tf.constant([v], specs[k].dtype) for k, v in json.loads(sys.argv[2]).items()}
answer = serve(**row)
labels = [label.decode() for label in answer["labels"].numpy()[0]]
print(json.dumps(dict(zip(labels, answer["probabilities"].numpy()[0].tolist()))))
"""


def test_the_model_answers_from_the_bucket_and_from_a_copy(lab, undisturbed, tmp_path):
    prefix = "runs/undisturbed/model/"
    code = forked("-c")
    out, _ = lab.run(*code, LOAD, f"gs://lab/{prefix}", json.dumps(PENGUIN))
    there = json.loads(out)
    for name in lab.buckets.names("lab", prefix):
        path = tmp_path / "model" / name.removeprefix(prefix)
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(lab.buckets.read("lab", name))
    (tmp_path / "penguin.json").write_text(json.dumps(PENGUIN), encoding="utf-8")
    predict = forked("scripts/predict.py")
    here, _ = lab.run(*predict, "--model", tmp_path / "model", tmp_path / "penguin.json")
    here = json.loads(here)
    assert here["class"] == max(there, key=there.get) == "Gentoo"
    assert here["probabilities"] == pytest.approx(there, abs=1e-6)


@pytest.mark.parametrize(
    "flags",
    [["--job-dir=gs://absent/runs/a", *FLAGS], ["--train-files=gs://closed/a.csv", "--target=a"]],
)
def test_a_bucket_that_cannot_be_had_is_told_in_one_line(lab, flags):
    start = time.monotonic()
    _, err = lab.run(*lab.trainer(), *flags, code=2)
    assert time.monotonic() - start < 60, "TensorFlow tried it again and again"
    (line,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert re.search(r"gs://(absent/.* not exist|closed.* not have access)", line)
    assert "Traceback" not in err


VERBS = """
import io
from codec import files
from trainer.engine.runtime import JobError

def refused(verb, *args):
    try:
        verb(*args)
    except JobError as error:
        assert "gs://" in str(error) and "\\n" not in str(error), error
    else:
        raise AssertionError(verb)

for path in ("gs://absent/a", "gs://closed/a"):
    for verb in (files.glob, files.size, files.modified, files.read_text):
        refused(verb, path)
    refused(files.write_text, path, "text")
    refused(files.write_from, io.BytesIO(b"text"), path)
    refused(files.read_into, path, io.BytesIO())
    files.make_dirs(path)  # TensorFlow's own never comes back from a bucket that is not there
for verb in (files.exists, files.names, files.remove, files.remove_tree):
    refused(verb, "gs://closed/a")  # no access is no sign that there is nothing
assert not files.exists("gs://absent/a") and files.names("gs://absent/a") == []
"""


@pytest.mark.parametrize("name", ["watch.parquet", "watch.csv"])
def test_recordings_are_read_from_a_bucket(lab, bake, name):
    """The job ends where their lengths are known."""
    project = bake(problem="series")
    data = (project.path / "data/watch.parquet").read_bytes()
    if name == "watch.csv":
        rows = [f"p{i // 90},{i % 90},{i % 7},{i // 90 % 2}" for i in range(360)]
        data = (
            "\n".join(["participant;time;x;exercise", *rows, ""]).replace(",", ";").encode("utf-16")
        )
    lab.buckets.write("lab", f"recordings/{name}", data)
    words = [f"--data=gs://lab/recordings/*{name[5:]}", "--target=exercise", "--window=9999"]

    other = Lab(project, lab.proxy, lab.buckets, lab.temporary)
    _, err = other.train("runs/series", *words, code=2)

    longest = {"watch.parquet": 1229, "watch.csv": 90}[name]
    assert f"the longest training recording has {longest} samples" in err


def test_no_verb_takes_a_bucket_that_cannot_be_had_for_an_empty_one(lab):
    lab.run(*forked("-c"), VERBS)
