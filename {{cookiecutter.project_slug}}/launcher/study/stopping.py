"""When a trial is stopped early: the service's rule of the median, over the learning curves of a study.

A curve is a list of (x, y): x a step, or seconds of run time; y the metric, turned such that more is
better.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

Curve = Sequence[tuple[float, float]]

ENOUGH = 3  # trials that must be over before a median means anything


def below_median(mine: Curve, others: Sequence[Curve]) -> bool:
    """medianAutomatedStoppingSpec: whether a trial's best value so far is below the median of what
    the trials that are over did up to the same x, each taken by its mean up to there.

    Args:
        mine: of the running trial, not empty.
        others: of the trials that are over.
    """
    now = mine[-1][0]
    until_now = [[y for x, y in other if x <= now] for other in others]
    means = [statistics.fmean(values) for values in until_now if values]
    best = max(y for _, y in mine)
    return len(means) >= ENOUGH and best < statistics.median(means)
