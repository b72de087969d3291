"""Benchmark: folders of images to shards, against one process, and as the images grow in number."""

import os
import shutil

import numpy as np
from measure import Lab, interleave, middle, missed, shown, standalone, table, verdict
from PIL import Image

TITLE = "Images to shards"
MEGA = 1 << 20
MAKE = """
import json, os, re, resource, sys, time
from codec.shards.make import make_shards
from codec.shards.manifest import Options
options = Options(size=int(sys.argv[3]))
before, begin = os.times(), time.perf_counter()
made = make_shards(sys.argv[1], sys.argv[2], options, processes=int(sys.argv[4]))
seconds, after = time.perf_counter() - begin, os.times()
count = sum(part.count for part in made.splits.values())
cpu = sum(after[:4]) - sum(before[:4])
# What getrusage tells of a process begins with the peak of whoever started it: here that is us, and
# for our workers it is us again, who are as large as they are.
own = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]
peak = 1024 * max(int(own), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
print(json.dumps({"seconds": seconds, "count": count, "cpu": cpu, "peak": peak}))
"""
# The work on an image that nobody can save, one after the other.
ALONE = """
import io, json, os, pathlib, sys, time
from PIL import Image
paths = [path for path in pathlib.Path(sys.argv[1]).rglob("*.jpg")]
paths = paths[int(sys.argv[3])::int(sys.argv[4])]
begin = time.perf_counter()
for path in paths:
    image = Image.open(path).convert("RGB")
    image.resize((int(sys.argv[2]),) * 2, Image.Resampling.BILINEAR).save(io.BytesIO(), "PNG", compress_level=1)
seconds = time.perf_counter() - begin
print(json.dumps({"count": len(paths), "seconds": seconds, "cpu": sum(os.times()[:2])}))
"""
SIZE = 160


def measure(lab):
    lab = Lab(lab.quick, "problem=image")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = 200 if lab.quick else 4_000
    photos = folder_of(lab, f"photos-{count}", count, photo, "jpg")
    few, many = (100, 1_000) if lab.quick else (1_000, 100_000)
    one, all_cores = "one process", f"{cores} processes, the default"
    bare = "Pillow alone: decode, resize, encode; one process"
    bound = f"the same in {cores} processes that share nothing"
    found = interleave(
        lab.repeats,
        {
            one: lambda: _time(lab, photos, 1),
            all_cores: lambda: _time(lab, photos, cores),
            bare: lambda: _alone(lab, photos, 1),
            bound: lambda: _alone(lab, photos, cores),
        },
    )
    small = {count: _icons(lab, count) for count in (few, many)}
    growth = interleave(
        lab.repeats, {count: lambda count=count: _grow(lab, small[count]) for count in small}
    )
    speeds = {way: [run["count"] / run["seconds"] for run in found[way]] for way in found}
    work = {way: [1e3 * run["cpu"] / run["count"] for run in found[way]] for way in found}
    speed, limit = (middle(speeds[all_cores]) / middle(speeds[way]) for way in (one, bound))
    possible = middle(speeds[bound]) / middle(speeds[bare])
    peaks = {count: [run["peak"] / MEGA for run in runs] for count, runs in growth.items()}
    flat = middle(peaks[many]) / middle(peaks[few])
    aims = [
        [f"{cores} processes ÷ one", *verdict(speed, 0.9 * cores)],
        [f"Pillow alone, {cores} processes ÷ one", f"{possible:.3g}", "", ""],
        [f"{cores} processes ÷ Pillow alone in as many", f"{limit:.3g}", "", ""],
        [f"peak memory, {many:,} images ÷ {few:,}", *verdict(flat, 1.1, below=True)],
    ]
    spent = middle(work[one]) / middle(work[all_cores])
    whys = []
    if missed(aims[0]):
        whys.append(
            f"Missed, {0.9 * cores:.1f} times one process: Pillow alone, in processes that share "
            f"nothing, reaches {possible:.2f} times on this machine with what else runs on it. Of "
            f"what one process works on an image, {cores} work {1 / spent:.2f} times as much "
            "together, their start included.\n"
        )
    if missed(aims[3]):
        whys.append(f"Missed, flat memory: {flat:.2f} times.\n")
    rows = [
        [
            f"{count:,}",
            shown([run["count"] / run["seconds"] for run in runs]),
            shown(peaks[count], " MiB"),
            shown([run["again"] for run in runs], " s"),
        ]
        for count, runs in growth.items()
    ]
    return "\n".join(
        [
            f"JPEG files of 500×375 pixels to PNG records of {SIZE}×{SIZE}; the whole command but "
            "Python's start: checks, hashes, split, shards and manifest.\n",
            table(
                ["", "images/s", "processor time an image"],
                *([way, shown(speeds[way]), shown(work[way], " ms")] for way in found),
            ),
            "PNG files of 16×16 pixels. Peak: of the largest process. Again: with all shards "
            "there.\n",
            table(["images", "images/s", "peak", "again"], *rows),
            table(["", "value", "aim", ""], *aims),
            *whys,
        ]
    )


def make_shards(lab, source, workers, size=SIZE, target=None):
    target = target or lab.folder / f"made-{os.getpid()}"
    return lab.run(["-c", MAKE, source, target, size, workers]), target


def _time(lab, photos, workers):
    done, target = make_shards(lab, photos, workers)
    shutil.rmtree(target)
    return done.answer


def _alone(lab, photos, processes):
    """All processes together, of which the slowest counts."""
    started = [
        lab.start(["-c", ALONE, photos, SIZE, number, processes]) for number in range(processes)
    ]
    answers = [lab.finish(one).answer for one in started]
    return {
        "count": sum(answer["count"] for answer in answers),
        "seconds": max(answer["seconds"] for answer in answers),
        "cpu": sum(answer["cpu"] for answer in answers),
    }


def _grow(lab, icons):
    cores = os.cpu_count()
    done, target = make_shards(lab, icons, cores, 16)
    again, _ = make_shards(lab, icons, cores, 16, target)
    shutil.rmtree(target)
    return {**done.answer, "again": again.answer["seconds"]}


def photo(i):
    """About as large, and as hard to pack, as what cameras make; the same one for a number."""
    random = np.random.default_rng(i)
    rough = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
    smooth = np.asarray(rough.resize((500, 375), Image.Resampling.BICUBIC), np.int16)
    noisy = smooth + random.integers(-12, 13, (375, 500, 1))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _icons(lab, count):
    def icon(i):
        return Image.fromarray(np.random.default_rng(i).integers(0, 256, (16, 16), np.uint8))

    return folder_of(lab, f"icons-{count}", count, icon, "png")


def folder_of(lab, name, count, draw, ending, **how):
    """Images of ten classes, drawn by their number; the same ones each time."""
    folder = lab.folder / name
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        for label in range(10):
            (partial / f"class {label}").mkdir(parents=True)
        for i in range(count):
            draw(i).save(partial / f"class {i % 10}" / f"{i:06}.{ending}", **how)
        partial.rename(folder)
    return folder


if __name__ == "__main__":
    standalone(measure)
