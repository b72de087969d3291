"""EDIT THIS FILE: the flags of this project's data and model; `engine/flags.py` has all others.

They stand apart from `data.py` and `model.py` because `--help`, or a wrong flag, is answered before
anything heavy is imported.
"""

from __future__ import annotations

import argparse
import math

from codec.schema import FOLDS, KINDS, TASKS
from trainer.engine.flags import amount, optimizer, positive, share, whole, widths

# Defaults of flags, the same for any table; `derive` has those that depend on the table.
DEFAULTS = {}
# They say where the data is, not what it is: a run may resume with another copy of it.
SOURCES = ("train-files", "eval-files")
PLACES = ("cache-dir",)


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
    parser.add_argument(
        "--group",
        metavar="NAME",
        help="a column, such as a subject, whose rows stay on one side of the split; no feature",
    )
    parser.add_argument(
        "--fold",
        type=int,
        choices=range(1, FOLDS + 1),
        help=f"which of {FOLDS} parts of the rows, or of the groups, is held out (default: 1)",
    )
    parser.add_argument("--target", metavar="NAME", help="the column to predict")
    parser.add_argument(
        "--task", choices=TASKS, help="default: as the target's values say; the log names why"
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


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """The model's own: each is a parameter that a tuning study can set."""
    parser.add_argument("--learning-rate", type=positive, metavar="X", help="default: %(default)s")
    parser.add_argument(
        "--optimizer",
        type=optimizer,
        default="adam",
        metavar="NAME",
        help="one of keras.optimizers, such as adam, adamw, sgd (default: %(default)s)",
    )
    parser.add_argument(
        "--weight-decay",
        type=amount,
        metavar="X",
        help="the optimizer takes this times the learning rate off each weight, as a share of it, in "
        "a step (default: %(default)s)",
    )
    parser.add_argument(
        "--hidden-units",
        type=widths,
        default="64,32",
        metavar="N,N,…",
        help="width of each hidden layer; '' for a linear model (default: %(default)s)",
    )
    parser.add_argument(
        "--embedding-dim",
        type=whole,
        default=8,
        metavar="N",
        help="width of a category's embedding (default: %(default)s)",
    )
    parser.add_argument(
        "--dropout",
        type=share,
        metavar="P",
        help="share of hidden units left out in training (default: %(default)s)",
    )


def derive(flags: argparse.Namespace, examples) -> dict:
    """Defaults that depend on the data: values for the flags that are not given.

    A small table is soon learned by heart: small batches, weight decay and dropout keep the network near
    the straight line. A large one needs neither, and fewer epochs. Chosen by trials on 170 real tables.
    """
    rows = examples.train.rows
    small = min(1.0, 1000 / rows)
    learning_rate = flags.learning_rate or (0.001 if rows < 2000 else 0.003)
    decay = 0.001 * small**1.5  # share of each weight that a step takes off
    return {
        "epochs": max(8, min(40, 1_000_000 // rows)),
        "batch_size": max(8, min(512, 2 ** round(math.log2(rows / 32)))),
        "learning_rate": learning_rate,
        "weight_decay": float(f"{decay / learning_rate:.1g}"),
        "dropout": round(0.3 * math.sqrt(small), 1),
    }
