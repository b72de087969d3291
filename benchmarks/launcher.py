"""Benchmark: what the launcher costs beside the trainer, and how fast job files are checked."""

import shutil

from measure import ROOT, interleave, middle, missed, shown, standalone, table, verdict

TITLE = "The launcher"


def measure(lab):
    configs = len(list((lab.repo / "configs").glob("*.yaml")))
    cache = ["--cache-dir", lab.folder / "cache"]
    lab.train("--epochs=1", "--job-dir", lab.job_dir(), *cache)  # all later runs find it

    def bare():
        return lab.train("--job-dir", lab.job_dir(), *cache).seconds

    def launched():
        words = ["--job-dir", lab.job_dir(), *cache]
        return lab.run(["scripts/train_local.py", "--", *words]).seconds

    def laps():
        done = lab.child("launching.py", lab.job_dir(), *cache)
        return {"Python itself": done.seconds - sum(done.answer.values()), **done.answer}

    def demo():
        """Nothing is compiled or cached in a fresh bake."""
        out = lab.folder / "demo"
        shutil.rmtree(out, ignore_errors=True)
        bake = ["-m", "cookiecutter", ROOT, "--no-input", "--default-config", "-o", out]
        seconds = lab.run(bake).seconds
        [repo] = out.iterdir()
        lab.start(["scripts/train_local.py"], repo=repo)
        seconds += lab.finish(lab.started).seconds
        shutil.rmtree(out)
        return seconds

    found = interleave(
        lab.repeats,
        {
            "`python -m trainer.task`, the data that comes with it": bare,
            "`scripts/train_local.py`, the same with its report": launched,
            f"`scripts/check.py`, {configs} files": lambda: lab.run(["scripts/check.py"]).seconds,
            "`dev.py demo`: a fresh bake, and `scripts/train_local.py` in it": demo,
            "laps": laps,
        },
    )
    runs = found.pop("laps")
    names = list(found)
    mid = {name: middle(seconds) for name, seconds in found.items()}
    rows = [[name, shown(seconds, " s")] for name, seconds in found.items()]
    aims = [
        ["launched ÷ bare", *verdict(mid[names[1]] / mid[names[0]], 1.25, below=True)],
        [f"{names[2]}, seconds", *verdict(mid[names[2]], 3, below=True)],
        ["`dev.py demo`, seconds", *verdict(mid[names[3]], 10, below=True)],
    ]
    parts = {name: [run[name] for run in runs] for name in runs[0]}
    where = [[name, shown(seconds, " s")] for name, seconds in parts.items()]
    most = sorted(parts, key=lambda name: -middle(parts[name]))[:6]
    whys = [
        f"Missed, {name}: `scripts/train_local.py` takes {mid[names[1]]:.1f} s, the most of it for "
        + ", ".join(f"{part} {middle(parts[part]):.2f} s" for part in most)
        for name, *judged in aims
        if missed(judged)
    ]
    return "\n".join(
        [
            table(["from start to exit", "seconds"], *rows),
            table(["", "value", "aim", ""], *aims),
            *whys,
            "Where the time of `scripts/train_local.py` goes:\n",
            table(["", "seconds"], *where),
        ]
    )


if __name__ == "__main__":
    standalone(measure)
