"""What people mean by numbers: row numbers, codes for missing values, far values, counts and classes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import train, write
from own import column, load, refusal

from predictor.inputs import Inputs
from codec.columns import blocks, meaning
from codec.columns.profiles import Profile
from codec.columns.sample import ROWS, Sample

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def same_numbers_in_any_order_of_tests():
    RNG.bit_generator.state = np.random.default_rng(1).bit_generator.state


def write_table(path: str = "t.csv", **columns) -> str:
    """A file of these columns, all of one length."""
    rows = zip(*columns.values(), strict=True)
    return write(path, "\n".join([",".join(columns), *(",".join(map(str, r)) for r in rows), ""]))


def settle(**column) -> list[str]:
    """The flags of a schema that settles one column."""
    return ["--schema", write("s.json", json.dumps({"columns": [column]}))]


def fit_line(loaded) -> float:
    """R² of the held-out rows, of the straight line through the training rows as they are encoded."""
    sides = []
    for part in (loaded.train, loaded.eval):
        numbers = part.arrays()["numbers"].astype(float)
        target = np.clip(part.arrays()["target"][:, 0], loaded.schema.low, loaded.schema.high)
        sides.append((np.c_[numbers, np.ones(len(numbers))], target))
    (inputs, target), (others, truth) = sides
    slopes = np.linalg.lstsq(inputs, target, rcond=None)[0]
    return 1 - np.var(truth - others @ slopes) / np.var(truth)


# Row numbers

ROW_NUMBERS = {
    "from 1": ("number of a row", range(1, 101)),
    "from 0": ("foo", range(100)),
    "shuffled": ("index", RNG.permutation(100)),
    "a part of the rows": ("foo", sorted(RNG.permutation(150)[:100])),
    "the id of a patient": ("patient_id", RNG.permutation(10**6)[:100]),
    "an id far from 0": ("PassengerId", range(9001, 9101)),
    "descending": ("foo", range(100, 0, -1)),
    "another start": ("foo", range(1001, 1101)),
    "a document": ("docno", RNG.permutation(10**6)[:100]),
    "no name": ("Unnamed: 0", range(500, 600)),
    "R's nameless column": ("X", range(1, 101)),
}
FEATURES = {
    "years": ("foo", range(1900, 2000)),
    "a time": ("time", range(100)),
    "days": ("days_since_start", range(1, 101)),
    "a spectrum": ("wavelength", range(400, 500)),
    "the x of a curve": ("x", range(100)),
    "ranks": ("foo", RNG.permutation(100)),
    "a number of survivors": ("number", range(1000, 500, -5)),
    "not unique": ("id", [*range(99), 98]),
    "not whole": ("id", np.arange(100) / 2),
    "amounts": ("income", RNG.permutation(10**5)[:100]),
    "sorted amounts": ("income", sorted(RNG.permutation(10**5)[:100])),
    "nitrogen dioxide": ("NO2", RNG.permutation(10**5)[:100]),
    "something missing": ("foo", [*range(99), ""]),
}


@pytest.mark.parametrize("case", [*ROW_NUMBERS, *FEATURES])
def test_row_numbers_are_ignored_under_any_name_and_times_are_not(case):
    name, values = (ROW_NUMBERS | FEATURES)[case]
    path = write_table(**{name: values, "noise": RNG.normal(size=100), "y": np.arange(100) // 34})
    loaded = load(path, "y", "--eval-files", path)
    assert column(loaded, name).kind == ("ignore" if case in ROW_NUMBERS else "number")
    if case in ROW_NUMBERS:
        expected = f"{name}: ignore (row numbers, {min(values)} to {max(values)})"
        assert expected in loaded.describe()
        loaded = load(path, "y", "--eval-files", path, *settle(name=name, kind="number"))
        assert column(loaded, name).kind == "number"


def test_row_numbers_may_begin_again_in_each_file():
    for path in ("a.csv", "b.csv"):
        write_table(path, i=range(60), noise=RNG.normal(size=60), y=np.arange(60) % 2)
    assert column(load("a.csv,b.csv", "y"), "i").kind == "ignore"
    write_table("c.csv", i=[*range(60)] * 2, noise=RNG.normal(size=120), y=np.arange(120) % 2)
    assert column(load("c.csv", "y"), "i").kind == "number"  # a trial, a day


def test_a_table_of_row_numbers_alone_is_refused():
    write_table(rownames=range(1, 101), y=RNG.normal(size=100))
    assert refusal("t.csv", "y").startswith(
        "no column is left to learn from (rownames: row numbers, 1 to 100)"
    )


def test_the_only_column_may_be_the_x_of_a_curve():
    write_table(rownames=range(1, 101), foo=range(1, 101), y=RNG.normal(size=100))
    loaded = load("t.csv", "y")
    assert [c.kind for c in loaded.schema.columns] == ["ignore", "number"]


# Codes for missing values


def write_codes(codes: list, values=None) -> str:
    """A file whose target is a line over `a`, of which a tenth is codes."""
    values = RNG.normal(10, 2, 400) if values is None else np.resize(values, 400)
    cells = [
        codes[i // 10 % len(codes)] if i % 10 == 3 else round(v, 3) for i, v in enumerate(values)
    ]
    return write_table(a=cells, y=(3 * values + RNG.normal(size=400)).round(2))


@pytest.mark.parametrize(
    ("codes", "values"),
    [
        ([-999], None),
        ([-9, -99], None),
        ([9999], None),
        ([-99, 999.9], None),
        ([98, 99], [1, 2, 3, 4, 5, 6, 7]),
        ([-9, -8, -1], [0, 1, 2, 3]),
        ([-999], [0.0, 1.5, 80_000.0, 20_000.0]),
        ([-1], np.linspace(0.1, 0.2, 50)),
        ([99], [1, 2]),
        ([-99], np.linspace(-20, 35, 100)),  # degrees
        ([-999.25], None),  # a well log
        ([-999], [1e6, *RNG.normal(size=399)]),
    ],
)
def test_codes_count_as_missing(codes, values):
    loaded = load(write_codes(codes, values), "y")
    a = column(loaded, "a")
    assert a.codes == sorted(codes)
    assert 25 < a.missing < 40
    assert "codes, which count as missing: " in loaded.describe()
    assert f"'{codes[0]:g}' (" in a.why
    assert a.std < (5 if values is None else 1.5 * np.std(values))
    kept = column(load("t.csv", "y", *settle(name="a", codes=[])), "a")
    assert (kept.codes, kept.missing) == ([], 0)


def test_a_line_is_learned_beside_codes():
    assert fit_line(load(write_codes([-999]), "y")) > 0.8
    assert fit_line(load("t.csv", "y", *settle(name="a", kind="number", codes=[]))) < 0.3


@pytest.mark.parametrize(
    ("codes", "values"),
    [
        ([0], np.linspace(5, 9, 50)),  # a zero
        ([99], np.linspace(18, 90, 73)),  # an age
        ([9], [1, 2, 3, 4, 5]),  # perhaps
        ([-1], [0, 1]),
        ([-9], np.arange(-8, 9)),
        ([-99], np.linspace(-90, 200, 50)),
        ([99_999], np.linspace(0, 90_000, 70)),  # incomes, and a cap
        ([123], [1, 2, 3, 4]),  # far, but not as people write what is missing
    ],
)
def test_numbers_that_may_be_meant_are_no_codes(codes, values):
    assert column(load(write_codes(codes, values), "y"), "a").codes == []


def test_a_single_far_value_is_no_code():
    write_table(a=[-999, *RNG.normal(size=199)], y=RNG.normal(size=200))
    assert column(load("t.csv", "y", "--eval-files", "t.csv"), "a").codes == []


def test_a_client_may_send_codes():
    schema = load(write_codes([-999]), "y").schema
    encode = Inputs(schema).encode
    missing, code = encode([{"a": None}]), encode([{"a": -999.0}])
    assert code["numbers"].tolist() == missing["numbers"].tolist() == [[0, 1]]


def test_rows_whose_target_is_a_code_are_dropped():
    values = [-999 if i % 10 == 0 else round(v, 2) for i, v in enumerate(RNG.normal(size=200))]
    write_table(a=RNG.normal(size=200), y=values)
    loaded = load("t.csv", "y")
    assert loaded.train.rows + loaded.eval.rows == 180
    assert loaded.schema.std < 2
    assert "target 'y': codes, which count as missing: '-999' (" in loaded.describe()
    kept = load("t.csv", "y", *settle(name="y", codes=[]))
    assert kept.train.rows + kept.eval.rows == 200
    assert load("t.csv", "y", *settle(name="y", codes=[], low=-3)).schema.low == -3
    every = sorted(set(values))
    assert "no row has a value" in refusal("t.csv", "y", *settle(name="y", codes=every))


def test_classes_beside_a_code():
    write_table(a=RNG.normal(size=200), y=[-9 if i % 10 == 0 else i % 2 for i in range(200)])
    assert load("t.csv", "y").schema.labels == ["0", "1"]
    assert load("t.csv", "y", "--task", "classification").schema.labels == ["-9", "0", "1"]


# Words


def test_a_frequent_word_beside_numbers_gets_an_indicator():
    """As cylinders are written where some engines are rotary."""
    cylinders = RNG.integers(3, 9, 300).astype(object)
    power = [10.0 * c for c in cylinders]
    for i in range(0, 300, 5):
        cylinders[i], power[i] = "rotary", 200.0
    loaded = load(write_table(cylinders=cylinders, y=power), "y")
    assert column(loaded, "cylinders").kind == "number"
    assert "words, which count as missing: 'rotary' (" in loaded.describe()
    assert fit_line(loaded) > 0.99


def test_a_word_among_counts_costs_its_row():
    cylinders = ["rotary", *RNG.integers(3, 9, 99)]
    write_table(cylinders=cylinders, y=RNG.normal(size=100))
    loaded = load("t.csv", "cylinders", "--eval-files", "t.csv")
    assert loaded.schema.task == "regression"
    assert (loaded.train.dropped, loaded.train.rows) == (1, 99)


# Classes and counts


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([0, 1], "classification"),
        ([4, 8], "classification"),
        ([1, 2, 3], "classification"),
        ([0] * 90 + [1] * 9 + [2], "classification"),
        ([*range(10)], "classification"),  # digits
        ([*range(1, 8)], "classification"),
        ([*range(1, 11)], "regression"),  # a scale of a questionnaire
        (range(19, 34), "regression"),  # a mileage
        ([0] * 60 + [1] * 20 + [2] * 12 + [3] * 7 + [4], "regression"),  # visits
        ([3, 4, 5, 6, 8], "regression"),  # cylinders
        ([2, 3, 4], "regression"),
        ([*range(11)], "regression"),
    ],
)
def test_whole_numbers_are_classes_where_they_are_codes(values, task):
    write_table(a=RNG.normal(size=300), y=np.resize(values, 300))
    loaded = load("t.csv", "y")
    assert loaded.schema.task == task
    taken, other = (
        ("classes", "regression") if task == "classification" else ("numbers", "classification")
    )
    assert loaded.describe().endswith(
        f"target 'y' has {len(set(values))} different whole numbers from {min(values)} to {max(values)}: "
        f"taken for {taken} (else: --task {other})"
    )
    assert load("t.csv", "y", "--task", other).schema.task == other


# Dates, and categories of many values


def test_dates_that_repeat_under_a_header_with_blanks():
    lines = [
        f"2020-01-{i % 28 + 1:02d}, {'NA' if i % 7 == 0 else round(i % 9 + 0.25, 2)}, {['b', 'a', ' NA'][i % 3]}"
        for i in range(60)
    ]
    loaded = load(write("t.csv", "\n".join(["date, value, kind", *lines, ""])), "value")
    assert loaded.train.rows + loaded.eval.rows == 51
    assert column(loaded, "date").kind == "date" and column(loaded, "date").missing == 0
    assert "2020-01-01 to 2020-01-27; the model sees its trend, weekday)" in loaded.describe()
    assert column(loaded, "kind").categories == ["a", "b"] or ["b", "a"]


def test_rare_categories_share_the_place_of_unseen_ones():
    names = [f"common{i % 5}" if i % 10 else f"rare{i}" for i in range(200)]
    write_table(a=names, y=RNG.normal(size=200))
    loaded = load("t.csv", "y", "--eval-files", "t.csv")
    a = column(loaded, "a")
    assert sorted(a.categories) == [f"common{i}" for i in range(5)]
    assert "a: category (text with 25 different values; 20 of them, in too few rows, count as" in (
        loaded.describe()
    )
    assert (loaded.train.arrays()["categories"][:, 0] == 0).sum() == 20
    kept = load("t.csv", "y", "--eval-files", "t.csv", *settle(name="a", kind="category"))
    assert len(column(kept, "a").categories) == 25
    settled = load(
        "t.csv", "y", *settle(name="a", kind="category", categories=["rare10", "common1"])
    )
    assert column(settled, "a").categories == ["rare10", "common1"]


# Values far from all others


def test_one_value_ruins_no_scale():
    values = RNG.normal(size=500).round(3)
    target = (10 * values + RNG.normal(size=500)).round(3)
    far = target.copy()
    far[250] = 1e6
    plain = load(write_table(x=values, y=target), "y").schema
    loaded = load(write_table(x=values, y=far), "y", "--eval-files", "t.csv")
    assert loaded.schema.std == pytest.approx(plain.std, rel=0.05)
    assert (loaded.schema.low, loaded.schema.high) == (target.min(), target.max())
    assert "target 'y': in training, values far below" in loaded.describe()
    assert fit_line(loaded) > 0.95

    values[7] = 1e6
    loaded = load(write_table(x=values, y=target), "y", "--eval-files", "t.csv")
    x = column(loaded, "x")
    others = np.delete(values, 7)
    assert (x.mean, x.std) == (pytest.approx(others.mean()), pytest.approx(others.std()))
    assert (x.low, x.high) == (others.min(), others.max())
    assert (
        f"; values far below {x.low:.4g} or above {x.high:.4g} count as these)" in loaded.describe()
    )
    assert fit_line(loaded) > 0.95
    encode = Inputs(loaded.schema).encode
    assert encode([{"x": 1e300}])["numbers"] == encode([{"x": float(x.high)}])["numbers"]
    wide = load("t.csv", "y", *settle(name="x", low=-1e6, high=1e7))
    assert (column(wide, "x").low, column(wide, "x").high) == (-1e6, 1e7)


@pytest.mark.parametrize(
    "values",
    [
        RNG.lognormal(10, 1, 20_000),  # incomes
        np.maximum(0, RNG.normal(-4000, 6000, 5000)),  # mostly 0
        RNG.poisson(0.05, 5000),
        RNG.exponential(size=5000),
        RNG.normal(size=5000),
        np.resize([0, 1e9], 5000),
    ],
)
def test_ordinary_columns_keep_the_mean_and_the_standard_deviation(values):
    loaded = load(write_table(a=values, y=np.arange(len(values)) % 2), "y", "--eval-files", "t.csv")
    a = column(loaded, "a")
    assert a.mean == pytest.approx(values.mean(), rel=1e-12)
    assert a.std == pytest.approx(values.std(), rel=1e-12)
    assert a.low == pytest.approx(2 * values.min() - values.max())


def test_a_far_value_is_seen_beside_a_value_that_most_rows_have():
    zeros = np.where(np.arange(3000) % 25, 0.0, RNG.integers(1, 5, 3000))
    zeros[25] = 1e6
    values = Profile("a", False, 3000, 3000, low=0, high=1e6)
    assert meaning.find_scale(values, zeros, []).high == 4


# The sample


@pytest.mark.parametrize("size", [100, 7919, 100_000])
def test_the_sample_is_the_same_however_rows_come(size):
    def read(step: int) -> Sample:
        sample = Sample(["a"])
        for first in range(0, rows, step):
            numbers = np.arange(first, min(rows, first + step), dtype=np.uint64)
            block = blocks.Block({"a": blocks.pa.array(numbers * 1.0)}, numbers, np.array([]), {})
            sample.add(*sample.choose(block))
        return sample

    rows = 100_000
    values, again = read(size).columns["a"], read(4096).columns["a"]
    np.testing.assert_array_equal(values, again)
    assert 0.95 * ROWS < len(values) < 1.05 * ROWS
    assert (np.diff(values) > 0).all()
    assert np.histogram(values, 10)[0].min() > 0.08 * ROWS


# What is learned


def measure(job_dir: str, **columns) -> float:
    """R², or the share of rows that are right, of the held-out rows; far targets do not count."""
    run = train(job_dir, "--train-files", write_table(**columns), "--target", "y", "--epochs", "5")
    arrays, schema = run.data.eval.arrays(), run.schema
    target = arrays.pop("target")
    output = run.model({name: np.array(array) for name, array in arrays.items()}).numpy()
    if schema.labels:
        return (output.argmax(axis=1) == target).mean()
    near = (schema.low <= target) & (target <= schema.high)
    return 1 - np.var((target - output)[near]) / np.var(target[near])


def test_what_is_learned_of_such_tables():
    values = RNG.normal(10, 2, 400)
    target = (3 * values + RNG.normal(size=400)).round(2)
    coded = [-999 if i % 20 == 3 else value for i, value in enumerate(values)]
    assert measure("coded", temp=coded, y=target) > 0.8
    noise = RNG.normal(size=300)
    assert measure("noise", id=range(1, 301), noise=noise, y=np.arange(300) // 100) < 0.55
    target[200] = 1e6
    assert measure("far", x=values, y=target) > 0.9


def test_a_table_of_dates_and_values():
    months = np.arange("1990-01", "2005-01", dtype="datetime64[M]")
    number = np.arange(len(months))
    season = 25 * np.sin(2 * np.pi * number / 12) + 30 * (number % 12 == 11)
    sales = (100 + 0.8 * number + season + RNG.normal(0, 5, len(number))).round(2)
    assert measure("sales", month=months, y=sales) > 0.9
