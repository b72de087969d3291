"""Visible and hidden tests of assignment/solution.py. Each says first what it looks at."""

import pytest

from assignment import solution


def test_people_on_both_sides():
    """Bo is on both sides."""
    assert solution.find_people_on_both_sides(["ada", "bo", "bo"], ["bo", "cy"]) == {"bo"}


def test_hold_out():
    """Three people, of whom the second is held out, with both recordings."""
    held_out = solution.hold_out(["ada", "bo", "cy", "bo"], fold=1, folds=3)
    assert held_out == [False, True, False, True]


def test_measure_people():
    """Two people: one is always right, the other in one of two. Each counts once."""
    people, right = ["ada", "ada", "ada", "ada", "bo", "bo"], [True, True, True, True, True, False]
    mean, low, high = solution.measure_people(people, right)
    assert mean == pytest.approx(0.75) and high - mean == pytest.approx(12.71 * 0.25, rel=1e-3)


def test_flags():
    """The split that says how good the model is for new people."""
    assert any(flag.startswith("--split=participant") for flag in solution.get_flags())


### BEGIN HIDDEN TESTS
def test_nobody_on_both_sides():
    assert solution.find_people_on_both_sides(["ada", "bo"], ["cy"]) == set()


def test_every_person_is_held_out_once():
    people = [f"p{i % 10:02}" for i in range(140)]
    parts = [solution.hold_out(people, fold, 5) for fold in range(5)]
    assert all(sum(held) == 1 for held in zip(*parts, strict=True))
    for part in parts:
        sides = [
            {p for p, held in zip(people, part, strict=True) if held is side}
            for side in (True, False)
        ]
        assert not sides[0] & sides[1]


def test_a_person_with_many_recordings_counts_once():
    people, right = ["ada"] * 98 + ["bo", "cy"], [True] * 98 + [False, False]
    assert solution.measure_people(people, right)[0] == pytest.approx(1 / 3)


def test_equal_people_leave_no_doubt():
    mean, low, high = solution.measure_people(["ada", "bo", "cy"], [True, True, True])
    assert (mean, low, high) == (1, 1, 1)


### END HIDDEN TESTS
