"""Benchmark: images from shards, alone and while training, beside other ways of reading them."""

import shutil

import numpy as np
from measure import Lab, interleave, middle, missed, short, shown, standalone, table, verdict
from PIL import Image
from shards import SIZE, folder_of, photo

TITLE = "Reading images"
BATCH = 32
MAKE = """
import sys
from codec.shards.make import make_shards
from codec.shards.manifest import Options
options = Options(size=int(sys.argv[3]), encoding=sys.argv[4], shard_mb=int(sys.argv[5]),
                  eval_share=0.02, test_share=0.0)
made = make_shards(sys.argv[1], sys.argv[2], options)
print(len(made.splits["train"].shards))
"""
ALONE = {  # name: way:--cache
    "ours, decoded in every epoch (`--cache none`)": "read:none",
    "ours, kept on disk (`--cache disk`)": "read:disk",
    "ours, kept in memory (`--cache memory`)": "read:memory",
    "(a) decoded in memory, gathered by numpy": "gather:none",
    "(b) tutorials' way: `map(decode)`, `repeat`, `shuffle`, `batch`, `prefetch`": "tutorial:none",
    "(c) `image_dataset_from_directory`": "directory:none",
    "JPEG decoded on all cores, no reader": "decode:none",
}
TRAINED = {
    "ours, decoded in every epoch (`--cache none`)": "loop:none",
    "ours, kept on disk (`--cache disk`)": "loop:disk",
    "(a) ours, kept in memory (`--cache memory`)": "loop:memory",
    "every batch prepared before timing": "prepared:memory",
    "(b) tutorials' way, `fit`": "fit:none",
}
DECODED, BOUND, LATER, FROM_DISK, TRAINING = 1.1, 0.9, 9, 2.5, 0.97  # aims
FLAT = 1.1


def measure(lab):
    lab = Lab(lab.quick, "problem=image")
    many, few = (200, 100) if lab.quick else (3_000, 600)
    sources = {  # as hard to decode as the shards, which (c) does not read
        count: folder_of(lab, f"images-{count}", count, _photo, "jpg", quality=90)
        for count in (many, few)
    }
    made = {count: _shards(lab, sources[count], SIZE, "jpeg", 10) for count in sources}

    def child(ways, count, *flags):
        cache = lab.job_dir().parent  # a new one: the first epoch fills it
        words = ["--data", made[count], "--batch-size", BATCH, "--cache-dir", cache, *flags]
        joined, source = ",".join(ways), str(sources[count])
        done = lab.child("image_ways.py", joined, *words, IMAGES=source)
        shutil.rmtree(cache, ignore_errors=True)
        return done.answer

    model, ways = ["--filters", "16,32"], [*ALONE.values()]
    # A process runs all of them in turn, and each process begins with another one.
    alone = [child(ways[i:] + ways[:i], many) for i in range(lab.repeats)]
    trained = interleave(
        lab.repeats,
        {name: lambda way=way: child([way], few, *model)[way] for name, way in TRAINED.items()},
    )
    start, start_text = _start(lab)
    first, later, work = (
        {name: [factor * run[way][key] for run in alone] for name, way in ALONE.items()}
        for key, factor in (("first", 1), ("rate", 1), ("cpu", 1e6))
    )
    speeds = {name: [run["rate"] for run in runs] for name, runs in trained.items()}
    none, disk, memory, gathered, tutorial, keras, bound = (middle(later[name]) for name in ALONE)
    ours, *_, limit = (middle(work[name]) for name in ALONE)
    firsts = {name: middle(first[name]) for name in ALONE}
    decoding, kept, held, best, fit = (middle(speeds[name]) for name in TRAINED)
    begun = list(firsts.values())
    aims = [
        ["training, kept on disk ÷ (a) in memory", *verdict(kept / held, TRAINING)],
        ["training, decoded in every epoch ÷ (a)", *verdict(decoding / held, TRAINING)],
        ["training, (a) ÷ every batch prepared", f"{held / best:.3g}", "", ""],
        ["training, (a) ÷ (b)", f"{held / fit:.3g}", "", ""],
        [
            "alone, first epoch, kept in memory ÷ the faster of (b) and (c)",
            *verdict(begun[2] / max(begun[4:6]), DECODED),
        ],
        [
            "alone, decoded in every epoch ÷ the faster of (b) and (c)",
            *verdict(none / max(tutorial, keras), DECODED),
        ],
        ["alone, decoded in every epoch ÷ decoding alone", *verdict(none / bound, BOUND)],
        ["alone, from the second epoch, memory ÷ (b)", *verdict(memory / tutorial, LATER)],
        ["alone, from the second epoch, disk ÷ (b)", *verdict(disk / tutorial, FROM_DISK)],
        ["alone, from the second epoch, memory ÷ (a)", f"{memory / gathered:.3g}", "", ""],
        start,
    ]
    short_of = "; ".join(f"{row[0]}: {row[1]}" for row in aims if missed(row))
    why = (
        f"Missed, {short_of}. Bounds in the same run: all cores decode {short(bound)} images/s when "
        f"they do nothing else, {bound / max(tutorial, keras):.2f} times the faster of (b) and (c); an "
        f"image takes {short(limit)} µs of their time then, and {short(ours)} µs in our reader; numpy "
        f"gathers {short(gathered)} images/s from memory; a step alone trains {short(best)}, on the "
        "same cores that decode.\n"
    )
    return "\n".join(
        [
            f"JPEG records of {SIZE}×{SIZE}, batches of {BATCH}, nobody trains; {many:,} images. "
            f"(c) reads JPEG files of the same quality:\n",
            table(
                ["images/s", "first epoch", "later", "processor time an image, later"],
                *(
                    [name, shown(first[name]), shown(later[name]), shown(work[name], " µs")]
                    for name in ALONE
                ),
            ),
            f"While a small network ({' '.join(model)}) trains on {few:,} of them, from the second "
            "epoch on:\n",
            table(["", "images/s"], *([name, shown(speeds[name])] for name in TRAINED)),
            start_text,
            table(["", "value", "aim", ""], *aims),
            *([why] if short_of else []),
        ]
    )


def _start(lab):
    """The same images in few and in many shards: how long until the first step has ended."""
    counts = (2, 20) if lab.quick else (10, 1_000)
    side, count = 512, 27 if lab.quick else 1_334  # three quarters of a MiB each
    source = folder_of(lab, f"plain-{count}", count, lambda i: _plain(i, side), "png")
    made = [
        _shards(lab, source, side, "raw", size) for size in ((10, 1) if lab.quick else (100, 1))
    ]
    flags = ["--batch-size", 8, "--filters", 1, "--hidden-units", ""]

    def first_step(place):
        job = lab.job_dir()
        words = ["--data", place, "--job-dir", job, *flags]
        return lab.child("first_step.py", *words).seconds

    found = interleave(
        lab.repeats,
        {
            count: lambda place=place: first_step(place)
            for count, place in zip(counts, made, strict=True)
        },
    )
    few, many = (middle(found[count]) for count in counts)
    row = [
        f"start to first step, {counts[1]:,} shards ÷ {counts[0]}",
        *verdict(many / few, FLAT, below=True),
    ]
    text = table(
        ["from nothing to the first step", "seconds"],
        *([f"{count:,} shards", shown(found[count], " s")] for count in counts),
    )
    return row, text


def _shards(lab, source, size, encoding, shard_mb):
    target = source.with_name(f"{source.name}-{encoding}-{shard_mb}")
    lab.run(["-c", MAKE, source, target, size, encoding, shard_mb])
    return target


def _photo(i):
    return photo(i).resize((SIZE, SIZE))


def _plain(i, side):
    """An image of one colour, another one each time: nobody looks at it."""
    return Image.fromarray(np.full((side, side, 3), (i % 256, i // 256, 0), np.uint8))


if __name__ == "__main__":
    standalone(measure)
