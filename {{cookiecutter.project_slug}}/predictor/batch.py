"""Answers the instances of a file in batches, and writes what Vertex AI's batch prediction writes.

    prediction.results-00000-of-00001       {"instance": {…}, "prediction": {…}} a line
    prediction.errors_stats-00000-of-00001  {"instance": {…}, "error": {"status": …, "message": …}}

With a key field, "key": VALUE takes the place of "instance". An image's key is its path, that of a
recording in a table its name. scripts/batch.py calls this.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from predictor.instances import (
    InstanceError,
    JsonInputs,
    PredictError,
    explain_errors,
    merge,
    read_csv,
)

FILES = ("prediction.results-00000-of-00001", "prediction.errors_stats-00000-of-00001")
STATE = "batch.json"  # which job, and how far it is
BOM = b"\xef\xbb\xbf"

# Reads one instance: what its line begins with, and the instance as JSON, or an InstanceError.
Item = Callable[[], tuple[dict, Any]]


class Reader:
    """Reads files as the service does, and in the forms of predict.py."""

    def __init__(self, inputs: JsonInputs, config: Mapping):
        """Read nothing yet.

        Args:
            config: the `instanceConfig` of a BatchPredictionJob.
        """
        self.inputs, self.key = inputs, config.get("keyField")
        self.name = self.key  # or what the first instance's own key is called, such as "file"
        self.included, self.excluded = config.get("includedFields"), config.get("excludedFields")

    def open(self, path: str, form: str) -> Iterator[Item]:
        """Yield an item for each instance: to skip one costs next to nothing.

        Args:
            form: "jsonl", "csv" or "file-list", which are read as a stream; "": whatever predict.py takes.

        Raises:
            InstanceError: the file cannot be read, or is in another form.
        """
        with explain_errors(path):
            if form == "jsonl":
                with open(path, "rb") as lines:
                    for line in lines:
                        if text := line.removeprefix(BOM).strip():
                            yield partial(self._parse, text)
            elif form == "csv" and hasattr(self.inputs, "check_csv"):
                with open(path, encoding="utf-8-sig", newline="") as file:
                    for where, texts in read_csv(file, path):
                        yield partial(self._read_row, where, texts)
            elif form == "file-list" and self._takes_files():
                with open(path, encoding="utf-8-sig") as file:
                    for line in filter(None, map(str.strip, file)):
                        yield partial(self._read_file, line)
            else:
                for checked in self.inputs.open(path):
                    yield partial(self._write, checked)

    def _takes_files(self) -> bool:
        """Whether an instance is a file; else a .txt is a table, as instruments write them."""
        return any(field["kind"] == "image" for field in self.inputs.list_fields())

    def _parse(self, line: bytes) -> tuple[dict, Any]:
        import orjson  # as the server reads it

        try:
            return self._select(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            shown = {"instance": line.decode("utf-8", "replace")}
            return shown, InstanceError(f"not JSON: {error}")

    def _read_row(self, where: str, texts: Mapping | InstanceError) -> tuple[dict, Any]:
        if isinstance(texts, InstanceError):
            return {"instance": None}, texts
        head, row = self._select(texts)
        if isinstance(row, InstanceError):
            return head, row
        try:
            row = self.inputs.to_json(self.inputs.check_csv(where, row))
        except InstanceError as error:
            return head, error
        return (head if self.key else {"instance": row}), row

    def _read_file(self, path: str) -> tuple[dict, Any]:
        self.name = "file"
        try:
            with explain_errors(path):
                data = Path(path).read_bytes()
        except InstanceError as error:
            return {"key": path}, error
        return {"key": path}, {"b64": base64.b64encode(data).decode()}

    def _write(self, checked: Any) -> tuple[dict, Any]:
        if isinstance(checked, InstanceError):
            return {"instance": None}, checked
        own = getattr(checked, "head", {})  # such as {"file": "a.png"}
        self.name, key = next(iter(own.items()), (self.key, None))
        head = {"key": key} if own else {}
        try:
            instance = self.inputs.to_json(checked)
        except InstanceError as error:
            return head or {"instance": None}, error
        return (head, instance) if head else self._select(instance)

    def _select(self, value: Any) -> tuple[dict, Any]:
        """Divide what a row has into its key and what the model is to see."""
        instance = value
        if isinstance(value, dict):
            names = set(self.included or value) - {*(self.excluded or ()), self.key}
            instance = {name: item for name, item in value.items() if name in names}
        if not self.key:
            return {"instance": value}, instance
        if isinstance(value, dict) and self.key in value:
            return {"key": value[self.key]}, instance
        return {"instance": value}, InstanceError(f"no field {self.key!r}, which is the key field")


def predict(
    model_dir: str,
    source: tuple[str, str, Mapping],
    batch_size: int,
    folder: Path,
    job: Mapping,
    show: Callable[[str, int, int], None],
) -> tuple[int, int]:
    """Write the predictions for all instances of a file; resume where an earlier call was killed.

    Args:
        source: a file, its form for `Reader.open`, and the `instanceConfig`.
        folder: it is there, and is empty or an earlier call's.
        job: what it is about; JSON. The folder's other job is refused.
        show: called with "instances", how many of them are done, and how many there are.

    Returns:
        How many instances there are, and how many have no prediction.

    Raises:
        PredictError: the file or the model cannot be read, the network fails, or the folder is another's.
    """
    from predictor.model import Model  # --help needs no NumPy

    model = Model(model_dir)
    path, form, config = source
    reader = Reader(model.inputs, config)
    total = sum(1 for _ in reader.open(path, form))  # and all of the file can be read
    state = read_state(folder, job)
    _write_state(folder, state)  # before there is a file that could be another job's
    with open(folder / FILES[0], "ab") as results, open(folder / FILES[1], "ab") as errors:
        files = results, errors
        for file, size in zip(files, state["bytes"], strict=True):
            file.truncate(size)  # what came after the last note
        items = islice(reader.open(path, form), sum(state["lines"]), None)
        while batch := list(islice(items, batch_size)):
            for i, lines in enumerate(_answer(model, batch)):
                files[i].write(b"".join(lines))
                files[i].flush()
                state["lines"][i] += len(lines)
                state["bytes"][i] += sum(map(len, lines))
            _write_state(folder, state)
            show("instances", sum(state["lines"]), total)
    return sum(state["lines"]), state["lines"][1]


def read_state(folder: Path, job: Mapping) -> dict:
    """How far a job is: {"job": …, "lines": [results, errors], "bytes": [results, errors]}.

    Raises:
        PredictError: the folder holds something else.
    """
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not any((folder / name).exists() for name in FILES):
            return {"job": job, "lines": [0, 0], "bytes": [0, 0]}
        state = {}
    if state.get("job") != job:
        why = "holds predictions for other instances, or of another model"
        raise PredictError(f"{folder}: {why}; remove it, or name another folder by --output")
    return state


def _write_state(folder: Path, state: Mapping) -> None:
    partial_ = folder / f"{STATE}.partial"
    partial_.write_text(json.dumps(state), encoding="utf-8")
    os.replace(partial_, folder / STATE)


def _answer(model: Any, batch: Sequence[Item]) -> tuple[list[bytes], list[bytes]]:
    """The lines of results and of errors."""
    heads, instances = zip(*(item() for item in batch), strict=True)
    good = [one for one in instances if not isinstance(one, InstanceError)]
    answers = merge(instances, model.answer(good) if good else ())
    lines: tuple[list[bytes], list[bytes]] = ([], [])
    for head, answer in zip(heads, answers, strict=True):
        if "error" in answer:
            lines[1].append(_to_error(head, answer["error"]))
        else:
            lines[0].append(_to_line({**head, "prediction": answer}))
    return lines


def _to_error(head: dict, why: str) -> bytes:
    message = re.sub(r"^instance( \d+)?: ", "", why)  # its number in the batch
    return _to_line({**head, "error": {"status": "INVALID_ARGUMENT", "message": message}})


def _to_line(value: dict) -> bytes:
    import orjson

    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


def convert(
    model_dir: str, source: tuple[str, str, Mapping], good: Path, bad: Path
) -> tuple[int, int, str | None]:
    """Write a file's instances as JSON lines, as the service reads them and the server takes them.

    Args:
        source: as in `predict`.
        good, bad: files to write: the instances, with their keys; those that the server would refuse, with why.

    Returns:
        How many lines each has; the name of the key field.

    Raises:
        PredictError: the file or the model cannot be read.
    """
    from predictor.model import Model

    inputs = Model(model_dir).inputs
    path, form, config = source
    reader, counts = Reader(inputs, config), [0, 0]
    with open(good, "wb") as lines, open(bad, "wb") as errors:
        for item in reader.open(path, form):
            head, instance = item()
            try:
                if not isinstance(instance, InstanceError):
                    inputs.load(inputs.check("instance", instance))
            except InstanceError as error:
                instance = error
            if isinstance(instance, InstanceError):
                errors.write(_to_error(head, str(instance)))
            elif "key" in head:
                lines.write(_to_line({reader.name: head["key"], **instance}))
            else:
                lines.write(_to_line(head["instance"]))
            counts[isinstance(instance, InstanceError)] += 1
    return *counts, reader.name
