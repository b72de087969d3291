"""Predicts with an exported model: instances in, an answer a line out, as JSON.

    python scripts/predict.py [--model runs/NAME/model] FILE …
    python scripts/predict.py FILE … --endpoint NAME | --url URL

An endpoint, or a server, answers in place of the model; what an instance is made of, the model still
says. An instance that cannot be answered gets {"error": "…"} in its line, and the exit code is 2.
"""

import argparse
import json
import sys
from pathlib import Path
from types import ModuleType

from launcher.cli import command
from launcher.common.document import SpecError
from launcher.report import runs


def main(argv: list[str], predictor: ModuleType) -> int:
    """Run the verb; predictor is predictor/predict.py, which the launcher does not import."""
    parser = command.new_parser(__doc__)
    add, inputs = parser.add_argument, predictor.Inputs
    text = "a run, or its model (default: the newest run with a model)"
    add("--model", type=Path, metavar="DIR", help=text)
    elsewhere = parser.add_mutually_exclusive_group()
    text = "ask this endpoint of the project"
    elsewhere.add_argument("--endpoint", metavar="NAME", help=text)
    text = "ask this server, such as http://127.0.0.1:8080/predict"
    elsewhere.add_argument("--url", metavar="URL", help=text)
    text = "print the curl command that asks the same, beside --endpoint or --url"
    add("--curl", action="store_true", help=text)
    text = "what to add to the answers, or to leave out, as a request does: "
    text += ", ".join(inputs.PARAMETERS)
    add("--parameters", metavar="JSON", default="{}", help=text)
    add("file", nargs="+", metavar="FILE", help=f"{inputs.FORMS}; - for standard input")
    options = parser.parse_args(argv)
    if options.curl and not (options.endpoint or options.url):
        parser.error("--curl: name --endpoint or --url")
    try:
        options.parameters = json.loads(options.parameters)
    except ValueError as error:
        parser.error(f"--parameters: not JSON ({error})")
    return command.run(lambda: _predict(options, predictor))


def _predict(options: argparse.Namespace, predictor: ModuleType) -> int:
    try:
        model, parameters = predictor.load(runs.find_model(options.model), options.parameters)
        remote = options.endpoint or options.url
        if not remote:
            print(f"model: {model.path} ({model.runtime_name})", file=sys.stderr)
        requests = [request for file in options.file for request in model.inputs.open(file)]
        if remote:
            from launcher.endpoints import ask

            url = options.url or ask.find_url(options.endpoint)
            good = (one for one in requests if not isinstance(one, predictor.InstanceError))
            instances = map(model.inputs.to_json, good)
            # partial: one bad image costs no other its answer
            wanted = {"partial": True, **(options.parameters or {})}
            if options.curl:
                print(ask.to_curl(url, instances, wanted))
                return 0
            answers = predictor.merge(requests, ask.ask(url, instances, wanted))
            # Another server than ours may answer with bare values.
            answers = (a if isinstance(a, dict) else {"prediction": a} for a in answers)
            heads = (getattr(one, "head", {}) for one in requests)
            answers = (head | answer for head, answer in zip(heads, answers, strict=True))
        else:
            answers = model.predict(requests, parameters)
        errors = 0
        sys.stdout.reconfigure(encoding="utf-8")  # JSON is, whatever the terminal is
        for answer in answers:
            errors += "error" in answer
            print(predictor.write_line(answer))
        sys.stdout.flush()
    except predictor.PredictError as error:
        raise SpecError(str(error)) from None
    if errors:
        raise SpecError(f'{errors} of {len(requests)} instances have no answer; see "error"')
    return 0
