"""A child of `search.py`: how near a search comes to the minimum of a named function.

python searching.py WAY TRIALS SEEDS     prints {function: [regret of each seed]} as JSON
"""

import json
import math
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.pop(0)  # this folder, whose launcher.py hides the baked repo's package
FIRST = 5  # trials at random before a search learns; as in launcher/study/search.py
A3 = np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
P3 = 1e-4 * np.array(
    [[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]]
)
A6 = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
P6 = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def forrester(x):
    return (6 * x - 2) ** 2 * math.sin(12 * x - 4)


def branin(x, y):
    slope = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return slope**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def hartmann3(x, y, z, choice):
    return -_hartmann(np.array([x, y, z]), A3, P3) + {"a": 0.3, "b": 0, "c": 1}[choice]


def hartmann6(*x):
    return -_hartmann(np.array(x), A6, P6)


def _hartmann(x, a, p):
    return float(np.array([1, 1.2, 3, 3.2]) @ np.exp(-(a * (x - p) ** 2).sum(axis=1)))


# {name: (function, parameters as their bounds or their choices, minimum)}
FUNCTIONS = {
    "Forrester, one parameter": (forrester, [(0, 1)], -6.020740055767083),
    "Branin, two": (branin, [(-5, 10), (0, 15)], 0.39788735772973816),
    "Hartmann of three, and a choice of three": (
        hartmann3,
        [(0, 1), (0, 1), (0, 1), ["a", "b", "c"]],
        -3.86278214782076,
    ),
    "Hartmann of six": (hartmann6, [(0, 1)] * 6, -3.32236801141551),
}


def tpe(function, parameters, trials, seed):
    """The launcher's own search."""
    from launcher.jobfile.study import read_study
    from launcher.study import search

    search.SEED = 1000 * seed
    specs = [
        {"parameterId": str(i), "categoricalValueSpec": {"values": values}}
        if isinstance(values, list)
        else {
            "parameterId": str(i),
            "doubleValueSpec": {"minValue": values[0], "maxValue": values[1]},
        }
        for i, values in enumerate(parameters)
    ]
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder, "journal")
        study = search.Search(journal, read_study({"parameters": specs}), trials)
        while trial := study.next():
            value = function(*trial.parameters.values())
            study.finish(replace(trial, state="succeeded", value=value))
            yield value


def egobox(function, parameters, trials, seed):
    """A Gaussian process of egobox, after as many random trials."""
    import egobox as library

    kinds, random = library.XType, np.random.default_rng(seed)
    specs = [
        library.XSpec(kinds.ENUM, [len(values)])
        if isinstance(values, list)
        else library.XSpec(kinds.FLOAT, list(values))
        for values in parameters
    ]
    optimizer = library.Egor(specs)
    tried, values = np.empty((0, len(parameters))), np.empty((0, 1))
    for number in range(trials):
        if number < FIRST:
            point = [
                random.integers(len(bounds))
                if isinstance(bounds, list)
                else random.uniform(*bounds)
                for bounds in parameters
            ]
        else:
            [point] = optimizer.suggest(tried, values, seed=1000 * seed + number)
        words = [
            bounds[round(x)] if isinstance(bounds, list) else x
            for x, bounds in zip(point, parameters, strict=True)
        ]
        value = function(*words)
        tried, values = np.vstack([tried, point]), np.vstack([values, [[value]]])
        yield value


def main(way, trials, seeds):
    regrets = {}
    for name, (function, parameters, minimum) in FUNCTIONS.items():
        regrets[name] = [
            min(way(function, parameters, trials, seed)) - minimum for seed in range(seeds)
        ]
    print(json.dumps(regrets))


if __name__ == "__main__":
    main({"tpe": tpe, "egobox": egobox}[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3]))
