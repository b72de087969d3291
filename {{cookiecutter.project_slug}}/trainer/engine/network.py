"""The network beside the SavedModel as ONNX: servers run it without TensorFlow."""

import contextlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from codec.session import open_session
from trainer.engine.ending import shorten

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
        session = open_session(model.SerializeToString())
        rows = {one.name: rows[one.name] for one in session.get_inputs()}  # that the model uses

        def run(inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            return session.run([*expected], inputs)

        _compare(run(rows), expected)
        metadata["alone"] = _depends_on_company(run, rows)
        onnx.helper.set_model_props(model, {k: json.dumps(v) for k, v in metadata.items()})
        return model.SerializeToString(deterministic=True)
    except NoNetwork:
        raise
    except Exception as error:  # the layers of any model may stand here
        raise NoNetwork(f"it does not convert: {shorten(error)}") from None


def _translate(core, takes: dict[str, tf.TensorSpec], names: set[str]):
    """The function as an `onnx.ModelProto`, with the outputs of these names."""
    import tf2onnx
    from onnx import helper, numpy_helper

    outputs = tf.function(
        lambda inputs: {name: value for name, value in core(inputs).items() if name in names},
        autograph=False,
    )
    model, _ = tf2onnx.convert.from_function(outputs, [takes])
    graph = model.graph
    # Constants of layers, such as the mean of Normalization, have become inputs.
    captured = outputs.get_concrete_function(takes).graph.captures
    values = {inside.name: value for value, inside in captured}
    constants = {one.name: values[one.name].numpy() for one in graph.input if one.name in values}
    constants["/1"] = np.ones(1, np.float32)
    graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in constants.items())
    for value in [value for value in graph.input if value.name in constants]:
        graph.input.remove(value)
    for node in [node for node in graph.node if node.op_type == "Erfc"]:  # of GELU: it is 1 - Erf
        node.op_type, [name] = "Erf", node.output
        node.output[0] += "/erf"
        graph.node.append(helper.make_node("Sub", ["/1", node.output[0]], [name]))
    _arrange(graph)
    return model


def _arrange(graph) -> None:
    """Order and name all parts by their use: equal weights give an equal file.

    tf2onnx orders by sets and names by counters, which differ in each process.
    """
    kept = ["", *(value.name for value in (*graph.input, *graph.output))]  # "": an input left out
    _sort(graph)
    _rename(graph, {name: name for name in kept})


def _list_bodies(node) -> list:
    """The graphs inside of a node: the loop of a recurrent layer has one."""
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def _list_needs(node) -> list[str]:
    """What a node reads; the graphs inside of it use names from outside, too."""
    inner = [part for body in _list_bodies(node) for part in body.node]
    ends = [value.name for body in _list_bodies(node) for value in body.output]
    return [*node.input, *(name for part in inner for name in _list_needs(part)), *ends]


def _sort(graph) -> None:
    """Put each node after those that it needs, in the order in which the outputs need them."""
    from onnx import helper

    for node in graph.node:
        for body in _list_bodies(node):
            _order_copies(body)
            _sort(body)
    makers = {name: node for node in graph.node for name in node.output}
    nodes, made = [], set()
    todo = [value.name for value in reversed(graph.output)]
    while todo:
        node = makers.get(todo[-1])
        if node is None or todo[-1] in made:
            todo.pop()
        elif needs := [name for name in _list_needs(node) if name in makers and name not in made]:
            todo += reversed(needs)
        else:
            nodes.append(node)
            made.update(node.output)
    lists = graph.input, graph.output, graph.initializer
    graph.CopyFrom(helper.make_graph(nodes, "network", *lists))


def _order_copies(body) -> None:
    """Where one output of a loop's body is a copy of another, let the later one be the copy."""
    places = {value.name: i for i, value in enumerate(body.output)}
    for node in body.node:
        if node.op_type == "Identity" and {node.input[0], node.output[0]} <= places.keys():
            one, other = sorted((places[node.input[0]], places[node.output[0]]))
            body.output[one].name, body.output[other].name = node.input[0], node.output[0]


def _rename(graph, names: dict[str, str]) -> None:
    """Number all names of a sorted graph by their first use, beside those that `names` has."""

    def number(texts) -> list[str]:
        return [names.setdefault(text, f"#{len(names)}") for text in texts]  # no output is so named

    for value in graph.input:
        value.name = number([value.name])[0]
    for node in graph.node:
        node.name = node.doc_string = ""
        node.domain = node.domain  # "" and none are other bytes
        node.input[:] = number(node.input)
        for body in _list_bodies(node):
            _rename(body, names)
        node.output[:] = number(node.output)
    for value in graph.output:
        value.name = number([value.name])[0]
    order = {name: i for i, name in enumerate(names)}
    constants = sorted(
        (one for one in graph.initializer if one.name in names), key=lambda one: order[one.name]
    )
    for constant in constants:
        constant.name = names[constant.name]
    graph.ClearField("initializer")
    graph.initializer.extend(constants)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """tf2onnx is written for an older NumPy, and freezes tables in a way that TensorFlow warns of."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _compare(got: Sequence[np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """Raises a NoNetwork if answers of onnxruntime, in this order, are not those of TensorFlow."""
    is_clear = np.ones(len(got[0]), bool)  # rows with one likeliest class
    shares = expected.get("probabilities")
    if shares is not None and shares.shape[1] > 1:
        second, first = np.sort(shares, axis=1)[:, -2:].T
        is_clear = first - second > _tolerance(shares)
    for value, (name, truth) in zip(got, expected.items(), strict=True):
        if truth.dtype.kind == "f":
            near = _tolerance(truth)
            if not np.allclose(value, truth, rtol=0, atol=near, equal_nan=True):
                error = np.nanmax(np.abs(value.astype(np.float64) - truth))
                raise NoNetwork(f"{name} differs from TensorFlow's by {error:.2g}, over {near:.2g}")
        else:
            if truth.dtype == object:
                truth = np.char.decode(truth.astype(np.bytes_))
            if (value[is_clear] != truth[is_clear]).any():
                raise NoNetwork(f"{name} differs from TensorFlow's")


def _tolerance(truth: np.ndarray) -> float:
    """How far values of an output may differ."""
    finite = truth[np.isfinite(truth)]
    return max(CLOSE * np.ptp(finite), BITS * np.abs(finite).max()) if finite.size else 0.0


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
            equal_nan = together.dtype.kind == "f"
            if not np.array_equal(together, single[1 : 1 + count], equal_nan=equal_nan):
                return True
    return False
