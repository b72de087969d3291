"""EDIT THIS FILE: the flags of this project's data and model; `engine/flags.py` has all others.

They stand apart from `data.py` and `model.py` because `--help`, or a wrong flag, is answered before
anything heavy is imported.
"""

from __future__ import annotations

import argparse
import difflib

from trainer.engine.flags import count, optimizer, positive, share, whole, widths

# Of the flags of every job, those whose default suits this kind of data alone.
DEFAULTS = {"epochs": 30, "batch_size": 32, "learning_rate": 0.001}
# They say where the data is, not what it is: a run may resume with another copy of it.
SOURCES = ("data",)
PLACES = ("cache", "cache-dir")

CACHES = ("auto", "memory", "disk", "none")
AUGMENTATIONS = ("flip", "shift", "rotate", "zoom", "brightness", "contrast")
# All of keras.applications; a test keeps this list complete.
BACKBONES = (
    "convnextbase", "convnextlarge", "convnextsmall", "convnexttiny", "convnextxlarge",
    "densenet121", "densenet169", "densenet201", "efficientnetb0", "efficientnetb1",
    "efficientnetb2", "efficientnetb3", "efficientnetb4", "efficientnetb5", "efficientnetb6",
    "efficientnetb7", "efficientnetv2b0", "efficientnetv2b1", "efficientnetv2b2",
    "efficientnetv2b3", "efficientnetv2l", "efficientnetv2m", "efficientnetv2s",
    "inceptionresnetv2", "inceptionv3", "mobilenet", "mobilenetv2", "mobilenetv3large",
    "mobilenetv3small", "nasnetlarge", "nasnetmobile", "resnet101", "resnet101v2", "resnet152",
    "resnet152v2", "resnet50", "resnet50v2", "vgg16", "vgg19", "xception",
)  # fmt: skip


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Which data, and what to make of it."""
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="shards that scripts/data.py made; or images, DIR/<class>/*.jpg or a CSV of "
        "path,label, of which shards are made first; local or gs://… (default: the digits in data/)",
    )
    parser.add_argument(
        "--target",
        default="class",
        metavar="T",
        help="what to predict: class; none, where the model brings its own loss; or DIR, a folder that "
        "has a mask for each image, a PNG file of the same path (default: %(default)s)",
    )
    parser.add_argument(
        "--group",
        default="",
        metavar="NAME",
        help="keep images that belong together (one person, one recording) on one side of the split: "
        "a column of the CSV, or the level of a folder: 2 for DIR/<class>/<group>/*.jpg",
    )
    parser.add_argument(
        "--image-size",
        type=whole,
        metavar="N",
        help="pixels a side of each image; shards have theirs (default: 160; the digits' 8)",
    )
    parser.add_argument(
        "--cache",
        choices=CACHES,
        default="auto",
        help="where decoded images are kept: in memory while they are few, on disk where they fit, "
        "or none: decoded in each epoch (default: auto)",
    )
    parser.add_argument(
        "--cache-dir",
        metavar="DIR",
        help="where shards and decoded images are kept for the next run (default: .cache beside "
        "the run)",
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
        type=share,
        default=0.0,
        metavar="P",
        help="share of each weight that the optimizer takes off in a step (default: %(default)s)",
    )
    parser.add_argument(
        "--backbone",
        type=backbone,
        choices=("none", *BACKBONES),
        default="none",
        metavar="NAME",
        help="a network of keras.applications to begin with, such as densenet121 (default: none, a "
        "small network of our own)",
    )
    parser.add_argument(
        "--weights",
        default="imagenet",
        metavar="W",
        help="the backbone's: imagenet (Keras downloads them), a file that Keras has written (local "
        "or gs://…), or none, random ones (default: %(default)s)",
    )
    parser.add_argument(
        "--head-epochs",
        type=count,
        default=5,
        metavar="N",
        help="with --fine-tune-layers: of --epochs, those in which the backbone stays as it is; "
        "fewer than --epochs (default: %(default)s)",
    )
    parser.add_argument(
        "--fine-tune-layers",
        type=count,
        default=0,
        metavar="N",
        help="after --head-epochs, the last N layers of the backbone learn, too; those with weights "
        "are counted (default: %(default)s)",
    )
    parser.add_argument(
        "--fine-tune-rate",
        type=positive,
        metavar="X",
        help="the learning rate then (default: a hundredth of --learning-rate)",
    )
    parser.add_argument(
        "--filters",
        type=filters,
        default="32,64",
        metavar="N,N,…",
        help="without a backbone: filters of each convolution; the last one repeats until the "
        "image is small (default: %(default)s)",
    )
    parser.add_argument(
        "--hidden-units",
        type=widths,
        default="64",
        metavar="N,N,…",
        help="width of each layer between them and the answer; '' for none (default: %(default)s)",
    )
    parser.add_argument(
        "--dropout",
        type=share,
        default=0.2,
        metavar="P",
        help="share of hidden units left out in training (default: %(default)s)",
    )
    parser.add_argument(
        "--augment",
        type=augmentations,
        default="",
        metavar="A,B,…",
        help=f"random changes of training images: some of {','.join(AUGMENTATIONS)} "
        "(default: none)",
    )
    parser.add_argument(
        "--label-smoothing",
        type=share,
        default=0.0,
        metavar="P",
        help="share of the truth that is spread over all classes (default: %(default)s)",
    )


def backbone(text: str) -> str:
    """ "DenseNet121" → "densenet121"."""
    name = text.lower()
    if name != "none" and name not in BACKBONES:
        near = difflib.get_close_matches(name, BACKBONES, n=3) or ["densenet121", "resnet50"]
        raise argparse.ArgumentTypeError(
            f"{text!r} is no network of keras.applications; did you mean {', '.join(near)}?"
        )
    return name


def filters(text: str) -> tuple[int, ...]:
    """ "32,64" → (32, 64)."""
    counts = widths(text)
    if not counts:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers; write 32,64")
    return counts


def augmentations(text: str) -> tuple[str, ...]:
    """ "flip,shift" → ("flip", "shift"); "" and "none" → ()."""
    names = tuple(name.strip() for name in text.split(",") if name.strip() not in ("", "none"))
    for name in names:
        if name not in AUGMENTATIONS:
            raise argparse.ArgumentTypeError(
                f"{text!r}: there is no {name!r}; write some of {','.join(AUGMENTATIONS)}"
            )
    return names
