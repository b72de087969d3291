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
    add = parser.add_argument
    text = "CSV files: paths, globs in quotes, gs://…, several with commas (default: data/)"
    add("--train-files", metavar="FILES", help=text)
    text = "held-out CSV files; without them one training row of five is held out"
    add("--eval-files", metavar="FILES", help=text)
    text = "a column, such as a subject, whose rows stay on one side of the split; no feature"
    add("--group", metavar="NAME", help=text)
    text = f"which of {FOLDS} parts of the rows, or of the groups, is held out (default: 1)"
    add("--fold", type=int, choices=range(1, FOLDS + 1), help=text)
    add("--target", metavar="NAME", help="the column to predict")
    text = "default: as the target's values say; the log names why"
    add("--task", choices=TASKS, help=text)
    add("--columns", metavar="A,B,…", help="column names, for files without a header line")
    text = f"JSON that settles the kind of some columns or all: {', '.join(KINDS)}"
    add("--schema", metavar="FILE", help=text)
    text = "where encoded data is kept for the next run (default: .cache beside the run)"
    add("--cache-dir", metavar="DIR", help=text)


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """The model's own: each is a parameter that a tuning study can set."""
    add = parser.add_argument
    add("--learning-rate", type=positive, metavar="X", help="default: %(default)s")
    text = "one of keras.optimizers, such as adam, adamw, sgd (default: %(default)s)"
    add("--optimizer", type=optimizer, default="adam", metavar="NAME", help=text)
    text = "the optimizer takes this times the learning rate off each weight, as a share of it, in a step"
    add("--weight-decay", type=amount, metavar="X", help=f"{text} (default: %(default)s)")
    text = "width of each hidden layer; '' for a linear model (default: %(default)s)"
    add("--hidden-units", type=widths, default="64,32", metavar="N,N,…", help=text)
    text = "width of a category's embedding (default: %(default)s)"
    add("--embedding-dim", type=whole, default=8, metavar="N", help=text)
    text = "share of hidden units left out in training (default: %(default)s)"
    add("--dropout", type=share, metavar="P", help=text)


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
