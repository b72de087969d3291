#!/usr/bin/env python3
"""Predicts with an exported model: instances in, an answer a line out, as JSON.

    python scripts/predict.py [--model runs/NAME/model] FILE …

Without --model: the newest run's. FILE is {"instances": [{…}, …]}, a JSON object a line, or for a
model of tables CSV with a header, for one of images an image or a folder of them; - reads standard
input. An instance that cannot be answered gets {"error": "…"} in its line, and the exit code is 2.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher import runs  # noqa: E402
from predictor import instances  # noqa: E402
from predictor.instances import InstanceError  # noqa: E402

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
        signature = _signature(args.model)
        requested = [instance for file in args.file for instance in signature.open(file)]
    except InstanceError as error:
        return _refuse(str(error))
    sys.stdout.reconfigure(encoding="utf-8")  # JSON is, whatever the terminal is
    errors = 0
    with contextlib.suppress(BrokenPipeError):  # `… | head` has seen enough
        for answer in predict(args.model, signature, requested):
            errors += "error" in answer
            print(json.dumps(answer, ensure_ascii=False))
        sys.stdout.flush()
    if errors:
        return _refuse(f'{errors} of {len(requested)} instances have no answer; see "error"')
    return 0


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def _signature(model_dir: str):
    """What the model takes: features or images.

    Raises:
        InstanceError: no model, or one of images in a repo that has no decoder of images.
    """
    schema = instances.read_schema(model_dir)
    if "pictures" not in schema:
        return instances.Signature.of(schema)
    try:
        from predictor import pictures
    except ImportError:
        raise InstanceError(
            f"{model_dir}: a model of images; predict with it in the repo that trained it"
        ) from None
    return pictures.Signature.of(schema)


def predict(model_dir: str, signature, requested: list) -> Iterator[dict]:
    """Yield one answer for each instance: {"class", "probabilities": {label: p}}, {"value"}, or
    {"error"}."""
    serve = None
    for start in range(0, len(requested), signature.AT_ONCE):
        chunk = [signature.load(one) for one in requested[start : start + signature.AT_ONCE]]
        good = [one.value for one in chunk if not isinstance(one.value, InstanceError)]
        if good and serve is None:
            serve = _load_model(model_dir, signature.NAME)
        rows = iter(serve(signature.inputs(good)) if good else ())
        for head, value in chunk:
            failed = isinstance(value, InstanceError)
            yield head | ({"error": str(value)} if failed else _answer(next(rows)))


def _load_model(model_dir: str, name: str) -> Callable[[dict], list[dict]]:
    """Return a function from a signature's inputs to a row of its outputs for each instance."""
    with _quiet():
        import tensorflow as tf

        model = tf.saved_model.load(model_dir)
    function = model.signatures[name]

    def serve(inputs: dict) -> list[dict]:
        specs = function.structured_input_signature[1]
        with _quiet():  # the first call starts devices
            tensors = {key: tf.constant(inputs[key], spec.dtype) for key, spec in specs.items()}
            arrays = {name: value.numpy() for name, value in function(**tensors).items()}
        count = len(next(iter(arrays.values())))
        return [{name: array[i] for name, array in arrays.items()} for i in range(count)]

    serve.model = model  # its variables live only as long as it does
    return serve


@contextlib.contextmanager
def _quiet():
    """Hold back what TensorFlow's C++ writes to stderr, which no variable turns off; show it where
    TensorFlow fails."""
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _answer(row: dict) -> dict:
    if "value" in row:
        return {"value": float(str(row["value"]))}  # by way of str: the shortest that is exact
    names = [label.decode() for label in row["labels"]]
    shares = [float(str(share)) for share in row["probabilities"]]
    return {"class": row["class"].decode(), "probabilities": dict(zip(names, shares, strict=True))}


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # TensorFlow takes 0.8 s to tear itself down, for nothing
