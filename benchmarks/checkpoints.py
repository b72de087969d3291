"""Benchmark: what share of training goes into checkpoints."""

import json

from measure import interleave, middle, missed, shown, standalone, table, verdict

TITLE = "Checkpoints"

DEFAULT = 60  # seconds: --checkpoint-every
HIDDEN = ("64,32", "1024,1024,512")


def measure(lab):
    rows, epochs, every = (20_000, 3, 0.2) if lab.quick else (100_000, 40, 1)
    cache = ["--cache-dir", lab.folder / "cache", "--batch-size", 4096]
    flags = [*lab.data_flags(rows), *cache, "--checkpoint-every", every]

    def run(hidden):
        job = lab.job_dir()
        few = 1 if len(hidden) > 8 else epochs  # the large model needs no more than one for this
        lab.train(*flags, "--hidden-units", hidden, "--epochs", few, "--job-dir", job)
        times = json.loads((job / "run.json").read_text(encoding="utf-8"))["timings"]
        size = max(file.stat().st_size for file in (job / "checkpoints").iterdir())
        saves = times["train"] / every + 1  # the last one at the end
        return {"seconds": times["checkpoint"] / saves, "bytes": size}

    found = interleave(
        lab.repeats, {hidden: lambda hidden=hidden: run(hidden) for hidden in HIDDEN}
    )
    rows = []
    for hidden, runs in found.items():
        seconds = [one["seconds"] for one in runs]
        share = 100 * middle(seconds) / DEFAULT
        size = f"{runs[0]['bytes'] / 1e6:.1f} MB"
        rows.append([hidden, size, shown(seconds, " s"), *verdict(share, 2, below=True)])
    whys = [
        f"Missed with {hidden}: a checkpoint of {size} is written in the loop's own thread, which "
        f"takes {time}.\n"
        for hidden, size, time, *told in rows
        if missed(told)
    ]
    return "\n".join(
        [
            f"With one each {every} s, to time many of them; the share is that of "
            f"the default, one in {DEFAULT} s.\n",
            table(["hidden layers", "checkpoint", "time", "% of training", "aim", ""], *rows),
            *whys,
        ]
    )


if __name__ == "__main__":
    standalone(measure)
