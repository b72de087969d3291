"""What simple models make of a run's examples: always the same answer, a linear model, boosted trees.

They learn from the arrays that the run's model learns from, and predict the same held-out rows. A command
that has scikit-learn fits them: no environment of a job or of a server has it.
"""

from __future__ import annotations

import csv
import math
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from codec.errors import JobError
from codec.intervals import average

ROWS, VALUES = 1 << 17, 1 << 23  # of a part, at most: of more rows, evenly spaced ones
CELLS = 768  # values of an image or a series; of larger ones, the means of equal blocks
CODES = 255  # that boosted trees tell apart in a column; the rarest of more count as one


@dataclass(frozen=True)
class Part:
    """Examples as two matrices, and which rows of all they are."""

    numbers: np.ndarray  # float32 [rows, columns]
    codes: np.ndarray  # int [rows, columns], of categories
    target: np.ndarray  # int [rows], the class; or float [rows, outputs]
    rows: np.ndarray  # int [rows], from 0


def measure(examples, predictions: str, command: Sequence[str]) -> dict:
    """Fit the models, and compare each with the run on the held-out rows that both predict.

    Args:
        examples: as the trainer's `engine/examples.py` describes them.
        predictions: the text of the run's predictions.csv.
        command: fits the models, in the folder that is its last argument: it reads rows.npz and writes
            predicted.npz, see `fit`.

    Returns:
        metric: accuracy or mae; rows: held-out ones that count; of, train and train_of: all held-out
        ones, and how many of how many training rows were learned from; models: name, seconds of the
        fit, value: [mean, low, high] of the metric, ahead: the same of how far the run is better, or
        None; low and high are None where too few groups of rows are held out; the run is the last of
        them, with seconds and ahead None.

    Raises:
        JobError: the target is neither a class nor numbers; or the command fails.
    """
    train, held_out = read_part(examples.train), read_part(examples.eval)
    is_class = bool(examples.classes) and train.target.ndim == 1
    if not is_class and (train.target.dtype.kind != "f" or train.target.ndim > 2):
        what = f"{train.target.dtype} {list(train.target.shape[1:])} for each example"
        raise JobError(f"baselines predict a class, or numbers; the target of this run is {what}")
    metric, sign = ("accuracy", 1) if is_class else ("mae", -1)
    own = {int(line["row"]): line for line in csv.DictReader(predictions.splitlines())}
    pairs = [(i, own[row]) for i, row in enumerate(held_out.rows.tolist()) if row in own]
    # Rows of predictions.csv may be something else than examples, by what outputs.py has given.
    names = np.array(examples.classes or [""], object)
    fits = all(_has_truth(line, names, held_out.target[i]) for i, line in pairs)
    rows, ours = slice(None), None
    if pairs and metric in pairs[0][1] and fits:
        rows = [i for i, _ in pairs]
        ours = np.array([float(line[metric]) for _, line in pairs], bool if is_class else float)
    groups = getattr(examples.eval, "groups", None)  # of rows that hang together
    groups = None if groups is None else groups[held_out.rows[rows]]
    models = []
    for name, seconds, predicted in fit(train, held_out, is_class, command):
        if is_class:
            values = predicted == held_out.target
        else:
            apart = np.abs(predicted.reshape(held_out.target.shape) - held_out.target)
            values = apart.reshape(len(apart), -1).mean(axis=1)
        result = {"seconds": seconds, "value": _round(average(values[rows], groups)), "ahead": None}
        if ours is not None:
            result["ahead"] = _compare(sign * (ours.astype(float) - values[rows]), groups)
        models.append({"name": name, **result})
    if ours is not None:
        value = _round(average(ours, groups))
        models.append({"name": "this run", "seconds": None, "value": value, "ahead": None})
    counts = {"rows": len(held_out.rows[rows]), "of": examples.eval.rows, "train": len(train.rows)}
    return {"metric": metric, **counts, "train_of": examples.train.rows, "models": models}


def _has_truth(line: dict[str, str], names: np.ndarray, target: np.ndarray) -> bool:
    """Whether a row of predictions.csv has the target of this example, as far as it says."""
    if "truth" not in line or target.size != 1:
        return True
    if target.dtype.kind == "f":
        return math.isclose(float(line["truth"]), float(target.ravel()[0]), rel_tol=1e-5)
    return line["truth"] == str(names[target])


def _compare(apart: np.ndarray, groups: np.ndarray | None) -> list[float | None]:
    """[mean, low, high] of differences. Of right and wrong answers, the interval counts one more pair in
    each direction (Bonett and Price 2012): else a few that differ, or none, would look too certain."""
    mean, *interval = average(apart, groups)
    if groups is None and np.isin(apart, (-1, 0, 1)).all():
        _, *interval = average(np.append(apart, (1, -1)))
    return _round([mean, *interval])


def _round(values: Iterable[float]) -> list[float | None]:
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]


def read_part(part) -> Part:
    """Read all rows, or evenly spaced ones, in the order in which they are stored.

    Signed integers of a vector are categories; everything else is a number.

    Raises:
        JobError: the examples have no target, or several.
    """
    numbers, codes, targets, kept, seen, every = [], [], [], [], 0, 0
    for steps, (inputs, *target) in part.batches(1):
        if not target or isinstance(target[0], dict):
            raise JobError(
                f"baselines predict one target; this run has {'several' if target else 'none'}"
            )
        arrays = [np.asarray(array)[:steps, 0] for array in inputs.values()]
        if not every:
            width = sum(_shrink(array[:1]).size for array in arrays)
            every = math.ceil(max(part.rows / ROWS, part.rows * width / VALUES, 1))
        chosen = slice(-seen % every, None, every)
        arrays = [_shrink(array[chosen]) for array in arrays]
        for matrices, wanted in ((codes, True), (numbers, False)):
            flat = [a.reshape(len(a), -1) for a in arrays if _are_codes(a) == wanted]
            matrices.append(np.hstack([np.zeros((len(arrays[0]), 0), np.float32), *flat]))
        targets.append(np.asarray(target[0])[:steps, 0][chosen])
        kept.append(np.arange(seen, seen + steps)[chosen])
        seen += steps
    return Part(*map(np.concatenate, (numbers, codes, targets, kept)))


def _are_codes(array: np.ndarray) -> bool:
    return array.dtype.kind == "i" and array.ndim == 2


def _shrink(array: np.ndarray) -> np.ndarray:
    """[rows, …, channels] of which a row has CELLS values, about, at most."""
    axes, values = range(1, array.ndim - 1), math.prod(array.shape[1:])
    if values <= CELLS or not axes:
        return array
    block = math.ceil((values / CELLS) ** (1 / len(axes)))
    for axis in axes:
        starts = np.arange(0, array.shape[axis], block)
        sizes = np.diff([*starts, array.shape[axis]])
        sums = np.add.reduceat(array, starts, axis, dtype=np.float32)
        array = sums / sizes.reshape(-1, *[1] * (array.ndim - axis - 1)).astype(np.float32)
    return array


def fit(train: Part, held_out: Part, is_class: bool, command: Sequence[str]) -> Iterator[tuple]:
    """Yield name, seconds of the fit, and what it predicts for the held-out rows, of each model."""
    lowest = train.codes.min(axis=0)
    inputs, new_inputs = (
        np.hstack([part.numbers, np.minimum(part.codes - lowest, CODES - 1)]).astype(np.float32)
        for part in (train, held_out)
    )
    arrays = {"inputs": inputs, "target": train.target, "new_inputs": new_inputs}
    arrays |= {"are_codes": np.arange(inputs.shape[1]) >= train.numbers.shape[1]}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(os.path.join(folder, "rows.npz"), **arrays, is_class=is_class)
        if code := subprocess.run([*command, folder]).returncode:
            raise JobError(f"the simple models could not be fitted: exit code {code}, see above")
        with np.load(os.path.join(folder, "predicted.npz")) as result:
            names, seconds = result["names"].tolist(), result["seconds"].tolist()
            yield from zip(names, seconds, result["predicted"], strict=True)
