"""EDIT THIS FILE: what an output means: metric names, the report's sections, a client's answer.

TensorFlow is imported inside of functions: the launcher reads METRICS without waiting for it.
"""

from __future__ import annotations

import numpy as np

from trainer.engine import answers, sections

# By task, the names that `model.compile` gives its loss and its metrics: which way is better, which
# --monitor follows, and what they are. A tuning study may use them, and val_ before them.
METRICS = {
    "classification": {
        "loss": ("min", "cross-entropy, the mean over the rows"),
        "accuracy": ("max", "share of rows whose class is predicted right"),
    },
    "regression": {
        "loss": ("min", "mean squared error, divided by the variance of {target} in training"),
        "mae": ("min", "mean absolute error, in the unit of {target}"),
    },
}


def describe_data(examples) -> list[dict]:
    """The sections of the report that say what the model is trained on."""
    rows = []
    for column in examples.schema.columns:
        values = ", ".join(name[:40] for name in column.categories[:4])
        if more := len(column.categories[4:]):
            values += f" and {more} more"
        if column.kind == "number":
            values = f"mean {column.mean:.4g}, standard deviation {column.std:.4g}"
        rows.append([column.name, column.kind, column.why, column.missing, values])
    names, notes = ("column", "kind", "why", "missing", "values"), examples.schema.notes
    return [sections.table("Columns", names, rows, text="\n".join(notes))]


def evaluate(model, examples, context) -> list[dict]:
    """The sections of the report that say how good the model is, of the held-out rows.

    Args:
        model: the exported one, a `keras.Model`.
        examples: the data, as `model.build` sees it.
        context: yields predictions and keeps images, see `engine/evaluation.py`.
    """
    return (_evaluate_classes if examples.classes else _evaluate_values)(examples, context)


def _evaluate_classes(examples, context) -> list[dict]:
    size = len(examples.classes)
    counts = np.zeros((size, size), np.int64)
    for target, logits in context.predictions():  # [batch], [batch, classes]
        guess = logits.argmax(axis=1)
        context.add_rows("accuracy", guess == target)
        np.add.at(counts, (target, guess), 1)
    return [sections.confusion("What it confuses", examples.classes, counts)]


def _evaluate_values(examples, context) -> list[dict]:
    every = -(-examples.eval.rows // sections.POINTS)  # of so many rows one is drawn
    points, sums, rows = [], np.zeros(3), 0
    for target, output in context.predictions():  # both [batch, 1], in the unit of the target
        target, value = target[:, 0].astype(np.float64), output[:, 0].astype(np.float64)
        error = value - target
        context.add_rows("mae", np.abs(error))
        # Shifted by the training mean, so that the variance keeps its digits.
        shifted = target - examples.mean
        sums += error @ error, shifted.sum(), shifted @ shifted
        points.append(np.stack([target, value])[:, -rows % every :: every])
        rows += len(target)
    squares, total, total_squares = sums
    variance = total_squares - total**2 / rows
    quality = {
        "R²": (
            1 - squares / variance if variance > 0 else None,
            "1 is perfect; 0 guesses the mean",
        ),
        "RMSE": (np.sqrt(squares / rows), "root of the mean squared error"),
    }
    truth, predicted = np.concatenate(points, axis=1)
    return [
        sections.numbers("How close it comes", quality),
        sections.scatter("Where it is off", truth, predicted, equal=True, of=rows),
    ]


def answer(examples, output) -> dict:
    """A model's output as a client gets it: tensors [batch, …] by name.

    A value: `value` float32 [batch]; a class: see `engine/answers.py`.
    """
    if not examples.classes:
        return {"value": output[:, 0]}
    return answers.name_classes(output, examples.classes)
