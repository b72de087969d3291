"""What runs an exported network: onnxruntime, or TensorFlow where there is no `network.onnx`.

With onnxruntime an instance gets the same bits alone and among a thousand, and takes no second to
load. TensorFlow takes seconds and half a gigabyte, so it runs in a process of its own; its answers
for an instance differ by up to 1e-6 with those beside it.
"""

from __future__ import annotations

import importlib.util
import json
import pickle
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

from codec.session import open_session
from predictor.instances import PredictError

ROOT = Path(__file__).resolve().parents[1]
Arrays = dict[str, np.ndarray]


class ModelError(PredictError):
    """A model that cannot be loaded or called."""


def choose(model_dir: str | Path) -> str:
    """The name of the runtime that `load` takes: "onnxruntime" or "tensorflow"."""
    there = _network(model_dir).is_file() and importlib.util.find_spec("onnxruntime")
    return "onnxruntime" if there else "tensorflow"


def load(model_dir: str | Path) -> Onnx | TensorFlow:
    """Load an exported model's network; threads may call it side by side.

    Raises:
        ModelError: it cannot be loaded.
    """
    return (Onnx if choose(model_dir) == "onnxruntime" else TensorFlow)(model_dir)


def _network(model_dir: str | Path) -> Path:
    return Path(model_dir) / "assets.extra" / "network.onnx"


class Onnx:
    """A network in onnxruntime, on one thread a call: a server has a core for each of its calls."""

    def __init__(self, model_dir: str | Path):
        path = _network(model_dir)
        try:
            self._session = open_session(path)
        except Exception as error:  # onnxruntime's classes have no base of their own
            raise ModelError(f"{path}: cannot be loaded ({_shorten(error)})") from None
        # Such as tensor(float); NumPy knows the other names as they are.
        names = {one.name: one.type[7:-1] for one in self._session.get_inputs()}
        numpy = {"float": np.float32, "double": np.float64, "string": object}
        self._takes = {name: np.dtype(numpy.get(kind, kind)) for name, kind in names.items()}
        self._outputs = [output.name for output in self._session.get_outputs()]
        metadata = self._session.get_modelmeta().custom_metadata_map
        metadata = {name: json.loads(text) for name, text in metadata.items()}
        self._alone = metadata.get("alone", False)  # else a row's bits would depend on the others
        labels = metadata.get("labels")
        self._labels = {"labels": np.array([labels])} if labels else {}

    def call(self, inputs: Arrays) -> Arrays:
        """The network's outputs [rows, …] by name, of inputs [rows, …]; of `labels` one row is enough.

        Raises:
            ModelError: the network fails.
        """
        try:
            inputs = {name: np.asarray(inputs[name], kind) for name, kind in self._takes.items()}
            rows = len(next(iter(inputs.values())))
            if self._alone and rows > 1:
                parts = [
                    self._run({n: a[i : i + 1] for n, a in inputs.items()}) for i in range(rows)
                ]
                values = [np.concatenate(one) for one in zip(*parts, strict=True)]
            else:
                values = self._run(inputs)
        except Exception as error:
            raise ModelError(f"the network fails ({_shorten(error)})") from None
        return dict(zip(self._outputs, values, strict=True)) | self._labels

    def _run(self, inputs: Arrays) -> list[np.ndarray]:
        return self._session.run(self._outputs, inputs)

    def close(self) -> None:
        del self._session


class TensorFlow:
    """A SavedModel in a child process, `tensorflow_child.py`: pickles go there and back.

    The child ends with this process, however that ends: the pipe that it reads from is then closed.
    """

    child = "predictor.tensorflow_child"

    def __init__(self, model_dir: str | Path):
        self._lock = threading.Lock()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115, open as long as the child
        command = [sys.executable, "-m", self.child, Path(model_dir).resolve()]
        pipe = subprocess.PIPE
        self._child = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=self._stderr, cwd=ROOT
        )
        try:
            self._receive()
        except ModelError as error:
            self.close()
            raise ModelError(f"{model_dir}: {error}") from None

    def call(self, inputs: Arrays) -> Arrays:
        """See `Onnx.call`."""
        return self._ask("call", inputs)

    def _ask(self, method: str, *arguments):
        with self._lock:
            try:
                pickle.dump((method, arguments), self._child.stdin)
                self._child.stdin.flush()
            except OSError:  # it has ended: `_receive` says how
                pass
            return self._receive()

    def _receive(self):
        try:
            answer, error = pickle.load(self._child.stdout)
        except (EOFError, pickle.UnpicklingError):
            code = self._child.wait()
            self._stderr.seek(0)
            *_, last = [b"", *self._stderr.read().strip().splitlines()]
            why = f"TensorFlow's process ended with {code}: {last.decode(errors='replace')}"
            raise ModelError(why) from None
        if error:
            raise ModelError(error)
        return answer

    def close(self) -> None:
        """End the child."""
        self._child.kill()
        self._child.wait()
        for file in (self._child.stdin, self._child.stdout, self._stderr):
            file.close()


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
