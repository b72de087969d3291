"""Columns as instruments and people write them: numbers with a few words, dates, huge values."""

from __future__ import annotations

import datetime
import io
import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from conftest import write
from own import column, load, refusal

from codec import dates
from codec.schema import Schema
from codec.values import is_number
from predictor.inputs import Inputs
from predictor.instances import InstanceError, read
from codec.columns import blocks, tables

pytestmark = pytest.mark.slow  # thousands of small tables

# Numbers with a few words


def write_words(words: int, rows: int = 100, kinds: int = 1, empty: int = 0) -> str:
    """A file whose column `a` has words in its first rows, then empty cells, then numbers."""
    cells = [f"lost{i % kinds or ''}" for i in range(words)] + [""] * empty
    cells += [str(i / 2) for i in range(rows - words)]
    lines = [f"{cell},{i / 2},{'pq'[i % 2]}" for i, cell in enumerate(cells)]
    return write("t.csv", "\n".join(["a,b,y", *lines, ""]))


@pytest.mark.parametrize("empty", [0, 900])
@pytest.mark.parametrize(
    ("words", "kinds", "is_number"),
    [
        (5, 1, True),
        (50, 1, True),  # one word may be frequent
        (35, 3, True),
        (8, 8, True),  # five of a hundred values are rare words
        (9, 9, False),
        (51, 1, False),
    ],
)
def test_words_beside_numbers_are_missing_if_they_are_few_or_few_different_ones(
    words, kinds, is_number, empty
):
    path = write_words(words, kinds=kinds, empty=empty)
    a = column(load(path, "y", "--eval-files", path), "a")
    assert (a.kind == "number") == is_number
    if is_number:
        assert (a.missing, sum(a.words.values())) == (words + empty, words)
        assert a.why.startswith(
            f"all but {words} of 100 values are numbers; words, which count as missing: 'lost' ("
        )
        assert a.mean == pytest.approx((99 - words) / 4)
    elif words < 51:
        assert (a.kind, a.words) == ("ignore", {})
        assert "91 of 100 values are numbers: --schema can make it a number" in a.why


def test_a_few_different_numbers_and_some_frequent_words_are_a_category():
    """As hours are written in a questionnaire: the flag of the column would stand for both words."""
    hours = ["never", "<1", "1", "2", "3", "4"]
    path = write("t.csv", "a,y\n" + "".join(f"{hours[i % 6]},{i % 2}\n" for i in range(120)))
    assert column(load(path, "y"), "a").kind == "category"


def test_words_may_fill_whole_blocks():
    """Blocks of a megabyte: the first has words only, and still the column is one of numbers."""
    lines = [f"{'blink' if i < 1200 else i},{'z' * 950},{'pq'[i % 2]}" for i in range(25_000)]
    path = write("t.csv", "\n".join(["a,b,y", *lines, ""]))
    a = column(load(path, "y", "--eval-files", path), "a")
    assert (a.kind, a.words, a.missing) == ("number", {"blink": 1200}, 1200)


def write_late(words_from: int, rows: int = 60_000) -> str:
    """A file of some MiB; from a row on, half of the values in column `a` are words.

    Column `d` has a code for missing values, and one value far from all others.
    """
    lines = [
        f"{f'lost{i % 40}' if i >= words_from and i % 2 else i},{i % 7 / 8},{'uvw'[i % 3]},{'z' * 60},"
        f"{-999 if i % 50 == 0 else 1e9 if i == 7 else i % 90 / 7},{i % 5}"
        for i in range(rows)
    ]
    return write("t.csv", "\n".join(["a,b,c,z,d,y", *lines, ""]))


def test_only_a_column_that_turns_out_to_be_another_kind_is_read_again(monkeypatch):
    read, read_batches = [], tables.read_batches

    def record(source, columns):
        read.append(",".join(columns))
        return read_batches(source, columns)

    monkeypatch.setattr(tables, "read_batches", record)
    load(write_late(60_000), "y")
    assert read == ["a,b,c,z,d,y"] * 2  # the first block, and all of the file
    read.clear()
    late = load(write_late(30_000), "y")
    assert read == ["a,b,c,z,d,y"] * 2 + ["a"]
    assert column(late, "a").kind == "ignore"
    assert column(late, "a").why.endswith("values are numbers: --schema can make it a number")
    assert sorted(column(late, "c").categories) == ["u", "v", "w"]


def write_long_rows() -> str:
    """A file in which a MiB has a row or two, with gaps: of some MiB no row is in training."""
    lines = [
        f"{i if i % 4 else ''},{i / 7},{'uvw'[i % 3]},{'z' * 600_000},{i % 2}" for i in range(30)
    ]
    return write("t.csv", "\n".join(["a,b,c,z,y", *lines, ""]))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "file", [lambda: write_late(60_000), lambda: write_late(30_000), write_long_rows]
)
@pytest.mark.parametrize("flags", [[], ["--group", "c"]])
def test_arrays_depend_neither_on_threads_nor_on_how_much_is_read_at_once(
    threads, file, flags, monkeypatch
):
    path = file()
    first = load(path, "b", *flags)
    monkeypatch.setattr(blocks, "_THREADS", threads)
    monkeypatch.setattr(blocks, "_JOINED", threads)
    again = load(path, "b", *flags, "--cache-dir", "other")
    assert not again.reused and again.schema == first.schema
    for one, other in ((first.train, again.train), (first.eval, again.eval)):
        for name, array in one.arrays().items():
            assert array.tobytes() == other.arrays()[name].tobytes()


def test_the_log_lists_words_with_their_counts_and_the_model_sees_a_gap():
    cells = ["rotary", "n.k.", "rotary"] + [str(i % 9) for i in range(97)]
    path = write("t.csv", "a,y\n" + "".join(f"{c},{'pq'[i % 2]}\n" for i, c in enumerate(cells)))
    loaded = load(path, "y", "--eval-files", path)
    expected = "words, which count as missing: 'rotary' (2), 'n.k.' (1); 3 missing)"
    assert expected in loaded.describe()
    assert f"held-out 'a': {expected[:-13]}" in loaded.describe()
    for part in (loaded.train, loaded.eval):
        assert part.arrays()["numbers"][:4, 1].tolist() == [1, 1, 1, 0]


def test_a_schema_overrides_the_share_both_ways():
    path = write_words(60)
    write("number.json", '{"columns": [{"name": "a", "kind": "number"}]}')
    a = column(load(path, "y", "--eval-files", path, "--schema", "number.json"), "a")
    assert (a.kind, a.words, a.missing) == ("number", {"lost": 60}, 60)
    assert "'lost' (60)" in a.why
    path = write_words(2)
    write("category.json", '{"columns": [{"name": "a", "kind": "category"}]}')
    a = column(load(path, "y", "--schema", "category.json"), "a")
    assert a.kind == "category" and "lost" in a.categories


def test_dots_of_an_eye_tracker_are_missing_whatever_their_share():
    lines = [f"s{i % 4},   .,   .,{i % 2}" for i in range(300)]
    lines += [f"s{i % 4},  {500 + i % 90}.{i % 7},{i % 60}.5,{i % 2}" for i in range(100)]
    path = write("t.csv", "\n".join(["subject,x,y,label", *lines, ""]))
    loaded = load(path, "label", "--eval-files", path)
    x, y = column(loaded, "x"), column(loaded, "y")
    assert [(c.kind, c.missing, c.words) for c in (x, y)] == [("number", 300, {})] * 2


def test_words_in_held_out_files_are_missing_while_they_are_few():
    write_words(3)
    write("few.csv", "a,b,y\n" + "lost,1,p\n" * 50 + "none yet,1,q\n" + "1,1,q\n" * 49)
    loaded = load("t.csv", "y", "--eval-files", "few.csv")
    assert "held-out 'a': words, which count as missing: 'lost' (50), 'none yet' (1)" in (
        loaded.describe()
    )
    assert loaded.eval.rows == 100
    write("many.csv", "a,b,y\n" + "lost,1,p\n" * 50 + '"1,5",1,q\n' * 6 + "1,1,q\n" * 44)
    assert refusal("t.csv", "y", "--eval-files", "many.csv").startswith(
        "many.csv:52: column 'a': expected a number, got '1,5'; fix it, or leave it empty"
    )


def test_a_word_among_numeric_targets_costs_its_row_and_is_counted():
    lines = ["1,n.d.", *(f"{i},{i / 8}" for i in range(60))]
    path = write("t.csv", "\n".join(["a,y", *lines, ""]))
    loaded = load(path, "y", "--eval-files", path)
    assert (loaded.schema.task, loaded.train.rows, loaded.train.dropped) == ("regression", 60, 1)
    assert "training 'y': words, which count as missing: 'n.d.' (1)" in loaded.describe()


@pytest.mark.parametrize("part", ["training", "held-out"])
def test_a_client_may_send_words_where_training_took_some_for_missing(part):
    """Those of held-out rows alone settle nothing."""
    write_words(0)
    words = write_words(3) if part == "training" else "t.csv"
    write("e.csv", "a,b,y\n" + "lost,1,p\n" + "1,1,q\n" * 40)
    loaded = load(words, "y", "--eval-files", "e.csv")
    assert "held-out 'a': words, which count as missing: 'lost' (1)" in loaded.describe()
    inputs = Inputs(Schema.from_json(loaded.schema.to_json()))
    for word in (" lost ", "gone"):
        [row] = read(io.StringIO(f"a,b\n{word},2\n"), "f", inputs)
        if part == "training":
            assert np.isnan(row["a"]) and row["b"] == 2
        else:
            assert "feature 'a' is \"" in str(row)
    [error] = read(io.StringIO('{"a": "lost", "b": 2}'), "f", inputs)  # JSON has null for it
    assert isinstance(error, InstanceError) and "feature 'a' is \"lost\"" in str(error)
    [error] = read(io.StringIO("a,b\n1,lost\n"), "f", inputs)
    assert isinstance(error, InstanceError) and "feature 'b' is \"lost\"" in str(error)


def test_what_counts_as_a_number_is_what_pyarrow_reads():
    rng = random.Random(0)
    texts = ["".join(rng.choices("+-.eE0159naif_x ", k=rng.randint(1, 6))) for _ in range(20_000)]
    texts += ["1e999", "9" * 400, "1_000", "٣", "0x10", "Infinity", "-NaN", "1\n", "1,5"]
    matched = blocks.match_numbers(pa.array(texts)).to_pylist()
    assert 100 < sum(matched) < len(texts)
    for text, match in zip(texts, matched, strict=True):
        assert is_number(text) == match
        try:
            pc.cast(pa.array([text]), pa.float64())
        except pa.ArrowInvalid:
            assert not match, text
        else:
            assert match, text


@pytest.mark.parametrize(
    ("words", "empty", "kind"), [(4, 30, "number"), (40, 0, "number"), (40, 30, "category")]
)
def test_a_frequent_word_is_no_missing_value_beside_those(words, empty, kind):
    values = ["3+"] * words + [""] * empty + [str(i % 3) for i in range(120 - words - empty)]
    rows = [f"{value},{i / 7},{'pq'[i % 2]}\n" for i, value in enumerate(values)]
    path = write("t.csv", "a,b,y\n" + "".join(rows))
    a = column(load(path, "y", "--eval-files", path), "a")
    assert (a.kind, a.missing) == (kind, empty + words * (kind == "number"))
    assert set(a.categories) == ({"0", "1", "2", "3+"} if kind == "category" else set())


# Dates

DATES = [
    *[
        "2020-01-{:02d}",
        "2020/01/{:02d}",
        "{:02d}.01.2020",
        "1/{}/2020",
        "01/{:02d}/20",
        "2020 1 {}",
    ],
    *["2020-01-{:02d}T10:15:00Z", "2020-01-{:02d} 10:15:30.25+01:00", "1/{}/2020 9:05 PM"],
    *["{} Jan 2020", "{}-Jan-20", "Jan {}, 2020", "January {}, 2020 10:15", "Mon, {:02d} Feb 2020"],
    *["{}Mar2020", "20{:02d}-01", "1/20{:02d}", "20{:02d} Jan", "May 20{:02d}"],
    # As cameras, PsychoPy, Java and databases write them.
    *["2020:01:{:02d} 10:15:30", "2020-01-{:02d}_10h15.30.250", "Mon 2020-01-{:02d}"],
    "{:02d}-JAN-20 10.15.30.000000 AM",
    # As phones write them, and people, with a word before the time.
    *["Jan {}, 2020 at 10:15:00\u202fAM", "2020-01-{} at 10.15.30", "Monday {} March 2020 at 3pm"],
    *["2020-W{:02d}", "20{:02d}Q1", "20{:02d} Q1", "Q420{:02d}"],
]
OTHER_DATES = [
    *["{}. März 2020", "{} août 2020", "{} de enero de 2020", "Mar-{:02d}", "2020_Jan_{}_1015"],
    *["Mon Jan {:02d} 2020 10:15:30 GMT+0100 (CET)", "2020-01-{:02d}T10:15:30Z[UTC]"],
    *["10:15 {:02d}/01/2020", "2020-01-{:02d}_10-15-30", "2020-01-{:02d} (Mon)"],
    *["{}. März 2020 um 10:15", "{}.3.2020 um 8 Uhr", "{} mars 2020 à 10h15", "May {:02d}"],
    "Thu Nov {:02d} 00:38:03 UTC 2026",
]


def write_dates(form: str) -> str:
    rows = [f'"{form.format(10 + i % 9)}",{i % 7},{"pq"[i % 2]}\n' for i in range(99)]
    return write("t.csv", "a,b,y\n" + "".join(rows) + "unknown,1,p\n" * 4)


@pytest.mark.parametrize("form", DATES)
def test_dates_are_numbers_beside_a_few_words(form):
    loaded = load(write_dates(form), "y", "--eval-files", "t.csv")
    a = column(loaded, "a")
    assert (a.kind, a.missing) == ("date", 4)
    assert "the model sees its trend" in a.why and "'unknown' (4)" in a.why
    assert a.example == form.format(10)
    trend, *_, flag = loaded.schema.places["a"]["numbers"]
    numbers = loaded.train.arrays()["numbers"]
    assert len(np.unique(numbers[:99, trend])) == 9
    assert (np.diff(numbers[:9, trend]) > 0).all()
    assert numbers[:, flag].tolist() == [0] * 99 + [1] * 4


@pytest.mark.parametrize("form", OTHER_DATES)
def test_dates_in_other_forms_are_no_categories(form):
    loaded = load(write_dates(form), "y")
    assert column(loaded, "a").kind == "ignore"
    assert "a: ignore (dates, but not of one form that is used, such as 2020-01-31 ('" in (
        loaded.describe()
    )


def test_dates_are_no_categories_beside_a_word_that_is_more_frequent():
    rows = [f"{f'2020-01-{1 + i % 9}' if i % 3 else 'ongoing'},{i},{i % 2}\n" for i in range(99)]
    write("t.csv", "a,b,y\n" + "".join(rows) + "ongoing,1,1\n" * 90)
    assert column(load("t.csv", "y"), "a").kind == "ignore"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["2020", "2021", "2022"], "number"),
        (["20200131", "20200201"], "number"),
        (["2020.01", "2020.02"], "number"),
        (["may", "will", "can"], "category"),
        (["jan", "feb", "mar", "may"], "category"),
        (["March", "Waltz", "Polka"], "category"),
        (["1.2.3", "1.2.4", "10.2.15"], "category"),
        (["10-12", "13-15", "16-18"], "category"),
        (["Marker-10", "Marker-11"], "category"),
        (["Model 2020-05", "Model 2020-06"], "category"),
        (["SEPT10", "MARCH1", "DEC1"], "category"),
        (["8:00", "16:00"], "category"),
        (["192.168.1.1", "10.0.0.1"], "category"),
        (["s01", "s02"], "category"),
        (["2020-01-31", "never", "unknown", "2020-21"], "category"),
    ],
)
def test_what_is_no_date_stays(values, kind):
    rows = [f"{values[i % len(values)]},{i % 7},{'pq'[i // 7 % 2]}\n" for i in range(120)]
    path = write("t.csv", "a,b,y\n" + "".join(rows))
    assert column(load(path, "y"), "a").kind == kind


@pytest.mark.parametrize("kind", ["category", "date", "ignore"])
def test_a_schema_settles_dates(kind):
    lines = [f"{1 + i % 9}/1/2020,{i},{i % 2}\n" for i in range(99)]
    path = write("t.csv", "a,b,y\n" + "".join(lines))
    settled = {"name": "a", "kind": kind, "form": "day/month/year"}
    write("s.json", json.dumps({"columns": [settled]}))
    a = column(load(path, "y", "--schema", "s.json"), "a")
    assert a.kind == kind
    if kind == "date":
        assert a.form == "day/month/year" and "2020-01-01 to 2020-01-09" in a.why
        assert column(load(path, "y"), "a").form == "month/day/year"


@pytest.mark.parametrize(
    ("settled", "expected"),
    [
        (
            {"name": "b", "kind": "date"},
            "t.csv:2: column 'b': expected a date (year-month-day), got '0'",
        ),
        (
            {"name": "a", "form": "Y-M"},
            "--schema s.json: column 'a' has form 'Y-M'; write one of year-",
        ),
    ],
)
def test_a_schema_names_dates_that_are_none(settled, expected):
    write("t.csv", "a,b,y\n" + "".join(f"2020-01-{1 + i % 9},{i},{i % 2}\n" for i in range(99)))
    write("s.json", json.dumps({"columns": [settled]}))
    assert refusal("t.csv", "y", "--schema", "s.json").startswith(expected)


def test_held_out_dates_in_another_form_are_refused():
    write("t.csv", "a,b,y\n" + "".join(f"2020-01-{1 + i % 9},{i},{i % 2}\n" for i in range(99)))
    write("e.csv", "a,b,y\n" + "".join(f"{1 + i % 9}.1.2020,{i},{i % 2}\n" for i in range(99)))
    assert refusal("t.csv", "y", "--eval-files", "e.csv").startswith(
        "e.csv:2: column 'a': expected a date (year-month-day), got '1.1.2020'; fix it"
    )


def count_days(*date: float) -> float:
    year, month, day, *time = date
    days = datetime.date(year, month, day) - datetime.date(1970, 1, 1)
    return days.days + sum(n / f for n, f in zip(time, (24, 1440, 86400), strict=False))


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2020-02-29", (2020, 2, 29)),
        ("1500-03-01", (1500, 3, 1)),
        ("31/1/30", (1930, 1, 31)),
        ("1/31/29 12:10 AM", (2029, 1, 31, 0, 10)),
        ("1/31/2020 12:10 pm", (2020, 1, 31, 12, 10)),
        ("2020-12-31T23:59:30.5-08:00", (2020, 12, 31, 23, 59, 30.5)),
        ("December 2020", (2020, 12, 1)),
        ("3 Sept 2021", (2021, 9, 3)),
        ("1956 Q4", (1956, 10, 1)),
        ("2020-W53", (2020, 12, 28)),
        ("1991 W01", (1990, 12, 31)),
    ],
)
def test_dates_are_days(text, date):
    form, example = dates.find_form(pa.array([text, ""]))
    days = dates.parse(pa.array([text, "", None, "2020-13-01", "x"]), form)
    assert example == text
    assert days.to_pylist() == [pytest.approx(count_days(*date), abs=1e-9), *[None] * 4]


def test_the_calendar():
    days = np.arange(-170_000.0, 80_000)
    texts = pa.array(days.astype(int).astype("datetime64[D]").astype(str))
    assert dates.parse(texts, "year-month-day").to_pylist() == days.tolist()


@pytest.mark.parametrize(
    ("days", "parts"),
    [
        (np.arange(1000), ["season", "weekday"]),
        (np.arange(100), ["weekday"]),
        (np.arange(0, 3000, 7), ["season"]),
        (np.arange(0, 3000, 365.25) // 1, []),
        (
            np.arange("1990-01", "1999-01", dtype="datetime64[M]").astype("datetime64[D]"),
            ["season"],
        ),
        (
            np.arange("1990-02", "1999-01", 3, "datetime64[M]").astype("datetime64[D]") - 1,
            ["season"],
        ),
        (np.arange(0, 60, 1 / 24), ["weekday", "hour"]),
        (np.arange(0, 0.5, 1 / 1440), []),
        (np.random.default_rng(0).uniform(0, 9000, 500), ["season", "weekday", "hour"]),
    ],
)
def test_the_model_sees_what_varies(days, parts):
    assert dates.choose_parts(days.astype(float)) == parts


# Numbers beyond float32


@pytest.mark.parametrize("huge", ["2e39", "1e31", "-1e300"])
@pytest.mark.parametrize("place", ["training", "held-out"])
def test_a_target_too_large_for_float32_is_named_with_its_line(huge, place):
    rows = [f"{i / 2},{i / 8}\n" for i in range(99)]
    write("t.csv", "a,y\n" + "".join(rows))
    rows[50] = f"50,{huge}\n"
    write("huge.csv", "a,y\n" + "".join(rows))
    files = ("huge.csv", "t.csv") if place == "training" else ("t.csv", "huge.csv")
    message = refusal(files[0], "y", "--eval-files", files[1])
    assert message.startswith(f"huge.csv:52: target 'y' is '{huge}', too large for float32")
    assert "divide the whole column" in message


def test_a_held_out_target_may_not_be_beyond_all_measure_of_training():
    write("t.csv", "a,y\n" + "".join(f"{i / 2},{i}e-25\n" for i in range(99)))
    write("e.csv", "a,y\n1,1e-25\n2,1e25\n")
    assert refusal("t.csv", "y", "--eval-files", "e.csv").startswith(
        "e.csv:3: target 'y' is '1e25'"
    )


def test_a_target_too_small_for_float32_is_refused():
    write("t.csv", "a,y\n" + "".join(f"{i / 2},{i}e-44\n" for i in range(99)))
    assert "too close for float32" in refusal("t.csv", "y")


def test_columns_that_float64_cannot_standardise_are_ignored():
    write(
        "t.csv",
        "a,b,c,y\n" + "".join(f"{i}e-300,{i - 50}e306,{i / 2},{i % 2}\n" for i in range(99)),
    )
    loaded = load("t.csv", "y")
    assert [c.kind for c in loaded.schema.columns] == ["ignore", "ignore", "number"]
    assert "too close to compute with" in column(loaded, "a").why
    assert "too large to compute with" in column(loaded, "b").why
    write("b.json", '{"columns": [{"name": "b", "kind": "number"}]}')
    message = refusal("t.csv", "y", "--schema", "b.json")
    assert message.startswith(
        "column 'b': numbers up to 4.6e+307: too large to compute with; divide"
    )


# Advice that works


def test_advice_for_a_target_of_texts_is_not_circular():
    write("t.csv", "x,remark\n" + "".join(f"{i},remark number {i}\n" for i in range(80)))
    for flags in ([], ["--task", "classification"], ["--task", "regression"]):
        message = refusal("t.csv", "remark", *flags)
        assert "choose another --target" in message
        assert "--task" not in message


def test_advice_for_a_target_of_numbers_works():
    write("t.csv", "x,y\n" + "lost,lost\n" + "".join(f"{i},{i}\n" for i in range(80)))
    assert refusal("t.csv", "y", "--task", "classification").endswith("try --task regression")
    assert load("t.csv", "y", "--task", "regression").schema.task == "regression"
