"""An object may have any name: nothing leaves its folder, nothing is lost, a refusal is one line.

Google's own client against the stand-in bucket; the launcher is the one of the baked repo.
"""

import contextlib
import io
import itertools
import json
import os
import shutil
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud_lab import BUCKET
from test_cloud_jobs import error_of, fill, here, jobs, put, ran, status

pytestmark = pytest.mark.slow  # to import Google's client takes seconds

COUNTER = itertools.count()
QUICK = {"deadline": None, "database": None, "derandomize": True}
QUICK["suppress_health_check"] = [HealthCheck.function_scoped_fixture]

# Every part is legal, and no two paths made of them clash.
FOLDERS = ["logs", "model", "model/assets.extra", "1/checkpoints", "ganz schön", "研究"]
FILES = ["a.txt", "b", "events.out.tfevents.17.host", "größe.csv", ".gitkeep", "c.partial", "~$1"]
FILES += ["console.log", "com10.txt", "👩‍🔬.json", "z" * 200, "e-", "(1) & [2] {3} %20 +"]
LEGAL = st.builds("/".join, st.tuples(st.sampled_from(FOLDERS), st.sampled_from(FILES)))

PARTS = ["..", ".", "", "a", "A", "é", "e\u0301", "a.partial", "A.partial", "run.json", "RUN.JSON"]
PARTS += [".git", ".GIT", ".g\u200cit", "git~1", ".hidden", "C:", "a:b", "a\\b", "..\\x", "con"]
PARTS += [
    "NUL.txt",
    "com1",
    "LPT¹.x",
    "aux .x",
    "x.",
    "x ",
    "\0",
    "a\nb",
    "\x7f",
    "\u2028",
    "\ud800",
]
PARTS += ["n" * 300, "ü" * 124, "report.html", "vertex.json", "study.json", "%2e%2e", "\u202ex"]
PART = st.sampled_from(PARTS) | st.text(max_size=6)
HOSTILE = st.lists(PART, min_size=1, max_size=4).map("/".join)


def snapshot(folder):
    """{path: content; None: a folder} of everything below a folder."""
    content = {}
    for root, folders, files in os.walk(folder):
        content.update({os.path.join(root, name): None for name in folders})
        content.update({os.path.join(root, f): Path(root, f).read_bytes() for f in files})
    return content


def write(lab, folder, names):
    """{name: content} of objects; what ends in a slash is empty, as TensorFlow marks folders."""
    objects = {n: b"" if n.endswith("/") or not n else repr(n).encode() for n in names}
    for name, data in objects.items():
        lab.cloud.buckets.write(BUCKET, f"{folder}/{name}", data)
    return {name: data for name, data in objects.items() if data}


def expected(folder, objects):
    return {os.path.join(folder, *name.split("/")): data for name, data in objects.items()}


def files_in(tree):
    return {path: data for path, data in tree.items() if data is not None}


@pytest.fixture(scope="module")
def store(cloud_lab):
    """One client for all examples, since each keeps its connections open."""
    with cloud_lab.asking():
        return cloud_lab.store()


@given(legal=st.lists(LEGAL, max_size=6), hostile=st.lists(HOSTILE, max_size=2))
@settings(max_examples=150, **QUICK)
def test_a_download_writes_all_or_nothing(lab, store, legal, hostile):
    storage, error = lab.module("cloud.storage"), lab.module("cloud.errors").CloudError
    folder = f"names/{next(COUNTER)}"
    objects = write(lab, folder, [*legal, *hostile])
    with tempfile.TemporaryDirectory() as name:
        target = Path(name, "in", "here")
        target.mkdir(parents=True)
        (target / "mine").write_bytes(b"stays")
        before = snapshot(name)
        try:
            storage.download_folder(store, f"gs://{BUCKET}/{folder}", target)
        except error as refused:
            assert hostile, f"refused {legal}: {refused}"
            check_line(str(refused), folder)
            assert snapshot(name) == before
        else:
            after = files_in(snapshot(name))
            assert after == files_in(before) | expected(target, objects)


@given(legal=st.lists(LEGAL, max_size=6), hostile=st.lists(HOSTILE, max_size=2))
@settings(max_examples=100, **QUICK)
def test_fetch_writes_all_or_nothing(lab, store, legal, hostile):
    fetch, error = lab.module("cloud.fetch"), lab.module("cloud.errors").CloudError
    folder, printed = f"runs/names-{next(COUNTER)}", io.StringIO()
    base = {"baseOutputDirectory": {"outputUriPrefix": f"gs://{BUCKET}/{folder}"}}
    message = {"displayName": "names", "state": "JOB_STATE_SUCCEEDED", "jobSpec": base}
    job = lab.module("cloud.remote_job").RemoteJob(message)
    objects = write(lab, folder, [*legal, *hostile])
    before = snapshot(lab.project.path / "runs")
    outside = set(os.listdir(lab.project.path)) | {"runs"}
    try:
        with contextlib.redirect_stdout(printed):
            fetch.fetch(store, job)
    except error as refused:
        assert hostile, f"refused {legal}: {refused}"
        check_line(str(refused), folder)
        assert snapshot(lab.project.path / "runs") == before
        return
    finally:
        assert set(os.listdir(lab.project.path)) <= outside
    after = files_in(snapshot(lab.project.path / "runs"))
    new = {path: data for path, data in after.items() if path not in before}
    own = {
        n for n in objects if Path(n).name.lower() in ("vertex.json", "study.json") and "/" not in n
    }
    own |= {n for n in objects if n.count("/") < 2 and Path(n).name.lower() == "report.html"}
    assert all(name in printed.getvalue() for name in own)  # what stays in the bucket is reported
    assert new.pop(str(lab.project.path / folder / "vertex.json"))
    kept = {name: data for name, data in objects.items() if name not in own}
    assert new == expected(lab.project.path / folder, kept)
    shutil.rmtree(lab.project.path / folder)


def check_line(message, folder):
    assert message.startswith(f"gs://{BUCKET}/{folder}: ") and "in the bucket" in message
    assert len(message.splitlines()) == 1


# {a name: what the refusal says of it}
REFUSED = {
    "../a": "'..'",
    "a/../../b": "'..'",
    "a/./b": "'.'",
    "/etc/passwd": "the part ''",
    "a//b": "the part ''",
    "a/b/": "the part ''",
    "a\\b": "character \\",
    "..\\..\\b": "character \\",
    "C:/b": "character :",
    "a.txt:stream": "character :",
    "what?": "character ?",
    "con": "device of Windows",
    "logs/NUL.txt": "device of Windows",
    "com¹.tar.gz": "device of Windows",
    "aux /b": "ends in a dot or a blank",
    "aux .b": "device of Windows",
    "CONIN$": "device of Windows",
    "a./b": "ends in a dot or a blank",
    "a ": "ends in a dot or a blank",
    "...": "ends in a dot or a blank",
    ".git/config": "hidden folder",
    ".GIT": "hidden folder",
    ".g\u200cit": "hidden folder",
    "GIT~1/config": "hidden folder",
    "a/.ssh/b": "hidden folder",
    "n" * 300: "300 bytes",
    "ü" * 124 + "/a": "248 bytes",
    "a\x00b": "control character",
    "a\r\nb": "control character",
    "a\u2028b": "control character",
    "\x85": "control character",
    "\ud800": "control character",
}
# Two names of which neither may be written: both are named.
PAIRS = [
    ("a", "a/b"),
    ("A", "a/b"),
    ("run.json", "Run.json"),
    ("logs/a", "Logs/b"),
    ("é", "e\u0301"),
    ("É/a", "e\u0301/b"),
    ("straße", "STRASSE"),
    ("ab", "a\u200bb"),
    ("x", "x.partial"),
    ("X", "x.PARTIAL"),
    ("x", "x.partial/y"),
]
LEGAL_PAIRS = [("x", "y.partial"), ("a/x", "x.partial"), ("a/b", "a.b"), ("ab", "a/b"), ("é", "e")]


def test_a_name_that_no_disk_should_have_is_refused(lab):
    find_faults = lab.module("cloud.object_names").find_faults
    for name, reason in REFUSED.items():
        (fault,) = find_faults(["good.txt", name])
        assert reason in fault and repr(name)[1:100] in fault, name


def test_of_two_names_for_one_file_both_are_named(lab):
    find_faults = lab.module("cloud.object_names").find_faults
    for pair in PAIRS:
        for order in (pair, pair[::-1]):
            (fault,) = find_faults(["good.txt", *order])
            assert all(repr(name) in fault for name in pair), fault


def test_legal_names_are_accepted(lab):
    find_faults = lab.module("cloud.object_names").find_faults
    assert find_faults(f"{folder}/{file}" for folder in FOLDERS for file in FILES) == []
    assert [pair for pair in LEGAL_PAIRS if find_faults(pair)] == []
    assert find_faults([unicodedata.normalize("NFD", "größe"), "größe2"]) == []


def test_an_object_that_leads_out_of_a_run_changes_nothing(lab):
    put(lab, "led-out", 1, **ran(hours=1))
    fill(lab, "led-out")
    jobs(lab, "fetch", "led-out")
    before = snapshot(lab.project.path / "runs")
    lab.cloud.buckets.write(BUCKET, "runs/led-out/../run.json", b'{"status": "stray"}')
    lab.cloud.buckets.write(BUCKET, "runs/led-out/history.csv", b"new")
    assert "'../run.json' has the part '..'" in error_of(jobs(lab, "fetch", "led-out", code=2))
    assert snapshot(lab.project.path / "runs") == before
    assert status(lab, "led-out") == "succeeded"


@pytest.mark.parametrize("name", ["con.1", "dot.", "n" * 300])
def test_a_folder_that_cannot_be_here_is_refused(lab, name):
    base = {"baseOutputDirectory": {"outputUriPrefix": f"gs://{BUCKET}/runs/{name}"}}
    put(lab, "odd-folder", 1, spec=base, **ran(hours=1))
    assert "gcloud storage cp -r" in error_of(jobs(lab, "fetch", "odd-folder", code=2))


def test_pages_that_fetch_writes_are_not_taken_from_the_bucket(lab):
    put(lab, "pages", 1, **ran(hours=1))
    fill(lab, "pages", **{"vertex.json": b"{}", "report.html": b"theirs", "a/study.json": b"kept"})
    for _ in range(2):  # the second time, it is still known as this job's
        done = jobs(lab, "fetch", "pages")
        assert (
            "left in the bucket, since fetch writes its own: report.html, vertex.json" in done.out
        )
    path = here(lab, "pages")
    assert json.loads((path / "vertex.json").read_text(encoding="utf-8"))["displayName"] == "pages"
    assert b"theirs" not in (path / "report.html").read_bytes()
    assert (path / "a/study.json").read_bytes() == b"kept"


def test_what_stands_in_the_way_is_named_before_anything_is_written(lab, store, tmp_path):
    storage, error = lab.module("cloud.storage"), lab.module("cloud.errors").CloudError
    for name in ("a/b/c", "d"):
        lab.cloud.buckets.write(BUCKET, f"way/{name}", b"x")

    def make_a_file(path):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"mine")

    def make_a_link(target):
        (target / "a").mkdir(parents=True)
        (target.parent / "mine").mkdir()
        try:
            (target / "a/b").symlink_to(target.parent / "mine", target_is_directory=True)
        except OSError as refused:  # on Windows, for some
            pytest.skip(f"no links here: {refused}")

    ways = [
        (lambda t: make_a_file(t / "a"), "a: is in the way"),
        (lambda t: make_a_file(t / "a/b"), "b: is in the way"),
        (lambda t: make_a_file(t), "here: is in the way"),
        (lambda t: (t / "d").mkdir(parents=True), "d: is in the way"),
        (lambda t: (t / "d.partial").mkdir(parents=True), "d.partial: is in the way"),
        (make_a_link, "b: is in the way"),
    ]
    for number, (prepare, message) in enumerate(ways):
        target = tmp_path / str(number) / "here"
        prepare(target)
        before = snapshot(tmp_path)
        with pytest.raises(error, match=message):
            storage.download_folder(store, f"gs://{BUCKET}/way", target)
        assert snapshot(tmp_path) == before


def test_what_the_disk_refuses_is_one_line(lab, store, tmp_path, monkeypatch):
    storage, error = lab.module("cloud.storage"), lab.module("cloud.errors").CloudError
    lab.cloud.buckets.write(BUCKET, "full/a", b"x")

    def full(*_):
        raise OSError(28, "No space left on device", "a")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(error, match="^a: No space left on device; remove the cause"):
        storage.download_folder(store, f"gs://{BUCKET}/full", tmp_path)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_litter_stays_here(lab, store, tmp_path):
    storage, local_files = lab.module("cloud.storage"), lab.module("cloud.local_files")
    litter = [".DS_Store", "deep/.DS_Store", "a.csv.partial", "__pycache__/a.pyc", "._a.csv"]
    for name in [*litter, "a.csv", ".gitkeep", "shards.partial/b", "con", "a:b"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    entries = local_files.hash_files(tmp_path, local_files.list_names(tmp_path))
    storage.upload_new(store, tmp_path, entries, f"gs://{BUCKET}/litter")
    sent = lab.cloud.buckets.names(BUCKET, "litter/")
    assert sent == [f"litter/{n}" for n in (".gitkeep", "a.csv", "a:b", "con", "shards.partial/b")]


@pytest.mark.parametrize("name", ["absent", "project.yaml"])
def test_a_folder_to_upload_must_be_one(lab, tmp_path, name):
    (tmp_path / "project.yaml").touch()
    local_files, error = lab.module("cloud.local_files"), lab.module("cloud.errors").CloudError
    with pytest.raises(error, match="is no folder"):
        local_files.list_names(tmp_path / name)


def test_a_local_name_that_no_object_can_have_is_refused(lab, tmp_path):
    local_files, error = lab.module("cloud.local_files"), lab.module("cloud.errors").CloudError
    if os.name == "nt":
        pytest.skip("Windows has no such names")
    (tmp_path / "a\nb").touch()
    with pytest.raises(error, match="cannot be an object's name"):
        local_files.list_names(tmp_path)
