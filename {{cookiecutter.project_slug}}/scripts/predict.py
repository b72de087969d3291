#!/usr/bin/env python3
"""Predicts with an exported model: instances in, an answer a line out, as JSON.

    python scripts/predict.py [--model runs/NAME/model] FILE

Without --model: the newest run's. FILE is {"instances": [{…}, …]}, a JSON object a line, or CSV with a header; - reads standard input.
"""

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher import runs  # noqa: E402
from launcher.instances import InstanceError, Signature, read  # noqa: E402

RUNS = Path(__file__).resolve().parents[1] / "runs"
BATCH = 1024  # instances a call


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", metavar="DIR", help="an exported model (default: the newest)")
    parser.add_argument("file", metavar="FILE", help="the instances; - for standard input")
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
        signature = Signature.load(args.model)
        source = sys.stdin.fileno() if args.file == "-" else args.file
        with open(source, encoding="utf-8", newline="") as file:
            instances = list(read(file, args.file, signature))
    except InstanceError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{args.file}: cannot be read ({error.strerror or error})")
    except UnicodeDecodeError as error:
        return _refuse(f"{args.file}: not a text in UTF-8 ({error.reason})")
    sys.stdout.reconfigure(encoding="utf-8")  # JSON is, whatever the terminal is
    with contextlib.suppress(BrokenPipeError):  # `… | head` has seen enough
        for answer in predict(args.model, instances):
            print(json.dumps(answer, ensure_ascii=False))
        sys.stdout.flush()
    return 0


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def predict(model_dir: str, instances: list[dict]):
    """Yields {"class", "probabilities": {label: p}} or {"value"} for each instance."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    import tensorflow as tf

    model = tf.saved_model.load(model_dir)  # kept: its variables live only as long as it does
    serve = model.signatures["serving_default"]
    for start in range(0, len(instances), BATCH):
        batch = instances[start : start + BATCH]
        specs = serve.structured_input_signature[1]
        features = {k: tf.constant([i[k] for i in batch], s.dtype) for k, s in specs.items()}
        answers = {name: value.numpy() for name, value in serve(**features).items()}
        for row in range(len(batch)):
            yield _answer({name: value[row] for name, value in answers.items()})


def _answer(row: dict) -> dict:
    if "value" in row:
        return {"value": float(str(row["value"]))}  # by way of str: the shortest that is exact
    names = [label.decode() for label in row["labels"]]
    shares = [float(str(share)) for share in row["probabilities"]]
    return {"class": row["class"].decode(), "probabilities": dict(zip(names, shares, strict=True))}


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # TensorFlow takes 0.8 s to tear itself down, for nothing
