"""The Jinja extension that brings `answers.py` into cookiecutter, and text safely into files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import click
from cookiecutter.cli import main as cookiecutter
from jinja2.ext import Extension

import answers

# cookiecutter renders every answer given with --no-input or in ~/.cookiecutterrc as a template,
# so that a project called "{{ 7*7 }}" would become 49. What bears this mark is ours and is
# rendered; so is every file (it has a name) and the product folder; all else is taken literally.
OURS = "{## ours ##}"
PRODUCT = "{{cookiecutter.project_slug}}"


def quoted_inside(text: str) -> str:
    """The text as it stands between double quotes in Python, TOML, YAML and JSON alike.

    A double quote becomes \\u0022, not \\", since the formatter would turn `"\\""` into `'"'`.
    """
    return json.dumps(str(text), ensure_ascii=False)[1:-1].replace('\\"', "\\u0022")


def markdown(text: str) -> str:
    """The text as one line of Markdown that shows it unchanged."""
    return re.sub(r"([\\`*_\[\]<>&#|~$])", r"\\\1", text)


def _command_line() -> dict:
    """The options of the running `cookiecutter` command; empty when Python or cruft calls it."""
    context = click.get_current_context(silent=True)
    return context.params if context and context.command is cookiecutter else {}


def checked(answer: str, question: str) -> str:
    """Stop the questions with one line if the answer is bad, or if its folder is taken."""
    line = answers.fault(question, answer)
    if not line and question == "project_slug":
        line = _taken_folder(answer)
    if line:
        raise click.ClickException(line)
    return answer


def _taken_folder(slug: str) -> str | None:
    options = _command_line()
    may_exist = options.get("overwrite_if_exists") or options.get("skip_if_file_exists")
    folder = Path(options.get("output_dir") or ".", slug)
    if not options or may_exist or not folder.exists():
        return None
    return (
        f"project_slug: the folder {folder} is there already; write another name, or choose"
        " another place with --output-dir"
    )


def template_commit(_: str) -> str:
    """The commit of this template; empty where it is no git repo."""
    # Not where a GIT_DIR of a git hook leads, nor the repo of a folder above.
    command = [
        "git",
        f"--git-dir={Path(__file__).resolve().with_name('.git')}",
        "rev-parse",
        "HEAD",
    ]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError:  # no git
        return ""
    return "" if done.returncode else done.stdout.strip()


def only_questions(_: str) -> str:
    """Stop at a misspelt question on the command line, which cookiecutter would ignore."""
    for line in answers.unknown_questions(_command_line().get("extra_context") or ()):
        raise click.ClickException(line)
    return ""


class Answers(Extension):
    def __init__(self, environment):
        super().__init__(environment)
        environment.filters.update(
            checked=checked,
            faults=answers.faults,
            markdown=markdown,
            only_questions=only_questions,
            quoted_inside=quoted_inside,
            slug_from=answers.slug_from,
            template_commit=template_commit,
        )
        # cruft renders two commits in one process: each has to import its own modules.
        for name in (__name__, answers.__name__):
            sys.modules.pop(name, None)

    def preprocess(self, source, name, filename=None):
        if name or OURS in source or source == PRODUCT:
            return source
        return "{{ " + json.dumps(source, ensure_ascii=False) + " }}"
