"""The parser of the command line: a wrong flag is one line, an unknown one is named and ignored."""

from __future__ import annotations

import argparse
import difflib
import sys

from trainer.engine.exit_codes import MISTAKE


class Parser(argparse.ArgumentParser):
    """Reports a wrong flag in one line, without a list of all the others."""

    def error(self, message: str):
        self.exit(MISTAKE, f"error: {message}; --help explains every flag\n")


def hyphenate(word: str) -> str:
    """`--learning_rate=0.1` → `--learning-rate=0.1`."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def warn_of_unknown(parser: argparse.ArgumentParser, unknown: list[str]) -> None:
    if not unknown:
        return
    known = [option for action in parser._actions for option in action.option_strings]
    close = [difflib.get_close_matches(word.partition("=")[0], known, n=1) for word in unknown]
    hints = [
        f"{word}: did you mean {near[0]}?"
        for word, near in zip(unknown, close, strict=True)
        if near
    ]
    text = f"warning: unknown flags, ignored: {' '.join(unknown)}"
    print("; ".join([text, *hints]), file=sys.stderr, flush=True)
