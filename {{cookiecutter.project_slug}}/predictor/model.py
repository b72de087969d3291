"""An exported model: what it takes, and what it answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from codec.answers import word_answers
from codec.schema import Schema
from predictor import runtime
from predictor.inputs import Inputs
from predictor.instances import (
    Encoded,
    InstanceError,
    JsonInputs,
    attempt,
    merge,
    refuse_unknown,
    show,
)
from predictor.runtime import Arrays, ModelError


class Parameters(NamedTuple):
    """What a client may ask for beside the answers: the `parameters` of a request."""

    top: int | None = None  # so many probabilities, the likeliest first; None: all
    explain: bool = False  # add what each feature adds to the answer
    partial: bool = False  # answer the good instances beside wrong ones
    windows: bool = False  # add the answer to each window of a recording


DEFAULTS = Parameters()


def read_parameters(value: object, names: Sequence[str] = JsonInputs.PARAMETERS) -> Parameters:
    """Check the `parameters` of a request; None stands for none.

    Args:
        names: those that this kind of data has.

    Raises:
        InstanceError: no object, an unknown name, a wrong value.
    """
    if value is None:
        return DEFAULTS
    if not isinstance(value, dict):
        raise InstanceError(f"parameters: expected an object, got {show(value)}")
    refuse_unknown("parameters: unknown name", value, names)
    for name, setting in value.items():
        is_flag = isinstance(setting, bool)
        if name == "top" and (is_flag or not isinstance(setting, int) or setting < 1):
            raise InstanceError(f"parameters: top is {show(setting)}; expected a number from 1")
        if name != "top" and not is_flag:
            raise InstanceError(f"parameters: {name} is {show(setting)}; expected true or false")
    return Parameters(**value)


def read_schema(model_dir: str | Path) -> Schema:
    """The schema that was exported with a model.

    Raises:
        ModelError: the directory holds no model of this kind of data.
    """
    path = Path(model_dir) / "assets.extra" / "schema.json"
    try:
        return Schema.from_json(path.read_text(encoding="utf-8"))
    except OSError:
        raise ModelError(
            f"{model_dir}: no exported model (no {path.name} in assets.extra/); give a run's "
            "model/ directory"
        ) from None
    except ValueError as error:
        raise ModelError(f"{path}: cannot be read ({error})") from None
    except (KeyError, TypeError):
        raise ModelError(
            f"{model_dir}: a model of another kind of data; predict with it in the repo that "
            "trained it"
        ) from None


class Model:
    """A model in a directory. Its network is loaded by `load`, or by the first call.

    A server takes `inputs`, `call` and `word`, and joins many requests into one call; whoever has one
    request takes `answer`, and for files there is `predict`. Threads may use it side by side.
    """

    def __init__(self, model_dir: str | Path):
        """Reads what the model takes.

        Raises:
            ModelError: the directory holds no model of this kind of data.
        """
        self.path = str(model_dir)
        self.schema = read_schema(model_dir)
        self.inputs = Inputs(self.schema)
        self.runtime_name = runtime.choose(model_dir)
        self._runtime: runtime.Onnx | runtime.TensorFlow | None = None
        self._lock = threading.Lock()

    def load(self) -> runtime.Onnx | runtime.TensorFlow:
        """Load the network, once: it takes 0.2 s, or seconds with TensorFlow.

        Raises:
            ModelError: it cannot be loaded.
        """
        with self._lock:
            if self._runtime is None:
                self._runtime = runtime.load(self.path)
            return self._runtime

    def close(self) -> None:
        """End what runs the network, or explains its answers."""
        self.inputs.close()
        with self._lock:
            if self._runtime is not None:
                self._runtime.close()
            self._runtime = None

    def call(self, requests: Sequence[Arrays]) -> list[Arrays]:
        """The network's outputs for each of these inputs, all of them in one call.

        Raises:
            ModelError: the network cannot be loaded, or fails.
        """
        network = self._runtime or self.load()
        if len(requests) == 1:
            return [network.call(requests[0])]
        names = requests[0]
        joined = network.call({n: np.concatenate([one[n] for one in requests]) for n in names})
        ends = np.cumsum([len(next(iter(one.values()))) for one in requests])[:-1]
        labels = joined.pop("labels", None)  # the same for all rows: there may be one row of it
        parts = {name: np.split(array, ends) for name, array in joined.items()}
        same = {} if labels is None else {"labels": labels}
        return [same | {n: parts[n][i] for n in parts} for i in range(len(requests))]

    def word(
        self, outputs: Arrays, parameters: Parameters = DEFAULTS, loaded: Sequence = ()
    ) -> list[dict]:
        """The answer to each instance: see `codec.answers`, which says how to write numbers, too.

        Args:
            outputs: of `call`.
            loaded: of `inputs.encode_request`, where an instance may have several rows.
        """
        joined = self.inputs.join(outputs, loaded, parameters)
        return word_answers(joined, parameters.top)

    def answer(self, instances: list, parameters: Parameters = DEFAULTS) -> list[dict]:
        """Each instance's answer, or {"error": why}.

        Raises:
            InstanceError: no list of instances; or `explain` where it cannot be done.
            ModelError: the network cannot be loaded, or fails.
        """
        if not isinstance(instances, list) or not instances:
            raise InstanceError(f"instances: expected a list of them, got {show(instances)}")
        encoded = self.inputs.encode_request(instances)
        rows = iter(self._answer(encoded, parameters))
        answers = []
        for i, instance in enumerate(instances):
            if i in encoded.errors:
                answers.append({"error": encoded.errors[i]})
                continue
            answers.append(next(rows))
            if parameters.explain:
                answers[i]["explanation"] = self.inputs.explain(self, instance)
        return answers

    def _answer(self, encoded: Encoded, parameters: Parameters) -> list[dict]:
        """The answers to the instances without an error, AT_ONCE rows a call."""
        if not encoded.rows:
            return []
        size, outputs = self.inputs.AT_ONCE, []
        for start in range(0, encoded.rows, size):
            part = {name: array[start : start + size] for name, array in encoded.inputs.items()}
            outputs += self.call([part])
        joined = {name: np.concatenate([one[name] for one in outputs]) for name in outputs[0]}
        return self.word(joined, parameters, encoded.loaded)

    def predict(self, requests: Sequence, parameters: Parameters = DEFAULTS) -> Iterator[dict]:
        """Yield an answer for each request of `inputs.open`: see `codec.answers`, or {"error": why}.

        Raises:
            ModelError: the network cannot be loaded, or fails.
        """
        inputs = self.inputs
        for start in range(0, len(requests), inputs.AT_ONCE):
            batch = requests[start : start + inputs.AT_ONCE]
            values = [attempt(inputs.load, request) for request in batch]
            good = [value for value in values if not isinstance(value, InstanceError)]
            answers = merge(values, self._answer(inputs.encode_loaded(good, {}), parameters))
            for request, answer in zip(batch, answers, strict=True):
                if parameters.explain and "error" not in answer:
                    answer["explanation"] = inputs.explain(self, inputs.to_json(request))
                yield getattr(request, "head", {}) | answer  # such as {"file": "a.png"}
