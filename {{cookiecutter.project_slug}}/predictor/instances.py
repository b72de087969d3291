"""The forms in which instances come, for any kind of data: `{"instances": …}`, JSON lines or CSV.

A bad request (not JSON, no such file) raises `InstanceError`. A bad instance in a good request does
not: its `InstanceError` takes its position, so that answers and instances stay in step.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import io
import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import IO, Any, NamedTuple


class PredictError(Exception):
    """Why there is no prediction, in one line."""


class InstanceError(PredictError):
    """A fault in what a client sent, in one line."""


class Encoded(NamedTuple):
    """Instances of a request as the model takes them, without those that it does not take."""

    inputs: dict[str, Any]  # arrays [rows, …] by name; {} where there is no row
    errors: dict[int, str]  # by position among the instances: why it has no row
    rows: int
    loaded: Sequence = ()  # what the rows were made of, where an instance may have several


class JsonInputs:
    """What a client may send. `predictor/inputs.py` makes of it the `Inputs(schema)` of one kind of data.

    It defines `check` and `encode`, and what differs of the rest. Where rows of CSV are instances, it
    has `check_csv(where, texts: dict[str, str])`, too.
    """

    FORMS = '{"instances": [{…}, …]}, or a JSON object a line'  # of a file
    AT_ONCE = 1024  # instances a call, and rows
    PARAMETERS = ("top", "explain", "partial")  # of a request: see `predictor/model.py`

    def open(self, path: str) -> Iterator[Any]:
        """Checked instances from a file, each as `check` returns it, or an InstanceError; - is stdin.

        Raises:
            InstanceError: it cannot be read, or is in none of the forms.
        """
        source = sys.stdin.fileno() if path == "-" else path
        with explain_errors(path), open(source, encoding="utf-8", newline="") as file:
            yield from read(file, path, self)

    def check(self, where: str, instance: object) -> Any:
        """One instance of a request.

        Args:
            where: such as "file:3: instance 2", for messages.

        Raises:
            InstanceError: the model does not take it.
        """
        raise NotImplementedError

    def to_json(self, checked: Any) -> object:
        """A checked instance as a client sends it to a server."""
        raise NotImplementedError

    def load(self, checked: Any) -> Any:
        """What `encode` takes of a checked instance: here a file that it names may be read.

        Raises:
            InstanceError: it has no answer.
        """
        return checked

    def encode(self, loaded: list) -> dict[str, Any]:
        """Instances as the model takes them: arrays [rows, …] by name, a row each unless `join` joins."""
        raise NotImplementedError

    def join(self, outputs: dict[str, Any], loaded: Sequence, parameters: Any) -> dict[str, Any]:
        """The model's outputs [rows, …] as those of instances, [instances, …].

        Args:
            loaded: the instances of these rows.
            parameters: of the request.
        """
        return outputs

    def encode_request(self, instances: list) -> Encoded:
        """The instances of a request, straight from JSON: checked, loaded and encoded."""
        good, errors = [], {}
        for i, instance in enumerate(instances):
            try:
                good.append(self.load(self.check(f"instance {i}", instance)))
            except InstanceError as error:
                errors[i] = str(error)
        return self.encode_loaded(good, errors)

    def encode_loaded(self, good: list, errors: dict[int, str]) -> Encoded:
        """Loaded instances as the model takes them."""
        inputs = self.encode(good) if good else {}
        return Encoded(inputs, errors, len(next(iter(inputs.values()), ())), good)

    def make_baseline(self) -> dict:
        """An instance of which nothing is known: `explain` asks what each feature adds to it.

        Raises:
            InstanceError: instances of this kind have no features.
        """
        raise InstanceError("explain: answers of this model are explained by no feature")

    @property
    def explains(self) -> bool:
        """Whether this server can explain answers: a form then offers it."""
        return any(field["kind"] in ("number", "text") for field in self.list_fields())

    def explain(self, model: Any, instance: Any) -> dict:
        """The explanation of the model's answer to an instance, as a client gets it.

        Args:
            model: a `predictor.model.Model`.

        Raises:
            InstanceError: it cannot be explained.
        """
        from predictor.explain import explain  # with NumPy, which --help does not need

        return explain(model.answer, instance, self.make_baseline())

    def close(self) -> None:
        """End the process that `explain` has started, if it starts one."""

    def list_fields(self) -> list[dict]:
        """What an instance is made of, for a form: {"name", "kind", "example"}, and "choices" of texts.

        Kinds are "number", "text" and "image". None, where instances have another form.
        """
        return []


@contextlib.contextmanager
def explain_errors(path: str) -> Iterator[None]:
    """Turn what a file raises that is read within the block into one line.

    Raises:
        InstanceError: it cannot be read, or is no text.
    """
    try:
        yield
    except OSError as error:
        raise InstanceError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise InstanceError(f"{path}: not a text in UTF-8 ({error.reason})") from None


def read(file: IO[str], name: str, checks: JsonInputs) -> Iterator[Any]:
    """Checked instances from an open file: its first character shows the form.

    Raises:
        InstanceError: none of the forms.
    """
    text = file.read().removeprefix("\ufeff")
    reads_csv = hasattr(checks, "check_csv")
    forms = "JSON, JSON lines or CSV" if reads_csv else "JSON or JSON lines"
    if not text.strip():
        raise InstanceError(f"{name}: empty; expected instances as {forms}")
    if text.lstrip()[0] not in "{[":
        if not reads_csv:
            raise InstanceError(f"{name}: expected instances as {forms}, got {show(text[:40])}")
        for where, texts in read_csv(io.StringIO(text, newline=""), name):
            yield attempt(checks.check_csv, where, texts)
        return
    try:
        whole = json.loads(text)
    except ValueError as error:
        lines = list(_lines(text, name))
        if 2 * sum(isinstance(value, InstanceError) for _, value in lines) > len(lines):
            raise InstanceError(f"{name}: not JSON ({error})") from None
        for where, value in lines:
            yield attempt(checks.check, where, value)
        return
    if isinstance(whole, dict) and "instances" in whole:
        if more := [key for key in whole if key != "instances"]:
            hint = "remove it; predict.py has --parameters"
            raise InstanceError(f"{name}: {more[0]!r} beside instances is not read here; {hint}")
        whole = whole["instances"]
    elif isinstance(whole, dict):
        whole = [whole]  # a file of JSON lines that has one line
    if not isinstance(whole, list) or not whole:
        raise InstanceError(f'{name}: expected {{"instances": [{{…}}, …]}}, got {show(whole)}')
    for i, instance in enumerate(whole):
        yield attempt(checks.check, f"{name}: instance {i}", instance)


def merge(values: Iterable, answers: Iterable[dict]) -> Iterator[dict]:
    """Yield the answer to each value, and {"error": why} for an InstanceError, which has no answer."""
    rest = iter(answers)
    for value in values:
        yield {"error": str(value)} if isinstance(value, InstanceError) else next(rest)


def attempt(check: Callable, *arguments: Any) -> Any:
    """The result, or the error that takes its position: raised, or given as the last argument."""
    if isinstance(arguments[-1], InstanceError):
        return arguments[-1]
    try:
        return check(*arguments)
    except InstanceError as error:
        return error


def _lines(text: str, name: str) -> Iterator[tuple[str, Any]]:
    """(where it is, the value or what is wrong with it) of each line that is not empty."""
    filled = ((n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip())
    for i, (number, line) in enumerate(filled):  # splitlines would split inside of texts
        where = f"{name}:{number}: instance {i}"
        try:
            yield where, json.loads(line)
        except ValueError as error:
            yield where, InstanceError(f"{where}: not JSON ({error})")


def read_csv(file: Iterable[str], name: str) -> Iterator[tuple[str, Any]]:
    """(where it is, {column: text} or what is wrong with it) of each row of a CSV with a header.

    Raises:
        InstanceError: it is none, or has no rows.
    """
    rows = _rows(file, name)
    header = [column.strip() for column in next(rows, ("", []))[1]]
    twice = next((c for c in header if c and header.count(c) > 1), None)
    if twice:
        raise InstanceError(f"{name}: column {twice!r} stands in the header more than once")
    count = 0
    for line, row in rows:
        where = f"{name}:{line}: instance {count}"
        count += 1
        if len(row) != len(header):
            wrong = f"{where}: {len(row)} values, but the header has {len(header)}"
            yield where, InstanceError(wrong)
            continue
        values = dict(zip(header, row, strict=True))
        values.pop("", None)  # a column without a name is nobody's feature
        yield where, values
    if not count:
        raise InstanceError(f"{name}: a header and no rows")


def _rows(file: Iterable[str], name: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, values) of each row that is not empty."""
    reader = csv.reader(file)
    start = 1
    try:
        for row in reader:
            if row:
                yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        raise InstanceError(f"{name}: near line {start}: not CSV ({error})") from None


def refuse_unknown(
    what: str, given: Iterable[str], known: Collection[str], also: Collection[str] = ()
) -> None:
    """Raise an InstanceError for the first name that is not known, with the nearest one that is.

    Args:
        what: such as "instance 3: unknown channel".
        also: names that may be there, too, and are not proposed.
    """
    for name in given:
        if name not in known and name not in also:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
            raise InstanceError(f"{what} {name!r}; {hint}")


def show(value: object) -> str:
    """A value as it stands in a message: in quotes, on one line, short."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "a value of a thousand levels"
    text = text.encode("utf-8", "backslashreplace").decode()  # JSON can hold half a surrogate pair
    return text if len(text) <= 60 else text[:57] + "…"
