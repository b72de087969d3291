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
BATCHES = (128,)
SAME_LOSS = 0.02  # of the losses of two ways after equal rows, relative


def measure(lab):
    rows, few, epochs = (20_000, 5_000, 2) if lab.quick else (500_000, 20_000, 10)
    text = [
        "## From CSV to trained\n",
        f"Census-shaped data, {rows:,} rows; 14 columns, 8 of them texts; hidden layers 64 and 32, "
        "Adam. Rates are rows a second in the second epoch, without start and compilation; "
        "val_loss is that after both. Our whole command is `python -m trainer.task` from start to "
        "exit, with encoding, evaluation and export. The tutorials' way is measured on "
        f"{few:,} rows; its loss stands beside that of `fit` on the same few rows, for both have "
        "Keras's own update of looked-up rows, which squares before it adds.\n",
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

    def command(epochs):
        job = lab.job_dir()
        flags = ["--job-dir", job, "--epochs", epochs, "--batch-size", batch]
        done = lab.train(*lab.data_flags(rows), *flags)
        record = json.loads((job / "run.json").read_text(encoding="utf-8"))
        return {"rate": rows * epochs / done.seconds, "timings": record["timings"]}

    found = interleave(
        lab.repeats,
        {
            "first": lambda: command(1),
            "command": lambda: command(epochs),
            "loop": lambda: child("loop", many),
            "tutorial": lambda: child("tutorial", little),
            "fit": lambda: child("fit", many),
            "scikit": lambda: child("scikit", many, **sklearn),
            "floor": lambda: child("floor", many),
            "few": lambda: child("fit", little),
        },
    )
    rates = {name: [answer["rate"] for answer in answers] for name, answers in found.items()}
    losses = {
        name: middle([answer["val_loss"] for answer in answers])
        for name, answers in found.items()
        if "val_loss" in answers[0]
    }
    ours, whole = middle(rates["loop"]), middle(rates["command"])
    lines = [
        ["our loop", shown(rates["loop"]), f"{losses['loop']:.4f}", "", "", ""],
        ["our whole command, one epoch", shown(rates["first"]), "", "", "", ""],
        [f"our whole command, {epochs} epochs", shown(rates["command"]), "", "", "", ""],
        ["`fit`, few rows", shown(rates["few"]), f"{losses['few']:.4f}", "", "", ""],
    ]
    for way, name in OTHERS.items():
        tutorial = way == "tutorial"
        ratio, aim = (whole, 50) if tutorial else (ours, AIMS[way])
        loss = ""
        if way in losses:
            same = abs(losses[way] / losses["few" if tutorial else "loop"] - 1) <= SAME_LOSS
            loss = f"{losses[way]:.4f}" + ("" if same else " (differs)")
        lines.append([name, shown(rates[way]), loss, *verdict(ratio / middle(rates[way]), aim)])
    timings = found["command"][0]["timings"]
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in timings.items())
    head = ["way", "rows/s", "val_loss", "we are × faster", "aim", ""]
    return f"### Batches of {batch}\n\n{table(head, *lines)}\nThe whole command: {parts}.\n"


if __name__ == "__main__":
    standalone(measure)
