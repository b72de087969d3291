"""What a client sends to a model of recordings: the samples of each channel, or a table of recordings.

    {"instances": [{"samples": {"x": [0.1, null, …], "y": […]}, "time": [0.0, 0.04, …]}]}

`null` is a lost sample. `time` may be left out where samples follow each other evenly, at the rate of
training. A recording of any length gets one answer; with the parameter `windows`, also that to each
window that the network was given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from codec import join
from codec.answers import word_answers
from codec.resample import find_places
from codec.schema import Schema
from codec.windows import encode
from predictor.explain import EXACT, explain
from predictor.instances import InstanceError, JsonInputs, explain_errors, refuse_unknown, show

_LISTS = "expected a list of numbers, null where a sample is lost"
_TYPES = {float, int, type(None)}  # Python's, of a number in JSON
_VALUES = 1 << 24  # of all channels, that one instance of a request may be resampled to


@dataclass(frozen=True)
class Recording:
    """A checked instance."""

    where: str
    name: str  # of a recording in a table; "" for an instance of a request
    values: np.ndarray  # float64 [samples, channels], NaN where lost
    time: np.ndarray | None  # float64 [samples]

    @property
    def head(self) -> dict:
        """What its answer begins with."""
        return {"recording": self.name} if self.name else {}


@dataclass(frozen=True)
class Windows:
    """A recording as the network takes it; `steps` of the schema are counted from its first sample."""

    inputs: dict[str, np.ndarray]  # [windows, window, channels] by name
    starts: np.ndarray  # int64 [windows], in steps
    times: np.ndarray  # float64 [steps]
    steps: np.ndarray  # int64 [samples]: where the samples of the client are
    lost: np.ndarray  # bool [samples]: without a value in any channel


class Inputs(JsonInputs):
    """Checks recordings, cuts them into windows, and joins the answers to these."""

    FORMS = f"{JsonInputs.FORMS}, or a table of recordings: CSV, TSV, Parquet"
    AT_ONCE = 256
    PARAMETERS = (*JsonInputs.PARAMETERS, "windows")

    def __init__(self, schema: Schema):
        self._schema = schema

    def open(self, path: str) -> Iterator[Recording | InstanceError]:
        """The instances of a JSON file, or the recordings of a table; - is JSON on standard input.

        Raises:
            InstanceError: it cannot be read, or is in none of the forms.
        """
        if path == "-" or _is_json(path):
            yield from super().open(path)
            return
        from codec.errors import JobError
        from codec.recordings.read import read_recordings  # with Arrow, which servers do not have

        try:
            for name, values, time in read_recordings(path, self._schema):
                yield Recording(f"{path}: recording {name}", name, values, time)
        except JobError as error:
            raise InstanceError(str(error)) from None

    def list_fields(self) -> list[dict]:
        """One recording; a window of rest, the mean of training, with a wave on it, is the example."""
        schema = self._schema
        wave = np.sin(np.linspace(0, 4 * np.pi, min(schema.window, 64)))
        example = {
            c.name: [float(f"{v:.4g}") for v in c.mean + c.std * wave] for c in schema.channels
        }
        names = [name for name in (schema.participant, *schema.recording) if name]
        columns = {"time": schema.time, "names": names}
        return [{"name": "samples", "kind": "recording", "example": example, "columns": columns}]

    @property
    def explains(self) -> bool:
        """Only a class and a value have one score."""
        return self._schema.task in ("classification", "regression")

    def explain(self, model, instance: dict) -> dict:
        """What each channel adds to the answer: see `predictor/explain.py`.

        A channel of which nothing is known has the mean of training wherever it has a sample.
        """
        if not self.explains:
            raise InstanceError("explain: the answers of this model have no class and no value")
        samples, channels = instance["samples"], self._schema.names
        values = sum(len(samples[name]) for name in channels) << min(len(channels), EXACT)
        if values > 2 * _VALUES:
            most = 2 * _VALUES // (len(channels) << min(len(channels), EXACT))
            raise InstanceError(
                f"explain: with {len(channels)} channels it takes recordings of up to {most:,} "
                "samples; send a part of it"
            )
        unknown = {
            channel.name: [None if v is None else channel.mean for v in samples[channel.name]]
            for channel in self._schema.channels
        }

        def answer(changed: list[dict]) -> list[dict]:
            return model.answer([instance | {"samples": one} for one in changed])

        return explain(answer, samples, unknown)

    def check(self, where: str, instance: object) -> Recording:
        """One instance of a request.

        Raises:
            InstanceError: a field or a channel is unknown or not there, or its values are wrong.
        """
        fields = ("samples", "time")
        if not isinstance(instance, dict) or not isinstance(instance.get("samples", {}), dict):
            raise InstanceError(f"{where}: {self._form}, got {show(instance)}")
        refuse_unknown(f"{where}: unknown field", instance, fields)
        if "samples" not in instance:
            raise InstanceError(f"{where}: samples are not there; {self._form}")
        samples, names = instance["samples"], self._schema.names
        refuse_unknown(f"{where}: unknown channel", samples, names)
        columns = []
        for name in names:
            if name not in samples:
                raise InstanceError(f"{where}: channel {name!r} is not there; {_LISTS}")
            columns.append(_read_numbers(f"{where}: channel {name!r}", samples[name], _LISTS))
            if len(columns[-1]) != len(columns[0]):
                raise InstanceError(
                    f"{where}: channel {name!r} has {len(columns[-1])} samples, and "
                    f"{names[0]!r} has {len(columns[0])}; expected as many"
                )
        values, time = np.stack(columns, axis=1), instance.get("time")
        if not len(values) or np.isnan(values).all():
            raise InstanceError(f"{where}: all samples are lost; expected a number at least")
        if time is not None:
            time = self._check_time(f"{where}: time", time, len(values))
        return Recording(where, "", values, time)

    @property
    def _form(self) -> str:
        names = ", ".join(f"{name!r}: […]" for name in self._schema.names[:3]).replace("'", '"')
        return f'expected {{"samples": {{{names}}}, "time": […]}}'

    def _check_time(self, where: str, value: object, count: int) -> np.ndarray:
        expected = "expected a list of numbers, one for each sample"
        if not self._schema.time:
            raise InstanceError(f"{where}: the model was trained without times; leave it out")
        time = _read_numbers(where, value, expected)
        if len(time) != count:
            raise InstanceError(f"{where} has {len(time)} numbers, and there are {count} samples")
        most = _VALUES // len(self._schema.channels)
        steps = (time[-1] - time[0]) / self._schema.step
        if steps > most:
            raise InstanceError(
                f"{where}: {steps:,.0f} samples at the model's rate; send at most {most:,} at once"
            )
        return time

    def to_json(self, checked: Recording) -> dict:
        """A checked instance as a client sends it to a server."""
        samples = {
            # By way of str: 0.1 as float32 of a table is 0.1, not 0.10000000149011612.
            name: [None if value != value else float(str(value)) for value in column]
            for name, column in zip(self._schema.names, checked.values.T, strict=True)
        }
        time = {} if checked.time is None else {"time": checked.time.tolist()}
        return {"samples": samples, **time}

    def load(self, recording: Recording) -> Windows:
        """Its windows.

        Raises:
            InstanceError: no window has a value, or its times are none to resample by.
        """
        schema, values, time = self._schema, recording.values, recording.time
        try:
            inputs, starts, length = encode(schema, values, time)
        except ValueError as error:
            raise InstanceError(f"{recording.where}: {error}") from None
        steps, times = np.arange(length), schema.step * np.arange(length)
        if time is not None:
            steps, times = find_places(time, schema.step, length)
        lost = np.isnan(values).all(axis=1)
        return Windows(inputs, starts, times, steps, lost)

    def encode(self, loaded: list[Windows]) -> dict[str, np.ndarray]:
        """The windows of all recordings."""
        names = loaded[0].inputs
        return {name: np.concatenate([one.inputs[name] for one in loaded]) for name in names}

    def join(self, outputs: dict, loaded: Sequence[Windows], parameters) -> dict:
        """One answer for each recording, by `codec/join.py`; with `windows`, that to each of these."""
        ends = np.cumsum([len(one.starts) for one in loaded])[:-1]
        joined = {}
        for name, array in outputs.items():
            parts = zip(np.split(array, ends), loaded, strict=True) if name != "labels" else ()
            is_float = array.dtype.kind == "f"
            joined[name] = [self._join_windows(p, one) if is_float else p[0] for p, one in parts]
        joined = self._name(joined | {k: v[:1] for k, v in outputs.items() if k == "labels"})
        if "classes" in joined:
            for labels, shares, one in zip(
                joined["classes"], joined["shares"], loaded, strict=True
            ):
                in_no_window = np.isnan(shares)
                labels[one.lost | in_no_window], shares[in_no_window] = None, 0
        if parameters.windows:
            named = self._name(outputs)
            if "classes" in named:  # of samples: those that only fill the window have none
                counts = np.concatenate([len(one.times) - one.starts for one in loaded])
                for name in ("classes", "shares"):
                    pairs = zip(named[name], counts, strict=True)
                    named[name] = _to_objects([values[:count] for values, count in pairs])
            rows = iter(word_answers(named, parameters.top))
            joined["windows"] = _to_objects(
                [[span | next(rows) for span in self._list_spans(one)] for one in loaded]
            )
        return joined

    def _join_windows(self, outputs: np.ndarray, one: Windows) -> np.ndarray:
        if self._schema.task == "labelling":
            return join.stitch(outputs, one.starts, len(one.times))[one.steps]
        return join.average(outputs)

    def _name(self, outputs: dict) -> dict:
        """Outputs of recordings, or of windows, with the names of classes and channels."""
        outputs, schema = dict(outputs), self._schema
        if schema.task == "labelling" and "probabilities" in outputs:
            shares, labels = outputs.pop("probabilities"), np.array(schema.labels, object)
            outputs["classes"] = _to_objects([labels[one.argmax(axis=1)] for one in shares])
            outputs["shares"] = _to_objects([one.max(axis=1) for one in shares])
        elif schema.task == "forecasting" and "forecast" in outputs:
            forecasts = (np.ascontiguousarray(one.T) for one in outputs["forecast"])
            named = [dict(zip(schema.outputs, one, strict=True)) for one in forecasts]
            outputs["forecast"] = _to_objects(named)
        elif "probabilities" in outputs and "labels" in outputs:
            labels = np.array(schema.labels, object)
            outputs["probabilities"] = np.stack(outputs["probabilities"])
            outputs["class"] = labels[outputs["probabilities"].argmax(axis=1)]
        return {name: np.asarray(values) for name, values in outputs.items()}

    def _list_spans(self, one: Windows) -> list[dict]:
        """Where windows begin and end, in the unit of the time column."""
        last = np.minimum(one.starts + self._schema.window, len(one.times)) - 1
        ends = one.times[np.stack([one.starts, last], axis=1)].tolist()
        return [{"start": start, "end": end} for start, end in ends]


def _to_objects(values: list) -> np.ndarray:
    """An array of these objects, whatever shape they have themselves."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _is_json(path: str) -> bool:
    with explain_errors(path), open(path, "rb") as file:
        return file.read(256).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def _read_numbers(where: str, value: object, expected: str) -> np.ndarray:
    """float64 [n], NaN for null.

    Raises:
        InstanceError: no list, or something in it is no number.
    """
    if not isinstance(value, list):
        raise InstanceError(f"{where} is {show(value)}; {expected}")
    if not _TYPES.issuperset(map(type, value)):
        i, wrong = next((i, v) for i, v in enumerate(value) if type(v) not in _TYPES)
        raise InstanceError(f"{where}: sample {i} is {show(wrong)}; {expected}")
    try:
        numbers = np.array(value, np.float64)
        if not (np.abs(numbers) > np.finfo(np.float32).max).any():
            return numbers
    except OverflowError:  # an integer of 309 digits
        pass
    raise InstanceError(f"{where}: a number of it is too large; {expected}")
