#!/usr/bin/env python3
"""Gets pictures ready for training, and looks after them.

python scripts/data.py shards SRC DST      make shards of pictures; go on where a stopped run was
python scripts/data.py verify DST          compare shards with their checksums

SRC is a folder with a folder for each class (SRC/<class>/*.jpg, png, gif, bmp, webp), or a CSV of
path,label. SRC and DST may be gs://… What is no picture to learn from is listed in
DST/rejected.csv, with the reason.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from codec import images  # noqa: E402
from trainer.engine.runtime import JobError  # noqa: E402
from trainer.images import manifest, sharding, shards  # noqa: E402

DEFAULT = sharding.Options()


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
    """Tells a wrong flag in one line, without all the others."""

    def error(self, message: str):
        self.exit(2, f"error: {message}; --help explains every flag\n")


def main(argv: list[str]) -> int:
    parser = _Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="shards | verify")
    verify = verbs.add_parser("verify", help="compare shards with their checksums")
    verify.add_argument("target", metavar="DST")
    make = verbs.add_parser("shards", help="make shards of pictures")
    add_flags(make)
    args = parser.parse_args(argv)
    if args.verb == "shards" and args.eval_share + args.test_share >= 1:
        make.error("--eval-share and --test-share leave nothing to train on")
    try:
        if args.verb == "verify":
            print(describe(shards.open(args.target, verify=True)))
            return 0
        fields = {name: getattr(args, name) for name in vars(DEFAULT)}
        print(describe(run(args, sharding.Options(**fields))))
        return 0
    except JobError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 1


def add_flags(parser: argparse.ArgumentParser) -> None:
    def add(flag, default, text, **how):
        parser.add_argument(flag, default=default, help=f"{text} (default: {default})", **how)

    parser.add_argument("source", metavar="SRC", help="SRC/<class>/*, or a CSV of path,label")
    parser.add_argument("target", metavar="DST", help="where the shards go: a folder or gs://…")
    add("--size", DEFAULT.size, "pixels a side", type=number(1, 4096), metavar="N")
    text = "fit: all of the picture, amid black; crop: its middle square; stretch"
    add("--resize", DEFAULT.resize, text, choices=images.POLICIES)
    add("--channels", DEFAULT.channels, "3: colour; 1: grey", type=int, choices=(1, 3))
    text = "in the shards: png and raw keep every pixel, raw reads faster; jpeg is smaller, but training "
    text += "then sees pixels that predictions do not"
    add("--format", DEFAULT.encoding, text, choices=manifest.ENCODINGS, dest="encoding")
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
    text = "a shard's size, at most and about"
    add("--shard-mb", DEFAULT.shard_mb, text, type=number(1, 100_000), metavar="N")
    parser.add_argument(
        "--workers", type=number(1, 1024), metavar="N", help="processes (default: one a core)"
    )
    parser.add_argument(
        "--replace", action="store_true", help="make shards anew that are of other pictures"
    )
    parser.add_argument(
        "--work-dir",
        metavar="DIR",
        help="where pictures wait for their shard: as much space as all shards take (default: in "
        "DST; for gs://, in this machine's temporary folder)",
    )


def run(args: argparse.Namespace, options: sharding.Options) -> shards.Dataset:
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

    def tell(what: str, done: int, of: int) -> None:
        if what not in tasks:
            bars.start()
            tasks[what] = bars.add_task(what, total=None)
        bars.update(tasks[what], completed=done, total=of or None)

    try:
        return sharding.make(
            args.source, args.target, options, args.workers, args.replace, args.work_dir, tell
        )
    finally:
        bars.stop()


def describe(dataset: shards.Dataset) -> str:
    parts = [f"{name} {part.count:,}" for name, part in dataset.splits.items()]
    head = f"{dataset.path}: {', '.join(parts)} images of {len(dataset.labels)} classes"
    return "\n".join([head, *dataset.remarks()])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
