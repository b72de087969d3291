"""Benchmark: raw data out of a bucket, by scripts/data.py pull and by gcloud storage rsync (Linux)."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import ROOT, interleave, middle, shown, standalone, table

sys.path.insert(0, str(ROOT / "tests"))

from standins.cloud import Cloud

TITLE = "Raw data"
SOURCE = "gs://lab/data/raw"


def measure(lab):
    files, sizes = (
        (50, [20_000_000]) if lab.quick else (496, [700_000_000, 600_000_000] + [350_000_000] * 2)
    )
    gcloud = shutil.which("gcloud")
    with Cloud("lab") as cloud, tempfile.TemporaryDirectory(dir=lab.folder) as folder:
        chance = random.Random(0)
        for number in range(files):
            name = f"data/raw/{number % 20}/{number}.csv"
            cloud.buckets.write("lab", name, chance.randbytes(2000))
        for number, size in enumerate(sizes):
            name = f"data/raw/big/{number}.bin"
            cloud.buckets.write_sparse("lab", name, size, chance.randbytes(1000))
        environ = cloud.environ(f"{folder}/gcloud")
        (lab.repo / "data.yaml").write_text(f"source: {SOURCE}\n", encoding="utf-8")
        ours, theirs = lab.repo / "data/raw", Path(folder) / "raw"
        pull = [sys.executable, "scripts/data.py", "pull"]
        rsync = [gcloud, "storage", "rsync", "--recursive", "--checksums-only", SOURCE, theirs]
        ways = {"`scripts/data.py pull`": (pull, ours)}
        ways |= {"`gcloud storage rsync`": (rsync, theirs)} if gcloud else {}
        total = sum(sizes) + files * 2000

        def run(command, target):
            """Seconds of a first copy, and of a second that copies nothing."""
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            seconds = []
            for expected in (total, 0):
                cloud.buckets.sent, begin = 0, time.monotonic()
                environment = {**os.environ, **environ}
                subprocess.run(
                    command, cwd=lab.repo, env=environment, check=True, capture_output=True
                )
                seconds.append(time.monotonic() - begin)
                assert cloud.buckets.sent == expected, (command, cloud.buckets.sent)
            return seconds

        answers = interleave(lab.repeats, {n: lambda w=w: run(*w) for n, w in ways.items()})
    head = (
        f"{files + len(sizes)} files, {total / 1e9:.2g} GB",
        "first, s",
        "MB a second",
        "again, s",
    )
    rows = []
    for name, found in answers.items():
        first, again = zip(*found, strict=True)
        rows.append([name, shown(first), f"{total / 1e6 / middle(first):.0f}", shown(again)])
    note = (
        "The stand-in of Cloud Storage, a server in Python on this machine, is what limits both: the "
        "figures say what the clients add, not what a real network gives. Both compare checksums of what is "
        "there, and both move nothing the second time."
    )
    if not gcloud:
        note += " gcloud is not installed here."
    return f"{table(head, *rows)}\n{note}\n"


if __name__ == "__main__":
    standalone(measure)
