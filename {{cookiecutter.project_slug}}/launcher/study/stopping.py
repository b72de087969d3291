"""When a trial is stopped early: the service's two rules, over the learning curves of a study.

A curve is a list of (x, y): x a step, or seconds of run time; y the metric, turned such that more is
better.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

Curve = Sequence[tuple[float, float]]

ENOUGH = 3  # trials that must be over before a median means anything
ENOUGH_TO_FIT = 5  # and before a line with its errors does
ERRORS = 3.0  # standard errors of the prediction: the chance to miss a winner is below 3 %


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


def will_not_win(mine: Curve, others: Sequence[tuple[Curve, float]], best: float) -> bool:
    """decayCurveStoppingSpec: whether a trial is most unlikely to become the best of the study.

    The service fits a Gaussian process to the curves. Here a line is enough: over the trials that
    went on beyond this x, the value that each ended with is fitted to the best value that it had at
    this x. Where trials keep their order the line predicts well, and a trial far behind is stopped;
    where they overtake each other its error is large, and none is. Nothing is assumed of the
    curves' shape.

    Args:
        mine: of the running trial, not empty.
        others: (curve, value that it ended with) of the trials that ran to their end.
        best: the best value of the study so far.
    """
    now = mine[-1][0]
    pairs = []
    for curve, final in others:
        until_now = [y for x, y in curve if x <= now]
        if until_now and curve[-1][0] > now:
            pairs.append((max(until_now), final))
    count = len(pairs)
    if count < ENOUGH_TO_FIT:
        return False
    middle, level = (statistics.fmean(values) for values in zip(*pairs, strict=True))
    spread = sum((x - middle) ** 2 for x, _ in pairs)
    slope = sum((x - middle) * (y - level) for x, y in pairs) / spread if spread else 0.0
    rest = sum((y - level - slope * (x - middle)) ** 2 for x, y in pairs)
    away = max(y for _, y in mine) - middle
    error = math.sqrt(rest / (count - 2) * (1 + 1 / count + (away**2 / spread if spread else 0.0)))
    return best - (level + slope * away) > ERRORS * error + 1e-9 * abs(best)
