"""EDIT THIS FILE: what a prediction means. Metric names, and the evaluation of held-out examples."""

from __future__ import annotations

# By task, the names that `model.compile` gives its loss and its metrics: which way is better, which
# --monitor follows, and what they are. A tuning study may use them, and val_ before them.
METRICS = {
    "classification": {
        "loss": ("min", "cross-entropy, the mean over the images"),
        "accuracy": ("max", "share of images whose class is predicted right"),
    },
}


def describe_metrics(examples) -> dict[str, str]:
    """What each metric is, in words; its id with val_ before it is the same of held-out images."""
    return {name: meaning for name, (_, meaning) in METRICS[examples.schema.task].items()}
