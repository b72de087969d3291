"""EDIT THIS FILE: what a prediction means. Metric names, and the evaluation of held-out examples."""

from __future__ import annotations

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


def describe_metrics(examples) -> dict[str, str]:
    """What each metric is, in words; its id with val_ before it is the same of held-out rows."""
    schema = examples.schema
    meanings = METRICS[schema.task].items()
    return {name: meaning.replace("{target}", schema.target) for name, (_, meaning) in meanings}
