"""Benchmark: the matrix products of a training step in XLA, one by one, beside numpy's; settings of XLA."""

from measure import interleave, middle, missed, shown, standalone, table, verdict

TITLE = "Matrix products of a step"
BATCHES = 512, 4096
AIM = 0.75
STEP = "a step of the compiled calls"
DEFAULT, ONE = "default", "one thread"
FLAGS = (
    "--xla_cpu_experimental_ynn_fusion_type=dot",
    "--xla_cpu_multi_thread_eigen=false",
    "--xla_cpu_prefer_vector_width=512",
)
SETTINGS = {  # name: environment
    DEFAULT: {},
    ONE: {"TF_NUM_INTRAOP_THREADS": "1"},
    **{f"`{flags}`": {"XLA_FLAGS": flags} for flags in FLAGS},
}


def measure(lab):
    data = lab.data_flags(5_000 if lab.quick else 100_000)
    words = [*data, "--cache-dir", lab.folder / "cache", "--jit", "on"]

    def child(way, **environment):
        return lab.child("product_ways.py", way, *words, **environment).answer

    runs = interleave(
        lab.repeats,
        {
            "numpy": lambda: child("numpy")[DEFAULT],
            "numpy, one thread": lambda: child("numpy", OPENBLAS_NUM_THREADS="1")[DEFAULT],
            "xla": lambda: child("xla"),
        },
    )
    ways = {name: runs[name] for name in ("numpy", "numpy, one thread")}
    ways |= {setting: [run[setting] for run in runs["xla"]] for setting in SETTINGS}
    text = [
        "Microseconds; n is the size of the batch. A product is repeated in a loop, by XLA in one compiled "
        "call; each occurs once in a step. The fastest round of a run counts.\n"
    ]
    return "\n".join(text + [_batch(ways, batch) for batch in BATCHES])


def _batch(ways, batch):
    names = [*ways["numpy"][0][str(batch)]]
    times = {
        way: {name: [run[str(batch)][name] for run in found] for name in found[0][str(batch)]}
        for way, found in ways.items()
    }
    for way in ("numpy", "numpy, one thread", DEFAULT, ONE):
        columns = zip(*(times[way][name] for name in names), strict=True)
        times[way]["all of them"] = [*map(sum, columns)]
    lines = []
    for name in (*names, "all of them"):
        line = [name]
        for numpy, xla in (("numpy", DEFAULT), ("numpy, one thread", ONE)):
            pair = times[numpy][name], times[xla][name]
            line += [*map(shown, pair), f"{middle(pair[0]) / middle(pair[1]):.2f}"]
        lines.append(line)
    bound = middle(times["numpy"]["all of them"])
    ratios = {setting: bound / middle(times[setting][STEP]) for setting in SETTINGS}
    steps = [[s, shown(times[s][STEP]), f"{ratios[s]:.2f}"] for s in SETTINGS]
    best = max(ratios, key=ratios.get)
    steps.append([f"the fastest: {best}", "", *verdict(ratios[best], AIM)])
    head = ["two threads: numpy", "XLA", "numpy ÷ XLA", "one thread: numpy", "XLA", "numpy ÷ XLA"]
    ours, alone = middle(times[DEFAULT]["all of them"]), middle(times[ONE]["all of them"])
    slow = max(names, key=lambda name: middle(times[DEFAULT][name]) - middle(times["numpy"][name]))
    why = (
        f"Missed, {AIM}: XLA's products alone take {ours:.0f} µs of the {middle(times[DEFAULT][STEP]):.0f} µs "
        f"of a step, numpy's {bound:.0f}, so that a step of nothing else would reach {bound / ours:.2f}. "
        f"On one thread they take {alone:.0f} µs, numpy's "
        f"{middle(times['numpy, one thread']['all of them']):.0f}: a second thread makes XLA's "
        f"{alone / ours:.2f} × as fast. Most is lost in the {slow}. By its sources, XLA "
        "runs independent products side by side only where more than 8 wait, and no setting changes that.\n"
    )
    return "\n".join(
        [
            f"### Products, batches of {batch}\n",
            table(["product", *head], *lines),
            table(
                ["setting", STEP, "numpy's products ÷ it", "aim", ""],
                *(s + [""] * (5 - len(s)) for s in steps),
            ),
            *([why] if missed(steps[-1]) else []),
        ]
    )


if __name__ == "__main__":
    standalone(measure)
