"""The command line: a wrong flag is one line, an unknown one is named, `--describe` lists all as JSON."""

import argparse
import contextlib
import difflib
import io
import json
import re
import sys

from trainer import options
from trainer.engine.ending import MISTAKE
from trainer.engine.flags import add_job_flags, add_training_flags


class Parser(argparse.ArgumentParser):
    """Every flag of a job. `--learning_rate` is `--learning-rate`; a wrong flag is one line."""

    def __init__(self):
        super().__init__(
            prog="python -m trainer.task",
            description="Trains a model and exports it. Without flags: on the project's own data.",
            allow_abbrev=False,
        )
        add_job_flags(self.add_argument_group("job"))
        options.add_data_flags(self.add_argument_group("data"))
        add_training_flags(self.add_argument_group("training"))
        options.add_model_flags(self.add_argument_group("model"))
        self.set_defaults(**options.DEFAULTS)
        for action in self.names.values():
            if action.default is None and action.help:  # `options.derive` may have one
                words = "derived from the data, see the log"
                action.help = action.help.replace("%(default)s", words)

    def parse_known_args(self, args=None, namespace=None):
        words = [re.sub(r"^--[^=]+", lambda name: name[0].replace("_", "-"), w) for w in args]
        return super().parse_known_args(words, namespace)

    def error(self, message: str):
        self.exit(MISTAKE, f"error: {message}; --help explains every flag\n")

    def take_over(self, flags: dict) -> None:
        """Makes the flags of a recorded run the defaults, but for where its results go."""
        known = {action.dest for action in self._actions} - {"job_dir", "repeat"}
        flags = {k: tuple(v) if isinstance(v, list) else v for k, v in flags.items() if k in known}
        self.set_defaults(**flags)

    @property
    def names(self) -> dict[str, argparse.Action]:
        """Every flag by its name, such as `--epochs`."""
        return {n: a for n, a in self._option_string_actions.items() if n.startswith("--")}


def warn_of_unknown(unknown: list[str]) -> None:
    """Prints a warning that names these words of the command line; nothing where there are none."""
    if not unknown:
        return
    names, hints = Parser().names, ""
    for word in unknown:
        if near := difflib.get_close_matches(word.partition("=")[0], names, n=1):
            hints += f"; {word}: did you mean {near[0]}?"
    text = f"warning: unknown flags, ignored: {' '.join(unknown)}{hints}"
    print(text, file=sys.stderr, flush=True)


def derive_defaults(flags: argparse.Namespace, examples) -> str:
    """Set the flags that are not given to the values that `options.derive` has for this data.

    Returns a line for the log that names them; "" where every flag is given.
    """
    derive = getattr(options, "derive", lambda flags, examples: {})
    chosen = {k: v for k, v in derive(flags, examples).items() if getattr(flags, k) is None}
    vars(flags).update(chosen)
    if not chosen:
        return ""
    words = " ".join(f"--{k.replace('_', '-')} {_write(v)}" for k, v in chosen.items())
    return f"chosen for {examples.train.rows} training rows: {words}; give a flag to change it"


def _write(value) -> str:
    """A flag's value as it stands on a command line: (64, 32) → 64,32."""
    return ",".join(map(str, value)) or "''" if isinstance(value, tuple) else f"{value:g}"


def describe(parser: Parser, lists: list[list[str]]) -> str:
    """Describes the trainer in one line of JSON, so that job files are checked without importing it.

    {"flags": {"task": {"value": true, "choices": […]}, …}, "metrics": {"regression": […], …},
    "sources": [flags that name data], "answers": [for each list of flags: a complaint, or a list of
    the words that are no flags]}
    """
    from trainer import outputs  # NumPy comes with it

    flags = {}
    for name, action in parser.names.items():
        choices = {"choices": list(action.choices)} if action.choices else {}
        flags[name.removeprefix("--")] = {"value": action.nargs != 0, **choices}
    metrics = {
        task: [*names, *(f"val_{name}" for name in names)]
        for task, names in outputs.METRICS.items()
    }
    answers = [_answer(parser, words) for words in lists]
    about = {"flags": flags, "metrics": metrics, "sources": options.SOURCES, "answers": answers}
    return json.dumps(about)


def _answer(parser: Parser, words: list[str]) -> str | list[str]:
    """What argparse says of these words: its complaint, or those that are no flags."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            return parser.parse_known_args(words)[1]
    except SystemExit as end:  # or --help, which is no mistake
        return err.getvalue().removeprefix("error: ").partition("; --help")[0] if end.code else []
