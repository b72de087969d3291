"""What all verbs share: how they read a command line, and what they do with an error."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from launcher.common.document import SpecError


def new_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose --help begins with the docstring of a verb."""
    return _Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


class _Parser(argparse.ArgumentParser):
    """Report a wrong command line in one line, without a list of all flags."""

    def error(self, message: str):
        self.exit(2, f"error: {message}; --help explains every flag\n")


def parse_job(
    parser: argparse.ArgumentParser, argv: list[str]
) -> tuple[argparse.Namespace, list[str]]:
    """Parse the options of a verb that starts a job, and the trainer's flags after a lone --."""
    end = argv.index("--") if "--" in argv else len(argv)
    options, unknown = parser.parse_known_args(argv[:end])
    if unknown:
        parser.error(f"unknown: {' '.join(unknown)}; the trainer's flags stand after a lone --")
    return options, argv[end + 1 :]


def amount(text: str) -> float:
    """Read an amount of money or a number of things, for an option.

    Raises:
        ValueError: it is not above 0, which argparse reports.
    """
    value = float(text)
    if not 0 < value < 1e9:
        raise ValueError
    return value


def run(verb: Callable[[], int], interrupted: str = "") -> int:
    """Run a verb; return its exit code, 2 after an error, 130 after Ctrl-C; print no traceback."""
    try:
        return verb()
    except BrokenPipeError:  # `… | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (SpecError, OSError) as error:
        print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if interrupted:
            print(interrupted, file=sys.stderr)
        return 130
