"""Visible and hidden tests of assignment/solution.py. Each says first what it looks at."""

import csv

import pytest

from assignment import solution


def read_birds():
    with open(solution.DATA, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_majority():
    """Three of four labels are equal: always answering that one is right in 75 %."""
    assert solution.share_of_majority(["a", "b", "a", "a"]) == pytest.approx(0.75)


def test_majority_of_the_birds():
    """The training birds: 122 of 275 are Adelie penguins."""
    labels = [row["species"] for row in read_birds()]
    assert solution.share_of_majority(labels) == pytest.approx(122 / 275)


def test_leak():
    """Two labels whose values in column b do not overlap; those in column a do."""
    rows = [("x", 1, 10), ("x", 5, 12), ("y", 2, 20), ("y", 6, 25)]
    rows = [{"t": t, "a": str(a), "b": str(b)} for t, a, b in rows]
    assert solution.find_leak(rows, "t") == "b"


### BEGIN HIDDEN TESTS
def test_majority_of_one_label():
    assert solution.share_of_majority(["a"]) == 1


def test_leak_with_missing_values_and_texts():
    rows = [("x", "", "red"), ("x", "3", "red"), ("y", "4", "blue"), ("y", "", "red")]
    rows = [{"t": t, "colour": colour, "a": a} for t, a, colour in rows]
    assert solution.find_leak(rows, "t") == "a"


def test_no_leak():
    rows = [{"t": "x", "a": "1"}, {"t": "y", "a": "2"}, {"t": "x", "a": "3"}]
    assert solution.find_leak(rows, "t") == ""


def test_the_leak_of_the_birds_is_left_out():
    leak = solution.find_leak(read_birds(), "species")
    assert {"name": leak, "kind": "ignore"} in solution.choose_columns()


### END HIDDEN TESTS
def test_columns():
    """The columns to ignore are columns of birds.csv, and the target is none of them."""
    names = {column["name"] for column in solution.choose_columns()}
    assert names <= set(read_birds()[0]) - {"species"}
