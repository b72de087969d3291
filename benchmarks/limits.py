"""Where the time goes: a profile for the parts whose aims it explains, made in the same run.

Each pair of functions: what is to be measured, in turns with the rest of the part; and the text.
"""

import json

from measure import middle, rates, short, shown, table


def calls(lab, flags):
    """The loop's two halves, each without the other, and the compiled call taken apart."""
    return {
        "assemble": lambda: lab.child("ways.py", "assemble", *flags).answer,
        "prepared": lambda: lab.child("ways.py", "prepared", *flags).answer,
        "pieces": lambda: lab.child("pieces.py", *flags).answer,
    }


def calls_text(found, batch):
    """Two tables, and the figures for a sentence: {name: rows a second}."""
    halves = {
        "the whole loop": rates(found["loop"]),
        "batches shuffled and assembled, on the loop's second thread": rates(found["assemble"]),
        "compiled calls alone, every batch prepared before timing": rates(found["prepared"]),
        "matrix products of a step, numpy (the floor)": rates(found["floor"]),
    }
    names = found["pieces"][0]
    pieces = {name: [run[name] for run in found["pieces"]] for name in names}
    lines = [_step(name, values, batch) for name, values in halves.items()]
    parts = [_step(name, values, batch) for name, values in pieces.items()]
    head = ["rows/s", "a step"]
    text = (
        f"Where the time of the loop goes, batches of {batch}:\n\n"
        f"{table(['alone', *head], *lines)}\n"
        "The compiled call, with pieces of it left out (one process for all, every batch prepared before timing):\n\n"
        f"{table(['compiled by XLA', *head], *parts)}"
    )
    return text, {name: middle(values) for name, values in pieces.items()}


def _step(name, values, batch):
    return [name, shown(values), f"{1e6 * batch / middle(values):.0f} µs"]


def slower(pieces, speed):
    """Why a loop is not `speed` rows a second: a sentence out of `calls_text`'s figures."""
    whole, plain, flat, descent, forward, _, products = pieces.values()
    costs = {
        "metrics": 1 / whole - 1 / plain,
        "looking up categories and spreading their gradients": 1 / plain - 1 / flat,
        "Adam instead of plain descent": 1 / plain - 1 / descent,
        "matrix products": 1 / products,
    }
    shares = [
        f"{name} {100 * max(0, cost) * whole:.0f} %"
        for name, cost in sorted(costs.items(), key=lambda item: -item[1])
    ]
    return (
        f"it would take {short(speed)} rows/s. With nothing to wait for our compiled call reaches "
        f"{short(whole)}, and of its time {', '.join(shares)} (each left out, or alone, so they "
        f"need not add up); without gradient and update it would be {short(forward)}."
    )


def start(lab, flags):
    """From nothing to the end of the first step in laps, with XLA and without."""

    def laps(jit):
        done = lab.child("starting.py", *flags, "--jit", jit)
        return {"Python itself": done.seconds - sum(done.answer.values()), **done.answer}

    return {"laps": lambda: laps("on"), "laps without XLA": lambda: laps("off")}


def start_text(found):
    """A table, and seconds by lap, without XLA: the default where an epoch has few steps."""
    names = list(found["laps"][0])
    each = {
        name: [[run[name] for run in found[way]] for way in ("laps", "laps without XLA")]
        for name in names
    }
    lines = [[name, *(shown(values, " s") for values in both)] for name, both in each.items()]
    text = f"Where the time goes:\n\n{table(['', 'with XLA', 'without'], *lines)}"
    return text, {name: middle(both[1]) for name, both in each.items()}


def stages(record):
    """The stages of a run, from its run.json."""
    return json.loads(record.read_text(encoding="utf-8"))["timings"]


def stages_text(runs):
    """Every stage of runs of the same command, medians."""
    return ", ".join(f"{name} {middle([run[name] for run in runs]):.1f} s" for name in runs[0])
