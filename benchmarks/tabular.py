"""Benchmark: a table, from CSV to trained, beside the other ways of training the same model."""

import shutil

import limits
from measure import interleave, middle, missed, rates, shown, standalone, table, verdict

TITLE = "From CSV to trained"
BATCHES = (128, 512, 4096)
WHOLE = BATCHES[0]  # the whole commands and the tutorials' way are measured at this one
TUTORIAL = "tutorials' way: `decode_csv` per row, lookups in the graph, `fit`"
OTHERS = {  # name, aim
    "fit": ("`fit` on the encoded arrays", 10),
    "scikit": ("scikit-learn's MLPClassifier", 4),
    "floor": ("matrix products of a step, numpy", 0.6),
}
AIM = 50  # times the tutorials' way
SAME_LOSS = 0.02  # of the losses of two ways after equal rows, relative


def measure(lab):
    rows, more, few, epochs = (
        (5_000, 20_000, 2_000, 2) if lab.quick else (500_000, 5_000_000, 20_000, 10)
    )
    text = [
        f"Census-shaped data, {rows:,} rows; 14 columns, 8 of them texts; hidden layers 64 and 32, "
        "Adam. Rates are rows a second from the second epoch on, without start and compilation; "
        "val_loss is that after the second. Aims are for our loop's rate, divided by the other "
        "way's.\n"
    ]
    for batch in BATCHES:
        found = _measure(lab, batch, rows, more, few, epochs)
        text.append(_loops(found, batch))
        if batch == WHOLE:
            text.append(_commands(found, rows, more, few, epochs))
    return "\n".join(text)


def _measure(lab, batch, rows, more, few, epochs):
    cache = ["--cache-dir", lab.folder / "cache", "--batch-size", batch]
    many, little = lab.data_flags(rows) + cache, lab.data_flags(few) + cache
    sklearn = {"PYTHONPATH": f"{lab.repo}:{lab.folder.parent.parent / 'scikit-learn'}"}

    def child(way, flags, **environment):
        return lab.child("ways.py", way, *flags, **environment).answer

    def command(rows, epochs):
        job = lab.job_dir()
        flags = ["--job-dir", job, "--epochs", epochs, "--batch-size", batch]
        done = lab.train(*lab.data_flags(rows), *flags)
        stages = limits.stages(job / "run.json")
        shutil.rmtree(job.parent)
        return {"rate": rows * epochs / done.seconds, "seconds": done.seconds, "stages": stages}

    ways = {
        "loop": lambda: child("loop", many),
        "fit": lambda: child("fit", many),
        "scikit": lambda: child("scikit", many, **sklearn),
        "floor": lambda: child("floor", many),
        **limits.calls(lab, many),
    }
    if batch == WHOLE:
        ways |= {
            "tutorial": lambda: child("tutorial", little),
            "few": lambda: child("fit", little),
            (rows, 1): lambda: command(rows, 1),
            (rows, epochs): lambda: command(rows, epochs),
            (more, epochs): lambda: command(more, epochs),
        }
    return interleave(lab.repeats, ways)


def _loops(found, batch):
    """Our loop beside the others."""
    ours, loss = middle(rates(found["loop"])), _loss(found, "loop")
    lines = [["our loop", shown(rates(found["loop"])), f"{loss:.4f}", "", "", ""]]
    text, pieces = limits.calls_text(found, batch)
    whys = []
    for way, (name, aim) in OTHERS.items():
        other = middle(rates(found[way]))
        line = [name, shown(rates(found[way])), _compared(found, way, loss)]
        lines.append([*line, *verdict(ours / other, aim)])
        if missed(lines[-1]):
            whys.append(f"Missed, {aim:g} × {name}: {limits.slower(pieces, aim * other)}\n")
    head = ["way", "rows/s", "val_loss", "we are × faster", "aim", ""]
    return "\n".join([f"### Batches of {batch}\n", table(head, *lines), *whys, text])


def _commands(found, rows, more, few, epochs):
    """Whole commands beside the tutorials' way."""
    tutorial = middle(rates(found["tutorial"]))
    lines, whys, times = [], [], []
    for size, count in ((rows, 1), (rows, epochs), (more, epochs)):
        runs = found[size, count]
        name = f"{size:,} rows, {count} epoch{'s' * (count > 1)}"
        seconds = shown([run["seconds"] for run in runs], " s")
        ratio = verdict(middle(rates(runs)) / tutorial, AIM)
        if count == 1:  # no aim: so short a run is start and end, more than training
            ratio = ratio[0], "", ""
        lines.append([name, seconds, shown(rates(runs)), *ratio])
        stages = limits.stages_text([run["stages"] for run in runs])
        times.append(f"- {name}: {stages}")
        if missed(lines[-1]):
            whys.append(
                f"Missed, {AIM} × with {name}: it would take {size * count / AIM / tutorial:.1f} s "
                f"for all, and of the {middle([run['seconds'] for run in runs]):.1f} s were "
                f"{stages}.\n"
            )
    loss, near = _loss(found, "few"), _loss(found, "tutorial")
    head = ["our whole command", "time", "rows/s", "× the tutorials' way", "aim", ""]
    return "\n".join(
        [
            f"### The whole command, batches of {WHOLE}\n",
            "`python -m trainer.task` from start to exit, with encoding, evaluation after each "
            f"epoch and export, beside the {TUTORIAL}. That one trains at "
            f"{shown(rates(found['tutorial']))} rows/s, measured on {few:,} rows, and without its "
            "own import, building, first epoch and evaluation; ours counts them all, and so wins "
            f"as data grows. Its val_loss is {near:.4f}, that of `fit` on the same few rows "
            f"{loss:.4f}: both have Keras's own update of looked-up rows, which squares before it "
            "adds.\n",
            table(head, *lines),
            *whys,
            "Where the time goes:\n",
            *times,
            "",
        ]
    )


def _loss(found, way):
    return middle([answer["val_loss"] for answer in found[way]])


def _compared(found, way, ours):
    if "val_loss" not in found[way][0]:
        return ""
    loss = _loss(found, way)
    return f"{loss:.4f}" + ("" if abs(loss / ours - 1) <= SAME_LOSS else " (differs)")


if __name__ == "__main__":
    standalone(measure)
