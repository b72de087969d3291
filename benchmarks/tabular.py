"""Benchmark: a table, from CSV to trained, beside the other ways of training the same model."""

import json

from measure import interleave, middle, shown, standalone, table, verdict

OTHERS = {
    "tutorial": "tutorials' way: `decode_csv` per row, lookups in the graph, `fit`",
    "fit": "`fit` on the encoded arrays",
    "scikit": "scikit-learn's MLPClassifier",
    "floor": "matrix products of a step, numpy",
}
AIMS = {"fit": 10, "scikit": 4, "floor": 0.6}
BATCHES = (128, 512, 4096)
SAME_LOSS = 0.02  # of the losses of two ways after equal rows, relative


def measure(lab):
    rows, few, epochs = (20_000, 5_000, 2) if lab.quick else (1_000_000, 50_000, 10)
    text = [
        "## From CSV to trained\n",
        f"Census-shaped data, {rows:,} rows; 14 columns, 8 of them texts; hidden layers 64 and 32, "
        f"Adam. Rates are rows a second in the second epoch, without start and compilation, except "
        f"for the whole command: that is `python -m trainer.task` from start to exit, {epochs} "
        f"epochs, encoding, evaluation and export included. The tutorials' way and the losses "
        f"(val_loss after two epochs) are measured on {few:,} rows.\n",
    ]
    for batch in BATCHES:
        text.append(_batch(lab, batch, rows, few, epochs))
    return "\n".join(text)


def _batch(lab, batch, rows, few, epochs):
    cache = ["--cache-dir", lab.folder / "cache", "--batch-size", batch]
    many, little = lab.data_flags(rows) + cache, lab.data_flags(few) + cache
    sklearn = {"PYTHONPATH": f"{lab.repo}:{lab.folder.parent.parent / 'scikit-learn'}"}

    def child(way, flags, **environment):
        return lab.child("ways.py", way, *flags, **environment).answer

    def command():
        job = lab.job_dir()
        flags = ["--job-dir", job, "--epochs", epochs, "--batch-size", batch]
        done = lab.train(*lab.data_flags(rows), *flags)
        record = json.loads((job / "run.json").read_text(encoding="utf-8"))
        return {"rate": rows * epochs / done.seconds, "timings": record["timings"]}

    found = interleave(
        lab.repeats,
        {
            "command": command,
            "loop": lambda: child("loop", many),
            "tutorial": lambda: child("tutorial", little),
            "fit": lambda: child("fit", many),
            "scikit": lambda: child("scikit", many, **sklearn),
            "floor": lambda: child("floor", many),
            "loop, few rows": lambda: child("loop", little),
            "fit, few rows": lambda: child("fit", little),
            "scikit, few rows": lambda: child("scikit", little, **sklearn),
        },
    )
    rates = {name: [answer["rate"] for answer in answers] for name, answers in found.items()}
    losses = {
        name.split(",")[0]: middle([answer["val_loss"] for answer in answers])
        for name, answers in found.items()
        if name.endswith("few rows") or name == "tutorial"
    }
    ours, whole = middle(rates["loop"]), middle(rates["command"])
    lines = [
        ["our loop", shown(rates["loop"]), f"{losses['loop']:.4f}", "", "", ""],
        ["our whole command", shown(rates["command"]), "", "", "", ""],
    ]
    for way, name in OTHERS.items():
        ratio, aim = (whole, 50) if way == "tutorial" else (ours, AIMS[way])
        loss = f"{losses[way]:.4f}" if way in losses else ""
        if loss and abs(losses[way] / losses["loop"] - 1) > SAME_LOSS:
            loss += " (differs)"
        against = verdict(ratio / middle(rates[way]), aim)
        lines.append([name, shown(rates[way]), loss, *against])
    timings = found["command"][0]["timings"]
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in timings.items())
    head = ["way", "rows/s", "val_loss", "we are × faster", "aim", ""]
    return f"### Batches of {batch}\n\n{table(head, *lines)}\nThe whole command: {parts}.\n"


if __name__ == "__main__":
    standalone(measure)
