"""The flags of every training job, and the types of values that flags have.

The flags of the data and of the model stand in `options.py`. `--help`, or a wrong flag, is answered
before anything heavy is imported.
"""

import argparse
import difflib
import math
from collections.abc import Callable

OPTIMIZERS = ("adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "ftrl", "lion")
OPTIMIZERS += ("nadam", "rmsprop", "sgd")


def _number(fits: Callable[[float], bool], expected: str, convert: Callable = float) -> Callable:
    """A type for argparse: a number that fits."""

    def parse(text: str):
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not fits(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
        return convert(value)

    return parse


# Tuning services send 32 as 32.0.
whole = _number(lambda x: x.is_integer() and x > 0, "a whole number above 0", int)
count = _number(lambda x: x.is_integer() and x >= 0, "a whole number, 0 or above", int)
positive = _number(lambda x: 0 < x < math.inf, "a number above 0")
amount = _number(lambda x: 0 <= x < math.inf, "a number, 0 or above")
seconds = _number(lambda x: 0 <= x < math.inf, "a number of seconds, 0 or above")
share = _number(lambda x: 0 <= x < 1, "a share: 0 <= P < 1")


def optimizer(text: str) -> str:
    """The name of an optimizer of Keras: "AdamW" → "adamw"."""
    name = text.lower()
    if name not in OPTIMIZERS:
        near = difflib.get_close_matches(name, OPTIMIZERS) or OPTIMIZERS
        raise argparse.ArgumentTypeError(
            f"{text!r} is no optimizer of Keras; write one of {', '.join(near)}"
        )
    return name


def widths(text: str) -> tuple[int, ...]:
    """ "64,32" → (64, 32); "" → (), a linear model."""
    try:
        return tuple(whole(units) for units in text.split(",") if units.strip())
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of whole numbers; write 64,32"
        ) from None


def add_job_flags(group: argparse._ArgumentGroup) -> None:
    """Where results go, and which run this is."""
    add = group.add_argument
    text = (
        "where results go: a folder, gs://… or /gcs/… (default: a new runs/<time>). The platform's "
    )
    text += "AIP_MODEL_DIR, AIP_CHECKPOINT_DIR and AIP_TENSORBOARD_LOG_DIR come first"
    add("--job-dir", metavar="DIR", help=text)
    text = "at most this much work is lost when the job is killed (default: 60)"
    add("--checkpoint-every", type=seconds, default=60.0, metavar="SECONDS", help=text)
    text = "take over the flags of a recorded run; flags that are given here win"
    add("--repeat", metavar="RUN.JSON", help=text)
    text = "print all flags and metrics as JSON, and what is wrong in lists of flags from stdin"
    # Without a default these two are no part of a run and its record.
    add("--describe", action="store_true", default=argparse.SUPPRESS, help=text)
    text = "train nothing: read the data, and print the report's sections about it as JSON"
    add("--describe-data", action="store_true", default=argparse.SUPPRESS, help=text)


def add_training_flags(group: argparse._ArgumentGroup) -> None:
    """How to train. Defaults that depend on the kind of data stand in `options.py`."""
    add = group.add_argument
    add("--epochs", type=whole, metavar="N", help="default: %(default)s")
    text = "examples a step, over all replicas (default: %(default)s)"
    add("--batch-size", type=whole, metavar="N", help=text)
    text = "stop after N epochs without a better --monitor (default: never)"
    add("--early-stopping", type=count, default=0, metavar="N", help=text)
    text = "the metric of history.csv that decides which epoch is best (default: val_loss)"
    add("--monitor", default="val_loss", metavar="METRIC", help=text)
    text = "the epoch whose model is exported (default: best)"
    add("--export", choices=("best", "last"), default="best", help=text)
    text = "none, balanced, or NAME=WEIGHT,… (default: none)"
    add("--class-weights", default="none", metavar="W", help=text)
    names = ("auto", "one-device", "mirrored", "multi-worker", "parameter-server", "tpu")
    text = "how to spread over devices and machines (default: as cluster and devices say)"
    add("--strategy", choices=names, default="auto", help=text)
    names = ("float32", "mixed_bfloat16", "mixed_float16")
    text = "of the layers' arithmetic (default: float32)"
    add("--precision", choices=names, default="float32", help=text)
    text = "compile with XLA; auto: where many steps follow"
    add("--jit", choices=("auto", "on", "off"), default="auto", help=text)
    text = "train with Keras's own fit, on one process, so that callbacks of Keras run; "
    add("--fit", action="store_true", help=f"{text}it is slower for small models")
    text = "same seed, same run (default: 0)"
    add("--seed", type=count, default=0, metavar="N", help=text)
    text = "only operations that give the same bits each time, on GPUs too; slower"
    add("--deterministic", action="store_true", help=text)
    text = "trace the second epoch, for TensorBoard's profiler"
    add("--profile", action="store_true", help=text)
    text = "write the weights to TensorBoard, each epoch"
    add("--histograms", action="store_true", help=text)
