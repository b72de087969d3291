"""The network beside the SavedModel as ONNX: servers run it without TensorFlow."""

import contextlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from codec.session import open_session

CLOSE = 1e-5  # of an output's spread: how far the two may differ
BITS = 4 * np.finfo(np.float32).eps  # of its size: values far from 0 have no finer steps
VALUES = 1 << 20  # of the held-out rows that are compared, about
ROWS = 256  # at most
LEAST = 10  # that are run together and alone, repeated where there are fewer


class NoNetwork(Exception):
    """Why there is none."""


def convert(core, takes: dict[str, tf.TensorSpec], rows: Mapping[str, np.ndarray]) -> bytes:
    """The file of a network, which was seen to answer as it does in TensorFlow.

    Its metadata are JSON: `labels`, which are the same for all rows and no output of it, and `alone`:
    whether a row has other bits beside others, so that it has to be run alone.

    Args:
        core: the function of the signature `encoded`.
        takes: its inputs, [batch, …] by name.
        rows: held-out examples, arrays [rows, …] by name.

    Raises:
        NoNetwork: a layer has no equal in ONNX, or answers differ.
    """
    try:
        import onnx

        with _quiet(), tf.device("CPU"):
            expected = {name: value.numpy() for name, value in core(rows).items()}
            labels = expected.pop("labels", None) if "probabilities" in expected else None
            model = _translate(core, takes, {*expected})
        metadata = {}
        if labels is not None:
            if (labels != labels[:1]).any():
                raise NoNetwork("its labels differ between rows")
            metadata["labels"] = [label.decode() for label in labels[0]]
        metadata["alone"] = _check(model.SerializeToString(), rows, expected)
        texts = {name: json.dumps(value) for name, value in metadata.items()}
        onnx.helper.set_model_props(model, texts)
        return model.SerializeToString(deterministic=True)
    except NoNetwork:
        raise
    except Exception as error:  # the layers of any model may stand here
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise NoNetwork(f"it does not convert: {' '.join(lines[-1].split())[:200]}") from None


def _translate(core, takes: dict[str, tf.TensorSpec], names: set[str]):
    """The function as an `onnx.ModelProto`, with the outputs of these names."""
    import onnx
    import tf2onnx

    outputs = tf.function(
        lambda inputs: {name: value for name, value in core(inputs).items() if name in names}
    )
    model, _ = tf2onnx.convert.from_function(outputs, [takes])
    graph = model.graph
    # Constants of layers, such as the mean of Normalization, have become inputs.
    captured = outputs.get_concrete_function(takes).graph.captures
    values = {inside.name: value for value, inside in captured}
    for value in [value for value in graph.input if value.name in values]:
        constant = onnx.numpy_helper.from_array(values[value.name].numpy(), value.name)
        graph.initializer.append(constant)
        graph.input.remove(value)
    _arrange(graph, {value.name: value.name for value in (*graph.input, *graph.output)})
    return model


def _arrange(graph, names: dict[str, str]) -> None:
    """Order and name all parts by their use: equal weights give an equal file.

    tf2onnx orders by sets and names by counters, which differ in each process.

    Args:
        names: new ones by old ones, of the graphs around this one, too.
    """
    makers = {name: i for i, node in enumerate(graph.node) for name in node.output}
    order: dict[int, None] = {}  # nodes by their position; each after those that it needs
    todo = [value.name for value in reversed(graph.output)]
    while todo:
        i = makers.get(todo[-1])
        if i is None or i in order:
            todo.pop()
        elif needs := [
            n for n in _inputs(graph.node[i]) if makers.get(n, i) != i and makers[n] not in order
        ]:
            todo += reversed(needs)
        else:
            order[i] = None

    def rename(old: str) -> str:
        return names.setdefault(old, f"v{len(names)}") if old else old  # "": an input left out

    for value in (*graph.input, *graph.output):
        value.name = rename(value.name)
    nodes = [graph.node[i] for i in order]
    for node in nodes:
        node.name = node.doc_string = ""
        node.input[:] = map(rename, node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _arrange(attribute.g, names)
        node.output[:] = map(rename, node.output)
    constants = [one for one in graph.initializer if one.name in names]
    for constant in constants:
        constant.name = names[constant.name]
    positions = {name: position for position, name in enumerate(names.values())}
    constants.sort(key=lambda constant: positions[constant.name])
    graph.name = graph.doc_string = "network"
    for field, values in ("node", nodes), ("initializer", constants), ("value_info", []):
        graph.ClearField(field)
        getattr(graph, field).extend(values)


def _inputs(node) -> list[str]:
    """The names that a node needs, with those that graphs inside of it need."""
    inner = [n for a in node.attribute if a.HasField("g") for one in a.g.node for n in _inputs(one)]
    outer = [o.name for a in node.attribute if a.HasField("g") for o in a.g.output]
    return [*node.input, *inner, *outer]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """tf2onnx is written for an older NumPy, and freezes tables in a way that TensorFlow warns of."""
    loggers = [tf.get_logger(), logging.getLogger("tf2onnx")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _check(data: bytes, rows: Mapping[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    """Compare the answers of onnxruntime with these; return whether a row's depends on those beside it.

    Raises:
        NoNetwork: they differ.
        Exception: onnxruntime cannot run the network.
    """
    session = open_session(data)
    takes = [one.name for one in session.get_inputs()]  # without what the model does not use
    rows = {name: rows[name] for name in takes}
    values = session.run([*expected], rows)
    got = dict(zip(expected, values, strict=True))
    is_tie = np.zeros(len(values[0]), bool)
    for name, truth in expected.items():
        if truth.dtype.kind != "f":
            continue
        finite = truth[np.isfinite(truth)]
        near = max(CLOSE * np.ptp(finite), BITS * np.abs(finite).max()) if finite.size else 0.0
        if not np.allclose(got[name], truth, rtol=0, atol=near, equal_nan=True):
            error = np.nanmax(np.abs(got[name].astype(np.float64) - truth))
            raise NoNetwork(f"{name} differs from TensorFlow's by {error:.2g}, over {near:.2g}")
        if name == "probabilities" and truth.shape[1] > 1:
            second, first = np.sort(truth, axis=1)[:, -2:].T
            is_tie = first - second <= near
    for name, truth in expected.items():
        if truth.dtype.kind != "f":
            texts = np.vectorize(lambda v: v.decode() if isinstance(v, bytes) else v, [object])
            differ = texts(truth) != got[name]
            if (differ.reshape(len(differ), -1).any(axis=1) & ~is_tie).any():
                raise NoNetwork(f"{name} differs from TensorFlow's")
    return _depends_on_company(lambda rows: session.run([*expected], rows), rows)


def _depends_on_company(run: Callable, rows: Mapping[str, np.ndarray]) -> bool:
    """Whether a row gets other bits among others than alone.

    Sums over a part of a row may begin elsewhere in memory, and the last elements of a batch may miss
    the processor's vectors.
    """
    most = max(LEAST, len(next(iter(rows.values()))))
    rows = {name: np.resize(array, (most, *array.shape[1:])) for name, array in rows.items()}

    def answer(start: int, end: int) -> list:
        return run({name: array[start:end] for name, array in rows.items()})

    singles = [answer(i, i + 1) for i in range(most)]
    alone = [np.concatenate(one) for one in zip(*singles, strict=True)]
    for count in (2, 3, 5, 7, 9, 16, 33, 64, most):
        for together, single in zip(answer(1, 1 + count), alone, strict=True):
            if not np.array_equal(
                together, single[1 : 1 + count], equal_nan=together.dtype.kind == "f"
            ):
                return True
    return False
