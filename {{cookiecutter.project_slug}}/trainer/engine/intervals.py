"""How certain a held-out figure is: its 95 % interval, for other held-out rows, as many as these."""

from collections.abc import Callable

import numpy as np

Z = 1.96  # standard deviations to each side of a normal distribution, for 95 %
DRAWS = 1000
GROUPS = 1000  # of rows, which are drawn together where there are more rows


def wilson(right: float, rows: int) -> tuple[float, float, float]:
    """The share of rows that are right, and its interval: (share, low, high).

    Wilson's interval also fits shares near 0 and 1: if all 70 rows are right, a new one can be wrong.
    """
    share, z = right / rows, Z**2 / rows
    middle, half = share + z / 2, np.sqrt(z * (share * (1 - share) + z / 4))
    return share, float(middle - half) / (1 + z), float(middle + half) / (1 + z)


def bootstrap(statistic: Callable, *values: np.ndarray) -> tuple[float, float, float]:
    """A statistic of held-out rows, and its interval: (value, low, high).

    The interval holds 95 % of what the statistic is for rows drawn with replacement, the same ones in
    every run. Many rows are drawn in groups: their means differ as much as those of single rows.

    Args:
        statistic: takes the mean of each of `values`; each mean may be an array, for many draws.
        values: each [rows].
    """
    rows = len(values[0])
    columns = [np.ones(rows), *(np.asarray(column, np.float64) for column in values)]
    groups = min(rows, GROUPS)
    numbers = np.arange(rows) % groups
    sums = np.stack([np.bincount(numbers, column, groups) for column in columns])
    drawn = np.random.default_rng(0).integers(groups, size=(DRAWS, groups))
    counts, *totals = sums[:, drawn].sum(axis=2)  # each [draws]
    with np.errstate(all="ignore"):
        draws = statistic(*(total / counts for total in totals))
        value = statistic(*(column.mean() for column in columns[1:]))
    draws = draws[np.isfinite(draws)]
    low, high = np.quantile(draws, (0.025, 0.975)) if len(draws) else (np.nan, np.nan)
    return float(value), float(low), float(high)
