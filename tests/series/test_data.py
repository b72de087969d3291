"""From tables of samples to recordings: every form of file, every kind of lost sample, every fault."""

from __future__ import annotations

import csv
import random
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from codec import resample, windows
from codec.recordings import encode as encode_module
from codec.recordings import rows as rows_module
from codec.recordings import tables
from own import COLUMNS, flags_of, load, make_rows, refusal, write_waves

from conftest import write

pytestmark = pytest.mark.slow

FLAGS = flags_of("classification", "waves.csv")


def convert(text: str, delimiter: str = ",", decimal: str = ".", lost: str = "") -> str:
    """The CSV with other separators, and with another spelling of lost samples."""
    lines = [[cell or lost for cell in line.split(",")] for line in text.splitlines()]
    lines[1:] = [[cell.replace(".", decimal) for cell in line] for line in lines[1:]]
    return "\n".join([*(delimiter.join(line) for line in lines), ""])


def make_parquet(text: str) -> str:
    first, *lines = (line.split(",") for line in text.splitlines())
    columns = dict(zip(first, zip(*lines, strict=True), strict=True))
    numbers = {n: [float(v) if v else None for v in columns[n]] for n in ("t", "x", "y", "size")}
    texts = {n: list(columns[n]) for n in ("subject", "shape", "phase")}
    trial = pa.array([*map(int, columns["trial"])], pa.int16())
    pq.write_table(pa.table(texts | numbers | {"trial": trial}), "waves.parquet")
    return "waves.parquet"


FORMS = {
    "tabs": lambda text: write("a.tsv", convert(text, "\t")),
    "semicolons and decimal commas": lambda text: write("a.csv", convert(text, ";", ",")),
    "UTF-16": lambda text: write("a.csv", convert(text, "\t").encode("utf-16")),
    "UTF-16 without a mark": lambda text: write("a.csv", text.encode("utf-16-le")),
    "UTF-8 with a mark": lambda text: write("a.csv", b"\xef\xbb\xbf" + text.encode()),
    "CR LF and blank lines": lambda text: write("a.csv", "\n" + text.replace("\n", "\r\n")),
    "dots for lost samples": lambda text: write("a.csv", convert(text, lost="   .")),
    "Parquet": make_parquet,
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_a_table_give_the_same_recordings(form):
    rows = make_rows()
    for row in rows[5:400:7]:
        row[3] = ""  # x is lost
    path = write_waves(rows=rows)
    expected = load("--data", path, *FLAGS[2:])

    other = FORMS[form](Path(path).read_text(encoding="utf-8"))
    examples = load("--data", other, *FLAGS[2:])

    assert examples.recordings.keys == expected.recordings.keys
    for name in ("lengths", "measures", "targets"):
        assert np.array_equal(
            getattr(examples.recordings, name), getattr(expected.recordings, name)
        )
    assert np.array_equal(
        examples.recordings.samples(), expected.recordings.samples(), equal_nan=True
    )
    assert np.isnan(expected.recordings.samples()[:, 0]).sum() == sum(not row[3] for row in rows)
    assert examples.schema.scale[0].tolist() == expected.schema.scale[0].tolist()


def test_rows_may_lie_anywhere_in_the_files(monkeypatch):
    """They are sorted in several parts here."""
    monkeypatch.setattr(rows_module, "SORTED", 100)
    rows = make_rows()
    expected = load("--data", write_waves(rows=rows), *FLAGS[2:]).recordings
    random.Random(0).shuffle(rows)
    for i in range(3):
        write_waves(f"part-{i}.csv", rows[i::3])

    examples = load("--data", "part-*.csv", *FLAGS[2:])

    assert "all were sorted by time" in examples.describe()
    assert sorted(examples.recordings.keys) == sorted(expected.keys)
    for i, key in enumerate(examples.recordings.keys):
        assert np.array_equal(
            examples.recordings.read(i), expected.read(expected.keys.index(key)), equal_nan=True
        )


def test_a_row_without_time_moves_no_other_where_rows_are_scattered():
    rows = make_rows()
    for i, row in enumerate(rows):
        row[2] = str(i)  # one clock for all recordings: a row of the next would fit
    expected = load("--data", write_waves(rows=rows), *FLAGS[2:]).recordings
    rows[70][2] = ""
    examples = load("--data", write_waves("b.csv", rows[1::2] + rows[::2]), *FLAGS[2:])

    assert list(read_rejected(examples)) == ["p00/1"]
    for i, key in enumerate(examples.recordings.keys):
        assert np.array_equal(
            examples.recordings.read(i), expected.read(expected.keys.index(key)), equal_nan=True
        )


@pytest.mark.parametrize(
    "columns", ["trial,x,y,shape", "trial,t,x,y,shape", "subject,trial,x,y,shape"]
)
def test_equal_names_in_two_files_are_two_recordings_unless_people_and_times_are_named(columns):
    places = [COLUMNS.split(",").index(name) for name in columns.split(",")]
    for who in range(4):
        own = [[row[i] for i in places] for row in make_rows(4) if row[0] == f"p{who:02}"]
        write_waves(f"{who}.csv", own, columns)
        write_waves(f"again{who}.csv", own, columns)

    examples = load("--data", "*.csv", "--target", "shape", "--folds", "2")

    assert set(examples.recordings.lengths) == {60} and len(examples.recordings.keys) == 32
    assert "recordings of different files are different" in examples.describe()


def test_a_whole_number_is_one_class_however_a_file_writes_it():
    for who in range(4):
        own = [[*row[:5], f"{row[1] % 2}{'.0' * (who % 2)}"] for row in make_rows(4)]
        write_waves(
            f"{who}.csv", [row for row in own if row[0] == f"p{who:02}"], "subject,trial,t,x,y,k"
        )

    assert load("--data", "*.csv", "--target", "k", "--folds", "2").classes == ["0", "1"]


def test_a_class_is_one_however_its_letters_are_composed():
    rows = make_rows()
    for row in rows:
        row[5] = "gr\u00f6\u00dfe" if row[5] == "saw" else "flach"
        row[5] = row[5].replace("\u00f6", "o\u0308") if row[0] in ("p00", "p03") else row[5]
    loaded = load("--data", write_waves(rows=rows), *FLAGS[2:])
    assert loaded.classes == ["flach", "gr\u00f6\u00dfe"]


def test_a_unit_of_time_against_the_name_is_warned_of():
    rows = [[*row[:2], round(1000 * float(row[2])), *row[3:6]] for row in make_rows(2)]
    path = write_waves(rows=rows, columns="subject,trial,time_ms,x,y,shape")
    flags = ["--data", path, "--target", "shape", "--folds", "2", "--time-unit"]
    assert (
        "warning: --time-unit s, but the name of 'time_ms' says ms" in load(*flags, "s").describe()
    )
    assert "warning" not in load(*flags, "ms").describe()


@pytest.mark.parametrize("other", ["3,000", "3,x"])
def test_a_comma_in_a_text_is_no_decimal_comma(other):
    rows = [[*row[:5], "1,2" if row[5] == "saw" else other] for row in make_rows(2)]
    text = "\n".join(
        ["\t".join(COLUMNS.split(",")[:6]), *("\t".join(map(str, row)) for row in rows)]
    )

    examples = load("--data", write("a.tsv", f"{text}\n"), "--target", "shape", "--folds", "2")

    assert examples.classes == ["1,2", other] and examples.recordings.read(0)[0, 0] == np.float32(
        rows[0][3]
    )


def test_a_number_to_predict_may_have_a_decimal_comma():
    path, flags = write_waves(), flags_of("regression", "")[2:]
    text = convert(Path(path).read_text(encoding="utf-8"), ";", ",")

    expected, examples = load("--data", path, *flags), load("--data", write("a.csv", text), *flags)

    assert examples.recordings.targets.tolist() == expected.recordings.targets.tolist()


def test_dates_of_nanoseconds_in_parquet():
    rows = make_rows(2)
    columns = dict(zip(COLUMNS.split(","), map(list, zip(*rows, strict=True)), strict=True))
    time = pa.array([int(float(t) * 1e9) + 1 for t in columns["t"]], pa.timestamp("ns"))
    numbers = {name: pa.array(float(v or "nan") for v in columns[name]) for name in ("x", "y")}
    pq.write_table(pa.table(columns | numbers | {"t": time}), "a.parquet")

    examples = load("--data", "a.parquet", *FLAGS[2:], "--folds", "2")

    assert examples.schema.describe_step() == "25 samples a second"


def test_a_file_is_a_recording_where_no_column_names_one():
    rows = make_rows(participants=1)
    for trial in range(4):
        own = [[*row[2:5], row[5]] for row in rows if row[1] == trial]
        write_waves(f"a/{trial}.csv", own, "seconds,x,y,shape")

    examples = load("--data", "a/*.csv", "--target", "shape", "--folds", "4")

    assert examples.recordings.names == ["0.csv", "1.csv", "2.csv", "3.csv"]
    assert "held out by recording: " in examples.describe()
    assert "15" not in examples.schema.describe_step() and examples.schema.unit == "s"
    assert examples.schema.describe_step() == "25 samples a second"


def write_one(time, values, path: str = "one.csv", **columns) -> str:
    """Two participants, "a" with these samples, "b" with those of a clean wave."""
    lines = ["subject,ms,x,y,label"]
    lines += [f"a,{t},{x},{y},1" for t, (x, y) in zip(time, values, strict=True)]
    lines += [f"b,{i * 10},{i % 7},{i % 5},2" for i in range(50)]
    lines += [f"c,{i * 10},{i % 5},{i % 7},1" for i in range(50)]
    return write(path, "\n".join([*lines, ""]))


def read_one(*flags: str) -> np.ndarray:
    recordings = load("--data", "one.csv", "--target", "label", *flags).recordings
    return recordings.read(recordings.participants.index("a"))


def test_columns_are_recognised_by_their_names():
    lines = [
        f"{i},x{i % 4},{i // 4},2024-05-01T10:00:{i // 4 % 60:02}.5Z,{i % 3},hi,{i},{i % 2}"
        for i in range(160)
    ]
    write(
        "log.csv", "\n".join(["frame,Subject ID,Trial No,TimeStamp,ax,note,msg2,eye", *lines, ""])
    )
    roles = ["--recording", "", "--target", "note"]

    message = refusal("--data", "log.csv", *roles)
    examples = load(
        "--data", "log.csv", "--recording", "", "--target", "eye", "--split", "row", "--window", "8"
    )

    assert "has one class, 'hi'" in message
    log = examples.describe()
    for line in (
        "--participant: 'Subject ID' by name",
        "--time: 'TimeStamp' by name",
        "--channels: Trial No, ax, msg2; left out: frame (a number of rows), note (text)",
        "1 samples a second",
    ):
        assert line in log


def test_clocks_of_an_eye_tracker_and_an_index_of_pandas_are_no_channels():
    clock = "timestamp [\u03bcs]"  # with the Greek letter, as Tobii writes it
    columns = f"subject,trial,Recording {clock},x,y,shape,Eyetracker {clock},__index_level_0__"
    rows = [
        [*row[:2], round(1e6 * float(row[2])), *row[3:6], 5 * i, i]
        for i, row in enumerate(make_rows())
    ]

    log = load("--data", write_waves(rows=rows, columns=columns), "--target", "shape").describe()

    assert f"left out: Eyetracker {clock} (a time), __index_level_0__ (a number of rows)" in log
    assert "25 samples a second; channels: x, y" in log


def test_a_channel_that_never_changes_within_a_recording_is_warned_of():
    """Such as an age, or another name of the target."""
    log = load("--data", write_waves(), *FLAGS[2:], "--channels", "x,size").describe()

    assert "warning: channel 'size' never changes within a recording: the network may" in log
    assert "warning: channel 'x'" not in log


@pytest.mark.parametrize("code", ["9999", "-32768", "100000000.0"])
def test_codes_of_lost_samples_are_warned_of(code):
    log = load("--data", edit(set_cell(70, "x", code)), *FLAGS[2:]).describe()

    assert f"warning: channel 'x' goes to {float(code):g}; if that stands for a lost" in log


def test_a_stray_text_is_no_reason_to_leave_out_a_channel_and_a_second_time_is():
    rows = [[*row[:6], i] for i, row in enumerate(make_rows())]
    columns = "subject,trial,t,x,y,shape,timestamp"
    log = load("--data", write_waves(rows=rows, columns=columns), "--target", "shape").describe()
    assert "--channels: x, y; left out: timestamp (a time)" in log
    rows[70][3], rows[71][4] = "12..5", "-999"

    message = refusal("--data", write_waves(rows=rows, columns=columns), "--target", "shape")
    log = load("--data", "waves.csv", "--target", "shape", "--channels", "y,y").describe()

    assert "waves.csv:72: column 'x': expected a number, got '12..5'" in message
    assert "; channels: y" in log and "warning: channel 'y' goes to -999; if that stands for" in log


def test_without_times_samples_keep_the_order_of_the_files():
    rows = [[*row[:2], *row[3:6]] for row in make_rows(2)]
    halves = [[row for row in rows if row[1] % 2 == i] for i in (0, 1)]
    mixed = [row for pair in zip(*halves, strict=True) for row in pair]
    one, other = (
        write_waves(f"{i}.csv", r, "subject,trial,x,y,shape") for i, r in enumerate((rows, mixed))
    )
    flags = ["--target", "shape", "--folds", "2"]

    expected, examples = (load("--data", path, *flags).recordings for path in (one, other))

    for i, key in enumerate(examples.keys):
        assert np.array_equal(
            examples.read(i), expected.read(expected.keys.index(key)), equal_nan=True
        )


@pytest.mark.parametrize("rate", [[], ["--rate", "40"], ["--rate", "10"]])
def test_long_recordings_are_encoded_in_parts(monkeypatch, rate):
    """Of 16 samples here; the measures of parts are merged, so that their last digits may differ."""
    rows = make_rows(lost=23)
    for i, row in enumerate(rows):
        row[2] = f"{float(row[2]) + (i % 3 - 1) * 0.004 * bool(rate):.3f}"
    flags = [
        "--data",
        write_waves(rows=rows),
        *FLAGS[2:4],
        "--target",
        "phase",
        "--time-unit",
        "s",
        *rate,
    ]
    expected = load(*flags, "--cache-dir", "whole").recordings
    for module in (rows_module, encode_module, resample, windows):
        monkeypatch.setattr(module, "CHUNK", 16)

    parts = load(*flags, "--cache-dir", "parts").recordings

    assert np.array_equal(parts.samples(), expected.samples(), equal_nan=True)
    assert np.array_equal(parts.all_labels(), expected.all_labels())
    assert np.allclose(parts.measures, expected.measures, rtol=1e-12)


def test_rows_that_are_missing_make_a_gap():
    kept = [*range(10), *range(14, 40)]
    write_one([10 * i for i in kept], [(i % 3, 1 + i) for i in kept])

    samples = read_one()

    assert len(samples) == 40 and np.isnan(samples[10:14]).all()
    assert samples[kept, 1].tolist() == [1 + i for i in kept]


def test_times_that_waver_are_brought_to_equal_steps():
    time = [10 * i + (i % 3 - 1) for i in range(1, 40)]
    write_one(time, [(2 * t, 5) for t in time])

    samples = read_one("--rate", "100")

    expected = 2 * (time[0] + 10 * np.arange(len(samples)))
    known = np.isfinite(samples[:, 0])
    assert known.mean() > 0.9 and np.allclose(samples[known, 0], expected[known], atol=1e-3)


def test_a_higher_rate_lies_between_the_samples_and_a_lower_one_is_their_mean():
    write_one([10 * i for i in range(40)], [(i, i % 2) for i in range(40)])

    twice, half = read_one("--rate", "200"), read_one("--rate", "50")

    assert twice[:, 0].tolist() == [i / 2 for i in range(79)]
    assert np.allclose(half[1:-1, 1], 0.5) and len(half) == 20
    assert np.allclose(half[1:-1, 0], 2 * np.arange(1, 19) - 0.5)


def test_zeros_beside_lost_values_are_a_blink():
    lines = [f"s{i},{t},.,.,0,{i % 2}" if t < 3 else f"s{i},{t},{t * 1.5},{i},7{t},{i % 2}"
             for i in range(6) for t in range(9)]  # fmt: skip
    write("gaze.csv", "\n".join(["subject,time,x,y,pupil,label", *lines, ""]))

    examples = load("--data", "gaze.csv", "--target", "label")
    inputs, _ = examples.train.read(np.arange(examples.train.rows))

    assert "'pupil': 18 zeros beside lost values count as lost" in examples.describe()
    assert [channel.blinks for channel in examples.schema.channels] == [False, False, True]
    assert not inputs["mask"][:, :3].any() and inputs["mask"][:, 3:].all()
    assert not inputs["samples"][:, :3].any()


def edit(change, samples: int = 60) -> str:
    rows = make_rows(samples=samples)
    change(rows)
    return write_waves(rows=rows)


def set_cell(row: int, column: str, value):
    def change(rows):
        rows[row][COLUMNS.split(",").index(column)] = value

    return change


def set_column(column: str, make):
    def change(rows):
        i = COLUMNS.split(",").index(column)
        for number, row in enumerate(rows):
            row[i] = make(number, row)

    return change


REFUSED = {
    "no such participant column": (None, ["--participant", "subj"], "no column 'subj'; there are: "),
    "a single participant": (
        lambda rows: [row.__setitem__(slice(2), ["p0", i // 60]) for i, row in enumerate(rows)],
        [],
        "'p0' is the only participant; one is to be held out: give more data, or --split recording",
    ),
    "mixed rates": (
        set_column("t", lambda i, row: float(row[2]) * (2 if row[0] == "p03" else 1)),
        [],
        "recordings have other rates: a sample each 0.08 of 't' in p03, 0, each 0.04 in most; resample",
    ),
    "text in a channel": (
        set_cell(70, "x", "abc"),
        [],
        "waves.csv:72: column 'x': expected a number, got 'abc'",
    ),
    "a channel that is always the same": (
        set_column("x", lambda i, row: 5),
        [],
        "'x' is 5 in all rows: nothing to learn from; leave it out",
    ),
    "a channel that is lost": (
        set_column("x", lambda i, row: ""),
        [],
        "'x' has no value in any row: nothing to learn from; leave it out",
    ),
    "fewer samples than a window": (None, ["--window", "99"], "--window 99: the longest training"),
    "windows that leave out samples": (
        None,
        ["--target", "phase", "--hop", "40"],
        "--hop 40: samples between windows of 32 would have no label; write at most 32",
    ),
    "a forecast beyond all recordings": (
        None,
        ["--target", "x", "--horizon", "40"],
        "--window 32 and 40 to forecast: the longest training recording has 60 samples; write smaller ones",
    ),
    "a blank that is none": (
        set_cell(70, "x", "\u00a01.5"),
        [],
        "waves.csv:72: column 'x': expected a number, got '\\xa01.5'",
    ),
    "a number too large": (set_cell(3, "x", "1e300"), [], "column 'x': a number over 3e38"),
    "a row of another length": (
        lambda rows: rows[10].append("1"),
        [],
        "waves.csv:12: 9 values, expected 8",
    ),
    "a class for each participant": (
        set_column("shape", lambda i, row: row[0]),
        [],
        "no window is left that is held out: no training recording has its class, 'p0",
    ),
    "one class": (set_column("shape", lambda i, row: "saw"), [], "has one class, 'saw'"),
    "no target": (None, ["--target", "nothing"], "no column 'nothing'"),
    "time that is none": (set_column("t", lambda i, row: "now"), [], "expected numbers, or dates"),
    "time that never ascends": (set_column("t", lambda i, row: 1), [], "no recording can be used: p00, 0: time repeats: 1 follows 1; so are 23 others"),
    "a target among the channels": (None, ["--target", "x"], "'x' is the time, a name or the target"),
    "numbers that change": (
        None,
        ["--channels", "x", "--target", "y"],
        "numbers that change within recordings; to forecast it give --horizon",
    ),
    "a rate without a unit": (None, ["--rate", "10"], "in which unit 't' counts: add --time-unit"),
    "too many folds": (None, ["--folds", "9"], "--folds 9: there are 6 participants; write at most 6"),
    "one fold": (None, ["--folds", "1"], "--folds 1: all would be held out; write 2 or more"),
    "a scale that knows the future": (
        None,
        ["--horizon", "2", "--target", "x", "--normalize", "recording"],
        "the mean of a recording knows the samples to forecast",
    ),
}  # fmt: skip


@pytest.mark.parametrize("column", ["shape", "phase"])  # the second is not read
@pytest.mark.parametrize("rows", [(70,), (70, 90), (1439,), (70, -90)])
def test_a_quote_never_swallows_other_lines(rows, column, monkeypatch):
    """Where two of them enclose rows, too, and far behind what is looked at first."""
    monkeypatch.setattr(tables, "LOOKED_AT", 2000)
    flags = ["--target", "shape", "--channels", "x,y"]

    def change(table):
        for i in rows:  # of the last pair, the second one closes the value
            cell = table[abs(i)][COLUMNS.split(",").index(column)]
            set_cell(abs(i), column, f'"{cell}' if i > 0 else f'{cell}"')(table)

    path = edit(change)
    first = rows[0] + 2
    assert f"{path}:{first}: a quote opens in this line" in refusal("--data", path, *flags)
    text = Path(path).read_text(encoding="utf-8")
    other = write("other.csv", text.encode("utf-16"))
    assert f"{other}:{first}: a quote opens in this line" in refusal("--data", other, *flags)
    whole = write("whole.csv", re.sub('"?(p0\\d)', r'"\1"', text.replace('"', "")))
    load("--data", whole, *flags)


@pytest.mark.parametrize("fault", REFUSED)
def test_a_fault_is_one_clear_line(fault):
    change, flags, expected = REFUSED[fault]
    path = edit(change or (lambda rows: None))

    assert expected in refusal("--data", path, *FLAGS[2:], *flags)


def make_table(columns: str, change=lambda row: row, mark: str = ",") -> str:
    """The waves with these columns, a row changed or not; `subject` of 2 participants."""
    places = [COLUMNS.split(",").index(name) for name in columns.lower().split(",")]
    lines = [mark.join(columns.split(","))]
    lines += [mark.join(map(str, change([row[i] for i in places]))) for row in make_rows(2)]
    return "\n".join([*lines, ""])


def write_dates(row: list, end: str = "", point: str = ".") -> list:
    whole, part = row[2].split(".")
    return [*row[:2], f"2024-03-30T10:00:{int(whole):02}{point}{part}{end}", *row[3:]]


@pytest.mark.parametrize("begin", [b"PK\x03\x04", b"\x1f\x8b"])
def test_a_file_that_is_no_table_is_named(begin):
    write("waves.csv", begin + bytes(range(256)))

    message = refusal("--data", "waves.csv", *FLAGS[2:])

    assert message.startswith("waves.csv: it is ") and "save its table as CSV in UTF-8" in message


ALL = "subject,trial,t,x,y,shape"
PAIRS = {  # two files that do not fit together
    "a participant in one": (make_table(ALL[8:]), make_table(ALL), "a.csv: it lacks subject, which b"),
    "no participant in one": (make_table(ALL), make_table(ALL[8:]), "b.csv: it lacks subject, which a"),
    "other capitals": (make_table(ALL), make_table(ALL.replace("x", "X")), "it lacks x, which a.csv"),
    "dates and numbers": (
        make_table(ALL, write_dates),
        make_table(ALL),
        "b.csv:2: column 't': expected a date without a zone, as the first ones are, got '0.00'",
    ),
    "dates without a zone": (
        make_table(ALL, lambda row: write_dates(row, "Z")),
        make_table(ALL, write_dates),
        "b.csv:2: column 't': expected a date with its zone, as the first ones are, got '2024-03-30T",
    ),
    "milliseconds and seconds": (
        make_table(ALL, lambda row: [*row[:2], float(row[2]) * 1000, *row[3:]]),
        make_table(ALL, lambda row: ["q" + row[0], *row[1:]]),
        "recordings have other rates",
    ),
    "a decimal comma among points": (
        make_table(ALL, lambda row: [*row[:3], row[3].replace(".", ","), *row[4:]], ";"),
        make_table(ALL, mark=";"),
        "a.csv: column 'x' has numbers such as ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", PAIRS)
def test_files_that_do_not_fit_together_are_refused(fault):
    one, other, expected = PAIRS[fault]
    write("a.csv", one)
    write("b.csv", other)

    assert expected in refusal("--data", "*.csv", "--target", "shape", "--folds", "2")


COLUMN_TYPES = {
    "dictionaries": {"x": lambda v: pa.array(v).dictionary_encode(), "trial": lambda v: pa.array(v).dictionary_encode()},
    "decimals": {"x": lambda v: pa.array([Decimal(f"{a:.4f}") for a in v]), "trial": lambda v: pa.array([Decimal(a) for a in v])},
    "floats for names": {"trial": lambda v: pa.array([float(a) for a in v])},
    "texts with blanks": {"x": lambda v: pa.array([f" {a} " for a in v])},
    "nanoseconds since 1970": {"t": lambda v: pa.array([1711843200 * 10**9 + round(a * 1e9) for a in v], pa.uint64())},
    "times with a zone": {"t": lambda v: pa.array([round(a * 1e3) for a in v], pa.timestamp("ms", "Europe/Berlin"))},
    "texts of nanoseconds": {"t": lambda v: pa.array([f"2024-01-01 10:00:{a:012.9f}" for a in v])},
}  # fmt: skip


@pytest.mark.parametrize("kind", COLUMN_TYPES)
def test_columns_of_parquet_may_have_any_type(kind):
    rows = make_rows(2)
    columns = dict(zip(COLUMNS.split(","), map(list, zip(*rows, strict=True)), strict=True))
    columns |= {name: [*map(float, columns[name])] for name in ("t", "x", "y")}
    expected = load("--data", write_waves(rows=rows), *FLAGS[2:], "--folds", "2").recordings
    pq.write_table(
        pa.table(columns | {n: f(columns[n]) for n, f in COLUMN_TYPES[kind].items()}), "a.parquet"
    )

    other = load("--data", "a.parquet", *FLAGS[2:], "--folds", "2").recordings

    assert other.keys == expected.keys and other.lengths.tolist() == expected.lengths.tolist()
    assert np.array_equal(other.samples(), expected.samples())


@pytest.mark.parametrize("group", [0, 1])  # the second is read only while it is encoded
def test_a_corrupt_page_of_parquet_is_refused_in_one_line(group):
    columns = dict(zip(COLUMNS.split(","), map(list, zip(*make_rows(), strict=True)), strict=True))
    columns |= {name: [*map(float, columns[name])] for name in ("t", "x", "y")}
    pq.write_table(pa.table(columns), "a.parquet", row_group_size=1200)
    page = pq.ParquetFile("a.parquet").metadata.row_group(group).column(3).dictionary_page_offset
    data = bytearray(Path("a.parquet").read_bytes())
    data[page : page + 30] = bytes(30)
    Path("a.parquet").write_bytes(data)

    assert refusal("--data", "a.parquet", *FLAGS[2:]).startswith("a.parquet: cannot be read (Could")


def test_names_that_only_capitals_tell_apart_are_warned_of():
    rows = make_rows()
    for row in rows[:60]:
        row[0] = "P00 "

    log = load("--data", write_waves(rows=rows), *FLAGS[2:]).describe()

    assert "warning: 'P00' and 'p00' count as two participants; if they are one, write one" in log


def test_a_channel_that_only_a_later_file_has_is_named():
    write("a.csv", make_table(ALL))
    write("b.csv", make_table(f"{ALL},size", lambda row: ["q" + row[0], *row[1:]]))

    log = load("--data", "*.csv", "--target", "shape", "--folds", "2").describe()

    assert "left out: size (in b.csv, not in a.csv)" in log


def read_rejected(examples) -> dict[str, str]:
    path = Path(examples.train.path).parent / "rejected.csv"
    assert f"listed in {path}" in examples.describe()
    with open(path, encoding="utf-8", newline="") as file:
        return {
            f"{row['participant']}/{row['recording']}": row["reason"]
            for row in csv.DictReader(file)
        }


REJECTED = {
    "two labels": (set_cell(70, "shape", "sine"), "'shape' is 'saw' and 'sine': a recording has one"),
    "time that runs backwards": (set_cell(70, "t", "-1"), "time runs backwards: -1 follows"),
    "time that repeats": (set_cell(70, "t", "0.36"), "time repeats: 0.36 follows 0.36"),
    "time that jumps": (set_cell(119, "t", "1e9"), "time jumps: 60 samples from 0 to 1000000000"),
    "no participant": (
        lambda rows: [row.__setitem__(slice(2), ["", "1"]) for row in rows[60:120]],
        "'subject' is empty",
    ),
    "no value": (
        lambda rows: [row.__setitem__(slice(3, 5), ["", ""]) for row in rows[60:120]],
        "all its values are lost",
    ),
    "time beyond all": (set_cell(119, "t", "1e308"), "time jumps: 60 samples from 0 to 1e+308"),
    "no time": (set_cell(70, "t", ""), "its sample 10 has no time"),
    "few samples": (lambda rows: rows.__delitem__(slice(80, 120)), "20 samples, fewer than a window's 32"),
}  # fmt: skip


@pytest.mark.parametrize("fault", REJECTED)
def test_a_recording_that_cannot_be_used_is_listed_with_the_reason(fault):
    change, expected = REJECTED[fault]

    def change_one(rows):
        for row in rows[60:120]:
            row[5] = "saw"  # else the edit of a label would make a third class
        change(rows)

    examples = load("--data", edit(change_one), *FLAGS[2:])

    [(name, reason)] = read_rejected(examples).items()
    assert name in ("p00/1", "/1") and reason.startswith(expected)


def test_many_participants_with_few_samples_each():
    lines = [f"s{i},{t},{i % 3 + t},{t * i % 5},{i % 2}" for i in range(10_000) for t in range(3)]
    write("many.csv", "\n".join(["subject,time,x,y,label", *lines, ""]))

    examples = load("--data", "many.csv", "--target", "label")

    assert (examples.train.rows, examples.eval.rows, examples.window) == (8000, 2000, 3)
