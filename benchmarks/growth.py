"""Benchmark: what a run costs as its table grows to ten and a hundred times the rows."""

import os
import shutil

import limits
from measure import interleave, middle, missed, short, shown, standalone, table, verdict

TITLE = "As the table grows"
BATCH = 4096
MEGA = 1 << 20
LIMIT = 917 * MEGA  # TensorFlow and its compiler alone take most of it


def measure(lab):
    sizes = [1_000, 10_000, 50_000] if lab.quick else [100_000, 1_000_000, 10_000_000]
    limit = None if lab.quick else LIMIT
    ways = {size: lambda size=size: _runs(lab, size, limit, size == sizes[-1]) for size in sizes}
    found = interleave(lab.repeats, ways)
    each = {
        size: {name: [run[name] for run in found[size]] for name in found[size][0]}
        for size in sizes
    }
    largest, smallest, stale = each[sizes[-1]], each[sizes[0]], _stale(lab, sizes[0])
    rows = [_row(lab, size, each[size]) for size in sizes]
    kept = {
        "mapped from disk, within the limit": largest["rate"],
        "(a) the same arrays in memory, shuffled and assembled in each epoch too": largest["ram"],
        "(b) every batch prepared before timing": largest["prepared"],
        "shuffled and assembled, on the loop's second thread; no training": largest["assemble"],
    }
    disk, ram = middle(largest["rate"]), middle(largest["ram"])
    peaks = [middle(smallest["peak"]), middle(largest["peak"])]
    ratio = ["rows/s, largest file from disk ÷ (a) in memory", *verdict(disk / ram, 0.9)]
    upper = f"{disk / middle(largest['prepared']):.3g}"
    peak = ["peak memory, largest ÷ smallest", *verdict(peaks[1] / peaks[0], 1.1, True)]
    aims = [
        ratio,
        ["rows/s, largest file from disk ÷ (b) the upper bound", upper, "", ""],
        peak,
        ["runs on a stale encoding", stale, "0", "**missed**" if stale else "met"],
    ]
    whys = []
    if missed(ratio):
        whys.append(
            f"Missed, 0.9 of memory: assembling batches from the mapped files alone reaches "
            f"{short(middle(largest['assemble']))} rows/s beside the compiled calls' "
            f"{short(middle(largest['prepared']))}; both share the processors, and what the first "
            "reads from disk the second waits for.\n"
        )
    if missed(peak):
        shares = ", ".join(
            f"{size:,} rows {middle(each[size]['peak']) / MEGA:.0f} MiB" for size in sizes
        )
        whys.append(f"Missed, flat memory: {shares}.\n")
    size = lab.csv(sizes[-1]).stat().st_size / MEGA
    limited = (
        "no limit on memory"
        if limit is None
        else f"a limit (RLIMIT_DATA) of {limit / MEGA:,.0f} MiB on what a process may take"
    )
    head = ["rows", "CSV", "read and encode", "speed", "again, reused", "rows/s trained", "peak"]
    return "\n".join(
        [
            f"Batches of {BATCH}; two epochs by `python -m trainer.task`, {limited}, and the "
            f"largest file has {size:,.0f} MiB. Reused: the files' digests are computed and found."
            "\n",
            table(head, *rows),
            f"The largest, {sizes[-1]:,} rows, by what the loop reads from; (a) and (b) without a "
            "limit:\n",
            table(["", "rows/s"], *([name, shown(values)] for name, values in kept.items())),
            table(["", "value", "aim", ""], *aims),
            *whys,
        ]
    )


def _row(lab, size, runs):
    megabytes = lab.csv(size).stat().st_size / 1e6
    return [
        f"{size:,}",
        f"{megabytes:.1f} MB",
        shown(runs["encode"], " s"),
        f"{megabytes / middle(runs['encode']):.0f} MB/s",
        shown(runs["reuse"], " s"),
        shown(runs["rate"]),
        shown([peak / MEGA for peak in runs["peak"]], " MiB", 4),
    ]


def _runs(lab, size, limit, all_ways):
    """A run that encodes, one that finds the encoding, and the speed of the loop."""
    flags = [*lab.data_flags(size), "--batch-size", BATCH]
    job = lab.job_dir()
    cache = job.parent / ".cache"

    def run(name):
        place = job.with_name(name)
        words = ["--job-dir", place, "--cache-dir", cache, "--epochs", 2]
        done = lab.train(*flags, *words, limit_data=limit)
        return done, limits.stages(place / "run.json")["read and encode data"]

    def rate(way, **settings):
        return lab.child("ways.py", way, *flags, "--cache-dir", cache, **settings).answer["rate"]

    try:
        first, encode = run("first")
        second, reuse = run("second")
        found = {
            "encode": encode,
            "reuse": reuse,
            "peak": max(first.peak, second.peak),
            "rate": rate("loop", limit_data=limit),
        }
        if all_ways:
            found |= {way: rate(way) for way in ("ram", "prepared", "assemble")}
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
