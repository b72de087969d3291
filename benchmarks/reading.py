"""Benchmark: from a CSV file to arrays, beside pyarrow's parse alone and the code of a commit before.

It starts itself in a baked repo: `python reading.py FILE TARGET [PART…]` prints, for each part, MB/s by
the clock and MB/s by the time of all processors together, as JSON.
"""

import json
import os
import shutil
import sys
import tempfile
import time

import limits
import pyarrow.csv
from census import TARGET
from measure import interleave, middle, missed, shown, standalone, table, verdict

TITLE = "Reading tables"
WHOLE = "ours, all of it: digest, kinds, means, categories, arrays on disk"
PARSE = "pyarrow's parse alone, by blocks"
DISK = "the file read from disk, not cached"
AIM = 0.7  # of pyarrow's parse by blocks
EPOCHS = 10


def measure(lab):
    rows, more, trained = (5_000, 20_000, 5_000) if lab.quick else (1_000_000, 5_000_000, 500_000)

    def read(repo, size, *parts):
        return lab.child("reading.py", lab.csv(size), TARGET, *parts, repo=repo)

    def train(repo):
        """The whole command; seconds by the clock, and of all processors."""
        job, before = lab.job_dir(), os.times()
        flags = ["--job-dir", job, "--epochs", EPOCHS, "--batch-size", 128]
        done = lab.train(*lab.data_flags(trained), *flags, repo=repo)
        after, stages = os.times(), limits.stages(job / "run.json")
        shutil.rmtree(job.parent)
        cpu = sum(after[2:4]) - sum(before[2:4])
        return {"seconds": done.seconds, "cpu": cpu, "read": stages["read and encode data"]}

    ways = {
        "parts": lambda: read(lab.repo, rows).answer,
        "flat": lambda: [read(lab.repo, size, WHOLE).peak for size in (rows, more)],
        "train": lambda: train(lab.repo),
    }
    if lab.before:
        ways["parts before"] = lambda: read(lab.before, rows, WHOLE).answer
        ways["train before"] = lambda: train(lab.before)
    found = interleave(lab.repeats, ways)
    parts = {name: [run[name] for run in found["parts"]] for name in found["parts"][0]}
    if lab.before:
        parts[f"as of {lab.before_commit}: all of it"] = [
            run[WHOLE] for run in found["parts before"]
        ]
    speeds = {
        name: [middle(values) for values in zip(*runs, strict=True)] for name, runs in parts.items()
    }
    clock, cpu = (speeds[WHOLE][i] / speeds[PARSE][i] for i in (0, 1))
    peaks = [middle(values) for values in zip(*found["flat"], strict=True)]
    aims = [
        ["ours ÷ pyarrow's parse by blocks, by the clock", *verdict(clock, AIM)],
        ["ours ÷ pyarrow's parse by blocks, by processor time", f"{cpu:.3g}", "", ""],
        [f"peak memory, {more:,} rows ÷ {rows:,}", *verdict(peaks[1] / peaks[0], 1.1, True)],
    ]
    whys = [
        f"Missed, {line[0]}: of processor time all of it reaches {speeds[WHOLE][1]:.0f} MB/s, our parse "
        f"into texts alone {speeds['our parse alone, into texts'][1]:.0f}, pyarrow's parse "
        f"{speeds[PARSE][1]:.0f}; peaks {peaks[0] / 1e6:.0f} and {peaks[1] / 1e6:.0f} MB.\n"
        for line in aims
        if missed(line)
    ]
    return "\n".join(
        [
            f"Census-shaped data, {rows:,} rows, a fifth held out, nothing in the cache:\n",
            table(
                ["", "by the clock", "by processor time"],
                *(
                    [name, *(shown(v, " MB/s") for v in zip(*runs, strict=True))]
                    for name, runs in parts.items()
                ),
            ),
            table(["", "value", "aim", ""], *aims),
            *whys,
            f"The whole command, {trained:,} rows, {EPOCHS} epochs, batches of 128:\n",
            table(
                ["", "by the clock", "processor time", "read and encode, by the clock"],
                *(
                    [
                        name,
                        *(
                            shown([run[k] for run in found[way]], " s")
                            for k in ("seconds", "cpu", "read")
                        ),
                    ]
                    for name, way in (
                        ("now", "train"),
                        (f"as of {lab.before_commit}", "train before"),
                    )
                    if way in found
                ),
            ),
        ]
    )


def read_from_disk(path):
    """With nothing of the file in the system's cache."""
    with open(path, "rb", buffering=0) as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while file.read(1 << 20):
            pass


def parse(path):
    """pyarrow alone, a block after the other as the trainer reads them; kinds inferred by itself."""
    for _ in pyarrow.csv.open_csv(path, pyarrow.csv.ReadOptions(block_size=1 << 20)):
        pass


def parse_texts(path):
    from codec.columns import tables  # which a commit before may not have

    source = tables.open_source(path)
    for _ in tables.read_batches(source, source.names):
        pass


def load(path, target):
    """From the file to arrays, a fifth of the rows held out, and nothing in the cache."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        job = os.path.join(folder, "run")
        flags = task.parse(["--train-files", path, "--target", target, "--job-dir", job])
        data.load(flags, runtime.read(flags.job_dir))


def main(path, target, *chosen):
    parts = {
        DISK: lambda: read_from_disk(path),
        PARSE: lambda: parse(path),
        "pyarrow's parse alone, whole file at once": lambda: pyarrow.csv.read_csv(path),
        "our digest of it": lambda: data.identify(path),
        "our parse alone, into texts": lambda: parse_texts(path),
        WHOLE: lambda: load(path, target),
    }
    if not hasattr(os, "posix_fadvise"):
        del parts[DISK]
    speeds = {}
    for name in chosen or parts:
        wall, cpu = time.perf_counter(), time.process_time()
        parts[name]()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        speeds[name] = [os.path.getsize(path) / 1e6 / seconds for seconds in (wall, cpu)]
    print(json.dumps(speeds), flush=True)


if __name__ == "__main__":
    if sys.argv[2:]:
        from trainer import data, task
        from trainer.engine import runtime

        main(*sys.argv[1:])
    else:
        standalone(measure)
