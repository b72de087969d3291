"""`--describe`: the trainer's flags and metrics as JSON, so that job files are checked without it."""

from __future__ import annotations

import argparse
import contextlib
import io
import json

from trainer import options
from trainer.engine.parser import hyphenate


def describe(parser: argparse.ArgumentParser, lists: list[list[str]]) -> str:
    """Describe the trainer in one line of JSON, so that job files are checked without importing it.

    {"flags": {"task": {"value": true, "choices": […]}, …}, "metrics": {"regression": […], …},
    "sources": [flags that name data], "answers": [for each list of flags: a complaint, or a list of
    the words that are no flags]}
    """
    from trainer import outputs  # NumPy comes with it

    flags = {}
    for action in parser._actions:
        for option in filter(lambda option: option.startswith("--"), action.option_strings):
            choices = {"choices": list(action.choices)} if action.choices else {}
            flags[option.removeprefix("--")] = {"value": action.nargs != 0, **choices}
    metrics = {
        task: [*names, *(f"val_{name}" for name in names)]
        for task, names in outputs.METRICS.items()
    }
    answers = [_answer(parser, [hyphenate(word) for word in words]) for words in lists]
    about = {"flags": flags, "metrics": metrics, "sources": options.SOURCES, "answers": answers}
    return json.dumps(about)


def _answer(parser: argparse.ArgumentParser, words: list[str]) -> str | list[str]:
    """What argparse says of these words: its complaint, or those that are no flags."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            return parser.parse_known_args(words)[1]
    except SystemExit as end:  # or --help, which is no mistake
        return err.getvalue().removeprefix("error: ").partition("; --help")[0] if end.code else []
