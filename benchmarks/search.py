"""The search of a study beside a Gaussian process, on functions whose minimum is known."""

from measure import ROOT, interleave, middle, short, shown, standalone, table

TITLE = "Search"
TRIALS = 20
WAYS = {
    "tpe": "optuna's TPE, the launcher's own",
    "egobox": "egobox's Gaussian process",
}
LIBRARIES = """The second one is the only kept library we know that brings a Gaussian process without torch or scikit-learn
and takes choices:

- optuna: its `GPSampler` imports torch and scipy. The samplers of OptunaHub (AutoSampler, HEBO, SMAC) need torch or
  scikit-learn, too, and their code is downloaded when a study starts.
- bayesian-optimization, SMAC, Mango, Syne Tune, Hyperactive, and SAMBO's Gaussian process need scikit-learn and scipy,
  which a bake does not have, and scikit-optimize is archived; PyBADS needs scipy and takes no choices.
- ProcessOptimizer and Ax need torch. google-vizier needs an old JAX, trieste an old TensorFlow and NumPy.
- egobox needs NumPy only, with wheels for Linux, macOS and Windows; it computes its suggestions in Rust, from all
  trials and a seed, as a study that resumes needs it. It knows no conditional parameters, and its repository is
  one person's.
"""


def measure(lab):
    packages = {"PYTHONPATH": f"{lab.repo}:{ROOT / 'build' / 'egobox'}"}
    seeds = 2 if lab.quick else 11
    runs = interleave(
        lab.repeats,
        {
            way: lambda way=way: lab.child("searching.py", way, TRIALS, seeds, **packages)
            for way in WAYS
        },
    )
    tpe, egobox = (done[0].answer for done in runs.values())
    trials = TRIALS * seeds * len(tpe)
    lines = [
        [function, shown(tpe[function], digits=2), shown(egobox[function], digits=2)]
        + [short(middle(tpe[function]) / middle(egobox[function]), 2)]
        for function in tpe
    ]
    lines.append(
        ["CPU of a trial"]
        + [shown([1000 * one.cpu / trials for one in done], " ms") for done in runs.values()]
        + [""]
    )
    head = [f"regret after {TRIALS} trials", *WAYS.values(), "÷"]
    return (
        f"The distance from the minimum after {TRIALS} trials, one at a time, the first five at "
        f"random: the median of {seeds} seeds.\n\n{table(head, *lines)}\n{LIBRARIES}"
    )


if __name__ == "__main__":
    standalone(measure)
