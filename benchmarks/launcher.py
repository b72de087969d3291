"""Benchmark: what the launcher costs beside the trainer, and how fast job files are checked."""

from measure import interleave, middle, missed, shown, standalone, table, verdict

TITLE = "The launcher"
FLAGS = ("--epochs=2",)  # those of configs/smoke.yaml


def measure(lab):
    configs = len(list((lab.repo / "configs").glob("*.yaml")))

    def bare():
        job = lab.job_dir()
        return lab.train(*FLAGS, "--job-dir", job, "--cache-dir", lab.folder / "cache").seconds

    def launched():
        words = ["scripts/train_local.py", "configs/smoke.yaml", "--"]
        job = lab.job_dir()
        words += ["--job-dir", job, "--cache-dir", lab.folder / "cache"]
        return lab.run(words).seconds

    found = interleave(
        lab.repeats,
        {
            "`python -m trainer.task --epochs=2`": bare,
            "`scripts/train_local.py configs/smoke.yaml`, report included": launched,
            f"`scripts/check.py`, {configs} files": lambda: lab.run(["scripts/check.py"]).seconds,
        },
    )
    names = list(found)
    mid = {name: middle(seconds) for name, seconds in found.items()}
    rows = [[name, shown(seconds, " s")] for name, seconds in found.items()]
    aims = [
        ["launched ÷ bare", *verdict(mid[names[1]] / mid[names[0]], 1.15, below=True)],
        [f"{names[2]}, seconds", *verdict(mid[names[2]], 3, below=True)],
    ]
    why = ""
    if missed(aims[0]):
        more = mid[names[1]] - mid[names[0]]
        why = f"\nMissed: the launcher's own {more:.2f} s are its imports, the check of the file, the report.\n"
    return (
        f"{table(['from start to exit', 'seconds'], *rows)}\n"
        f"{table(['', 'value', 'aim', ''], *aims)}{why}"
    )


if __name__ == "__main__":
    standalone(measure)
