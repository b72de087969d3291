"""EDIT THIS FILE: the flags of this project's data and model; `engine/flags.py` has all others.

They stand apart from `data.py` and `model.py` because `--help`, or a wrong flag, is answered before
anything heavy is imported.
"""

from __future__ import annotations

import argparse
import math

from codec.schema import NORMALIZE, SPLITS, TASKS, UNITS
from trainer.engine.flags import optimizer, positive, share, whole, widths

# Defaults of flags, the same for any recordings; `derive` has those that depend on them.
DEFAULTS = {}
# They say where the data is, not what it is: a run may resume with another copy of it.
SOURCES = ("data",)
PLACES = ("cache-dir",)


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Which data, and what to make of it."""

    def add(name: str, text: str, metavar: str | None = "NAME", **settings) -> None:
        parser.add_argument(name, metavar=metavar, help=text, **settings)

    add("--data", "tables of samples: CSV, TSV, Parquet; paths, globs in quotes, gs://… (default: data/)", "FILES")  # fmt: skip
    add(
        "--target",
        "the column to predict, of a recording or of each sample; in a forecast, channels",
    )
    add("--task", "default: as the target's values say; the log names why", None, choices=TASKS)
    add("--horizon", "forecast so many samples after each window", "N", type=whole)
    add("--participant", "the column that names whose samples these are (default: by its name)")
    add(
        "--recording",
        "the columns that tell recordings of a participant apart; '' for none",
        "A,B,…",
    )
    add("--time", "the column of times; '' where samples follow each other evenly")
    add("--time-unit", "in which time counts (default: as its name says)", None, choices=[*UNITS])
    add("--channels", "the columns that the network sees (default: all other numbers)", "A,B,…")
    add(
        "--rate",
        "resample to so many samples a second (default: the files' own)",
        "HZ",
        type=positive,
    )
    add(
        "--window",
        "samples of a window (default: whole recordings, if they are short)",
        "N",
        type=whole,
    )
    add("--hop", "samples from one window to the next (default: half a window)", "N", type=whole)
    text = (
        "mean and deviation of a channel are those of the training recordings, or of each recording"
    )
    add(
        "--normalize",
        f"{text} (default: %(default)s)",
        None,
        choices=NORMALIZE,
        default=NORMALIZE[0],
    )
    text = "what is held out whole (default: participant; else file where files hold several recordings, else "
    text += "recording)"
    add("--split", text, None, choices=SPLITS)
    add(
        "--folds",
        "parts, of which one is held out (default: %(default)s)",
        "N",
        type=whole,
        default=5,
    )
    add("--fold", "which of them (default: %(default)s)", "K", type=whole, default=1)
    add(
        "--cache-dir",
        "where encoded data is kept for the next run (default: .cache beside the run)",
        "DIR",
    )


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """The model's own: each is a parameter that a tuning study can set."""
    parser.add_argument(
        "--learning-rate", type=positive, default=0.002, metavar="X", help="default: %(default)s"
    )
    parser.add_argument(
        "--optimizer",
        type=optimizer,
        default="adam",
        metavar="NAME",
        help="one of keras.optimizers, such as adam, adamw, sgd (default: %(default)s)",
    )
    parser.add_argument(
        "--model",
        choices=("conv", "gru", "transformer"),
        default="conv",
        help="the network over time (default: %(default)s)",
    )
    parser.add_argument(
        "--hidden-units",
        type=widths,
        default="32,64,64",
        metavar="N,N,…",
        help="width of each layer over time (default: %(default)s)",
    )
    parser.add_argument(
        "--kernel",
        type=whole,
        default=7,
        metavar="N",
        help="samples that a convolution sees at once (default: %(default)s)",
    )
    parser.add_argument(
        "--dropout",
        type=share,
        default=0.5,
        metavar="P",
        help="share of hidden units left out in training (default: %(default)s)",
    )


def derive(flags: argparse.Namespace, examples) -> dict:
    """Defaults that depend on the data: values for the flags that are not given.

    A few participants are soon learned by heart: more epochs say less of new ones.
    """
    rows = examples.train.rows
    return {
        "epochs": max(4, min(12, 30_000 // rows)),
        "batch_size": max(8, min(64, 2 ** round(math.log2(rows / 32)))),
    }
