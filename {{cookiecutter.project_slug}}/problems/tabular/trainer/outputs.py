"""EDIT THIS FILE: what an output means: metric names, the report's sections, a client's answer.

TensorFlow is imported inside of functions: the launcher reads METRICS without waiting for it.
"""

from __future__ import annotations

import numpy as np

from codec.intervals import bootstrap, wilson
from trainer.columns.alone import read_sample
from trainer.columns.importance import rank_columns
from trainer.engine import answers, sections

# By task, the names that `model.compile` gives its loss and its metrics: which way is better, which
# --monitor follows, and what they are. A tuning study may use them, and val_ before them.
METRICS = {
    "classification": {
        "loss": ("min", "cross-entropy, the mean over the rows"),
        "accuracy": ("max", "share of rows whose class is predicted right"),
    },
    "regression": {
        "loss": (
            "min",
            "mean squared error, divided by the variance of {target} in training; an error of more "
            "than 10 standard deviations counts linearly",
        ),
        "mae": ("min", "mean absolute error, in the unit of {target}"),
    },
}
BARS = 16  # of a column's histogram


def describe_data(examples) -> list[dict]:
    """The sections of the report that say what the model is trained on."""
    from codec.dates import show  # with Arrow, for which the launcher does not wait

    schema, sample = examples.schema, read_sample(examples.train)
    rows, places = [_describe_target(examples, sample["target"])], schema.places
    for column in schema.columns:
        values, counts = "", []
        if column.kind in ("number", "date"):
            numbers, own = sample["numbers"], places[column.name]["numbers"]
            if column.missing:  # the last is 1 where the value is missing
                numbers = numbers[numbers[:, own[-1]] == 0]
            scaled = numbers[:, own[0]]
            low, high = (end * column.std + column.mean for end in (scaled.min(), scaled.max()))
            values = _describe_values(low, high, column)
            if column.kind == "date":
                values = f"{show(low)} to {show(high)}, the middle {show(column.mean)}"
            counts = np.histogram(scaled, min(BARS, len(np.unique(scaled))))[0]
        elif column.kind == "category":
            values = ", ".join(name[:40] for name in column.categories[:4])
            if more := len(column.categories[4:]):
                values += f" and {more} more"
            [i] = places[column.name]["categories"]
            first = sample["categories"][:, i] - schema.offsets[i] - 1  # -1 is a missing value
            counts = np.bincount(first[first >= 0])[:BARS]  # the most frequent ones
        shape = sections.histogram(counts) if len(counts) else None
        rows.append([column.name, column.kind, column.missing, shape, values, column.why])
    names = ("column", "kind", "missing", "histogram", "values", "why")
    return [sections.table("Columns", names, rows, text="\n".join(schema.notes))]


def _describe_target(examples, target: np.ndarray) -> list:
    """The row of the target: how its classes, or its values, are spread in training."""
    if not examples.classes:
        values = _describe_values(target.min(), target.max(), examples)
        counts = np.histogram(target, BARS)[0]
    else:
        counts = examples.train.class_counts()
        order = np.argsort(-counts, kind="stable")
        counts, names = counts[order], [examples.classes[i][:40] for i in order]
        values = ", ".join(
            f"{name} {count}" for name, count in zip(names, counts[:8], strict=False)
        )
        values += f" and {len(counts) - 8} more" if len(counts) > 8 else ""
    shape = sections.histogram(counts[:BARS])
    return [examples.schema.target, "target", examples.train.dropped, shape, values, ""]


def _describe_values(low: float, high: float, of) -> str:
    spread = f"mean {of.mean:.5g}, standard deviation {of.std:.5g}"
    return f"{low:.6g} to {high:.6g}, {spread}"


def evaluate(model, examples, context) -> list[dict]:
    """The sections of the report that say how good the model is, of the held-out rows.

    Args:
        model: the exported one, a `keras.Model`.
        examples: the data, as `model.build` sees it.
        context: yields predictions and keeps images, see `engine/evaluation.py`.
    """
    return (_evaluate_classes if examples.classes else _evaluate_values)(examples, context)


def _evaluate_classes(examples, context) -> list[dict]:
    labels = np.array(examples.classes, object)
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for target, logits in context.predictions():  # [batch], [batch, classes]
        guess = logits.argmax(axis=1)
        context.add_rows(truth=labels[target], prediction=labels[guess], accuracy=guess == target)
        np.add.at(counts, (target, guess), 1)

    def is_right(target, logits):
        return logits.argmax(axis=1) == target

    usual, rows = examples.train.class_counts().argmax(), counts.sum()
    quality = {
        "accuracy": (wilson(counts.trace(), rows), "share of rows predicted right"),
        "baseline": (wilson(counts[usual].sum(), rows), f"always guesses {labels[usual]}"),
    }
    return [
        sections.numbers("How good it is", quality),
        sections.confusion("What it confuses", examples.classes, counts),
        rank_columns(examples, context, "accuracy", is_right),
    ]


def _evaluate_values(examples, context) -> list[dict]:
    for target, output in context.predictions():  # both [batch, 1], in the unit of the target
        target, value = target[:, 0].astype(np.float64), output[:, 0].astype(np.float64)
        context.add_rows(truth=target, prediction=value, mae=np.abs(value - target))
    truth, predicted = context.rows("truth"), context.rows("prediction")
    squares = np.square(predicted - truth)
    # Shifted by the training mean, so that the variance keeps its digits.
    shifted = truth - examples.mean
    variance = shifted.var() or np.nan

    def score(target, output):
        return 1 - np.square(output[:, 0] - target[:, 0]) / variance  # its mean is R²

    def r_squared(squares, shifted, shifted_squares):
        return 1 - squares / (shifted_squares - shifted**2)

    quality = {
        "R²": (
            bootstrap(r_squared, squares, shifted, shifted**2),
            "1 is perfect; 0 guesses the mean",
        ),
        "RMSE": (bootstrap(np.sqrt, squares), "root of the mean squared error"),
        "baseline RMSE": (bootstrap(np.sqrt, shifted**2), "always guesses the mean of training"),
    }
    rows = examples.eval.rows
    return [
        sections.numbers("How close it comes", quality),
        sections.scatter("Where it is off", truth, predicted, equal=True, of=rows),
        rank_columns(examples, context, "R²", score),
    ]


def answer(examples, output) -> dict:
    """A model's output as a client gets it: tensors [batch, …] by name.

    A value: `value` float32 [batch]; a class: see `engine/answers.py`.
    """
    if not examples.classes:
        return {"value": output[:, 0]}
    return answers.name_classes(output, examples.classes)
