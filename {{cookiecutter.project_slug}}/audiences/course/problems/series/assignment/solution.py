"""EDIT THIS FILE: your answers. `python scripts/course.py check` tests them; README.md says more."""

from __future__ import annotations

import math

# Student's t for a 95 % interval, by degrees of freedom from 1.
T = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def find_people_on_both_sides(training: list[str], held_out: list[str]) -> set[str]:
    """The people that have recordings in both parts. An honest split has none.

    Args:
        training, held_out: the person of each recording.
    """
    ### BEGIN SOLUTION
    return set(training) & set(held_out)
    ### END SOLUTION


def hold_out(people: list[str], fold: int, folds: int) -> list[bool]:
    """Whether each recording is held out: a person's recordings always stay together.

    Sort the people by name; of every `folds` of them in a row, hold out the one at place `fold` (from 0).

    Args:
        people: the person of each recording.
    """
    ### BEGIN SOLUTION
    names = sorted(set(people))
    chosen = {name for place, name in enumerate(names) if place % folds == fold}
    return [person in chosen for person in people]
    ### END SOLUTION


def measure_people(people: list[str], right: list[bool]) -> tuple[float, float, float]:
    """The accuracy that a new person may expect: (mean, low, high), a 95 % interval over people.

    Recordings of one person are alike, so that each person counts once: take the accuracy of each
    person, their mean, and T[n - 2] standard errors to either side (the deviation of a sample, with
    n - 1, over the root of n).

    Args:
        people, right: of each recording, its person, and whether the answer was right. Two people at least.
    """
    ### BEGIN SOLUTION
    names = sorted(set(people))
    shares = []
    for name in names:
        own = [answer for person, answer in zip(people, right, strict=True) if person == name]
        shares.append(sum(own) / len(own))
    mean, count = sum(shares) / len(shares), len(shares)
    variance = sum((share - mean) ** 2 for share in shares) / (count - 1)
    half = T[min(count - 2, len(T) - 1)] * math.sqrt(variance / count)
    return mean, mean - half, mean + half
    ### END SOLUTION


def get_flags() -> list[str]:
    """The flags of your training job, such as "--hidden-units=32,64". Which split is honest?"""
    ### BEGIN SOLUTION
    return ["--split=participant"]
    ### END SOLUTION
