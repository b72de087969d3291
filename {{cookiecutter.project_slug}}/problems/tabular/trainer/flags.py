"""The flags of this project's data and model. `task.py` adds those of every training job.

They stand apart from `data.py` and `model.py` because `--help`, or a wrong flag, is answered before
anything heavy is imported.
"""

from __future__ import annotations

import argparse

from trainer.schema import KINDS, TASKS


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Which data, and what to make of it."""
    parser.add_argument(
        "--train-files",
        metavar="FILES",
        help="CSV files: paths, globs in quotes, gs://…, several with commas (default: data/)",
    )
    parser.add_argument(
        "--eval-files",
        metavar="FILES",
        help="held-out CSV files; without them one training row of five is held out",
    )
    parser.add_argument("--target", metavar="NAME", help="the column to predict")
    parser.add_argument(
        "--task", choices=TASKS, help="default: regression for a target of many numbers"
    )
    parser.add_argument(
        "--columns", metavar="A,B,…", help="column names, for files without a header line"
    )
    parser.add_argument(
        "--schema",
        metavar="FILE",
        help=f"JSON that settles the kind of some columns or all: {', '.join(KINDS)}",
    )
    parser.add_argument(
        "--cache-dir",
        metavar="DIR",
        help="where encoded data is kept for the next run (default: .cache beside the run)",
    )


def add_training_flags(parser: argparse.ArgumentParser) -> None:
    """How to train; the defaults suit tables, and the device where they say "auto"."""
    parser.add_argument("--epochs", type=whole, default=30, metavar="N", help="default: 30")
    parser.add_argument(
        "--batch-size",
        type=whole,
        default=32,
        metavar="N",
        help="rows a step, over all replicas (default: 32)",
    )
    parser.add_argument(
        "--learning-rate", type=positive, default=0.003, metavar="X", help="default: 0.003"
    )
    parser.add_argument(
        "--schedule",
        choices=("constant", "cosine"),
        default="constant",
        help="the learning rate over time (default: constant)",
    )
    parser.add_argument(
        "--warmup",
        type=share,
        default=0.0,
        metavar="P",
        help="share of all steps in which the learning rate rises from 0 (default: 0)",
    )
    parser.add_argument(
        "--early-stopping",
        type=count,
        default=0,
        metavar="N",
        help="stop after N epochs without a lower val_loss, and export the best (default: never)",
    )
    parser.add_argument(
        "--class-weights",
        default="none",
        metavar="W",
        help="none, balanced, or NAME=WEIGHT,… (default: none)",
    )
    parser.add_argument(
        "--accumulate",
        type=whole,
        default=1,
        metavar="N",
        help="compute a batch in N parts, to save memory; the step stays the same (default: 1)",
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
        "--seed", type=int, default=0, metavar="N", help="same seed, same run (default: 0)"
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


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """The model's own: each is a parameter that a tuning study can set."""
    parser.add_argument(
        "--hidden-units",
        type=widths,
        default="64,32",
        metavar="N,N,…",
        help="width of each hidden layer; '' for a linear model (default: 64,32)",
    )
    parser.add_argument(
        "--embedding-dim",
        type=whole,
        default=8,
        metavar="N",
        help="width of a category's embedding (default: 8)",
    )
    parser.add_argument(
        "--dropout",
        type=share,
        default=0.0,
        metavar="P",
        help="share of hidden units left out in training (default: 0)",
    )


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def whole(text: str) -> int:
    """A whole number above 0; tuning services send 32 as 32.0."""
    value = number(text)
    if not value.is_integer() or value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(value)


def count(text: str) -> int:
    """A whole number, 0 included."""
    value = number(text)
    if not value.is_integer() or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or above")
    return int(value)


def positive(text: str) -> float:
    """A finite number above 0."""
    value = number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def seconds(text: str) -> float:
    """A duration, 0 included."""
    return 0.0 if number(text) == 0 else positive(text)


def share(text: str) -> float:
    """A number from 0 up to, and without, 1."""
    value = number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share: 0 <= P < 1")
    return value


def widths(text: str) -> tuple[int, ...]:
    """ "64,32" → (64, 32); "" → (), a linear model."""
    try:
        return tuple(whole(units) for units in text.split(",") if units.strip())
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of whole numbers; write 64,32"
        ) from None
