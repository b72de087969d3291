"""Copies raw data to data/raw, and to the bucket; data.yaml says where it comes from."""

import argparse
from collections.abc import Callable

from launcher.cli import command

VERBS = {
    "pull": "copy what is new or changed at the source to data/raw",
    "push": "copy new files of data/raw, or a run, to the bucket; overwrite nothing there",
    "drive": "copy what is new or changed in a folder of Google Drive to a bucket",
    "status": "compare data/raw with data/MANIFEST.csv; exit code 1 where they differ",
}


def main(argv: list[str], add_verbs: Callable = lambda verbs: None) -> int:
    """Run a verb.

    Args:
        add_verbs: adds those of the kind of data, as argparse's subparsers take them; each sets a
            function `start`, which gets the options and returns the exit code.
    """
    parser = command.new_parser(__doc__)
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for name, text in VERBS.items():
        verb = verbs.add_parser(name, help=text, description=text)
        verb.set_defaults(start=_start, verb=name)
        add = verb.add_argument
        if name == "pull":
            add("--dry-run", action="store_true", help="print what would happen; change nothing")
            text = "also delete what the source lacks; asks first"
            add("--delete", action="store_true", help=text)
            add("--yes", action="store_true", help="do not ask")
        elif name == "push":
            add("path", nargs="*", metavar="PATH", help="in data/raw (default: all of it)")
            add("--run", metavar="NAME", help="copy runs/NAME instead")
        elif name == "drive":
            add("folder", metavar="FOLDER-ID", help="the last part of the folder's address")
            add("target", metavar="gs://…", help="a folder of a bucket")
    add_verbs(verbs)
    options = parser.parse_args(argv)
    return command.run(lambda: options.start(options), "stopped; the same command resumes here")


def _start(options: argparse.Namespace) -> int:
    from launcher.data import drive, raw  # --help needs none of it

    verbs = {"pull": raw.pull, "push": raw.push, "status": raw.show_status}
    return {**verbs, "drive": drive.copy_to_bucket}[options.verb](options)
