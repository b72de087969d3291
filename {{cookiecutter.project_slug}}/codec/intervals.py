"""How certain a held-out figure is: its 95 % interval, for other held-out rows, as many as these."""

from collections.abc import Callable

import numpy as np

Z = 1.96  # standard deviations to each side of a normal distribution, for 95 %
# The same of Student's t, by degrees of freedom from 1.
T = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
DRAWS = 1000
GROUPS = 1000  # of rows, which are drawn together where there are more rows


def wilson(right: float, rows: float, reach: float = Z) -> tuple[float, float, float]:
    """The share of rows that are right, and its interval: (share, low, high).

    Wilson's interval also fits shares near 0 and 1: if all 70 rows are right, a new one can be wrong.
    """
    share, z = right / rows, reach**2 / rows
    middle, half = share + z / 2, np.sqrt(z * (share * (1 - share) + z / 4))
    return share, float(middle - half) / (1 + z), float(middle + half) / (1 + z)


def find_reach(groups: int) -> float:
    """Standard errors to each side, for 95 %, where that of this many groups is an estimate itself."""
    return T[groups - 2] if groups - 2 < len(T) else Z + 2.6 / (groups - 1)


def average(values: np.ndarray, groups: np.ndarray | None = None) -> tuple[float, float, float]:
    """The mean of held-out values, or the share of them that are true, and its interval.

    Args:
        values: [rows], numbers or booleans.
        groups: [rows], by which the rows hang together, such as a participant's: the interval is then
            for other groups, as many as these. Of one group it is not known, nor of two that of a
            number: NaN.
    """
    rows, is_share = len(values), values.dtype == bool
    if groups is None:
        return wilson(values.sum(), rows) if is_share else bootstrap(lambda mean: mean, values)
    mean = float(np.mean(values, dtype=np.float64))
    names, numbers = np.unique(groups, return_inverse=True)
    if len(names) < (2 if is_share else 3):
        return mean, np.nan, np.nan
    reach = find_reach(len(names))
    # How far the groups' sums are from what the mean of all lets expect: rows of a group do not count
    # as so many rows, since they are alike.
    rest = np.bincount(numbers, values - mean)
    variance = len(names) / (len(names) - 1) * np.square(rest).sum() / rows**2
    if is_share:
        worth = mean * (1 - mean) / variance if variance else len(names)
        worth = min(worth, rows)  # so many independent rows
        return wilson(mean * worth, worth, reach)
    half = reach * float(np.sqrt(variance))
    return mean, mean - half, mean + half


def bootstrap(
    statistic: Callable, *values: np.ndarray, groups: np.ndarray | None = None
) -> tuple[float, float, float]:
    """A statistic of held-out rows, and its interval: (value, low, high).

    The interval holds 95 % of what the statistic is for rows drawn with replacement, the same ones in
    every run. Many rows are drawn in groups: their means differ as much as those of single rows.

    Args:
        statistic: takes the mean of each of `values`; each mean may be an array, for many draws.
        values: each [rows].
        groups: [rows], by which the rows hang together: they are drawn together, and as they are few,
            the interval is as much wider as Student's t. Of fewer than three it is not known: NaN.
    """
    rows = len(values[0])
    columns = [np.ones(rows), *(np.asarray(column, np.float64) for column in values)]
    numbers = np.arange(rows) % GROUPS
    if groups is not None:
        numbers = np.unique(groups, return_inverse=True)[1]
    count = numbers.max() + 1
    sums = np.stack([np.bincount(numbers, column, count) for column in columns])
    drawn = np.random.default_rng(0).integers(count, size=(DRAWS, count))
    counts, *totals = sums[:, drawn].sum(axis=2)  # each [draws]
    with np.errstate(all="ignore"):
        draws = statistic(*(total / counts for total in totals))
        value = statistic(*(column.mean() for column in columns[1:]))
    draws = draws[np.isfinite(draws)]
    low, high = np.quantile(draws, (0.025, 0.975)) if len(draws) else (np.nan, np.nan)
    if groups is not None:
        wider = find_reach(count) / Z * np.sqrt(count / (count - 1)) if count > 2 else np.nan
        low, high = value - wider * (value - low), value + wider * (high - value)
    return float(value), float(low), float(high)
