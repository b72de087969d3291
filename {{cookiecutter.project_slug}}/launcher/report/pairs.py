"""Which of two is better: paired differences, over the same held-out rows or over the same seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from launcher.report.numbers import measured

# By the pairs, from 2: how many standard errors a 95 % interval reaches to each side (Student's t).
REACH = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclass(frozen=True)
class Difference:
    """The mean of first − second over pairs, and its 95 % interval."""

    mean: float
    low: float
    high: float
    pairs: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes zero: one of the two is better, as far as the pairs show."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        mean, interval = measured(self.mean, (self.low, self.high))
        return f"{mean} (95 % interval: {interval})" if interval else mean


def compare_pairs(first: Sequence[float], second: Sequence[float]) -> Difference:
    """The difference between two lists of values, pair by pair; of one pair the interval is endless.

    Where all values are 0 or 1, such as right or wrong, the interval counts one more pair in each
    direction (Bonett and Price 2012): else a few pairs that differ would look too certain.

    Raises:
        ValueError: lists of different lengths, or none at all.
    """
    apart = np.subtract(first, second, dtype=float)
    if not len(apart):
        raise ValueError("no pairs")
    mean, pairs = float(apart.mean()), len(apart)
    if pairs < 2:
        return Difference(mean, -math.inf, math.inf, pairs)
    if np.isin([first, second], (0, 1)).all():
        apart = np.append(apart, (1, -1))
    reach = REACH[pairs - 2] if pairs - 2 < len(REACH) else 1.96 + 2.6 / (pairs - 1)
    half = reach * float(apart.std(ddof=1)) / math.sqrt(len(apart))
    middle = float(apart.mean())
    return Difference(mean, middle - half, middle + half, pairs)
