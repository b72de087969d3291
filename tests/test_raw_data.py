"""Raw data comes in and goes to a bucket: scripts/data.py against stand-ins of Cloud Storage and Drive."""

import hashlib
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

from cloud_lab import BUCKET
from conftest import user_environ
from standins.cloud import DAMAGED, SLOW, Fault
from standins.proxy import Response

pytestmark = pytest.mark.slow  # the real clients

SOURCE = f"gs://{BUCKET}/data/raw"  # where data.yaml is silent
MB = 1_000_000
PART = 16 << 20  # what one request reads


@pytest.fixture
def lab(lab):
    """A repo without raw data, and empty buckets; data.yaml names no source."""
    root, plain = lab.project.path, lab.project.read("data.yaml")
    yield lab
    (root / "data.yaml").write_text(plain, encoding="utf-8")
    (root / "data/MANIFEST.csv").unlink(missing_ok=True)
    shutil.rmtree(root / "data/raw", ignore_errors=True)


def fill(lab, **files):
    """Write objects to the source; a __ in a name is a slash."""
    for name, data in files.items():
        lab.cloud.buckets.write(BUCKET, f"data/raw/{name.replace('__', '/')}", data)


def data(lab, *words, code=0, **options):
    done = lab.run("data", *words, **options)
    assert done.code == code, f"{done.code}:\n{done.out}\n{done.err}"
    assert "Traceback" not in done.err
    return done


def error_of(done):
    [line] = done.err.strip().splitlines()
    assert line.startswith("error: ")
    return line


def raw(lab):
    """{path: content} of data/raw."""
    folder = lab.project.path / "data/raw"
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def source(lab, value):
    text = yaml.safe_dump({"source": value, "derived": {"data/shards": "make shards"}})
    (lab.project.path / "data.yaml").write_text(text, encoding="utf-8")


def flip(path):
    """Change a byte, and nothing else that a listing shows."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_pull_copies_what_is_new_or_changed_and_nothing_else(lab):
    fill(lab, a=b"1", b__c=b"22", empty=b"", **{"b__.DS_Store": b"as a Mac leaves it"})
    listed = data(lab, "pull", "--dry-run").out.splitlines()
    assert listed == ["copy a", "copy b/c", "copy empty"] and raw(lab) == {}
    done = data(lab, "pull")
    assert raw(lab) == {"a": b"1", "b/c": b"22", "empty": b""}
    assert f"3 files of {SOURCE}; copied 3, 0.0 MB" in done.out and "commit it" in done.out
    head, *rows = lab.project.read("data/MANIFEST.csv").splitlines()
    assert head == "path,size,crc32c" and [row.split(",")[:2] for row in rows] == [
        ["a", "1"],
        ["b/c", "2"],
        ["empty", "0"],
    ]
    assert "!! data/raw/" in lab.project.run(["git", "status", "--short", "--ignored"]).stdout

    for wrong in (
        "=======",
        "a,1,AAAAAA==",
        "d,1.5,AAAAAA==",
        "d,1,AAAAAA==,2",
        "",
    ):  # as merges and editors leave it
        text = "\n".join([head, *rows, wrong, ""])
        (lab.project.path / "data/MANIFEST.csv").write_text(text, encoding="utf-8")
        assert "line 5 is not path,size,crc32c, or" in error_of(data(lab, "status", code=2))

    data(lab, "pull")
    lab.cloud.buckets.sent = 0
    done = data(lab, "pull")
    assert "copied 0, 0.0 MB" in done.out and "commit" not in done.out
    assert data(lab, "pull", "--dry-run").out == "nothing to do\n"
    assert lab.cloud.buckets.sent == 0 and data(lab, "status").code == 0

    flip(lab.project.path / "data/raw/b/c")
    fill(lab, d=b"new")
    assert "data/raw/b/c is another file" in data(lab, "status", code=1).out
    assert data(lab, "pull", "--dry-run").out.splitlines() == ["replace b/c", "copy d"]
    assert data(lab, "pull").out.startswith("replace b/c\n")
    assert raw(lab)["b/c"] == b"22" and lab.cloud.buckets.sent == len(b"22new")


def test_what_the_source_lacks_is_deleted_after_a_list_and_a_yes(lab):
    fill(lab, a=b"1")
    data(lab, "pull")
    for name in ("mine", "also"):
        (lab.project.path / "data/raw" / name).write_bytes(b"x")
    assert "only here: also\nonly here: mine\n" in data(lab, "pull").out
    for words in ({}, {"typed": "n\n"}):
        done = data(lab, "pull", "--delete", code=2, **words)
        assert "delete also\ndelete mine\n" in done.out and "nothing was deleted" in done.err
    assert len(raw(lab)) == 3
    data(lab, "pull", "--delete", typed="y\n")
    assert raw(lab) == {"a": b"1"}
    (lab.project.path / "data/raw/more").write_bytes(b"x")
    lab.cloud.buckets.remove(BUCKET, "data/raw/a")
    # A source that lost everything is no reason to lose it here.
    assert "no files are there" in error_of(data(lab, "pull", "--delete", "--yes", code=2))
    fill(lab, b=b"2")
    data(lab, "pull", "--delete", "--yes")
    assert raw(lab) == {"b": b"2"}


def test_nothing_is_written_beside_a_name_that_no_disk_should_have(lab):
    fill(lab, a=b"1", **{"../b": b"2"})
    assert "'../b' has the part '..'" in error_of(data(lab, "pull", code=2))
    assert raw(lab) == {}


def test_a_copy_resumes_and_a_damaged_one_is_never_kept(lab):
    content = random.Random(0).randbytes(3 * PART // 2)
    fill(lab, big=content)
    partial = lab.project.path / "data/raw/big.partial"
    partial.parent.mkdir()
    partial.write_bytes(content[:PART])
    lab.cloud.buckets.sent = 0
    data(lab, "pull")
    assert raw(lab) == {"big": content} and lab.cloud.buckets.sent == PART // 2

    for start in (b"another version", content + b"longer"):
        (lab.project.path / "data/raw/big").unlink()
        partial.write_bytes(start)
        data(lab, "pull")
        assert raw(lab) == {"big": content}

    (lab.project.path / "data/raw/big").unlink()
    lab.cloud.faults.append(Fault("GET /download/.*big", DAMAGED))
    assert "arrived damaged" in error_of(data(lab, "pull", code=2)) and raw(lab) == {}
    lab.cloud.faults[:] = [Fault("GET /download/.*big", 503, times=1)]
    data(lab, "pull")
    assert raw(lab) == {"big": content}


class Killed:
    """Pulls in processes of their own, which are killed."""

    def __init__(self, lab):
        self.lab = lab
        self.folder = lab.project.path / "data/raw"

    def start(self):
        return subprocess.Popen(
            [sys.executable, "scripts/data.py", "pull"],
            cwd=self.lab.project.path,
            env={**user_environ(), **self.lab.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def count_bytes(self):
        sizes = 0
        for path in list(self.folder.rglob("*")):
            try:
                sizes += path.stat().st_size if path.is_file() else 0
            except FileNotFoundError:  # renamed meanwhile
                continue
        return sizes

    def kill_after(self, size):
        """Pull, and kill it once data/raw has so many bytes."""
        process = self.start()
        deadline = time.monotonic() + 100
        while self.count_bytes() < size:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL


def test_a_pull_that_is_killed_ends_complete(lab):
    content = random.Random(0).randbytes(3 * PART)
    fill(lab, big=content, small=b"1")
    killed, lab.cloud.buckets.sent = Killed(lab), 0
    # Between two parts there is time to kill, however busy this machine is.
    lab.cloud.faults.append(Fault("GET /download/.*big", SLOW, seconds=0.5))
    for size in (PART, 2 * PART):
        killed.kill_after(size)
        assert "big" not in raw(lab) and not (lab.project.path / "data/MANIFEST.csv").exists()
    lab.cloud.faults.clear()
    data(lab, "pull")
    assert raw(lab) == {"big": content, "small": b"1"}
    # A kill costs the part that was on its way; without resuming, three parts more would be sent.
    assert lab.cloud.buckets.sent < len(content) + 2 * PART + 9
    lab.cloud.buckets.sent = 0
    data(lab, "pull")
    assert lab.cloud.buckets.sent == 0


@pytest.mark.soak
def test_five_hundred_files_and_two_gigabytes(lab, tmp_path):
    """Killed at ten moments of chance, a pull ends complete; a second one moves nothing."""
    chance = random.Random(1)
    for number in range(496):
        fill(lab, **{f"{number % 20}__{number}.csv": chance.randbytes(2000)})
    sizes = [700 * MB, 600 * MB, 500 * MB, 200 * MB]
    for number, size in enumerate(sizes):
        name = f"data/raw/big/{number}.bin"
        lab.cloud.buckets.write_sparse(BUCKET, name, size, chance.randbytes(1000))
    killed = Killed(lab)
    for size in sorted(chance.randrange(sum(sizes) * 9 // 10) for _ in range(10)):
        killed.kill_after(size)
    data(lab, "pull")
    there = lab.cloud.buckets.names(BUCKET, "data/raw/")
    assert len(there) == 500
    for name in there:
        with (
            open(lab.project.path / name, "rb") as file,
            mmap.mmap(file.fileno(), 0, prot=1) as here,
        ):
            assert here[:] == lab.cloud.buckets.read(BUCKET, name)[:]
    lab.cloud.buckets.sent = 0
    assert "copied 0, 0.0 MB" in data(lab, "pull").out and lab.cloud.buckets.sent == 0
    flipped = lab.project.path / "data/raw/big/2.bin"
    with open(flipped, "r+b") as file:
        file.seek(450 * MB)
        file.write(b"\1")
    assert data(lab, "pull", "--dry-run").out == "replace big/2.bin\n"


@pytest.mark.parametrize("ranges", [True, False])
def test_files_of_the_web_have_a_checksum(lab, monkeypatch, ranges):
    content = random.Random(0).randbytes(3 * MB)
    sent = []

    def serve(request):
        start = int(request.headers["Range"].split("=")[1].rstrip("-")) if ranges else 0
        if start >= len(content):
            return Response(416)
        sent.append(len(content) - start)
        return Response(206 if ranges else 200, content[start:])

    monkeypatch.setitem(lab.cloud.proxy.hosts, "iamcredentials.googleapis.com", serve)
    url = "https://iamcredentials.googleapis.com/files/the%20eyes.zip"
    source(lab, [{"url": url, "sha256": hashlib.sha256(content).hexdigest()}])
    partial = lab.project.path / "data/raw/the eyes.zip.partial"
    partial.parent.mkdir()
    partial.write_bytes(content[:MB])
    data(lab, "pull")
    assert raw(lab) == {"the eyes.zip": content}
    assert sent == [2 * MB if ranges else 3 * MB]
    assert "the eyes.zip,3000000," in lab.project.read("data/MANIFEST.csv")
    assert "copied 0, 0.0 MB" in data(lab, "pull").out and len(sent) == 1
    assert "only here" not in data(lab, "status").out
    (lab.project.path / "data/raw/the eyes.zip").unlink()
    partial.write_bytes(content + b"of a longer version")
    data(lab, "pull")
    assert raw(lab) == {"the eyes.zip": content}

    source(lab, [{"url": url, "sha256": "0" * 64}])
    assert "arrived damaged" in error_of(data(lab, "pull", code=2))
    assert raw(lab) == {"the eyes.zip": content}
    monkeypatch.setitem(
        lab.cloud.proxy.hosts, "iamcredentials.googleapis.com", lambda _: Response(404)
    )
    assert f"{url}: " in error_of(data(lab, "pull", code=2))


def test_a_local_folder_is_a_source(lab, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").write_bytes(b"1")
    (tmp_path / ".DS_Store").write_bytes(b"litter")
    source(lab, str(tmp_path))
    data(lab, "pull")
    assert raw(lab) == {"in/a": b"1"}
    (tmp_path / "linked").symlink_to(tmp_path / "in")
    assert "linked: is a link to a folder" in error_of(data(lab, "pull", code=2))
    source(lab, str(tmp_path / "absent"))
    assert "absent: is no folder" in error_of(data(lab, "pull", code=2))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("gs://LAB/x", "3: source: LAB cannot be the name of a bucket; write gs://"),
        ("drive:a/b", "source: is drive:a/b; write gs://"),
        ("http://x/y", "source: is http://x/y; write gs://"),
        ("data", "source: holds data/raw, or lies in it; write gs://"),
        ("data/raw/old", "source: holds data/raw, or lies in it"),
        ({"a": 1}, "source: names no source; write gs://"),
        ([{"url": "http://x/y", "sha256": "0" * 64}], "source[0].url: names no file"),
        ([{"url": "https://x/y", "sha256": 7}], "source[0].sha256: is no checksum"),
        ([{"url": "https://x/y", "sha256": "0" * 64}] * 2, "source: has two files of one name"),
    ],
)
def test_what_is_wrong_in_data_yaml_is_named(lab, value, expected):
    source(lab, value)
    for verb in ("pull", "push"):
        error = error_of(data(lab, verb, code=2))
        assert "data.yaml:" in error and expected in error
    assert lab.cloud.requests == []


def test_a_push_adds_new_files_and_overwrites_none(lab):
    fill(lab, theirs=b"1", both=b"2")
    folder = lab.project.path / "data/raw"
    for name, content in {"both": b"2", "mine": b"3", "deep/er": b"4"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    assert f"{SOURCE}: copied 1 files" in data(lab, "push", "data/raw/deep").out
    assert f"{SOURCE}: copied 1 files" in data(lab, "push").out
    assert lab.cloud.buckets.names(BUCKET, "data/raw/") == [
        f"data/raw/{name}" for name in ("both", "deep/er", "mine", "theirs")
    ]
    assert data(lab, "status").code == 0
    (folder / "mine").write_bytes(b"changed")
    (folder / "new").write_bytes(b"5")
    error = error_of(data(lab, "push", code=2))
    assert "1 files (mine) are others there, and nothing is overwritten" in error
    assert lab.cloud.buckets.read(BUCKET, "data/raw/mine") == b"3"
    assert lab.cloud.buckets.read(BUCKET, "data/raw/new") == b"5"
    (folder / "con").write_bytes(b"6")  # nobody with Windows could pull it
    assert "a device of Windows" in error_of(data(lab, "push", code=2))
    (folder / "MINE").write_bytes(b"7")
    error = error_of(data(lab, "push", "data/raw/MINE", code=2))
    assert "'mine' cannot be written beside 'MINE'" in error


def test_only_raw_data_is_pushed(lab):
    source(lab, SOURCE)
    derived = lab.project.path / "data/shards"
    derived.mkdir(exist_ok=True)
    for path, expected in {
        "data/shards": "is derived, and not copied; to make it again: make shards",
        "data/shards/../penguins_train.csv": "is no file in data/raw",
        "data/raw/absent": "is no file in data/raw",
        "runs/a/run.json": "is of a run; to copy that: python scripts/data.py push --run a",
    }.items():
        assert expected in error_of(data(lab, "push", path, code=2))
    source(lab, "drive:abc")
    assert "push needs gs://BUCKET/FOLDER" in error_of(data(lab, "push", code=2))
    derived.rmdir()
    assert lab.cloud.requests == []


def test_a_run_is_copied_and_its_record_last(lab):
    run = lab.project.path / "runs/kept"
    (run / "model").mkdir(parents=True)
    for name in ("run.json", "model/saved_model.pb", ".trainer.lock"):
        (run / name).write_text(name)
    assert "runs/absent: is no run" in error_of(data(lab, "push", "--run", "absent", code=2))
    for name in ("../runs/kept", ""):
        assert "is no run" in error_of(data(lab, "push", "--run", name, code=2))
    data(lab, "push", "--run", "kept")
    names = [f"runs/kept/{name}" for name in ("model/saved_model.pb", "run.json")]
    assert lab.cloud.buckets.names(BUCKET, "runs/kept/") == names
    (run / "run.json").write_text("another")
    assert "nothing is overwritten" in error_of(data(lab, "push", "--run", "kept", code=2))
    shutil.rmtree(run)


# Google Drive.


def fill_drive(lab):
    """A folder of Drive as people make them; return its id, and {path: content} of what can be copied."""
    drive, chance = lab.cloud.drive, random.Random(0)
    good = {
        "a.csv": b"1",
        "empty": b"",
        "sub/big.bin": chance.randbytes(PART + 5),
        "sub/b.csv": b"22",
    }
    sub = drive.add("top", "sub", kind="folder")
    for path, content in good.items():
        folder, _, name = path.rpartition("/")
        drive.add(sub if folder else "top", name, content)
    for number in range(2):
        drive.add("top", "twice.csv", bytes([number]))
    drive.add("top", "Notes", kind="document")
    drive.add("top", "Notes", kind="shortcut")
    drive.add(sub, "to the others", kind="shortcut")
    drive.add(sub, "12:30.csv", b"3")
    drive.add(sub, "a/b.csv", b"4")
    del drive.files[drive.add("top", "bare.csv", b"5")]["md5Checksum"]
    return good


LEFT_OUT = [
    "left out: 'Notes' is a document of Google's, without bytes; download it by hand",
    "left out: 'Notes' is a shortcut; put the file itself into the folder",
    "left out: 'bare.csv' has no md5 in Drive; download it by hand",
    "left out: 'sub/12:30.csv' has the character :; rename it in Drive",
    "left out: 'sub/a/b.csv' has the character /; rename it in Drive",
    "left out: 'sub/to the others' is a shortcut; put the file itself into the folder",
    *["left out: 'twice.csv' is there 2 times; rename it in Drive"] * 2,
]


def test_drive_is_copied_to_a_bucket_without_the_disk(lab):
    good, target = fill_drive(lab), f"gs://{BUCKET}/data/raw"
    before = sorted(lab.project.path.rglob("*"))
    # Twice too fast, which passes; then no more for today.
    lab.cloud.drive.faults += [
        "rateLimitExceeded",
        None,
        "userRateLimitExceeded",
        "downloadQuotaExceeded",
    ]
    done = data(lab, "drive", "top", target, code=2)
    assert "trying again" in done.err and "the same command resumes tomorrow" in done.err
    assert len(lab.cloud.buckets.names(BUCKET, "data/raw/")) < len(good)

    done = data(lab, "drive", "top", target, code=2)  # names that somebody must change
    assert sorted(done.err.splitlines()) == LEFT_OUT
    names = lab.cloud.buckets.names(BUCKET, "data/raw/")
    assert {n.removeprefix("data/raw/"): lab.cloud.buckets.read(BUCKET, n) for n in names} == good
    lab.cloud.drive.sent, uploads = 0, len(lab.cloud.requests)
    assert (
        f"{target}: 4 files of drive:top; copied 0, 0.0 MB"
        in data(lab, "drive", "top", target, code=2).out
    )
    assert lab.cloud.drive.sent == 0
    assert not [line for line in lab.cloud.requests[uploads:] if "/upload/" in line]
    assert sorted(lab.project.path.rglob("*")) == before

    [changed] = [f for f in lab.cloud.drive.files.values() if f["name"] == "a.csv"]
    lab.cloud.buckets.remove(BUCKET, "data/raw/a.csv")
    for content, says in ((b"", "it changed meanwhile"), (b"5", "doesn't match")):
        lab.cloud.drive.contents[changed["id"]] = content  # and its md5 is the old one
        assert says in data(lab, "drive", "top", target, code=2).err
        assert "data/raw/a.csv" not in lab.cloud.buckets.names(BUCKET, "data/raw/")
    changed["md5Checksum"] = hashlib.md5(b"5").hexdigest()
    assert "copied 1, " in data(lab, "drive", "top", target, code=2).out


def test_drive_is_a_source_and_what_is_refused_has_a_remedy(lab):
    good = fill_drive(lab)
    source(lab, "drive:top")
    data(lab, "pull")
    assert raw(lab) == good
    lab.cloud.drive.sent = 0
    assert "copied 0, 0.0 MB" in data(lab, "pull").out and lab.cloud.drive.sent == 0
    (lab.project.path / "data/raw/twice.csv").write_bytes(b"\0")  # from when it was there once
    done = data(lab, "pull", "--delete", "--yes", code=2)
    assert "error: drive:top: 5 files were left out, so nothing is deleted" in done.err
    assert raw(lab) == {**good, "twice.csv": b"\0"}
    error = error_of(data(lab, "drive", "nobodys", f"gs://{BUCKET}/x", code=2))
    assert "File not found: nobodys." in error and "share the folder with that account" in error
    for words in (["https://drive.google.com/x", f"gs://{BUCKET}/x"], ["top", "lab/x"]):
        error_of(data(lab, "drive", *words, code=2))


# The run record.


def test_a_job_names_its_raw_data_by_one_hash(lab):
    sent = data(lab, "status").out  # there is none
    assert "no hash" in sent
    assert "DATA_HASH" not in lab.run("train_cloud", "configs/smoke.yaml", "--dry-run").out
    fill(lab, a=b"1")
    data(lab, "pull")
    name = hashlib.sha256((lab.project.path / "data/MANIFEST.csv").read_bytes()).hexdigest()[:16]
    assert f"1 files, {name} hash" in data(lab, "status").out
    dry_run = yaml.safe_load(lab.run("train_cloud", "configs/smoke.yaml", "--dry-run").out)
    [pool] = dry_run["workerPoolSpecs"]
    assert {"name": "DATA_HASH", "value": name} in pool["containerSpec"]["env"]
    # Raw data is in no image: it may be large, and the bucket has it.
    files = list(lab.module("project.sources").list_files(["data"]))
    assert lab.project.path / "data/MANIFEST.csv" in files
    assert lab.project.path / "data/raw/a" not in files
    lab.package()
    assert lab.run("train_cloud", "configs/smoke.yaml").code == 0
    copied = [name.split("/")[2] for name in lab.cloud.buckets.names(BUCKET, "data/")]
    assert "MANIFEST.csv" in copied and "raw" not in copied
    flags = ["--dry-run", "--", "--train-files=data/raw/a"]
    done = lab.run("train_cloud", "configs/smoke.yaml", *flags)
    assert done.code == 2 and "python scripts/data.py push" in done.err
