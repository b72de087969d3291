"""An exported model: what it takes, and what it answers."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from codec.answers import word_answer
from codec.schema import Schema
from predictor.inputs import Inputs
from predictor.instances import InstanceError


def read_schema(model_dir: str | Path) -> Schema:
    """The schema that was exported with a model.

    Raises:
        InstanceError: the directory holds no model of this kind of data.
    """
    path = Path(model_dir) / "assets.extra" / "schema.json"
    try:
        return Schema.from_json(path.read_text(encoding="utf-8"))
    except OSError:
        raise InstanceError(
            f"{model_dir}: no exported model (no {path.name} in assets.extra/); give a run's "
            "model/ directory"
        ) from None
    except ValueError as error:
        raise InstanceError(f"{path}: cannot be read ({error})") from None
    except (KeyError, TypeError):
        raise InstanceError(
            f"{model_dir}: a model of another kind of data; predict with it in the repo that "
            "trained it"
        ) from None


class Model:
    """A model in a directory; TensorFlow is imported, and the model loaded, by the first prediction."""

    def __init__(self, model_dir: str | Path):
        """Reads what the model takes.

        Raises:
            InstanceError: the directory holds no model of this kind of data.
        """
        self.path = str(model_dir)
        self.inputs = Inputs(read_schema(model_dir))
        self._call: Callable[[dict], list[dict]] | None = None

    def predict(self, requests: Sequence) -> Iterator[dict]:
        """Yield an answer for each request of `inputs.open`: see `codec.answers`, or {"error": why}.

        Raises:
            InstanceError: the model was exported without the signature that is called here.
        """
        inputs = self.inputs
        for start in range(0, len(requests), inputs.AT_ONCE):
            batch = [inputs.load(request) for request in requests[start : start + inputs.AT_ONCE]]
            good = [one.value for one in batch if not isinstance(one.value, InstanceError)]
            if good and self._call is None:
                self._call = load_signature(self.path, inputs.SIGNATURE)
            rows = iter(self._call(inputs.encode(good)) if good else ())
            for head, value in batch:
                failed = isinstance(value, InstanceError)
                yield head | ({"error": str(value)} if failed else word_answer(next(rows)))


def load_signature(model_dir: str, name: str) -> Callable[[dict], list[dict]]:
    """Return a function from a signature's inputs to a row of its outputs for each instance.

    Raises:
        InstanceError: the model has no such signature.
    """
    with _hold_stderr():
        import tensorflow as tf

        model = tf.saved_model.load(model_dir)
    if name not in model.signatures:
        raise InstanceError(
            f"{model_dir}: the model has no signature {name!r}; train it again, or predict with the "
            "code that trained it"
        )
    function = model.signatures[name]

    def call(inputs: dict) -> list[dict]:
        specs = function.structured_input_signature[1]
        with _hold_stderr():  # the first call starts devices
            tensors = {key: tf.constant(inputs[key], spec.dtype) for key, spec in specs.items()}
            arrays = {name: value.numpy() for name, value in function(**tensors).items()}
        count = len(next(iter(arrays.values())))
        return [{name: array[i] for name, array in arrays.items()} for i in range(count)]

    call.model = model  # its variables live only as long as it does
    return call


@contextlib.contextmanager
def _hold_stderr():
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
