"""The flags of every training job, and the types of values that flags have.

They stand apart from `loop.py` because `--help`, or a wrong flag, is answered before anything
heavy is imported. The flags of the data and of the model stand in `options.py`.
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


def add_training_flags(parser: argparse.ArgumentParser) -> None:
    """How to train. Defaults that depend on the kind of data stand in `options.py`."""
    parser.add_argument("--epochs", type=whole, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--batch-size",
        type=whole,
        metavar="N",
        help="examples a step, over all replicas (default: %(default)s)",
    )
    parser.add_argument(
        "--early-stopping",
        type=count,
        default=0,
        metavar="N",
        help="stop after N epochs without a better --monitor (default: never)",
    )
    parser.add_argument(
        "--monitor",
        default="val_loss",
        metavar="METRIC",
        help="the metric of history.csv that decides which epoch is best (default: val_loss)",
    )
    parser.add_argument(
        "--export",
        choices=("best", "last"),
        default="best",
        help="the epoch whose model is exported (default: best)",
    )
    parser.add_argument(
        "--class-weights",
        default="none",
        metavar="W",
        help="none, balanced, or NAME=WEIGHT,… (default: none)",
    )
    parser.add_argument(
        "--strategy",
        choices=("auto", "one-device", "mirrored", "multi-worker", "parameter-server", "tpu"),
        default="auto",
        help="how to spread over devices and machines (default: as cluster and devices say)",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
        default="float32",
        help="of the layers' arithmetic (default: float32)",
    )
    parser.add_argument(
        "--jit", choices=("auto", "on", "off"), default="auto", help="compile with XLA"
    )
    parser.add_argument(
        "--fit",
        action="store_true",
        help="train with Keras's own fit, on one process, so that callbacks of Keras run; it is "
        "slower for small models",
    )
    parser.add_argument(
        "--seed", type=count, default=0, metavar="N", help="same seed, same run (default: 0)"
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="only operations that give the same bits each time, on GPUs too; slower",
    )
    parser.add_argument(
        "--profile", action="store_true", help="trace the second epoch, for TensorBoard's profiler"
    )
    parser.add_argument(
        "--histograms", action="store_true", help="write the weights to TensorBoard, each epoch"
    )
