"""Benchmark: what a run costs as its table grows to ten and a hundred times the rows."""

import json
import os
import shutil

from measure import interleave, middle, shown, standalone, table, verdict

BATCH = 4096
MEGA = 1 << 20


def measure(lab):
    sizes = [1_000, 10_000, 50_000] if lab.quick else [50_000, 500_000, 5_000_000]
    largest = lab.csv(sizes[-1]).stat().st_size
    # TensorFlow and its compiler alone take most of the least limit.
    limit = None if lab.quick else max(917 * MEGA, largest * 4 // 5)
    found = interleave(
        lab.repeats,
        {size: lambda size=size: _runs(lab, size, limit, size == sizes[1]) for size in sizes},
    )
    rows = []
    for size in sizes:
        each = {name: [run[name] for run in found[size]] for name in found[size][0]}
        megabytes = lab.csv(size).stat().st_size / 1e6
        rows.append(
            [
                f"{size:,}",
                f"{megabytes:.0f} MB",
                shown(each["encode"], " s"),
                f"{megabytes / middle(each['encode']):.0f} MB/s",
                shown(each["reuse"], " s"),
                shown(each["rate"]),
                shown([peak / MEGA for peak in each["peak"]], " MB", 4),
            ]
        )
    head = ["rows", "CSV", "read and encode", "speed", "again, reused", "rows/s trained", "peak"]
    rate = middle([run["rate"] for run in found[sizes[-1]]])
    peak = {size: middle([run["peak"] for run in found[size]]) for size in sizes}
    memory = middle([run["memory"] for run in found[sizes[1]]])
    stale = _stale(lab, sizes[0])
    aims = [
        ["rows/s, largest file ÷ in memory", *verdict(rate / memory, 0.9)],
        ["peak memory, largest ÷ smallest", *verdict(peak[sizes[-1]] / peak[sizes[0]], 1.1, True)],
        ["runs on a stale encoding", stale, "0", "**missed**" if stale else "met"],
    ]
    limited = "no limit on memory"
    if limit:
        limited = f"a limit (RLIMIT_DATA) of {limit / MEGA:,.0f} MiB on what a process may take"
    return (
        f"## As the table grows\n\nBatches of {BATCH}; two epochs by `python -m trainer.task`, "
        f"{limited}, and the largest file has {largest / MEGA:,.0f} MiB. In memory, the middle "
        f"table trains at {memory / 1e6:.2f} M rows/s.\n\n"
        f"{table(head, *rows)}\n{table(['', 'value', 'aim', ''], *aims)}"
    )


def _runs(lab, size, limit, in_memory):
    """A run that encodes, one that finds the encoding, and the speed of the loop."""
    flags = [*lab.data_flags(size), "--batch-size", BATCH]
    job = lab.job_dir()
    cache = job.parent / ".cache"

    def run(name):
        place = job.with_name(name)
        words = ["--job-dir", place, "--cache-dir", cache, "--epochs", 2]
        done = lab.train(*flags, *words, limit_data=limit)
        return done, json.loads((place / "run.json").read_text(encoding="utf-8"))["timings"]

    try:
        first, encoding = run("first")
        second, reused = run("second")
        loop = lab.child("ways.py", "loop", *flags, "--cache-dir", cache, limit_data=limit)
        found = {
            "encode": encoding["read and encode data"],
            "reuse": reused["read and encode data"],
            "peak": max(first.peak, second.peak),
            "rate": loop.answer["rate"],
        }
        if in_memory:
            words = [*flags, "--cache-dir", cache]
            found["memory"] = lab.child("ways.py", "memory", *words).answer["rate"]
        return found
    finally:
        shutil.rmtree(job.parent)


def _stale(lab, size):
    """Runs that reuse an encoding although the file has changed, in one digit: of two, how many.

    The file's size and its time of change stay the same, as after a careless copy.
    """
    path = lab.folder / "changing.csv"
    shutil.copy(lab.csv(size), path)
    flags = [*lab.data_flags(size), "--cache-dir", lab.job_dir(), "--epochs", 1]
    flags[1] = path
    stale = 0
    for digit in (b"2", b"3", b"4"):
        before = path.stat()
        with open(path, "r+b") as file:
            file.readline()  # the header; then the age in the first row
            file.seek(file.tell())
            file.write(digit)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        done = lab.train(*flags, "--batch-size", BATCH, "--job-dir", lab.job_dir())
        stale += "reused" in done.output
    return stale


if __name__ == "__main__":
    standalone(measure)
