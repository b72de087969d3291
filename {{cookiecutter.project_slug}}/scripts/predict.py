#!/usr/bin/env python3
"""Predicts with an exported model: instances in, an answer a line out, as JSON.

    python scripts/predict.py [--model runs/NAME/model] FILE …
    python scripts/predict.py FILE … --endpoint NAME | --url URL

An endpoint, or a server, answers in place of the model; what an instance is made of, the model still
says. An instance that cannot be answered gets {"error": "…"} in its line, and the exit code is 2.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import _verb  # noqa: F401, for the path

from launcher.cli import command
from launcher.common.document import SpecError
from launcher.report import runs
from predictor.inputs import Inputs
from predictor.instances import InstanceError


def main(argv: list[str]) -> int:
    parser = command.new_parser(__doc__)
    text = "a run, or its model (default: the newest run with a model)"
    parser.add_argument("--model", type=Path, metavar="DIR", help=text)
    elsewhere = parser.add_mutually_exclusive_group()
    text = "ask this endpoint of the project"
    elsewhere.add_argument("--endpoint", metavar="NAME", help=text)
    text = "ask this server, such as http://127.0.0.1:8080/predict"
    elsewhere.add_argument("--url", metavar="URL", help=text)
    text = "print the curl command that asks the same, beside --endpoint or --url"
    parser.add_argument("--curl", action="store_true", help=text)
    text = f"what to add to the answers, or to leave out, as a request does: {', '.join(Inputs.PARAMETERS)}"
    parser.add_argument("--parameters", metavar="JSON", default="{}", help=text)
    text = f"{Inputs.FORMS}; - for standard input"
    parser.add_argument("file", nargs="+", metavar="FILE", help=text)
    args = parser.parse_args(argv)
    if args.curl and not (args.endpoint or args.url):
        parser.error("--curl: name --endpoint or --url")
    try:
        args.parameters = json.loads(args.parameters)
    except ValueError as error:
        parser.error(f"--parameters: not JSON ({error})")
    return command.run(lambda: _predict(args))


def _predict(args: argparse.Namespace) -> int:
    from predictor.model import Model, ModelError, read_parameters  # --help needs no NumPy

    try:
        parameters = read_parameters(args.parameters, Inputs.PARAMETERS)
        model = Model(runs.find_model(args.model))
        if not (args.endpoint or args.url):
            print(f"model: {model.path} ({model.runtime_name})", file=sys.stderr)
        requests = [request for file in args.file for request in model.inputs.open(file)]
        if args.endpoint or args.url:
            from launcher.endpoints import ask

            url = args.url or ask.find_url(args.endpoint)
            good = (one for one in requests if not isinstance(one, InstanceError))
            instances = map(model.inputs.to_json, good)
            if args.curl:
                print(ask.to_curl(url, instances, args.parameters))
                return 0
            answers = _join(requests, ask.ask(url, instances, args.parameters))
        else:
            answers = model.predict(requests, parameters)
        errors = _print_answers(answers)
    except (InstanceError, ModelError) as error:
        raise SpecError(str(error)) from None
    if errors:
        raise SpecError(f'{errors} of {len(requests)} instances have no answer; see "error"')
    return 0


def _join(requests: Sequence, answers: Iterator[dict]) -> Iterator[dict]:
    """Yield a server's answer to each request, or {"error": why}, as `Model.predict` does."""
    for one in requests:
        if isinstance(one, InstanceError):
            yield {"error": str(one)}
        else:
            yield getattr(one, "head", {}) | next(answers)


def _print_answers(answers: Iterator[dict]) -> int:
    """Print an answer a line; return how many are errors."""
    from codec.answers import to_plain

    sys.stdout.reconfigure(encoding="utf-8")  # JSON is, whatever the terminal is
    errors = 0
    for answer in answers:
        errors += "error" in answer
        print(json.dumps(answer, ensure_ascii=False, default=to_plain))
    sys.stdout.flush()
    return errors


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # libraries take a while to tear themselves down, for nothing
