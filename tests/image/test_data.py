"""Images to batches: which ones, in which order, from where; and what is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, train, tree, write
from own import load, write_images
from PIL import Image

from codec.shards import manifest
from codec.shards.make import make_shards
from codec.shards.manifest import Options
from trainer import data, options, task
from trainer.engine import export
from trainer.engine.examples import Examples, Part
from trainer.engine.runtime import JobError
from trainer.images import pixels

pytestmark = pytest.mark.slow

CACHES = [cache for cache in options.CACHES if cache != "auto"]


def numbered(count: int, **how) -> str:
    """Shards in which an image's first two pixels are its number, and the third its class."""
    for i in range(count):
        image = np.zeros((4, 4, 3), np.uint8)
        image[0, 0, 0], image[0, 1, 0], image[0, 2, 0] = i // 256, i % 256, i % 2
        Path(f"in/{'ab'[i % 2]}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(f"in/{'ab'[i % 2]}/{i}.png")
    made = Options(size=4, encoding="raw", test_share=0.0, **how)
    return make_shards("in", "shards", made).path


def read_batches(blocks) -> list[list[int]]:
    """The numbers of the images of each batch; shapes and classes are checked, too."""
    batches, shapes = [], set()
    for steps, (inputs, target) in blocks:
        assert inputs["image"].dtype == np.uint8
        shapes.add((inputs["image"].shape, target.shape))
        for image, classes in zip(inputs["image"][:steps], target[:steps], strict=True):
            numbers = image[:, 0, :, 0].astype(int)
            assert classes.tolist() == numbers[:, 2].tolist()
            batches.append((numbers[:, 0] * 256 + numbers[:, 1]).tolist())
    assert len(shapes) <= 2  # one for the last batch: a compiled loop compiles twice at most
    return batches


# In which order


@pytest.mark.parametrize(("count", "size"), [(50, 7), (64, 64), (30, 100), (300, 8)])
def test_an_epoch_has_every_image_once(count, size, monkeypatch):
    monkeypatch.setattr(data, "AT_ONCE", 40)  # so that there are several blocks
    examples = load("--data", numbered(count)).train
    batches = read_batches(examples.batches(size, seed=3, epoch=1))
    everyone = read_batches(examples.batches(1000))[0]
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert sorted(sum(batches, [])) == sorted(everyone)
    assert len(set(everyone)) == examples.rows


def test_the_order_follows_from_seed_and_epoch_alone():
    examples = load("--data", numbered(200)).train
    order = read_batches(examples.batches(16, seed=5, epoch=2))
    assert read_batches(examples.batches(16, seed=5, epoch=2)) == order
    assert read_batches(examples.batches(16, seed=5, epoch=3)) != order
    assert read_batches(examples.batches(16, seed=6, epoch=2)) != order


@pytest.mark.parametrize("first", [1, 5, 11])
def test_a_run_resumes_in_the_middle_of_an_epoch(first, monkeypatch):
    monkeypatch.setattr(data, "AT_ONCE", 64)
    examples = load("--data", numbered(200)).train
    whole = read_batches(examples.batches(16, seed=1, epoch=4))
    assert read_batches(examples.batches(16, seed=1, epoch=4, first=first)) == whole[first:]


@pytest.mark.parametrize("parts", [2, 3])
def test_shares_together_are_the_batch(parts):
    examples = load("--data", numbered(100)).train
    whole = read_batches(examples.batches(16, seed=1))
    shares = [read_batches(examples.batches(16, seed=1, share=(i, 1, parts))) for i in range(parts)]
    together = [sum(pieces, []) for pieces in zip(*shares, strict=True)]
    assert together == whole[: len(together)]


def test_a_replica_reads_its_share_and_no_other():
    read = []

    class Watched(pixels.Pixels):
        def read(self, split, indices):
            read.extend(indices)
            return super().read(split, indices)

    dataset = load("--data", numbered(100)).train.pixels.dataset
    examples = data.Split(Watched(dataset, "none", "", "cache"), "train")
    for i in range(2):
        list(examples.batches(9, seed=0, share=(i, 1, 2)))
    assert sorted(read) == list(range(examples.rows))


# From where


@pytest.mark.parametrize("encoding", manifest.ENCODINGS)
def test_images_are_the_same_wherever_they_are_kept(encoding):
    write_images("in", a=40, b=40)
    make_shards("in", "shards", Options(size=8, encoding=encoding))
    flags = ["--data", "shards", "--cache-dir", "cache", "--cache"]
    for split in ("train", "eval"):
        blocks = [next(getattr(load(*flags, kept), split).batches(16, 7)) for kept in CACHES]
        for _, (inputs, target) in blocks[1:]:
            np.testing.assert_array_equal(inputs["image"], blocks[0][1][0]["image"])
            np.testing.assert_array_equal(target, blocks[0][1][1])


def decoded() -> list[tuple[str, int]]:
    """The files of decoded images in the cache, with the times when they were written."""
    files = Path("runs/.cache").glob("pixels-*/*")
    return sorted((str(file), file.stat().st_mtime_ns) for file in files)


def test_images_are_decoded_once():
    write_images("in", a=30, b=30)
    flags = ["--data", "in", "--cache", "disk", "--image-size", "8"]
    next(load(*flags).train.batches(8))
    before = decoded()
    next(load(*flags).eval.batches(8))
    assert decoded() == before
    assert [Path(file).name for file, _ in before] == ["checksums.json", "eval", "train"]


@pytest.mark.parametrize("kept", CACHES)
def test_a_changed_image_is_never_confused_with_the_old_one(kept):
    write_images("in", a=30, b=30)
    flags = ["--data", "in", "--cache", kept, "--image-size", "8"]

    def everything():
        loaded = load(*flags)
        parts = (loaded.train, loaded.eval)
        return {p.tobytes() for part in parts for p in next(part.batches(100))[1][0]["image"][0]}

    before = everything()
    Image.new("RGB", (8, 8), "red").save("in/a/0007.png")
    red = np.asarray(Image.new("RGB", (8, 8), "red"))
    assert red.tobytes() not in before
    assert red.tobytes() in everything()


@pytest.mark.parametrize(
    ("few", "free", "kept", "why"),
    [
        (1 << 28, 0, "memory", "they are few: 0.0 MB of pixels"),
        (0, 1 << 40, "disk", "they fit: 0.0 MB of pixels, 1,099.5 GB free"),
        (0, 1 << 20, "none", "they do not fit: 0.0 MB of pixels, 1.0 MB free in cache"),
    ],
)
def test_the_cache_is_chosen_by_size_and_the_reason_logged(monkeypatch, few, free, kept, why):
    write_images("in", a=20, b=20)
    monkeypatch.setattr(pixels, "FEW", few)
    monkeypatch.setattr(pixels, "_free", lambda folder: free)
    loaded = load("--data", "in", "--image-size", "8", "--cache-dir", "cache")
    assert (loaded.train.pixels.kept, loaded.train.pixels.why) == (kept, why)
    assert why in loaded.describe()


def test_blocks_stay_small_however_many_images_there_are():
    dataset = load("--data", numbered(100)).train.pixels.dataset
    large = type(dataset)(
        dataset.path,
        data.replace(
            dataset.manifest,
            size=500,
            splits={"train": data.replace(dataset.splits["train"], count=1_000_000)},
        ),
    )
    examples = data.Split(pixels.Pixels(large, "none", "", "cache"), "train")
    assert examples.steps_per_block(16) * 16 * 500 * 500 * 3 <= data.AT_ONCE_BYTES
    assert examples.steps_per_block(1024) == 1


def test_the_digits_are_there_without_a_network():
    loaded = load()
    assert loaded.schema.labels == [str(digit) for digit in range(10)]
    assert loaded.train.rows + loaded.eval.rows == 1797
    assert loaded.train.rows > 4 * loaded.eval.rows - 20
    counts = loaded.train.class_counts()
    assert counts.sum() == loaded.train.rows and counts.min() > 130
    assert isinstance(loaded, Examples) and isinstance(loaded.eval, Part)


def test_the_digits_come_from_where_a_job_names(monkeypatch, capsys):
    monkeypatch.setenv("OWN_DATA_URI", "copy")
    assert task.main(["--job-dir", "runs/a"]) == 2
    assert "error: copy/digits.npz: cannot be read (" in capsys.readouterr().err
    shutil.copytree(ROOT / "data", "copy")
    assert load().train.rows == 1438


def test_images_may_be_listed_in_a_table():
    write_images("in", x=20, y=20)
    files = sorted(Path("in").rglob("*.png"))
    lines = [
        f"{file.relative_to('in')},{'odd' if i % 2 else 'even'},p{i // 4}"
        for i, file in enumerate(files)
    ]
    write("in/table.csv", "\n".join(["path,label,person", *lines]))
    loaded = load("--data", "in/table.csv", "--image-size", "8")
    assert loaded.schema.labels == ["even", "odd"]
    grouped = load("--data", "in/table.csv", "--image-size", "8", "--group", "person")
    expected = (
        "each value of 'person' stays on one side (--group): 8 in train, 1 in eval, 1 in test"
    )
    assert expected in grouped.schema.notes and expected in grouped.describe().splitlines()
    assert grouped.eval.rows == 4


def test_processes_may_need_the_same_shards_at_once():
    write_images("in", a=300, b=300)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from trainer import data, task; from trainer.engine import runtime;"
        "flags = task.parse(['--job-dir', 'runs/a', '--data', 'in', '--image-size', '8']);"
        "print(data.load(flags, runtime.read('runs/a')).train.rows)"
    )
    command = [sys.executable, "-c", code, str(ROOT)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert len({out for out, _ in outputs}) == 1


# Targets


def masked(count: int) -> list[str]:
    """Flags for images with masks, in each of which the greys of its image are inverted."""
    write_images("in", a=count, b=count)
    for path in Path("in").rglob("*.png"):
        grey = np.asarray(Image.open(path).convert("L"))
        target = Path("masks", path.relative_to("in"))
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - grey).save(target)
    return ["--data", "in", "--image-size", "8", "--target", "masks"]


@pytest.mark.parametrize("first", [0, 2])
def test_each_image_comes_with_its_own_mask(first):
    examples = load(*masked(40))
    count = 0
    for steps, (inputs, target) in examples.train.batches(16, seed=3, first=first):
        pairs = (array[:steps].reshape(-1, *array.shape[2:]) for array in (inputs["image"], target))
        for image, mask in zip(*pairs, strict=True):
            grey = np.asarray(Image.fromarray(image).convert("L"))
            np.testing.assert_array_equal(mask[..., 0], 255 - grey)
            count += 1
    assert count == examples.train.rows - 16 * first
    assert (examples.schema.task, examples.classes) == ("segmentation", [])


def test_without_a_target_one_folder_is_enough():
    examples = load("--data", write_images("in", a=40), "--target", "none", "--image-size", "8")
    [(_, block), *_] = examples.train.batches(8)
    assert [*block[0]] == ["image"] and len(block) == 1
    assert (examples.schema.task, examples.classes) == ("reconstruction", [])


@pytest.mark.parametrize("content", [None, b"no image"])
def test_a_mask_that_cannot_be_read_is_named(content):
    flags = masked(20)
    Path("masks/a/0003.png").unlink()
    if content:
        Path("masks/a/0003.png").write_bytes(content)
    with pytest.raises(JobError, match=r"^masks/a/0003\.png: .*; a/0003\.png needs a target$"):
        examples = load(*flags)
        [list(part.batches(8)) for part in (examples.train, examples.eval)]


def test_masks_are_part_of_what_a_resume_compares():
    flags = masked(20)
    before = load(*flags).manifest
    first, second = sorted(Path("masks/a").iterdir())[:2]
    first.write_bytes(second.read_bytes())

    after = load(*flags).manifest

    assert [part["path"] for part in before["train"]["files"]][1:] == ["masks/*.png"]
    assert sum(after[split]["files"][1] != before[split]["files"][1] for split in before) == 1
    assert all(after[split]["files"][0] == before[split]["files"][0] for split in before)


# What is refused


def empty_shards() -> str:
    write_images("in", a=20, b=20)
    return make_shards("in", "shards", Options(size=8, eval_share=0.0)).path


FAULTS = {
    "no folder": (lambda: "nowhere", [], "nowhere: no such file or folder"),
    "no images": (
        lambda: os.path.dirname(write("in/a/x.txt", "x")),
        [],
        "no image among 1 files",
    ),
    "one class": (lambda: write_images("in", a=20), [], "one class, 'a'; a classifier needs two"),
    "no held-out": (empty_shards, [], "no image is in the split 'eval'; make the shards with"),
    "another size": (
        lambda: numbered(20),
        ["--image-size", "9"],
        "--image-size 9, but the shards in shards have 4",
    ),
    "another group": (
        lambda: numbered(20),
        ["--group", "2"],
        "--group 2: the shards in shards have none; make others: python scripts/data.py shards",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_data_is_one_line_and_leaves_nothing(fault):
    make, flags, expected = FAULTS[fault]
    path = make()
    before = tree()
    with pytest.raises(JobError) as refused:
        load("--data", path, *flags)
    assert expected in str(refused.value) and "\n" not in str(refused.value)
    left = [path for path in tree() if path not in before]
    assert not left or fault == "one class"  # whose shards may be of use with a second one


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--augment", "flip,spin"], "'flip,spin': there is no 'spin'; write some of flip,shift"),
        (["--backbone", "densnet121"], "'densnet121' is no network of keras.applications; did you"),
        (["--filters", ""], "'' is no list of whole numbers; write 32,64"),
        (["--image-size", "0"], "'0' is not a whole number above 0"),
        (["--label-smoothing", "1"], "'1' is not a share"),
        (["--cache", "cloud"], "invalid choice: 'cloud'"),
    ],
)
def test_a_wrong_flag_is_one_line(capsys, flags, expected):
    with pytest.raises(SystemExit) as ended:
        task.main(flags)
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert printed.out == "" and printed.err.count("\n") == 1 and expected in printed.err


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> str:
    """Where the digits are made once."""
    return str(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--fine-tune-layers", "3"], "--fine-tune-layers is for a backbone; add --backbone NAME"),
        (["--weights", "w.h5"], "--weights w.h5 is for a backbone"),
        (["--backbone", "mobilenet"], "--backbone mobilenet: Input size must be at least 32x32"),
        (
            ["--backbone", "mobilenet", "--image-size", "32", "--weights", "none.weights.h5"],
            "--weights none.weights.h5: no such file",
        ),
        (
            ["--backbone", "mobilenet", "--fine-tune-layers", "2", "--epochs", "5"],
            "--fine-tune-layers 2: no epoch is left for it, since --head-epochs 5 takes all of "
            "--epochs 5; write --epochs 6 or more",
        ),
        (["--group", "2"], "--group: the digits have no groups"),
        (["--target", "masks"], "--target masks: no such folder; write class, none, or the folder"),
        (["--target", "none"], "--target none: this model predicts classes; docs/recipes.md has"),
        (
            ["--class-weights", "ten=2"],
            "--class-weights: 'ten=2' is not CLASS=WEIGHT; write balanced",
        ),
        (
            ["--class-weights", "balancd"],
            "'balancd' is not CLASS=WEIGHT; write balanced, none, or 0=2,…",
        ),
        (
            ["--class-weights", "3"],
            "--class-weights: '3' is not CLASS=WEIGHT; write balanced, none, or 3=2,…",
        ),
        (["--class-weights", "3=2,4=-1"], "'4=-1': write a weight from 0 to 1,000,000"),
        (["--class-weights", "3=1e39"], "'3=1e39': write a weight from 0 to"),
        (["--data", "https://example.com/x"], "https:// is not read here; download the file"),
        (["--jit", "on", "--augment", "rotate"], "--jit on cannot compile --augment rotate"),
    ],
)
def test_flags_that_do_not_go_together_are_one_line(capsys, cache, flags, expected):
    assert task.main(["--job-dir", "runs/a", "--cache-dir", cache, *flags]) == 2
    printed = capsys.readouterr().err
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and expected in errors[0]
    assert "Traceback" not in printed
    assert not Path("runs/a").exists()


def test_a_class_that_is_rare_counts_more(monkeypatch):
    monkeypatch.setattr(export, "write", lambda model, examples, path: None)
    write_images("in", a=60, b=20)
    flags = ["--data", "in", "--image-size", "8", "--epochs", "1", "--filters", "4"]
    for weights in ("none", "balanced"):
        train(f"runs/{weights}", *flags, "--class-weights", weights)
    one, two = (Path(f"runs/{name}/history.csv").read_text() for name in ("none", "balanced"))
    assert one != two
