#!/usr/bin/env python3
"""Prepare images for training.

python scripts/data.py shards SRC DST      make shards of images; resume a run that was stopped
python scripts/data.py verify DST          compare shards with their checksums

SRC is a folder with a folder for each class (SRC/<class>/*.jpg, png, gif, bmp, webp), or a CSV of
path,label. SRC and DST may be gs://… Files that are no usable image are listed in DST/rejected.csv,
with the reason.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from codec import files, images  # noqa: E402
from codec.errors import JobError  # noqa: E402
from codec.shards.folder import ShardFolder  # noqa: E402
from codec.shards.make import make_shards  # noqa: E402
from codec.shards.manifest import ENCODINGS, Options  # noqa: E402

files.GFILE = "tensorflow.io.gfile"  # opens gs://; imported with the first such path
DEFAULT = Options()


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


class _Parser(argparse.ArgumentParser):
    """Report a wrong flag in one line, without all the others."""

    def error(self, message: str):
        self.exit(2, f"error: {message}; --help explains every flag\n")


def main(argv: list[str]) -> int:
    parser = _Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="shards | verify")
    verify = verbs.add_parser("verify", help="compare shards with their checksums")
    verify.add_argument("target", metavar="DST")
    make = verbs.add_parser("shards", help="make shards of images")
    add_flags(make)
    args = parser.parse_args(argv)
    if args.verb == "shards" and args.eval_share + args.test_share >= 1:
        make.error("--eval-share and --test-share leave nothing to train on")
    try:
        if args.verb == "verify":
            print(describe(ShardFolder.open(args.target, verify=True)))
            return 0
        fields = {name: getattr(args, name) for name in vars(DEFAULT)}
        print(describe(run(args, Options(**fields))))
        return 0
    except JobError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped; the same command resumes here", file=sys.stderr)
        return 130
    return 1


def add_flags(parser: argparse.ArgumentParser) -> None:
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


def run(args: argparse.Namespace, options: Options) -> ShardFolder:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    bars = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
    tasks = {}

    def show(step: str, done: int, total: int) -> None:
        if step not in tasks:
            bars.start()
            tasks[step] = bars.add_task(step, total=None)
        bars.update(tasks[step], completed=done, total=total or None)

    try:
        return make_shards(
            args.source, args.target, options, args.workers, args.replace, args.work_dir, show
        )
    finally:
        bars.stop()


def describe(folder: ShardFolder) -> str:
    parts = [f"{name} {part.count:,}" for name, part in folder.splits.items()]
    head = f"{folder.path}: {', '.join(parts)} images of {len(folder.labels)} classes"
    return "\n".join([head, *folder.remarks()])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
