"""The verbs of scripts/data.py for images: make shards, verify shards."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

from codec import images
from codec.errors import JobError
from codec.shards.folder import ShardFolder
from codec.shards.make import make_shards
from codec.shards.manifest import ENCODINGS, Options
from codec.shards.writing import Progress

DEFAULT = Options()
SHARDS = """Make shards of images; resume a run that was stopped.

SRC is a folder with a folder for each class (SRC/<class>/*.jpg, png, gif, bmp, webp), or a CSV of
path,label. SRC and DST may be gs://… Files that are no usable image are listed in DST/rejected.csv,
with the reason.
"""


def add_verbs(verbs, show_steps: Callable[[], AbstractContextManager[Progress]]) -> None:
    """Add the verbs to argparse's subparsers; each sets a function `start` of the options.

    Args:
        show_steps: gives what is called as images are done.
    """
    text = "make shards of images; resume a run that was stopped"
    how = {"description": SHARDS, "formatter_class": argparse.RawDescriptionHelpFormatter}
    make = verbs.add_parser("shards", help=text, **how)
    _add_flags(make)
    make.set_defaults(start=functools.partial(_run, functools.partial(_make, make, show_steps)))
    verify = verbs.add_parser("verify", help="compare shards with their checksums")
    verify.add_argument("target", metavar="DST")
    verify.set_defaults(start=functools.partial(_run, _verify))


def _run(verb: Callable[[argparse.Namespace], ShardFolder], args: argparse.Namespace) -> int:
    try:
        print(_describe(verb(args)))
        return 0
    except JobError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 1


def _verify(args: argparse.Namespace) -> ShardFolder:
    return ShardFolder.open(args.target, verify=True)


def _make(parser: argparse.ArgumentParser, show_steps, args: argparse.Namespace) -> ShardFolder:
    if args.eval_share + args.test_share >= 1:
        parser.error("--eval-share and --test-share leave nothing to train on")
    options = Options(**{name: getattr(args, name) for name in vars(DEFAULT)})
    with show_steps() as show:
        return make_shards(
            args.source, args.target, options, args.workers, args.replace, args.work_dir, show
        )


def number(low: float, high: float, kind=int):
    """A check of a flag: low <= value <= high."""

    def check(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low} to {high}")
        return value

    return check


def _add_flags(parser: argparse.ArgumentParser) -> None:
    def add(flag, default, text, **how):
        parser.add_argument(flag, default=default, help=f"{text} (default: {default})", **how)

    parser.add_argument("source", metavar="SRC", help="SRC/<class>/*, or a CSV of path,label")
    parser.add_argument("target", metavar="DST", help="where the shards go: a folder or gs://…")
    add("--size", DEFAULT.size, "pixels a side", type=number(1, 4096), metavar="N")
    text = "fit: the whole image, with black around it; crop: its middle square; stretch"
    add("--resize", DEFAULT.resize, text, choices=images.POLICIES)
    add("--channels", DEFAULT.channels, "3: colour; 1: grey", type=int, choices=(1, 3))
    text = "in the shards: png and raw keep every pixel, raw reads faster; jpeg is smaller, but training "
    text += "then sees pixels that predictions do not"
    add("--format", DEFAULT.encoding, text, choices=ENCODINGS, dest="encoding")
    add("--quality", DEFAULT.quality, "of jpeg", type=number(1, 100), metavar="N")
    share = {"type": number(0, 0.99, float), "metavar": "P"}
    add("--eval-share", DEFAULT.eval_share, "of each class, held out while training", **share)
    add("--test-share", DEFAULT.test_share, "of each class, kept for the very end", **share)
    parser.add_argument(
        "--group",
        default=DEFAULT.group,
        metavar="NAME",
        help="keep images that belong together (one person, one recording) on one side of the split: "
        "a column of the CSV, or the level of a folder: 2 for SRC/<class>/<group>/*.jpg",
    )
    text = "a shard's size, at most and about; a shard has 10,000 images at most"
    add("--shard-mb", DEFAULT.shard_mb, text, type=number(1, 100_000), metavar="N")
    parser.add_argument(
        "--workers", type=number(1, 1024), metavar="N", help="processes (default: one a core)"
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="overwrite shards of other images, or with other options",
    )
    parser.add_argument(
        "--work-dir",
        metavar="DIR",
        help="where images wait for their shard: as much space as all shards take (default: in "
        "DST; for gs://, in this machine's temporary folder)",
    )


def _describe(folder: ShardFolder) -> str:
    parts = [f"{name} {part.count:,}" for name, part in folder.splits.items()]
    head = f"{folder.path}: {', '.join(parts)} images of {len(folder.labels)} classes"
    return "\n".join([head, *folder.remarks()])
