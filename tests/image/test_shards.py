"""Images to shards and back: what is accepted, how it is split, what a kill costs, what is refused."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import hostile
import numpy as np
import pytest
from conftest import ROOT, write
from PIL import Image

from codec import images
from codec.errors import JobError
from codec.shards import manifest, tfrecord
from codec.shards.catalog import Catalog
from codec.shards.make import UNFINISHED, make_shards
from codec.shards.manifest import Options
from trainer.images import digits, shards
from trainer.images.shards import Dataset

pytestmark = pytest.mark.slow

SMALL = Options(size=16, encoding="raw")


def make(*arguments, **options) -> Dataset:
    made = make_shards(*arguments, **options)
    return Dataset(made.path, made.manifest)


def random_image(seed: int, side: int = 6) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


def write_classes(folder: str, **counts: int) -> str:
    """Small random images, as PNG, BMP and JPEG files; the same ones each time."""
    for label, count in counts.items():
        os.makedirs(f"{folder}/{label}", exist_ok=True)
        for i in range(count):
            ending = ("png", "bmp", "jpg")[i % 3]
            seed = sum(label.encode()) * 100_000 + i
            random_image(seed).save(f"{folder}/{label}/{i}.{ending}")
    return folder


def contents(folder: str) -> dict[str, bytes]:
    """All files of finished shards but the manifest, which names the source."""
    assert not [path for path in Path(folder).iterdir() if "partial" in path.name or path.is_dir()]
    return {p.name: p.read_bytes() for p in Path(folder).iterdir() if p.name != manifest.MANIFEST}


def names(dataset: Dataset) -> dict[str, list[str]]:
    return {
        split: dataset.names(split, range(part.count)) for split, part in dataset.splits.items()
    }


def rejected(folder: str) -> list[tuple[str, str]]:
    with open(f"{folder}/{manifest.REJECTED}", encoding="utf-8", newline="") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


def refusal(*arguments, **options) -> str:
    with pytest.raises(JobError) as refused:
        make(*arguments, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# Which images are accepted


@pytest.fixture(scope="module")
def wild(tmp_path_factory):
    """(the expected outcome of each file, the shards made of them, their folder)"""
    folder = tmp_path_factory.mktemp("wild")
    expected = hostile.make(folder / "images")
    made = make(str(folder / "images"), str(folder / "shards"), SMALL, processes=2)
    yield expected, made, folder
    for path in (folder / "images/bad").glob("locked*"):
        path.chmod(0o700)  # else they cannot be removed


def test_there_are_enough_of_them(wild):
    expected, _, _ = wild
    bad = [path for path, outcome in expected.items() if isinstance(outcome, hostile.Bad)]
    assert len(expected) > 250 and len(bad) > 100


def test_every_bad_image_is_rejected_for_its_reason(wild):
    expected, made, folder = wild
    rows = rejected(str(folder / "shards"))
    reasons = dict(rows)
    assert len(reasons) == len(rows) == made.manifest.rejected
    for path, outcome in expected.items():
        reason = reasons.pop(path.encode("utf-8", "backslashreplace").decode(), None)
        if isinstance(outcome, hostile.Bad):
            assert reason and reason.startswith(outcome.reason), f"{path!r}: {reason}"
            assert " at 0x" not in reason  # an address differs from run to run
        else:
            assert reason is None, f"{path!r}: {reason}"
    assert not reasons
    assert made.manifest.empty == ("bad",) and "bad" not in made.labels


def test_every_good_image_is_in_one_split_and_looks_right(wild):
    expected, made, _ = wild
    seen = {}
    for split, paths in names(made).items():
        pixels, labels = made.read(split, range(len(paths)))
        for path, image, label in zip(paths, pixels, labels, strict=True):
            assert path not in seen, path
            seen[path] = image
            assert made.labels[label] == path.split("/")[0]
    good = {p: outcome for p, outcome in expected.items() if isinstance(outcome, hostile.Good)}
    assert seen.keys() == good.keys()
    for path, outcome in good.items():
        pixels = np.asarray(images.resize(outcome.pixels, SMALL.size, SMALL.resize), int)
        assert np.abs(pixels - seen[path]).mean() <= outcome.tolerance, path


def test_warnings_of_pillow_name_no_file_and_are_dropped(recwarn):
    write_classes("in", a=3, b=3)
    broken_exif = b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x0e\0\2\0\0\xff\xff\0\0\0\x99"
    random_image(1).save("in/a/exif.jpg", exif=broken_exif)
    random_image(2).quantize(5).save("in/a/palette.png", transparency=bytes([0, 100, 255]))
    Image.new("1", (9500, 9500)).save("in/a/large.png")
    made = make("in", "out", SMALL, processes=None)
    assert made.manifest.rejected == 1 and not recwarn.list


def test_copies_are_listed_and_share_a_split(wild):
    _, made, folder = wild
    split_of = {path: split for split, paths in names(made).items() for path in paths}
    with open(folder / "shards" / manifest.COPIES, encoding="utf-8", newline="") as file:
        copies = [tuple(row) for row in csv.reader(file)][1:]
    assert len(copies) == made.manifest.copies >= 4
    assert {
        (f"dog/copy {i}.{'png' if i < 4 else 'bmp'}", "dog/copy 0.png") for i in range(1, 5)
    } <= set(copies)
    for path, first in copies:
        assert split_of[path] == split_of[first]


def test_it_needs_no_tensorflow():
    write_classes("in", a=5, b=5)
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from codec.shards.make import make_shards
from codec.shards.manifest import Options
make_shards("in", "out", Options(size=8))
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, str(ROOT)], check=True)


def test_a_table_of_paths_and_labels():
    write_classes("far/away", x=12)
    rows = [f"away/x/{i}.{('png', 'bmp', 'jpg')[i % 3]},{'uv'[i % 2]}" for i in range(10)]
    rows += [
        f'"{Path("far/away/x/10.bmp").resolve()}", v ',
        "away/x/11.jpg,u,more",
        "away/no.png,u",
    ]
    rows += ["away/x/11.jpg,", ",u", "away/x/0.png,v", "away,u", "a\0b.png,u", ""]
    rows += ["http://example.com/a.png,u", "ftp://example.com/a.png,u", f"{'long' * 99},u", "a;u"]
    Path("far/labels.csv").write_bytes(("\ufeffpath,label\r\n" + "\r\n".join(rows)).encode())
    made = make("far/labels.csv", "out", SMALL)
    assert made.labels == ("u", "v")
    assert sum(part.count for part in made.splits.values()) == 10
    reasons = dict(rejected("out"))
    assert reasons.pop("long" * 99) == "cannot be read: File name too long"
    assert reasons.pop("away/x/0.png").startswith("in two classes: the same as away/x/0.png")
    assert reasons == {
        "labels.csv:13": "3 values, expected 2: path,label",
        "away/no.png": "cannot be read: No such file or directory",
        "away/x/11.jpg": "no label",
        "labels.csv:16": "no path in this line",
        "away": "not a file",
        "a\ufffdb.png": "cannot be read: No such file or directory",
        "http://example.com/a.png": "cannot be read: http:// is not supported; download the file",
        "ftp://example.com/a.png": "cannot be read: ftp:// is not supported; download the file",
        "labels.csv:24": "1 values, expected 2: path,label; semicolons do not separate values",
    }
    # Other columns, in any order, when the first line names them; and no first line at all.
    rows = ["id,Label,split,Path", *(f"{i},u,all,away/x/{i}.png" for i in (0, 3, 6))]
    Path("far/wide.csv").write_text("\n".join(rows), encoding="utf-8")
    wide = make("far/wide.csv", "wide", SMALL)
    assert wide.splits["train"].count == 2
    assert wide.remarks()[0] == (
        "columns not used: id, split; if one names a person or a recording, make the shards with "
        "--group NAME"
    )
    Path("far/bare.csv").write_text("away/x/0.png,u\naway/x/3.png,u\n", encoding="utf-8")
    assert make("far/bare.csv", "bare", SMALL).splits["train"].count == 2
    # Lines of an old Mac; quotes around whole values, with spaces around them.
    Path("far/mac.csv").write_bytes(b'path,label\r"away/x/0.png" , "u, ""v"""\raway/x/3.png,u\r')
    assert make("far/mac.csv", "mac", SMALL).labels == ("u", 'u, "v"')


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['"{0}', "u", "{1},u", "{2},v"], "labels.csv:2: unclosed quote"),
        (["{0},u", '"{1},v', "{2},u", '"'], "labels.csv:3: unclosed quote"),
        (["{0},u", '{1},"v', '{2},"u'], "labels.csv:3: unclosed quote"),
        (["{0},u", '{1},"v', '{2},u"'], "labels.csv:3: unclosed quote"),
        (['{0},"u', 'v"', "{1},u", "{2},v"], "labels.csv:2: unclosed quote"),
        (["{0},u", '{1},v"', "{2},u"], "labels.csv:3: unclosed quote"),
        (["{0},u", '{1},the "best"', "{2},u"], "labels.csv:3: a quote inside a value"),
        (["{0},u", '"{1}"x,v', "{2},u"], "labels.csv:3: a quote inside a value"),
        (["{0},u", "{1},\xff"], "labels.csv:3: not UTF-8"),
        (["{0},u", "x" * 200_000 + ",v"], "labels.csv:3: field larger than field limit"),
    ],
)
def test_a_quote_never_swallows_other_lines(lines, expected):
    paths = sorted(str(path) for path in Path(write_classes("in", x=3)).rglob("*.*"))
    text = "\n".join(["path,label", *lines]).format(*paths)
    Path("labels.csv").write_bytes(text.encode("latin-1"))
    assert refusal("labels.csv", "out", SMALL).startswith(expected)
    assert not os.path.exists("out")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path;label\na.png;u\n", "labels.csv:1: semicolons between the values; save it with comm"),
        ("a.png;u\nb.png;u\n", "labels.csv:1: semicolons between the values"),
        ("path;label;note\na.png;u;a, b\n", "labels.csv:1: semicolons between the values"),
        ("path\tlabel\na.png\tu\n", "labels.csv:1: tabs between the values"),
        ("path,label,label\na.png,u,v\n", "labels.csv:1: label: stands in the header twice"),
    ],
)
def test_a_table_with_other_columns_is_refused(text, expected):
    Path("labels.csv").write_text(text, encoding="utf-8")
    assert refusal("labels.csv", "out", SMALL).startswith(expected)


# The split


def test_the_same_bytes_whatever_the_workers_and_the_order():
    write_classes("in", a=70, b=90, c=3)
    first = make("in", "one", replace(SMALL, shard_mb=1), processes=1)
    files = sorted((path for path in Path("in").rglob("*.*")), reverse=True)
    for i, path in enumerate(files):
        copy = Path("elsewhere") / path.relative_to("in")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        os.utime(copy, (i, i))
    second = make("elsewhere", "two", replace(SMALL, shard_mb=1), processes=3)
    assert contents("one") == contents("two")
    assert first.digest == second.digest and first.path != second.path


def test_the_split_does_not_depend_on_the_size():
    write_classes("in", a=50, b=30)
    one = names(make("in", "one", SMALL))
    two = names(make("in", "two", Options(size=33, resize="crop", channels=1)))
    assert one == two


def test_large_shares_leave_an_image_of_each_class_in_train():
    write_classes("in", a=1, b=2, c=10)
    made = make("in", "out", replace(SMALL, eval_share=0.4, test_share=0.3))
    assert [made.splits[split].classes["c"] for split in ("train", "eval", "test")] == [3, 4, 3]
    why = "since train keeps at least one image of each class"
    assert made.remarks() == [
        f"no image in {s}, {why}: a (of 1), b (of 2)" for s in ("eval", "test")
    ]


def test_each_class_is_split_by_the_same_shares():
    sizes = {"a": 1, "b": 2, "c": 3, "d": 4, "e": 10, "f": 26, "g": 100}
    write_classes("in", **sizes)
    made = make("in", "out", replace(SMALL, eval_share=0.2, test_share=0.1))
    counts = {split: part.classes for split, part in made.splits.items()}
    assert counts["eval"] == {"a": 0, "b": 0, "c": 1, "d": 1, "e": 2, "f": 5, "g": 20}
    assert counts["test"] == {"a": 0, "b": 0, "c": 0, "d": 1, "e": 1, "f": 3, "g": 10}
    why = "since train keeps at least half of each class"
    assert made.remarks() == [
        f"no image in eval, {why}: a (of 1), b (of 2)",
        f"no image in test, {why}: a (of 1), b (of 2), c (of 3)",
    ]
    for label, size in sizes.items():
        assert sum(counts[split][label] for split in counts) == size
    for split in counts:
        labels = made.targets(split)
        assert np.bincount(labels, minlength=7).tolist() == list(counts[split].values())
    big = made.targets("train")[made.targets("train") >= 5]
    assert 10 < np.count_nonzero(np.diff(big)) < 45  # the classes are mixed, not one by one


@pytest.mark.parametrize("shares", [(0, 0), (0.5, 0), (0, 0.9), (0.6, 0.39)])
def test_any_shares_leave_something_to_train_on(shares):
    write_classes("in", a=3, b=8)
    made = make("in", "out", replace(SMALL, eval_share=shares[0], test_share=shares[1]))
    for name, share in zip(("eval", "test"), shares, strict=True):
        assert bool(made.splits[name].count) == bool(share)
        assert made.read(name, [])[0].shape == (0, 16, 16, 3)
    assert min(made.splits["train"].classes.values()) > 0
    assert sum(part.count for part in made.splits.values()) == 11


def test_copies_are_never_more_than_the_share_of_a_small_class():
    write_classes("in", a=4, b=4)
    for label, first in (("a", 0), ("b", 1)):
        name = ("0.png", "1.bmp")[first]
        for i in range(5):
            shutil.copy(f"in/{label}/{name}", f"in/{label}/copy {i}.{name[-3:]}")
    made = make("in", "out", SMALL)
    assert all(made.splits["train"].classes[label] >= 5 for label in "ab")
    assert all(made.splits["eval"].classes[label] == 1 for label in "ab")


def write_groups(folder: str, people: int, images: int = 4) -> list[tuple[str, str, str]]:
    """(path, label, person) of images in DIR/<class>/<person>/, not equally many of each."""
    rows = []
    for number in range(people * images * 2):
        label, person = "ab"[number % 2], f"p{number // 2 % people}"
        path = f"{label}/{person}/{number}.png"
        os.makedirs(f"{folder}/{label}/{person}", exist_ok=True)
        if number % 7:
            random_image(number).save(f"{folder}/{path}")
            rows.append((path, label, person))
    return rows


def split_of_people(dataset: Dataset) -> dict[str, str]:
    """The one split of each person."""
    splits: dict[str, str] = {}
    for split, paths in names(dataset).items():
        for path in paths:
            assert splits.setdefault(path.split("/")[-2], split) == split
    return splits


def test_a_group_stays_on_one_side():
    rows = write_groups("in", people=20)
    plain = make("in", "plain", SMALL)
    assert plain.remarks()[0].startswith("folders with images both in train and held out: p0, p1")
    by_folder = make("in", "folder", replace(SMALL, group="2"))
    people = split_of_people(by_folder)
    counts = {split: list(people.values()).count(split) for split in by_folder.splits}
    assert by_folder.manifest.groups == counts and counts == {"train": 16, "eval": 2, "test": 2}
    assert by_folder.remarks() == [
        "each folder at level 2 stays on one side (--group): 16 in train, 2 in eval, 2 in test"
    ]
    # By a column, in another order.
    lines = "\n".join(f"in/{path}, {label},{person} " for path, label, person in rows[::-1])
    Path("reversed.csv").write_text(f"path,label,Person\n{lines}\n", encoding="utf-8")
    by_column = make("reversed.csv", "column", replace(SMALL, group="person"))
    assert split_of_people(by_column) == people
    assert make("in", "again", replace(SMALL, group="2"), processes=2).digest == by_folder.digest
    expected = "plain: holds shards with group '', not '2'; --replace makes"
    assert refusal("in", "plain", replace(SMALL, group="2")).startswith(expected)


def test_groups_that_are_few_or_share_an_image():
    write_groups("in", people=5)
    options = replace(SMALL, group="2")
    made = make("in", "out", options)
    people = split_of_people(made)
    assert made.manifest.groups["train"] >= 3 and made.manifest.groups["eval"] == 1
    for label in "ab":
        total = sum(part.classes[label] for part in made.splits.values())
        assert made.splits["train"].classes[label] >= total / 2
    (one, *_), (two, three, *_) = (
        [person for person in people if (people[person] == "train") == trains] for trains in (0, 1)
    )
    random_image(1000).save(f"in/a/{one}/same.png")
    shutil.copy(f"in/a/{one}/same.png", f"in/a/{two}/same.png")
    random_image(1001).save(f"in/a/{two}/alike.png")
    shutil.copy(f"in/a/{two}/alike.png", f"in/a/{three}/alike.png")
    random_image(1002).save("in/a/alone.png")
    made = make("in", "shared", options)
    assert split_of_people(made) == people
    other_side = "in groups on both sides of the split: the same as a/"
    assert sorted(rejected("shared")) == sorted(
        [
            ("a/alone.png", "in no group: --group 2 expects it 2 folders deep"),
            (f"a/{one}/same.png", f"{other_side}{two}/same.png"),
            (f"a/{two}/same.png", f"{other_side}{one}/same.png"),
        ]
    )
    write_groups("single", people=1)
    assert "--group 2: no group can be held out" in refusal("single", "none", options)


def test_a_group_that_is_not_there_is_refused():
    write_classes("in", a=5)
    Path("in.csv").write_text("path,label,who\nin/a/0.png,u,\nin/a/1.bmp,u,p\n", encoding="utf-8")
    Path("bare.csv").write_text("in/a/0.png,u,p1\n", encoding="utf-8")
    for source, group, expected in [
        ("in", "person", "--group person: in is a folder; write which folder names the group"),
        ("in", "1", "--group 1: in is a folder; write which folder names the group"),
        ("in", "2", "in: no image among 5 files; a/0.png: in no group"),
        ("in.csv", "site", "in.csv:1: site: no such column; the columns are path, label, who"),
        ("bare.csv", "who", "bare.csv:1: --group who needs a header: path,label,who"),
    ]:
        assert refusal(source, "out", replace(SMALL, group=group)).startswith(expected)
        assert not os.path.exists("out")
    make("in.csv", "out", replace(SMALL, group="who", eval_share=0))
    assert rejected("out") == [("in/a/0.png", "no group")]


# Again, and after a kill

# Makes shards of argv[2] in argv[3], and kills itself when step argv[4] has done argv[5] images.
KILLED = """
import multiprocessing, os, signal, sys
sys.path.insert(0, sys.argv[1])
from codec.shards.make import make_shards
from codec.shards.manifest import Options
def report(step, done, total):
    if (step, done >= int(sys.argv[5])) == (sys.argv[4], True):
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
options = Options(size=160, encoding="raw", shard_mb=1)
make_shards(sys.argv[2], sys.argv[3], options, processes=int(sys.argv[6]), progress=report)
"""
HEAVY = Options(size=160, encoding="raw", shard_mb=1)
needs_kill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="killed in another way here")


def kill(step: str, done: int, processes: int = 1) -> list[int]:
    """Run until then; return the ids of the processes that worked for it."""
    words = [str(ROOT), "in", "out", step, str(done), str(processes)]
    command = [sys.executable, "-c", KILLED, *words]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not os.path.exists(f"out/{manifest.MANIFEST}")
    with pytest.raises(JobError, match="out: no finished shards"):
        Dataset.open("out")
    return [int(pid) for pid in ended.stdout.split()]


def resume(**options) -> tuple[Dataset, dict[str, int]]:
    """Make shards; return them, and how much of each step was done already when it began."""
    first: dict[str, int] = {}

    def report(step: str, done: int, total: int) -> None:
        first.setdefault(step, done)

    return make("in", "out", HEAVY, progress=report, **options), first


@needs_kill
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_again_and_again_it_ends_as_if_it_had_not_been(processes):
    write_classes("in", a=150, b=150)
    undisturbed = make("in", "undisturbed", HEAVY)
    assert len(undisturbed.splits["train"].shards) > 10
    kill("list", 0)
    kill("read", 90, processes)
    kill("read", 250, processes)
    kill("write", 60, processes)
    finished = {path.name: path.stat().st_mtime_ns for path in Path("out").glob("*.tfrecord")}
    assert finished
    made, first = resume(processes=processes)
    assert "read" not in first and first["write"] >= 60
    assert contents("out") == contents("undisturbed")
    assert made.digest == undisturbed.digest
    for name, written in finished.items():
        assert os.stat(f"out/{name}").st_mtime_ns == written


@needs_kill
def test_where_a_writing_process_is_killed_one_line_says_so_and_a_second_start_resumes():
    write_classes("in", a=150, b=150)
    undisturbed = make("in", "undisturbed", HEAVY)

    def report(step: str, done: int, total: int) -> None:
        if step == "write" and done >= 60:
            for child in multiprocessing.active_children():
                child.kill()

    with pytest.raises(JobError, match="^out: a process that writes shards was killed"):
        make("in", "out", HEAVY, processes=2, progress=report)
    made, first = resume()
    assert first["write"] >= 60 and made.digest == undisturbed.digest


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are listed in another way")
def test_a_killed_run_leaves_no_process():
    write_classes("in", a=150, b=150)
    workers = kill("read", 90, processes=2)
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(map(is_running, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_images_that_are_added_removed_and_changed_after_a_kill():
    write_classes("in", a=100, b=100)

    class Stop(Exception):
        pass

    def stop(step, done, total):
        if step == "read" and done > 100:
            raise Stop

    with pytest.raises(Stop):
        make("in", "out", HEAVY, processes=1, progress=stop)
    for i in range(0, 100, 2):
        (path,) = Path("in/a").glob(f"{i}.*")
        path.unlink()
    random_image(1).save("in/b/0.png")
    random_image(2).save("in/c.png")
    random_image(3).save("in/b/new.png")
    made, first = resume()
    assert first["read"] > 0
    make("in", "fresh", HEAVY)
    assert contents("out") == contents("fresh")
    assert made.manifest.splits["train"].classes.keys() == {"a", "b"}


def test_other_options_start_from_the_beginning():
    write_classes("in", a=50, b=50)

    def stop(step, done, total):
        if step == "write":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make("in", "out", replace(HEAVY, size=20), processes=1, progress=stop)
    make("in", "out", HEAVY)
    make("in", "fresh", HEAVY)
    assert contents("out") == contents("fresh")


def test_a_process_that_dies_costs_no_image():
    write_classes("in", a=150, b=150)
    killed = []

    def stab(step, done, total):
        if step == "read" and done and not killed:
            killed.append(multiprocessing.active_children()[0])
            killed[0].kill()

    made = make("in", "out", HEAVY, processes=2, progress=stab)
    assert killed and made.manifest.rejected == 0
    make("in", "undisturbed", HEAVY)
    assert contents("out") == contents("undisturbed")


def test_again_copies_nothing():
    write_classes("in", a=20, b=20)
    made = make("in", "out", SMALL)
    before = {path: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    again = make("in", "out", SMALL)
    assert again.manifest == made.manifest
    assert {path: path.stat().st_mtime_ns for path in Path("out").iterdir()} == before
    # The same images, but they look new: they are read again, and nothing is copied.
    for path in Path("in").rglob("*.*"):
        os.utime(path, (1, 1))
    again = make("in", "out", SMALL)
    assert again.digest == made.digest
    for path, written in before.items():
        assert path.stat().st_mtime_ns == written or path.suffix in (".csv", ".json")


def test_a_lost_shard_is_made_again():
    write_classes("in", a=40, b=40)
    options = replace(HEAVY, size=128)
    make("in", "out", options)
    before = contents("out")
    os.remove(f"out/{next(name for name in before if name.startswith('train-'))}")
    assert make("in", "out", options).splits
    assert contents("out") == before


def test_shards_of_something_else_are_kept_unless_they_are_to_be_replaced():
    write_classes("in", a=20, b=20)
    make("in", "out", replace(SMALL, shard_mb=1))
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    bigger = replace(SMALL, size=17, shard_mb=1)
    expected = "out: holds shards with size 16, not 17; --replace makes new ones"
    assert refusal("in", "out", bigger).startswith(expected)
    random_image(5).save("in/a/new.png")
    expected = "out: holds shards of other images than in has now; --replace makes new ones"
    assert refusal("in", "out", replace(SMALL, shard_mb=1)).startswith(expected)
    assert all(path.read_bytes() == data for path, data in before.items())
    made = make("in", "out", bigger, replace=True)
    assert made.size == 17 and sum(part.count for part in made.splits.values()) == 41
    make("in", "fresh", bigger)
    assert contents("out") == contents("fresh")


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize(
    "name", ["train-00000-of-00004.tfrecord", "rejected.csv", "eval.index.npy"]
)
def test_files_that_are_of_no_shards_are_never_overwritten(name, replace):
    write_classes("in", a=4, b=4)
    write(f"out/{name}", "mine")
    write("out/notes.txt", "mine")
    with pytest.raises(JobError, match=f"^out: holds a {name}, and no manifest.json says"):
        make("in", "out", SMALL, replace=replace)
    assert {path.name: path.read_text() for path in Path("out").iterdir()} == {
        name: "mine",
        "notes.txt": "mine",
    }
    os.remove(f"out/{name}")
    make("in", "out", SMALL)
    assert Path("out/notes.txt").read_text() == "mine"


def test_a_corrected_image_is_no_longer_rejected():
    write_classes("in", a=20, b=20)
    Path("in/a/bad.png").write_bytes(b"")
    make("in", "out", SMALL)
    assert rejected("out") == [("a/bad.png", "empty: the file has no bytes")]
    Path("in/a/bad.png").unlink()
    assert make("in", "out", SMALL).manifest.rejected == 0  # no image has changed
    assert rejected("out") == []


# What is refused


def test_two_at_once_are_refused():
    write_classes("in", a=5, b=5)
    catalog = Catalog(os.path.join("out", UNFINISHED), {})
    assert "are these shards being made already?" in refusal("in", "out", SMALL)
    catalog.close()
    assert make("in", "out", SMALL).labels == ("a", "b")


def test_mistakes_are_one_line_and_leave_nothing():
    write_classes("in", a=5)
    os.makedirs("bare/a")
    Path("bare/a/a.txt").write_text("no image", encoding="utf-8")
    Path("latin.csv").write_bytes("path,label\nä.png,a\n".encode("latin-1"))
    os.makedirs("none")
    before = sorted(Path().rglob("*"))
    refusals = {
        source: refusal(source, target, SMALL)
        for source, target in {
            "nowhere": "out",
            "tab.tsv": "out",
            "bare": "out",
            "none": "out",
            "latin.csv": "out",
            "nowhere.csv": "out",
            "in": "in/a/out",
            "in/a": "in",
        }.items()
    }
    assert sorted(Path().rglob("*")) == before
    assert refusals == {
        "nowhere": "nowhere: no such file or folder; expected SRC/<class>/*.jpg, or a CSV file",
        "tab.tsv": "tab.tsv: no such file or folder; expected SRC/<class>/*.jpg, or a CSV file",
        "bare": "bare: no image among 1 files; a/a.txt: not an image: its content is none of "
        "JPEG, PNG, GIF, BMP, WebP; expected SRC/<class>/*.jpg",
        "none": "none: no files; expected SRC/<class>/*.jpg",
        "latin.csv": "latin.csv:2: not UTF-8 ('utf-8' codec can't decode byte 0xe4 in position 0: "
        'invalid continuation byte); save it as "CSV UTF-8"',
        "nowhere.csv": "nowhere.csv: cannot be read (No such file or directory)",
        "in": "in/a/out: must be apart from the images, which are in in",
        "in/a": "in: must be apart from the images, which are in in/a",
    }


def run(*words: str) -> tuple[int, str, str]:
    command = [sys.executable, str(ROOT / "scripts" / "data.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_the_script():
    write_classes("in", a=20, b=20)
    Path("in/b/bad.png").write_bytes(b"")
    shutil.copy("in/a/0.png", "in/a/copy.png")
    code, out, err = run("shards", "in", "out", "--size=16", "--format=raw", "--eval-share=0.3")
    assert code == 0, err
    assert out.splitlines() == [
        "out: train 25, eval 12, test 4 images of 2 classes",
        "copies of others, kept in the same split: 1 (copies.csv names them)",
        "files rejected: 1 (rejected.csv says why)",
    ]
    assert run("verify", "out")[:2] == (0, out)
    code, out, err = run("shards", "in", "out")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("error: out: holds shards with size 16, not 160; ")
    for flag, expected in {
        "--size=0": "argument --size: '0' is not a number from 1 to 4096",
        "--eval-share=1": "argument --eval-share: '1' is not a number from 0 to 0.99",
        "--eval-share=0.95": "--eval-share and --test-share leave nothing to train on",
        "--workers=x": "argument --workers: 'x' is not a number from 1 to 1024",
        "--resize=x": "argument --resize: invalid choice: 'x'",
    }.items():
        code, out, err = run("shards", "in", "new", flag)
        assert (code, out) == (2, "") and f"error: {expected}" in err
        assert len(err.splitlines()) == 1 and not os.path.exists("new")


# The reader


@pytest.fixture(params=manifest.ENCODINGS)
def made(request) -> Dataset:
    write_classes("in", a=60, b=60)
    return make("in", "out", Options(size=96, encoding=request.param, shard_mb=1))


def test_by_number_or_by_tensorflow_the_same(made):
    import tensorflow as tf

    part = made.splits["train"]
    paths = [f"out/{shard.file}" for shard in part.shards]
    records = [
        (shards.decode(image, made.manifest.encoding, made.shape).numpy(), int(label), name.numpy())
        for image, label, name in tf.data.TFRecordDataset(paths).map(shards.parse)
    ]
    pixels, labels = made.read("train", range(part.count))
    assert pixels.dtype == np.uint8 and labels.dtype == np.int32
    assert np.array_equal(pixels, [image for image, _, _ in records])
    assert labels.tolist() == [label for _, label, _ in records] == made.targets("train").tolist()
    assert [os.fsencode(name) for name in made.names("train", range(4))] == [
        n for _, _, n in records
    ][:4]
    order = np.random.default_rng(0).permutation(part.count).tolist() * 2 + [7, 7, 7]
    again, labels_again = made.read("train", order)
    assert np.array_equal(again, pixels[order]) and np.array_equal(labels_again, labels[order])
    batch, _, _ = shards.parse(next(iter(tf.data.TFRecordDataset(paths).batch(5))))
    assert batch.shape == (5,)


def test_pixels_that_predictions_do_not_see_are_warned_of(made):
    lines = made.remarks()
    assert made.manifest.encoding == "jpeg" or not any("warning" in line for line in lines)
    expected = (
        "warning: shards in JPEG, of quality 90: training sees pixels that predictions do not"
    )
    assert any(line.startswith(expected) for line in lines) == (made.manifest.encoding == "jpeg")


def test_pixels_are_those_of_the_files(made):
    paths = made.names("train", range(20))
    pixels, _ = made.read("train", range(20))
    for path, image in zip(paths, pixels, strict=True):
        if not path.endswith(".jpg"):
            whole = images.resize(Image.open(f"in/{path}"), 96, "fit")
            off = np.abs(np.asarray(whole, int) - image).mean()
            assert off == 0 if made.manifest.encoding == "raw" else off < 15


def damage(path: str, how) -> str:
    data = Path(path).read_bytes()
    Path(path).write_bytes(how(data))
    return path


def flip(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


def test_damaged_files_are_named_in_one_line(made):
    part = made.splits["train"]
    path = f"out/{part.shards[0].file}"
    whole = Path(path).read_bytes()
    again = "; make the shards again: python scripts/data.py shards"
    damage(path, flip)
    with pytest.raises(JobError) as refused:
        Dataset.open("out", verify=True)
    assert str(refused.value) == f"{path}: damaged (another checksum than in the manifest){again}"
    damage(path, lambda _: whole[:-1])
    with pytest.raises(JobError) as refused:
        Dataset.open("out")
    expected = f"{path}: damaged ({len(whole) - 1} bytes, not {len(whole)}){again}"
    assert str(refused.value) == expected
    with pytest.raises(JobError, match="damaged .its end is missing"):
        damage(path, lambda _: whole[:5000])
        made.read("train", range(part.count))
    os.remove(path)
    with pytest.raises(JobError, match="missing, but manifest.json lists it"):
        Dataset.open("out")
    with pytest.raises(JobError, match="damaged .No such file"):
        made.read("train", [0])
    Path(path).write_bytes(whole)
    damage("out/train.index.npy", flip)
    with pytest.raises(JobError, match="index.npy: damaged .another checksum"):
        Dataset.open("out").read("train", [0])


def test_a_record_that_is_no_image(made):
    if made.manifest.encoding == "raw":
        pytest.skip("any bytes are an image there")
    shard = made.splits["train"].shards[0]
    damage(f"out/{shard.file}", lambda data: bytes(len(data)))
    with pytest.raises(JobError, match=f"{shard.file}: damaged .record 3 of train"):
        made.read("train", [3])


MANIFESTS = {
    "not JSON": ("{", "not a manifest of shards"),
    "another JSON": ("[]", "not a manifest of shards"),
    "another format": ('{"format": "x", "version": 1}', "version 1, but this reads 1"),
    "a later version": (
        '{"format": "picture shards", "version": 9}',
        "version 9, but this reads 1",
    ),
    "half of it": ('{"format": "picture shards", "version": 1}', "not a manifest of shards"),
}


@pytest.mark.parametrize("fault", MANIFESTS)
def test_a_manifest_that_cannot_be_read(fault):
    text, expected = MANIFESTS[fault]
    os.makedirs("out")
    Path("out/manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(JobError) as refused:
        Dataset.open("out")
    assert str(refused.value).startswith(f"out/manifest.json: {expected}")


def test_a_manifest_keeps_every_fact(made):
    text = Path("out/manifest.json").read_text(encoding="utf-8")
    assert manifest.Manifest.from_json(text, "x") == made.manifest
    assert json.loads(text)["labels"] == ["a", "b"]


def test_checksums_of_records():
    import tensorflow as tf

    random = np.random.default_rng(0)
    payloads = [random.bytes(n) for n in (0, 1, 4, 255, 257, 100_000)]
    with open("records", "wb") as file:
        file.write(b"".join(map(tfrecord.frame, payloads)))
    assert [record.numpy() for record in tf.data.TFRecordDataset("records")] == payloads


# The data that came with this project


def test_digits():
    own = str(digits.OWN_DATA)
    assert digits.write("data/digits", own) == digits.write("data/digits", own) == "data/digits"
    made = make("data/digits", "out", Options(size=8, channels=1, encoding="raw"))
    assert made.labels == tuple("0123456789")
    assert [part.count for part in made.splits.values()] == [1439, 179, 179]
    assert made.manifest.rejected == made.manifest.copies == 0
    pixels, labels = made.read("train", range(1439))
    packed = np.load(digits.OWN_DATA / digits.PACKED)
    known = {
        image.tobytes(): label
        for image, label in zip(packed["images"], packed["labels"], strict=True)
    }
    for image, label in zip(pixels, labels, strict=True):
        assert known[(image[..., 0] / 255 * 16).round().astype(np.uint8).tobytes()] == label


def peak_bytes(count: int) -> int:
    """Peak memory of a process that makes shards of small images."""
    code = """
import re, sys
sys.path.insert(0, sys.argv[1])
from codec.shards.make import make_shards
from codec.shards.manifest import Options
options = Options(size=96, encoding="raw")  # 27 kB an image
make_shards(sys.argv[2], sys.argv[2] + "-out", options)
# Not getrusage: its peak includes that of the process that started this one.
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""
    write_classes(f"in{count}", a=count // 2, b=count // 2)
    words = [sys.executable, "-c", code, str(ROOT), f"in{count}"]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the peak cannot be read here")
def test_memory_does_not_grow_with_the_images():
    assert peak_bytes(900) < 1.2 * peak_bytes(100)
