#!/usr/bin/env python3
"""Predicts with an exported model: instances in, an answer a line out, as JSON.

    python scripts/predict.py [--model runs/NAME/model] FILE …

Without --model: the newest run's. FILE is {"instances": [{…}, …]}, a JSON object a line, or for a
model of tables CSV with a header, for one of pictures a picture or a folder of them; - reads
standard input.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher import instances, picture_instances, runs  # noqa: E402
from launcher.instances import Call, InstanceError  # noqa: E402

RUNS = Path(__file__).resolve().parents[1] / "runs"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", metavar="DIR", help="an exported model (default: the newest)")
    parser.add_argument(
        "file", nargs="+", metavar="FILE", help="the instances; - for standard input"
    )
    args = parser.parse_args(argv)
    if not args.model:
        models = [
            run.path / "model" for run in runs.load_all(RUNS) if (run.path / "model").is_dir()
        ]
        if not models:
            return _refuse(f"no run in {RUNS} has a model; train one first, or give --model DIR")
        args.model = str(models[0])
        print(f"model: {args.model}", file=sys.stderr)
    try:
        schema = instances.read_schema(args.model)
        kind = picture_instances if "pictures" in schema else instances
        signature = kind.Signature.of(schema)
        asked = [instance for file in args.file for instance in signature.open(file)]
        sys.stdout.reconfigure(encoding="utf-8")  # JSON is, whatever the terminal is
        code = 0
        with contextlib.suppress(BrokenPipeError):  # `… | head` has seen enough
            for answer in predict(args.model, signature.calls(asked)):
                if isinstance(answer, str):
                    code = _refuse(answer)
                else:
                    print(json.dumps(answer, ensure_ascii=False))
            sys.stdout.flush()
        return code
    except InstanceError as error:
        return _refuse(str(error))


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def predict(model_dir: str, calls: Iterable[Call]):
    """Yields {"class", "probabilities": {label: p}} or {"value"} for each instance; a text in place
    of an answer says why there is none."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    import tensorflow as tf

    model = tf.saved_model.load(model_dir)  # kept: its variables live only as long as it does

    def ask(call: Call):
        serve = model.signatures[call.signature]
        specs = serve.structured_input_signature[1]
        inputs = {key: tf.constant(call.inputs[key], spec.dtype) for key, spec in specs.items()}
        try:
            answers = {name: value.numpy() for name, value in serve(**inputs).items()}
        except tf.errors.InvalidArgumentError:  # of pictures, one that is broken
            if len(call.places) > 1:
                for one in call.singly():
                    yield from ask(one)
            else:
                yield f"{call.places[0]}: cannot be decoded: damaged, or not of a kind that is known"
            return
        for row, head in enumerate(call.heads):
            yield head | _answer({name: value[row] for name, value in answers.items()})

    for call in calls:
        yield from ask(call)


def _answer(row: dict) -> dict:
    if "value" in row:
        return {"value": float(str(row["value"]))}  # by way of str: the shortest that is exact
    names = [label.decode() for label in row["labels"]]
    shares = [float(str(share)) for share in row["probabilities"]]
    return {"class": row["class"].decode(), "probabilities": dict(zip(names, shares, strict=True))}


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # TensorFlow takes 0.8 s to tear itself down, for nothing
