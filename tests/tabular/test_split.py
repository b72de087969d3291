"""Which rows are held out, and that nothing of them reaches the schema."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, write
from own import column, load, refusal

from codec import split


def write_subjects(subjects: int, rows: int = 40, path: str = "t.csv") -> str:
    """Rows of each subject: its name, a number that is the subject's own, a class of its own."""
    lines = [
        f"s{i % subjects},{i % subjects},{i},{i % subjects % 2}" for i in range(subjects * rows)
    ]
    return write(path, "\n".join(["subject,own,n,y", *lines, ""]))


def sides(loaded) -> list[set[float]]:
    """The subjects of each part, by their own numbers."""
    own = next(i for i, c in enumerate(loaded.schema.numbers) if c.name == "own")
    c = loaded.schema.numbers[own]
    parts = (part.arrays()["numbers"][:, own] for part in (loaded.train, loaded.eval))
    return [set(np.round(part * c.std + c.mean).astype(int).tolist()) for part in parts]


@pytest.mark.parametrize(("subjects", "held_out"), [(4, 1), (6, 1), (12, 2), (50, 10)])
def test_a_group_stays_on_one_side(subjects, held_out):
    write_subjects(subjects)
    loaded = load("t.csv", "y", "--group", "subject")
    train, other = sides(loaded)
    assert not train & other
    assert (len(train), len(other)) == (subjects - held_out, held_out)
    assert (loaded.train.rows, loaded.eval.rows) == ((subjects - held_out) * 40, held_out * 40)
    log = loaded.describe()
    assert "subject: ignore (the group of a row (--group), no feature)" in log
    expected = f"{subjects - held_out} values in training, {held_out} held out"
    assert f"each value of 'subject' stays on one side (--group): {expected}" in log
    assert column(loaded, "subject").kind == "ignore"
    assert "warning" not in log


def test_groups_are_chosen_by_their_names_alone():
    """Neither the order of rows, nor this process' seed of hashes, nor white space matter."""
    lines = Path(write_subjects(12)).read_text(encoding="utf-8").splitlines()
    write("other.csv", "\n".join([lines[0], *(f"  {line}" for line in reversed(lines[1:])), ""]))
    assert sides(load("t.csv", "y", "--group", "subject")) == sides(
        load("other.csv", "y", "--group", "subject")
    )
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from codec import split; "
    code += "print(split.hash_text('s1é'), sorted(split.hold_out(map(str, range(50)), 0.2)))"
    done = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in "12"
    ]
    assert done[0] == done[1]
    assert split.hash_text("s1é") == int(done[0].split()[0])  # and that of every release
    assert split.hash_text("s1") == 9_917_286_856_640_899_412


def test_a_group_has_one_name_however_it_is_written():
    """pandas writes 7 as 7.0 where the column has a gap; a Mac composes letters otherwise."""
    names = [
        ("7", "7.0"),
        ("0", "000"),
        ("12", "+12."),
        ("s\u00e9", "se\u0301"),
        ("8", "8"),
        ("x", "x"),
    ]
    write(
        "t.csv",
        "subject,own,n,y\n"
        + "".join(f"{names[i % 6][i // 6 % 2]},{i % 6},{i},{i % 2}\n" for i in range(120)),
    )
    loaded = load("t.csv", "y", "--group", "subject")
    train, other = sides(loaded)
    assert (len(train), len(other), train & other) == (5, 1, set())
    assert split.name_group("7.5") == "7.5" and split.name_group("s07") == "s07"


def test_rows_without_a_group_stay_together():
    rows = "".join(f"{['', 'NA', 's1', ' s2 '][i % 4]},{i / 2},{i // 4 % 2}\n" for i in range(200))
    write("t.csv", "subject,n,y\n" + rows)
    loaded = load("t.csv", "y", "--group", "subject")
    assert "100 rows without a value count as one" in loaded.describe()
    assert sorted((loaded.train.rows, loaded.eval.rows)) in ([50, 150], [100, 100])


def test_groups_may_be_in_files_of_their_own():
    write_subjects(4)
    write("e.csv", "subject,own,n,y\n" + "new,9,1,1\nnew,9,2,0\n")
    loaded = load("t.csv", "y", "--group", "subject", "--eval-files", "e.csv")
    assert column(loaded, "subject").kind == "ignore"
    assert "4 values in training, 1 held out" in loaded.describe()
    write("both.csv", "subject,own,n,y\n" + "new,9,1,1\ns2,9,2,0\n")
    assert refusal("t.csv", "y", "--group", "subject", "--eval-files", "both.csv").startswith(
        "--group subject: 's2' in t.csv and in both.csv, too; keep each value in files of one kind"
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            ["--group", "subjct"],
            "t.csv: no column 'subjct'; there are: subject, own, n, y; did you",
        ),
        (["--group", "y"], "--group y: it is the target"),
        (["--group", "one"], "--group one: '7' is its only value"),
        (["--group", "n", "--schema", "n.json"], "--group n: a group is no feature, but --schema"),
    ],
)
def test_a_wrong_group_is_refused_in_a_line(flags, expected):
    write_subjects(4)
    write("n.json", '{"columns": [{"name": "n", "kind": "number"}]}')
    path = "t.csv"
    if "one" in flags:
        path = write("one.csv", "one,n,y\n" + "".join(f"7,{i},{i % 2}\n" for i in range(50)))
    assert refusal(path, "y", *flags).startswith(expected)


@pytest.mark.parametrize("group", [[], ["--group", "subject"]])
def test_folds_hold_out_each_row_once(group):
    rows = [f"s{i % 13},{7 * i % 520},{i % 2}\n" for i in range(520)]
    write("t.csv", "subject,n,y\n" + "".join(rows))
    held_out = []
    for fold in range(1, 6):
        loaded = load("t.csv", "y", *group, "--fold", str(fold))
        assert not loaded.reused and loaded.train.rows + loaded.eval.rows == 520
        [n] = loaded.schema.numbers
        values = loaded.eval.arrays()["numbers"][:, 0] * n.std + n.mean
        held_out.append(np.round(values).astype(int).tolist())
    assert sorted(n for fold in held_out for n in fold) == list(range(520))
    if group:
        subjects = [{n * 223 % 520 % 13 for n in fold} for fold in held_out]  # 7 * 223 is 1
        assert sorted(map(len, subjects)) == [2, 2, 3, 3, 3] and set.union(*subjects) == {
            *range(13)
        }
    assert load("t.csv", "y", *group).reused  # the first fold is what is held out without the flag


def test_a_fold_needs_rows_and_groups_of_its_own():
    write_subjects(4)
    assert refusal("t.csv", "y", "--group", "subject", "--fold", "2").startswith(
        "--fold 2: 'subject' has 4 values in t.csv; 5 folds take at least 5"
    )
    assert refusal("t.csv", "y", "--eval-files", "t.csv", "--fold", "1").startswith(
        "--fold 1: files of their own hold rows out"
    )


def test_a_group_is_another_encoding():
    write_subjects(4)
    load("t.csv", "y")
    assert not load("t.csv", "y", "--group", "subject").reused


# Leaks


def test_a_subject_that_gives_the_answer_away_is_warned_of():
    write_subjects(6)
    log = load("t.csv", "y").describe()
    assert log.count("warning:") == 2  # the subject's name, and a number that is its own
    assert "warning: 'subject' alone gives the class of 52 of 52 held-out rows" in log
    assert "warning: 'own' alone gives the class of 52 of 52 held-out rows" in log
    assert "--group" in log
    assert "warning: 'subject'" in load("t.csv", "y", "--eval-files", "t.csv").describe()
    again = load("t.csv", "y", "--eval-files", "t.csv")
    assert again.reused and "warning: 'subject'" in again.describe()


def test_ordinary_columns_are_not_warned_of():
    rng = np.random.default_rng(0)
    rows = []
    for i in range(2000):
        label = rng.integers(2)
        hint = label if rng.random() < 0.9 else 1 - label  # a good feature, but no leak
        rare = "x" if rng.random() < 0.02 else "y"
        rows.append(f"c{hint},k{rng.integers(300)},{rare},{i % 7},{'pq'[label]}\n")
    write("t.csv", "good,many,rare,n,y\n" + "".join(rows))
    assert "warning" not in load("t.csv", "y").describe()
    write_subjects(6)
    write(
        "new.csv",
        "subject,own,n,y\n" + "".join(f"t{i % 3},{i},{7 * i + 500},{i % 2}\n" for i in range(90)),
    )
    assert "warning" not in load("t.csv", "y", "--eval-files", "new.csv").describe()


def write_numbers(path, line, rows=600):
    """Writes columns a, b, c and y; `line` makes them from the row's number and random numbers."""
    random = np.random.default_rng(0)
    lines = [line(i, random.normal(size=3)) for i in range(rows)]
    write(path, "a,b,c,y\n" + "".join(lines))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # The same measure in another unit, and one that is computed from the answer.
        (
            lambda i, x: f"{x[0]},{x[1] * 2.54 + 7},w{i % 3},{x[1]}\n",
            r"'b' alone gives 'y' of \d+ held-out rows, with an R² of 1.000;",
        ),
        (
            lambda i, x: f"{x[0]},{x[1]},w{i % 3},{'pq'[int(x[1] > 0.3)]}\n",
            r"'b' alone gives the class of (\d+) of \1 held-out rows \(the most frequent class: \d+\)",
        ),
        # A code of the class, which no order explains.
        (
            lambda i, x: f"{[7, 1, 4, 9, 2][i % 5]},{x[1]},w{i % 3},{'pqqpp'[i % 5]}\n",
            r"'a' alone gives the class of (\d+) of \1 held-out rows",
        ),
        # A value is missing where the answer is no.
        (
            lambda i, x: f"{x[0] if i % 3 else ''},{x[1]},w{i % 7},{'yn'[i % 3 == 0]}\n",
            r"'a' alone gives the class of (\d+) of \1 held-out rows",
        ),
        # A subject whose value is the same in all of its rows.
        (
            lambda i, x: f"{x[0]},{x[1]},s{i % 40},{(i % 40) ** 2 + 0.5 + x[2] / 100}\n",
            r"'c' alone gives 'y' of \d+ held-out rows, with an R² of 1.000.*--group",
        ),
    ],
)
def test_a_column_that_gives_the_target_away_is_warned_of(line, expected):
    write_numbers("t.csv", line)
    warnings = [note for note in load("t.csv", "y").schema.notes if note.startswith("warning: ")]
    assert len(warnings) == 1 and re.match(f"warning: {expected}", warnings[0]), warnings


@pytest.mark.parametrize(
    "line",
    [
        lambda i, x: f"{x[0]},{x[1]},w{i % 3},{x[0] + 0.3 * x[1]}\n",  # an R² of 0.92 alone
        lambda i, x: (
            f"{x[0]},{x[1]},w{i % 3},{'pq'[int(x[0] + 0.1 * x[1] > 0)]}\n"
        ),  # 97 % right alone
        lambda i, x: (
            f"{i % 4},{i % 3},w{i % 5},{'pq'[int(x[0] > i % 4)]}\n"
        ),  # rows repeat by their nature
    ],
)
def test_a_good_column_is_not_warned_of(line):
    write_numbers("t.csv", line)
    assert "warning" not in load("t.csv", "y").describe()


def test_a_text_that_is_nearly_a_key_is_warned_of():
    write_numbers(
        "t.csv", lambda i, x: f"{x[0]},{x[1]},name {i % 200},{'pq'[int(x[1] > 0.3 * x[0])]}\n"
    )
    log = load("t.csv", "y").describe()
    assert log.count("warning: ") == 1
    # Those of one training row are no categories.
    categories = len(column(load("t.csv", "y"), "c").categories)
    assert 150 < categories < 200
    assert f"warning: 'c' is nearly a key: {categories} different values in" in log


@pytest.mark.parametrize("copies", [0, 60])
def test_duplicates_on_both_sides_of_the_split_are_counted(copies):
    write_numbers("t.csv", lambda i, x: f"{x[0]},{x[1]},w{i % 3},{'pq'[int(x[1] > 0.3 * x[0])]}\n")
    lines = Path("t.csv").read_text().splitlines(keepends=True)
    write("t.csv", "".join([*lines, *lines[1 : copies + 1]]))
    loaded = load("t.csv", "y")
    rows = []
    for table in (loaded.train, loaded.eval):
        arrays = table.arrays().values()
        rows.append([b"".join(a[i].tobytes() for a in arrays) for i in range(table.rows)])
    train, held_out = set(rows[0]), rows[1]
    both = sum(row in train for row in held_out)
    warnings = [line for line in loaded.describe().splitlines() if "warning: " in line]
    assert len(warnings) == bool(copies) == bool(both)
    expected = f"warning: {both} of {len(held_out)} held-out rows are in training, too"
    assert all(line.startswith(expected) for line in warnings)


# Held-out rows


def test_the_schema_is_that_of_the_training_rows_alone():
    """The held-out fifth is made as strange as can be: the schema stays as it was without it."""
    names = "n,word,gap,text,day,y"
    plain = [
        f"{i / 2},w{i % 3},{i % 5 or ''},t,{1 + i % 12}/{1 + i % 11}/20{10 + i % 9},{'pq'[i % 2]}"
        for i in range(500)
    ]
    write("t.csv", "\n".join([names, *plain, ""]))
    first = load("t.csv", "y")
    held_out = np.ones(500, bool)
    n = first.schema.columns[0]
    halves = first.train.arrays()["numbers"][:, 0] * n.std + n.mean
    held_out[np.round(2 * halves).astype(int)] = False
    assert held_out.sum() == first.eval.rows
    strange = [
        f"1e{i % 9},v{i},lost,u{i},{28 - i % 9}/{1 + i % 12}/1999,{'pq'[i % 2] if i % 3 else 'new'}"
        if held_out[i]
        else line
        for i, line in enumerate(plain)
    ]
    write("strange.csv", "\n".join([names, *strange, ""]))
    loaded = load("strange.csv", "y")
    assert [vars(c) for c in loaded.schema.columns] == [vars(c) for c in first.schema.columns]
    assert loaded.schema.labels == ["p", "q"]
    dropped = first.eval.rows - loaded.eval.rows
    assert dropped > 10
    expected = (
        f"{dropped} held-out rows dropped: no training row has their class: 'new' ({dropped})"
    )
    assert expected in loaded.describe()
    for name, array in first.train.arrays().items():
        assert array.tobytes() == loaded.train.arrays()[name].tobytes()


def test_a_class_of_one_group_alone_cannot_be_judged():
    lines = [f"s{i % 4},{i / 2},{'abcd'[i % 4]}\n" for i in range(80)]
    write("t.csv", "subject,n,y\n" + "".join(lines))
    assert refusal("t.csv", "y", "--group", "subject") == (
        "t.csv: no row is left for eval; no training row has their classes; give another --group, "
        "or --eval-files"
    )


def test_notes_are_kept_in_the_schema():
    write_subjects(6)
    schema = load("t.csv", "y", "--group", "subject").schema
    assert json.loads(schema.to_json())["notes"] == schema.notes != []
