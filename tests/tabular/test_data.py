"""Any CSV to arrays on disk: what is inferred, what is refused and how, and how rows are dealt out.

No test here needs TensorFlow.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import broken
import numpy as np
import pytest
from conftest import ROOT, tree, write
from own import column, load, refusal

from codec.schema import Column, Schema
from launcher.jobfile import spec
from trainer import data, task
from codec.columns import tables
from trainer.engine import batching, cache
from trainer.engine.examples import Examples, Part

pytestmark = pytest.mark.slow

ROWS = "".join(f"{3 * i},{'uv'[i % 2]},{'pqr'[i % 3]}\n" for i in range(60))
TABLE = "a,b,y\n" + ROWS


def kinds(loaded: data.Examples) -> dict[str, str]:
    return {column.name: column.kind for column in loaded.schema.columns}


# What is inferred


def test_kinds_are_inferred_and_say_why():
    rows = [f"{3 * i},{i / 7},w{i % 3},id{i},1,,x,{'pq'[i % 2]}" for i in range(50)]
    write("t.csv", "\n".join(["whole,real,word,id,same,empty,text,y", *rows]))
    loaded = load("t.csv", "y", "--eval-files", "t.csv")
    assert {c.name: (c.kind, c.why) for c in loaded.schema.columns} == {
        "whole": ("number", "every value is a number"),
        "real": ("number", "every value is a number"),
        "word": ("category", "text with 3 different values"),
        "id": ("ignore", "text that differs from row to row: an id?; 50 different values"),
        "same": ("ignore", "always 1"),
        "empty": ("ignore", "no row has a value"),
        "text": ("ignore", "always 'x'"),
    }
    assert loaded.schema.task == "classification"
    assert loaded.schema.labels == ["p", "q"]


def test_statistics_are_those_of_the_values_that_are_there():
    values = [3.5, -1e6, 0.25, 7e6, 1e-3] * 20
    write("t.csv", "a,y\n" + "".join(f"{v},p\n,q\n" for v in values))
    a = column(load("t.csv", "y", "--eval-files", "t.csv"), "a")
    assert a.missing == 100
    assert a.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert a.std == pytest.approx(np.std(values), rel=1e-12)


def test_a_constant_column_is_seen_whatever_rounding_does_to_its_mean():
    write("t.csv", "a,b,y\n" + "".join(f"0.1,{i / 4},{i % 2}\n" for i in range(275)))
    assert kinds(load("t.csv", "y")) == {"a": "ignore", "b": "number"}


@pytest.mark.parametrize("token", ["", "?", "NA", "NaN", "null", " ?", "  ?", "? ", "\tNA"])
def test_missing_values_are_known_in_every_spelling(token):
    rows = "".join(f"{i},{'uv'[i % 2]},{'pq'[i % 2]}\n" for i in range(30))
    write("t.csv", f"a,b,y\n{rows}{token},{token},p\n7,u,{token}\n")
    loaded = load("t.csv", "y", "--eval-files", "t.csv")
    assert kinds(loaded) == {"a": "number", "b": "category"}
    assert (column(loaded, "a").missing, column(loaded, "b").missing) == (1, 1)
    assert (loaded.train.rows, loaded.train.dropped) == (31, 1)
    arrays = loaded.eval.arrays()
    assert arrays["numbers"][30].tolist() == [0.0, 1.0]  # the mean, and the mark for missing
    assert arrays["categories"][30].tolist() == [0]


def test_infinite_and_not_a_number_count_as_missing():
    write("t.csv", "a,y\n" + "1,p\n2,q\ninf,p\n-inf,q\nNAN,p\n1e999,q\n" * 9)
    loaded = load("t.csv", "y", "--eval-files", "t.csv")
    assert column(loaded, "a").missing == 36
    assert np.isfinite(loaded.train.arrays()["numbers"]).all()


def test_numbers_that_a_client_mistyped_by_a_hundred_zeros_stay_finite():
    write("t.csv", TABLE)
    write("e.csv", "a,b,y\n1e300,u,p\n-1e300,v,q\n")
    numbers = load("t.csv", "y", "--eval-files", "e.csv").eval.arrays()["numbers"]
    values = np.arange(0, 180, 3)
    bounds = np.array([2 * 177, -177])  # as far away again as training values are from each other
    np.testing.assert_allclose(numbers[:, 0], (bounds - values.mean()) / values.std(), rtol=1e-6)


def test_unseen_categories_share_a_place_with_missing_ones():
    write("t.csv", TABLE)
    write("e.csv", "a,b,y\n1,u,p\n1,v,p\n1,zebra,p\n1,,p\n")
    places = load("t.csv", "y", "--eval-files", "e.csv").eval.arrays()["categories"]
    assert places[:, 0].tolist() == [1, 2, 0, 0]


@pytest.mark.parametrize(
    ("values", "flags", "expected"),
    [
        (["yes", "no"], [], ["no", "yes"]),
        (["0", "1", "2"], [], ["0", "1", "2"]),
        (["3", "2.0", "+1"], [], ["1", "2", "3"]),
        (["10", "9.0", "-1"], ["--task", "classification"], ["-1", "9", "10"]),
        (["10", "9.0", "-1"], [], "regression"),
        (["+1", "-1"], [], ["-1", "1"]),
        (["0.5", "1.5", "2.5"], [], "regression"),
        ([str(i) for i in range(21)], [], "regression"),
        (["0.5", "1.5"], ["--task", "classification"], ["0.5", "1.5"]),
        (["1", "2"], ["--task", "regression"], "regression"),
        (["1", "2", "none of both"], [], ["1", "2", "none of both"]),
    ],
)
def test_the_target_settles_the_task(values, flags, expected):
    write("t.csv", "a,y\n" + "".join(f"{i / 2},{values[i % len(values)]}\n" for i in range(210)))
    schema = load("t.csv", "y", *flags).schema
    found = schema.labels if schema.task == "classification" else schema.task
    assert found == expected


def test_numeric_classes_are_the_same_however_they_are_spelled():
    write("t.csv", "a,y\n" + "1,0\n2,1\n" * 20)
    write("e.csv", "a,y\n1,0.0\n2,1e0\n3, 1\n")
    loaded = load("t.csv", "y", "--eval-files", "e.csv")
    assert loaded.eval.arrays()["target"].tolist() == [0, 1, 1]


def test_without_eval_files_the_same_fifth_is_held_out_every_time():
    write("t.csv", "a,y\n" + "".join(f"{i / 2},{i % 2}\n" for i in range(1000)))
    first = load("t.csv", "y", "--cache-dir", "one")
    again = load("t.csv", "y", "--cache-dir", "two")
    assert first.train.rows + first.eval.rows == 1000
    assert 150 < first.eval.rows < 250
    seen = [set(part.arrays()["numbers"][:, 0].tolist()) for part in (first.train, first.eval)]
    assert not seen[0] & seen[1]
    for part in ("train", "eval"):
        np.testing.assert_array_equal(
            getattr(first, part).arrays()["numbers"], getattr(again, part).arrays()["numbers"]
        )


# How files are written


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + TABLE,
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("\n", "\r"),
        TABLE.replace("\n", "\r\r\n"),
        TABLE.replace("\n", "\n\n"),
        "\n\r\n" + TABLE + "\n\n",
        TABLE.rstrip("\n"),
        TABLE.replace("a,b,y", " a ,b\t, y"),
        TABLE.replace(",u,", ", u ,").replace(",v,", ',"v",'),
        TABLE.replace("\n", ",\n"),
        "".join(f"{i},{line}\n" for i, line in enumerate(TABLE.splitlines()))[1:],
    ],
    ids=[
        "bom",
        "crlf",
        "cr",
        "crcrlf",
        "blanks",
        "ends",
        "no-end",
        "spaces",
        "quotes",
        "last-comma",
        "index",
    ],
)
def test_the_same_table_however_it_is_written(text):
    plain = load(write("plain.csv", TABLE), "y").train.arrays()
    other = load(write("other.csv", text), "y").train.arrays()
    for name in plain:
        np.testing.assert_array_equal(plain[name], other[name])


def test_quoted_values_hold_commas_quotes_and_line_ends():
    odd = ['"x, y"', '"say ""hi"""', '"two\nlines"', '"two\r\nlines"']
    write("t.csv", "a,b,y\n" + "".join(f"{i},{odd[i % 4]},{i % 2}\n" for i in range(40)))
    loaded = load("t.csv", "y")
    expected = {"x, y", 'say "hi"', "two\nlines", "two\r\nlines"}
    assert set(column(loaded, "b").categories) == expected
    assert loaded.train.rows + loaded.eval.rows == 40


def test_the_log_names_the_words_that_make_a_target_missing():
    """A class named "none" is dropped: the log must say why."""
    write("t.csv", "a,y\n" + "1,none\n2,left\n3,right\n" * 20)
    loaded = load("t.csv", "y", "--eval-files", "t.csv")
    assert loaded.schema.labels == ["left", "right"]
    assert (
        "20 training rows dropped: their target is missing (empty, or one of ?" in loaded.describe()
    )
    assert " none" in loaded.describe()
    write("one.csv", "a,y\n" + "1,none\n2,left\n" * 20)
    assert "none" in refusal("one.csv", "y", "--eval-files", "one.csv").partition("(empty")[2]


def test_the_last_value_may_hold_line_ends():
    write("t.csv", TABLE + '7,"two\nlines","p\n"\n')
    loaded = load("t.csv", "y", "--eval-files", "t.csv")
    assert (loaded.train.rows, loaded.schema.labels) == (61, ["p", "q", "r"])


def test_a_header_may_hold_line_ends_too():
    write("t.csv", '"a\nb",c,y\n' + ROWS)
    assert kinds(load("t.csv", "y")) == {"a\nb": "number", "c": "category"}


def test_several_files_globs_and_columns_in_another_order():
    write("in/part-0.csv", TABLE)
    write("in/part-1.csv", "y,a,b\np,1000,u\n")
    write("more, [1] ü.csv", "b,y,a\nv,q,2000\n")
    loaded = load("in/part-*.csv", "y", "--eval-files", "more, [1] ü.csv")
    assert loaded.train.rows == 61
    assert [Path(f["path"]).name for f in loaded.manifest["train"]["files"]] == [
        "part-0.csv",
        "part-1.csv",
    ]
    together = load("in/part-1.csv,in/part-0.csv,in/*.csv", "y", "--eval-files", "in/part-1.csv")
    assert together.train.rows == 61  # each file once


def test_columns_names_the_columns_of_a_file_without_header():
    write("t.csv", ROWS)
    assert kinds(load("t.csv", "y", "--columns", "a, b,y")) == {"a": "number", "b": "category"}


def test_the_schema_flag_settles_kinds():
    write("t.csv", "zip,id,a,y\n" + "".join(f"{i % 7},{i},{i / 2},{i % 2}\n" for i in range(70)))
    hints = [{"name": "zip", "kind": "category"}, {"name": "id", "kind": "ignore"}]
    write("s.json", json.dumps({"columns": hints}))
    loaded = load("t.csv", "y", "--schema", "s.json")
    assert kinds(loaded) == {"zip": "category", "id": "ignore", "a": "number"}
    assert sorted(column(loaded, "zip").categories) == list("0123456")


def test_the_schema_that_a_run_wrote_can_be_given_to_the_next():
    write("t.csv", TABLE)
    first = load("t.csv", "y").schema
    write("s.json", first.to_json())
    assert [(c.name, c.kind) for c in load("t.csv", "y", "--schema", "s.json").schema.columns] == [
        (c.name, c.kind) for c in first.columns
    ]


def test_two_thousand_columns():
    names = ",".join(f"c{i}" for i in range(2000))
    rows = "".join(
        ",".join(str((i * j) % 11) for j in range(2000)) + f",{i % 2}\n" for i in range(40)
    )
    write("t.csv", f"{names},y\n{rows}")
    loaded = load("t.csv", "y")
    assert loaded.train.arrays()["numbers"].shape[1] > 1500
    assert len(loaded.describe().splitlines()) < 60


# What is refused

FAULTS = {
    "empty file": ("", "t.csv: the file is empty"),
    "header only": ("a,b,y\n", "t.csv: a header and no rows"),
    "target column missing": (TABLE.replace("y", "z", 1), "t.csv: no column 'y'; there are: a, b, z"),
    "one class": ("a,y\n" + "1,p\n2,p\n" * 9, "target 'y' has one class, 'p'"),
    "one value": ("a,y\n" + "1,0.5\n2,0.5\n" * 9, "target 'y' is always 0.5"),
    "no target at all": ("a,y\n" + "1,\n2,\n" * 9, "target 'y': no row has a value"),
    "too many classes": (
        "a,y\n" + "".join(f"{i / 2},name{i}\n" for i in range(50)),
        "target 'y' has 36 classes in 36 training rows (at most 18 classes); choose another --target",
    ),
    "too short a row": (TABLE + "1,u\n", "t.csv:62: 2 values, expected 3"),
    "too long a row": (TABLE + "1,u,p,9\n", "t.csv:62: 4 values, expected 3; a comma"),
    "a ragged row in a later block": (
        TABLE + ROWS * 3000 + "1,u\n" + ROWS,
        "t.csv:180062: 2 values, expected 3",
    ),
    "lines in quotes counted": ('a,b,y\n1,"\n\n",p\n1,u\n', "t.csv:5: 2 values"),
    "a quote that never ends": (TABLE + '1,u,"p\n' + ROWS, "t.csv:62: a quote opens in this row"),
    "and no line end after it": (
        (TABLE + '1,u,"p\n' + ROWS).rstrip(),
        "t.csv:62: a quote opens in this row",
    ),
    "and another one below": (
        TABLE + '1,"u,p\n' + ROWS + '1,"v,q\n' + ROWS,
        "t.csv:62: a quote opens in this row",
    ),
    "in the last column": (
        TABLE + '1,u,"p\n' + ROWS + '1,u,"q\n' + ROWS,
        "t.csv:62: a quote opens in this row",
    ),
    "a row beyond any block": (
        TABLE + "1," + "z" * 3_000_000 + ",p\n",
        "t.csv:62: a row of over 1048576 bytes",
    ),
    "a typo in the target": (
        "a,y\n" + "".join(f"{i},{i % 3}\n" for i in range(90)) + "1,l\n" * 4,
        "t.csv:92: column 'y': expected a number, got 'l'; fix it, leave it empty where nothing is "
        "known, or, if it is a class, give --task classification",
    ),
    "not UTF-8": ((TABLE + "1,\xe9,p\n").encode("latin-1"), "t.csv: near line 62: not UTF-8"),
    "UTF-16": (TABLE.encode("utf-16"), "t.csv: not a text in UTF-8"),
    "gzip": (gzip.compress(TABLE.encode()), "t.csv: not a text in UTF-8 (invalid start byte); unpack"),
    "a carriage return in a value": (
        TABLE + "7,one\rtwo,p\n" + ROWS,
        "t.csv:62: 2 values, expected 3; a carriage return (CR) ends the row there: put quotes",
    ),
    "duplicate header": ("a,a,y\n1,2,3\n", "t.csv:1: column 'a' stands in the header more than once"),
    "semicolons": (TABLE.replace(",", ";"), "t.csv:1: one column only, 'a;b;y'; expected at least two"),
    "tabs": (TABLE.replace(",", "\t"), r"t.csv:1: one column only, 'a\tb\ty'; expected at least two"),
    "nothing to learn from": (
        "a,y\n" + "1,p\n1,q\n" * 9,
        "no column is left to learn from (a: always 1)",
    ),
    "one row": ("a,b,y\n1,2,p\n", "no column is left"),
    "numbers beyond computing": ("a,y\n" + "1,1e308\n2,-1e308\n3,0.5\n" * 9, "t.csv:2: target 'y' is '1e308', too large for float32"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_file_is_one_line_and_leaves_nothing(fault):
    text, expected = FAULTS[fault]
    write("t.csv", text)
    assert refusal("t.csv", "y").startswith(expected)


FLAG_FAULTS = {
    "no match": (["--train-files", "none*.csv"], "--train-files: no file matches 'none*.csv'"),
    "no eval match": (["--eval-files", "none.csv"], "--eval-files: no file matches 'none.csv'"),
    "folder": (["--train-files", "in"], "--train-files: 'in' is a folder; name the files in it: 'in/*.csv'"),
    "near miss": (["--target", "speces"], "t.csv: no column 'speces'; there are: a, b, species; did you mean 'species'?"),
    "too few names": (["--columns", "a,species"], "t.csv:1: 3 values, but --columns gives 2 names"),
    "a name twice": (["--columns", "a,a,species"], "--columns: the name 'a' stands there more than once"),
    "names for a file with a header": (["--columns", "a,b,species"], "t.csv:1: with --columns, rows begin at the first line, but here it holds names: 'a, b, species'"),
    "text taken for numbers": (["--task", "regression"], "t.csv:2: column 'species': expected a number, got 'p'; choose another --target, or take the values for classes"),
    "eval lacks a column": (["--eval-files", "in/fewer.csv"], "in/fewer.csv: not the columns of t.csv: it lacks b"),
    "eval has more columns": (["--eval-files", "in/more.csv"], "in/more.csv: not the columns of t.csv: only it has c"),
    "unknown class in eval": (["--eval-files", "in/class.csv"], "in/class.csv:4: target 'species' is 'p.', which no training row has; the classes are: 'p', 'q', 'r'"),
    "text in a number of eval": (["--eval-files", "in/text.csv"], "in/text.csv:3: column 'a': expected a number, got 'x1'; fix it"),
    "no target in eval": (["--eval-files", "in/none.csv"], "in/none.csv: no row is left for eval; every target is missing"),
    "cache is a file": (["--cache-dir", "t.csv"], "t.csv: the encoded data cannot be written there"),
    "cache below a file": (["--cache-dir", "t.csv/x"], "t.csv/x: the encoded data cannot be written there"),
    "schema is not there": (["--schema", "none.json"], "--schema none.json: cannot be read"),
    "schema is not JSON": (["--schema", "t.csv"], "--schema t.csv: expected {"),
    "no such kind": (["--schema", "in/kind.json"], "--schema in/kind.json: column 'a' has kind 'text'; write one of number, category, date, ignore"),
    "no such column": (["--schema", "in/column.json"], "--schema in/column.json: no column 'c' in the data; there are: a, b, species"),
    "nothing settled": (["--schema", "in/nothing.json"], "--schema in/nothing.json: column 'a': expected any of kind, form, codes, low, high, categories"),
    "codes are no list": (["--schema", "in/codes.json"], "--schema in/codes.json: column 'a': codes: expected a list of numbers, got '9'"),
    "categories are numbers": (["--schema", "in/categories.json"], "--schema in/categories.json: column 'b': categories: expected a list of texts, got '[1]'"),
    "target has a kind": (["--schema", "in/target.json"], "--schema in/target.json: 'species' is the target, which has no kind"),
    "text where a number must be": (["--schema", "in/number.json"], "t.csv:2: column 'b': expected a number, got 'u'; make it a category, or ignore it"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FLAG_FAULTS)
def test_a_fault_in_a_flag_is_one_line_and_leaves_nothing(fault):
    write("t.csv", TABLE.replace("y", "species", 1))
    write("in/fewer.csv", "a,species\n1,p\n")
    write("in/more.csv", "a,b,c,species\n1,u,1,p\n")
    write("in/class.csv", "a,b,species\n1,u,p\n\n1,u,p.\n")
    write("in/text.csv", "a,b,species\n1,u,p\nx1,u,p\n")
    write("in/none.csv", "a,b,species\n1,u,?\n")
    for name, hint in {
        "kind": {"name": "a", "kind": "text"},
        "column": {"name": "c", "kind": "number"},
        "nothing": {"name": "a", "kinds": "number"},
        "codes": {"name": "a", "codes": 9},
        "categories": {"name": "b", "categories": [1]},
        "target": {"name": "species", "kind": "category"},
        "number": {"name": "b", "kind": "number"},
    }.items():
        write(f"in/{name}.json", json.dumps({"columns": [hint]}))
    flags, expected = FLAG_FAULTS[fault]
    assert refusal("t.csv", "species", *flags).startswith(expected)


def test_a_file_that_may_not_be_read():
    write("t.csv", TABLE)
    os.chmod("t.csv", 0)
    if os.access("t.csv", os.R_OK):
        pytest.skip("this user may read everything")
    assert refusal("t.csv", "y").startswith("t.csv: cannot be read (Permission denied)")


def test_the_trainer_says_it_on_stderr_and_ends_with_2(capsys):
    write("t.csv", "")
    argv = ["--train-files", "t.csv", "--target", "y", "--job-dir", "runs/a"]
    assert task.main(argv) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "error: t.csv: the file is empty; expected a header line and rows\n"
    assert tree() == ["t.csv"]


# The cache


def test_the_second_load_finds_what_the_first_encoded():
    write("t.csv", TABLE)
    first, second = load("t.csv", "y"), load("t.csv", "y")
    assert (first.reused, second.reused) == (False, True)
    assert first.schema == second.schema
    assert first.manifest == second.manifest
    assert isinstance(first, Examples) and isinstance(first.eval, Part)


def test_an_edit_that_keeps_size_and_time_is_seen():
    write("t.csv", TABLE)
    before = os.stat("t.csv")
    mean = column(load("t.csv", "y"), "a").mean
    write("t.csv", TABLE.replace("57,", "97,"))
    os.utime("t.csv", ns=(before.st_atime_ns, before.st_mtime_ns))
    after = os.stat("t.csv")
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    edited = load("t.csv", "y")
    assert not edited.reused
    assert column(edited, "a").mean > mean


@pytest.mark.parametrize(
    "flags", [["--target", "b"], ["--task", "regression", "--target", "a"], ["--schema", "s.json"]]
)
def test_other_flags_are_another_encoding(flags):
    write("t.csv", TABLE)
    write("s.json", '{"columns": [{"name": "a", "kind": "category"}]}')
    load("t.csv", "y")
    assert not load("t.csv", "y", *flags).reused


# A process that encodes the file named by its argument, as soon as "go" is there.
ENCODER = f"""
import os, sys, time
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from own import load
print("ready", flush=True)
while not os.path.exists("go"):
    time.sleep(0.001)
print(load(sys.argv[1], "y").train.rows, flush=True)
"""


def start_encoder(path: str) -> subprocess.Popen:
    command = [sys.executable, "-c", ENCODER, path]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_may_encode_the_same_at_once():
    write("t.csv", TABLE + ROWS * 1000)
    encoders = [start_encoder("t.csv") for _ in range(2)]
    write("go", "")
    rows = [encoder.communicate(timeout=60)[0].strip() for encoder in encoders]
    assert [encoder.returncode for encoder in encoders] == [0, 0]
    assert rows[0] == rows[1] == str(load("t.csv", "y").train.rows)
    assert len(os.listdir("runs/.cache")) == 1


# A process that is killed when all of its folder is written but the checksums.
KILLED = f"""
import os, signal, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from own import load
from trainer.engine import cache
cache._checksums = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
load("t.csv", "y")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system kills in another way")
def test_a_killed_encoder_does_no_harm_and_is_swept_up_later():
    write("t.csv", TABLE + ROWS * 10)
    assert subprocess.run([sys.executable, "-c", KILLED]).returncode == -signal.SIGKILL
    [partial] = Path("runs/.cache").iterdir()
    assert partial.name.startswith("partial-")
    assert not load("t.csv", "y").reused
    assert partial.exists()  # it might be at work still
    mine = Path(write("runs/.cache/partial-results/finished/a.csv", "")).parents[1]  # --cache-dir
    yesterday = time.time() - cache.ABANDONED - 60
    for path in (partial, mine):
        os.utime(path, (yesterday, yesterday))
    write("other.csv", TABLE)
    load("other.csv", "y")
    assert not partial.exists() and (mine / "finished/a.csv").exists()
    assert load("t.csv", "y").reused


DAMAGE = {
    "cut off": lambda path: os.truncate(path, path.stat().st_size - 1),
    "all zeros, as after a crash of the machine": lambda path: path.write_bytes(
        bytes(path.stat().st_size)
    ),
    "lost": os.remove,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_corrupt_file_in_the_cache_is_made_again(damage, capsys):
    write("t.csv", TABLE + ROWS * 1000)
    expected = load("t.csv", "y").train.arrays()["numbers"].tolist()
    paths = [
        path for path in Path("runs/.cache").rglob("*") if path.stat().st_size and path.is_file()
    ]
    assert len(paths) > 4
    for path in paths:
        DAMAGE[damage](path)
        capsys.readouterr()

        loaded = load("t.csv", "y")

        [line] = capsys.readouterr().out.splitlines()
        assert line.endswith("a file of it is missing or corrupt; the folder is made again")
        assert not loaded.reused and loaded.train.arrays()["numbers"].tolist() == expected
    assert load("t.csv", "y").reused and len(os.listdir("runs/.cache")) == 1


# How rows are dealt out


def table(rows: int, columns: int = 1) -> data.Table:
    """A table on disk whose first number is the row's own place."""
    numbers = np.zeros((rows, columns), np.float32)
    numbers[:, 0] = np.arange(rows)
    os.makedirs("table", exist_ok=True)
    numbers.tofile("table/numbers")
    np.zeros((rows, 0), np.int32).tofile("table/categories")
    (np.arange(rows) % 2).astype(np.int32).tofile("table/target")
    features = [Column(f"c{i}", "number") for i in range(columns)]
    return data.Table("table", rows, 0, Schema("y", "classification", features, ["0", "1"]))


def dealt(blocks) -> list[list[int]]:
    """The rows of each batch, by their places; checks shapes on the way."""
    batches, shapes = [], set()
    for steps, (inputs, target) in blocks:
        assert len({len(array) for array in (*inputs.values(), target)}) == 1
        shapes.add(inputs["numbers"].shape)
        batches += inputs["numbers"][:steps, :, 0].astype(int).tolist()
        assert target[:steps].tolist() == (inputs["numbers"][:steps, :, 0] % 2).tolist()
    assert len(shapes) <= 2  # one for the last batch: so a compiled loop compiles twice at most
    return batches


SIZES = [
    (1, 1),
    (7, 3),
    (5, 32),
    (511, 512),
    (512, 64),
    (513, 64),
    (5_000, 33),
    (data.WINDOW + 1, 1000),
    (3 * data.WINDOW - 5, 4096),
    (data.WINDOW + 700, data.WINDOW + 300),
]


@pytest.mark.parametrize(("rows", "size"), SIZES)
def test_every_row_exactly_once_an_epoch(rows, size):
    batches = dealt(table(rows).batches(size, seed=3, epoch=1))
    assert sorted(row for batch in batches for row in batch) == list(range(rows))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert len(batches) == batching.count_steps(rows, size)


def test_without_a_seed_the_order_is_the_files():
    rows = 2 * data.WINDOW + 77
    batches = dealt(table(rows).batches(500))
    assert [row for batch in batches for row in batch] == list(range(rows))


@pytest.mark.parametrize("rows", [300, 3000])
def test_the_order_follows_from_seed_and_epoch_alone(rows):
    t = table(rows)
    order = dealt(t.batches(64, seed=5, epoch=2))
    assert dealt(t.batches(64, seed=5, epoch=2)) == order
    assert dealt(t.batches(64, seed=5, epoch=3)) != order
    assert dealt(t.batches(64, seed=6, epoch=2)) != order


def test_rows_are_mixed_near_and_far():
    rows = 4 * data.WINDOW
    order = [row for batch in dealt(table(rows).batches(1024, seed=0)) for row in batch]
    first = np.array(order[: data.WINDOW])
    assert len(np.unique(first // data.WINDOW)) == 4  # from all over the file
    assert np.mean(np.abs(np.diff(first)) == 1) < 0.01  # neighbours on disk are parted


@pytest.mark.parametrize(("rows", "size"), [(5_000, 33), (2 * data.WINDOW + 9, 3000)])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_an_epoch_goes_on_in_the_middle_just_as_it_would_have(rows, size, share):
    t = table(rows)
    whole = dealt(t.batches(size, seed=1, epoch=4))
    first = int(batching.count_steps(rows, size) * share)
    assert dealt(t.batches(size, seed=1, epoch=4, first=first)) == whole[first:]


@pytest.mark.parametrize(
    ("rows", "size", "parts"), [(1000, 64, 2), (1000, 33, 4), (70_000, 100, 8), (65, 64, 2)]
)
def test_replicas_share_every_batch(rows, size, parts):
    t = table(rows)
    whole = dealt(t.batches(size, seed=1))
    shares = [dealt(t.batches(size, seed=1, share=(i, 1, parts))) for i in range(parts)]
    together = [sum((share[i] for share in shares), []) for i in range(len(shares[0]))]
    assert len(together) == batching.count_steps(rows, size, parts)
    assert together == whole[: len(together)]  # without the last, where it is too small for all
    assert all(np.ptp([len(share[i]) for share in shares]) <= 1 for i in range(len(together)))
    double = dealt(t.batches(size, seed=1, share=(0, 2, parts)))
    assert all(len(batch) for batch in double) and len(double) == len(together)


@pytest.mark.parametrize(("rows", "replicas", "here"), [(32, 3, 1), (33, 4, 2), (5, 4, 4)])
def test_share_weights_make_the_mean_of_means_the_mean(rows, replicas, here):
    values, means = np.random.default_rng(0).normal(size=rows), []
    for process in range(replicas // here):
        own = values[batching.part(rows, process, replicas // here)]
        weights = batching.share_weights(len(own), here, rows, replicas)
        parts = [batching.part(len(own), i, here) for i in range(here)]
        means += [np.mean((own * weights)[part]) for part in parts]
    assert np.mean(means) == pytest.approx(values.mean(), rel=1e-6)


@pytest.mark.parametrize(("rows", "parts"), [(1000, 2), (65, 2), (67, 4), (66, 4)])
def test_replicas_evaluate_every_row_once(rows, parts):
    shares = [dealt(table(rows).batches(64, share=(i, 1, parts))) for i in range(parts)]
    assert sorted(sum((sum(share, []) for share in shares), [])) == list(range(rows))


def test_wide_rows_are_dealt_in_smaller_blocks():
    _, (inputs, _) = next(table(5000, columns=4000).batches(16, seed=0))
    assert inputs["numbers"].nbytes <= data.WINDOW_BYTES


def peak_bytes(rows: int) -> int:
    """Peak memory of a process that encodes a table and goes through it once."""
    code = f"""
import resource, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from own import load
loaded = load("{rows}.csv", "y")
seen = sum(steps for steps, block in loaded.train.batches(256, seed=0))
assert seen == -(-loaded.train.rows // 256)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    write(f"{rows}.csv", "a,b,c,y\n" + f"1.5,2.25,{'u' * 20},p\n-3.125,4,v,q\n" * (rows // 2))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(os.name == "nt", reason="the peak is not told there")
def test_memory_does_not_grow_with_the_rows():
    assert peak_bytes(1_000_000) < 1.2 * peak_bytes(100_000)


def test_a_message_shows_the_beginning_of_a_long_value():
    assert len(tables.shown("x" * 10_000)) < 50
    assert tables.listed([str(i) for i in range(1000)]).endswith("(1000 in all)")


def test_what_is_ignored_is_told_by_what_it_looks_like():
    rows = [
        f'{i % 28 + 1}. Mai 2024 {i}:00,"{i},5",s-{i}{"x" * (i % 9)},{i % 7},{"ab"[i % 2]}'
        for i in range(99)
    ]
    path = write("a.csv", "\n".join(["when,price,note,n,y", *rows]))

    columns = {column.name: column for column in load(path, "y").schema.columns}

    assert [columns[name].kind for name in ("when", "price", "note", "n")] == [
        *["ignore"] * 3,
        "number",
    ]
    assert "dates, but not of one form that is used" in columns["when"].why
    assert "numbers with a comma or a unit: write 10.4 ('0,5')" in columns["price"].why
    assert "an id?" in columns["note"].why


def test_short_dates_and_measures_that_repeat_are_no_mere_texts():
    rows = [f"{i % 28 + 1}.1.24,{i % 9}.1.24,{i % 40}%,{'ab'[i % 2]}" for i in range(400)]
    path = write("a.csv", "\n".join(["day,version,share,y", *rows]))

    columns = {column.name: column for column in load(path, "y").schema.columns}

    assert columns["day"].kind == "ignore" and "dates, but not of one form" in columns["day"].why
    assert columns["version"].kind == "category"
    assert "40 different values: looks like numbers with a comma or a unit" in columns["share"].why


# What a job file is told of it


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_study_looks_at_metrics_of_its_task_alone(task):
    text = broken.STUDY.replace("--epochs=3", f"--task={task}")
    own, other = ("accuracy", "mae") if task == "classification" else ("mae", "accuracy")
    write("job.yaml", text.replace("val_loss", f"val_{own}"))
    assert spec.load("job.yaml")
    write("job.yaml", text.replace("val_loss", f"val_{other}"))
    with pytest.raises(spec.SpecError, match=f"the trainer reports no val_{other}"):
        spec.load("job.yaml")


# What a run record says of it


def test_raw_data_is_named_by_the_hash_of_its_list():
    from trainer.engine import record

    path = ROOT / "data/MANIFEST.csv"
    assert record.hash_raw_data() is None
    path.write_bytes(b"path,size,crc32c\n")
    try:
        assert record.hash_raw_data() == "6cb9e07a37f3c0e5"  # of sha256sum, the first 16 digits
    finally:
        path.unlink()
