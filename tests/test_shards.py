"""Images and shards in a bucket: real TensorFlow, against a bucket in this process."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from conftest import forked, user_environ
from standins.buckets import Buckets
from standins.proxy import LOST, Proxy

pytestmark = pytest.mark.slow

FLAGS = ["--size=96", "--format=raw", "--shard-mb=1"]
SECONDS = 200  # for one command, on a busy machine; most of it is the import of TensorFlow


class Faulty(Buckets):
    """Store another byte than was sent, as often as `spoil` says for that name."""

    def __init__(self, *names, **how):
        super().__init__(*names, **how)
        self.spoil = {}

    def _put(self, bucket, name, data, query):
        if self.spoil.get(name, 0) > 0:
            self.spoil[name] -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        return super()._put(bucket, name, data, query)


class Lab:
    def __init__(self, project, proxy, buckets, temporary):
        self.project, self.proxy, self.buckets = project, proxy, buckets
        self.temporary = temporary

    def start(self, *command):
        return subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=self.project.path,
            env={**user_environ(), "TMPDIR": str(self.temporary), **self.proxy.environ()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def run(self, *command, code=0):
        process = self.start(*command)
        try:
            out, err = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
        assert process.returncode == code, f"{process.returncode}:\n{out}\n{err}"
        return out, err

    def shards(self, source, target, *flags, code=0):
        script = forked("scripts/data.py")
        flags = [*FLAGS, "--workers=1", *flags]
        return self.run(*script, "shards", source, target, *flags, code=code)

    def code(self, *words, code=0):
        return self.run(*forked("-c"), *words, code=code)

    def contents(self, name):
        """The files of the shards in the bucket, but the manifest, which names the source."""
        names = self.buckets.names("lab", f"{name}/")
        data = {path.removeprefix(f"{name}/"): self.buckets.read("lab", path) for path in names}
        assert "manifest.json" in data and ".unfinished" not in data
        return {path: data[path] for path in data if path not in ("manifest.json", "")}

    def uploads(self):
        """The names written so far, in order."""
        posts = [unquote(path) for method, path, _ in self.proxy.requests if method == "POST"]
        return [re.search(r"name=([^&]*)", path)[1] for path in posts]


@pytest.fixture(scope="module")
def lab(bake, tmp_path_factory):
    project = bake(fresh=True, problem="image")
    buckets = Faulty("lab", closed=("closed",))
    random = np.random.default_rng(0)
    for i in range(150):
        path = f"{'ab'[i % 2]}/number {i}.png"
        file = project.path / "images" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (7, 7, 3), np.uint8)).save(file)
        buckets.write("lab", f"images/{path}", file.read_bytes())
    for path in ("a/bad.png", "b/.hidden.png", "nowhere.png"):
        (project.path / "images" / path).write_bytes(b"")
        buckets.write("lab", f"images/{path}", b"")
    rows = "path,label\n" + "".join(f"images/a/number {i}.png,{i % 3}\n" for i in range(0, 42, 2))
    buckets.write("lab", "table.csv", rows.encode())
    with Proxy({"storage.googleapis.com": buckets, "www.googleapis.com": buckets}) as proxy:
        yield Lab(project, proxy, buckets, tmp_path_factory.mktemp("temporary"))


@pytest.fixture(autouse=True)
def nothing_leaks(lab):
    yield
    lab.proxy.faults.clear()
    assert lab.proxy.leaks == []


def left(lab):
    """Our own files that a command has left in the temporary folder."""
    return [
        name for name in os.listdir(lab.temporary) if "tensorflow" not in name and "__" not in name
    ]


@pytest.fixture(scope="module")
def local(lab):
    """The shards that all others must equal, by name."""
    lab.shards("images", "here")
    files = (path for path in (lab.project.path / "here").iterdir() if path.suffix != ".json")
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def remote(lab, local):
    lab.shards("gs://lab/images", "gs://lab/there", "--workers=2")
    assert lab.contents("there") == local
    return "gs://lab/there"


def test_from_a_bucket_to_a_bucket(lab, local, remote):
    assert left(lab) == []
    *_, last = (name for name in lab.uploads() if name.startswith("there/"))
    assert last == "there/manifest.json"
    assert local["rejected.csv"].decode().splitlines() == [
        "path,reason",
        "a/bad.png,empty: the file has no bytes",
        "nowhere.png,in no class: put it into a folder with the class's name",
    ]
    # What arrived was read back.
    got = {unquote(path) for method, path, _ in lab.proxy.requests if method == "GET"}
    for name in local:
        assert any(path.split("?")[0].endswith(f"there/{name}") for path in got), name


def test_again_uploads_nothing(lab, remote):
    before = len(lab.uploads())
    lab.shards("gs://lab/images", remote)
    assert len(lab.uploads()) == before
    # From the same images elsewhere: they are read, and only the manifest is new.
    lab.shards("images", remote)
    new = set(lab.uploads()[before:])
    assert new == {
        f"there/{n}" for n in (".unfinished", "rejected.csv", "copies.csv", "manifest.json")
    }


READ = """
import hashlib, json, sys
from trainer.images.shards import Dataset
made = Dataset.open(sys.argv[1], verify=True)
count = made.splits["train"].count
images, labels = made.read("train", list(range(count))[::-3] + [5, 4, 5])
names = made.names("train", [0, count - 1])
print(json.dumps([made.digest, hashlib.sha256(images).hexdigest(), labels.tolist(), names]))
"""


def test_read_from_a_bucket_as_from_a_folder(lab, remote, local):
    assert lab.code(READ, remote)[0] == lab.code(READ, "here")[0]


def test_training_from_a_bucket_into_a_bucket_as_from_a_folder(lab, remote, local):
    logs, trainer = {}, forked("trainer.task")
    for data, runs in (("here", str(lab.temporary / "runs")), (remote, "gs://lab/runs")):
        flags = [f"--data={data}", f"--job-dir={runs}/1", "--epochs=2", "--batch-size=16"]
        logs[data], _ = lab.run(*trainer, *flags, "--checkpoint-every=0")
    weights = [re.search(r"^weights (\w+)", out, re.MULTILINE)[1] for out in logs.values()]
    assert weights[0] == weights[1]
    there = {path.split("/")[2] for path in lab.buckets.names("lab", "runs/1/")}
    assert {"model", "gallery", "checkpoints", "logs", "run.json"} <= there
    shutil.rmtree(lab.temporary / "runs")


@pytest.mark.soak
def test_a_table_in_a_bucket(lab):
    lab.buckets.write(
        "lab",
        "more.csv",
        lab.buckets.read("lab", "table.csv") + b"images/no.png,1\ngs://closed/a.png,1\n",
    )
    out, _ = lab.shards("gs://lab/more.csv", "gs://lab/table")
    assert "of 3 classes" in out and "files rejected: 2" in out
    rejected = lab.contents("table")["rejected.csv"].decode()
    assert "images/no.png,cannot be read: there is no such file" in rejected
    assert "gs://closed/a.png,cannot be read: " in rejected and "not have access" in rejected
    manifest = json.loads(lab.buckets.read("lab", "table/manifest.json"))
    assert sum(part["count"] for part in manifest["splits"].values()) == 21


KILLED = """
import os, signal
from codec import files
from codec.shards.make import make_shards
from codec.shards.manifest import Options
files.GFILE = "tensorflow.io.gfile"
def report(step, done, total):
    if step == "write":
        os.kill(os.getpid(), signal.SIGKILL)
options = Options(size=96, encoding="raw", shard_mb=1)
make_shards("images", "gs://lab/killed", options, processes=1, progress=report)
"""


def test_killed_while_it_uploads(lab, local):
    lab.code(KILLED, code=-signal.SIGKILL)
    names = lab.buckets.names("lab", "killed/")
    assert "killed/manifest.json" not in names and "killed/.unfinished" in names
    before = len(lab.uploads())
    _, err = lab.code(READ, "gs://lab/killed", code=1)
    assert "gs://lab/killed: no finished shards" in err
    lab.shards("images", "gs://lab/killed")
    assert lab.contents("killed") == local
    again = [name for name in lab.uploads()[before:] if name.endswith(".tfrecord")]
    assert len(again) < sum(name.endswith(".tfrecord") for name in local)
    assert left(lab) == []


@pytest.mark.soak
def test_a_bucket_that_fails_now_and_then(lab, local):
    lab.proxy.faults.extend([503, LOST, *[None] * 18] * 5)
    lab.shards("gs://lab/images", "gs://lab/unsteady")
    assert not lab.proxy.faults, "not all faults happened"
    assert lab.contents("unsteady") == local


@pytest.mark.soak
def test_what_arrives_damaged_is_sent_again(lab, local):
    name = next(name for name in local if name.startswith("train-00001"))
    lab.buckets.spoil = {f"spoilt/{name}": 2, "spoilt/train.index.npy": 1}
    lab.shards("images", "gs://lab/spoilt")
    assert lab.contents("spoilt") == local
    lab.buckets.spoil = {f"worse/{name}": 99}
    _, err = lab.shards("images", "gs://lab/worse", code=2)
    assert f"error: gs://lab/worse/{name}: arrived damaged 3 times" in err
    assert "worse/manifest.json" not in lab.buckets.names("lab", "worse/")
    lab.buckets.spoil = {}
    lab.shards("images", "gs://lab/worse")
    assert lab.contents("worse") == local


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("gs://closed/images", "new", "not have access"),
        ("gs://absent/images", "new", "gs://absent/images: nothing is there"),
        ("gs://lab/nothing", "new", "gs://lab/nothing: nothing is there"),
        ("images", "gs://closed/new", "not have access"),
        ("images", "gs://absent/new", "not exist"),
        ("gs://lab/images", "gs://lab/images/new", "must be apart from the images"),
    ],
)
def test_a_bucket_that_cannot_be_used_is_named_before_images_are_read(
    lab, source, target, expected
):
    before = len(lab.proxy.requests)
    _, err = lab.shards(source, target, code=2)
    assert "Traceback" not in err
    (line,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert expected in line
    requested = [unquote(path) for _, path, _ in lab.proxy.requests[before:]]
    assert not [path for path in requested if "images/a/" in path and "alt=media" in path]
    assert not (lab.project.path / "new").exists()
    assert left(lab) == []
