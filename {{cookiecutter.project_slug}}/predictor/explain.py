"""What each feature of an instance adds to its answer: Shapley values.

The attribution of a feature i, of n features N, to a score v is

    sum over the sets S of N without i of |S|! (n - |S| - 1)! / n! * (v(S and i) - v(S))

where v(S) is the score of the instance in which all features outside of S are those of a baseline.
All attributions add up to the score of the instance less that of the baseline. Source: Shapley, "A
Value for n-Person Games", 1953; for models Lundberg and Lee, "A Unified Approach to Interpreting
Model Predictions", NIPS 2017, https://arxiv.org/abs/1705.07874, equation 8.

Instances go out and answers come back, so it works for a model here and for an endpoint alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from predictor.instances import InstanceError

EXACT = 12  # features up to which every set is computed; above, the sets of random orders
ROWS = 4096  # instances for an explanation, about, of more features: as many as for 12


def explain(answer: Callable[[list[dict]], list[dict]], instance: dict, baseline: dict) -> dict:
    """Explain the answer for one instance: the probability of its class, or its value.

    Args:
        answer: the answers for some instances.
        baseline: an instance of which nothing is known; its names are the features.

    Returns:
        score: what is explained; value, of the instance, and baseline, of the baseline;
        attributions: by feature. They add up to value less baseline, and are 0 for a feature that
        is as in the baseline. With more than 12 others they are estimates, the same ones each time.

    Raises:
        InstanceError: answers of this kind have no score.
    """
    score, read = _choose_score(*answer([instance]))
    names = [name for name in baseline if instance[name] != baseline[name]]

    def ask(members: np.ndarray) -> np.ndarray:
        """float64 [sets]: scores where a set, a row of bool [sets, names], is as in the instance."""
        chosen = [dict(zip(names, row, strict=True)) for row in members.tolist()]
        mixed = [
            {name: (instance if row.get(name) else baseline)[name] for name in baseline}
            for row in chosen
        ]
        return np.array([read(one) for one in answer(mixed)], np.float64)

    ends = ask(np.array([[False] * len(names), [True] * len(names)]))
    values = (_sum_all_sets if len(names) <= EXACT else _sample_orders)(ask, len(names))
    return {
        "score": score,
        "value": float(ends[1]),
        "baseline": float(ends[0]),
        "attributions": dict.fromkeys(baseline, 0.0)
        | dict(zip(names, values.tolist(), strict=True)),
    }


def _choose_score(answer: dict) -> tuple[str, Callable[[dict], float]]:
    if "class" in answer and "probabilities" in answer:
        label = answer["class"]
        return f"probability of {label}", lambda one: one["probabilities"][label]
    if np.ndim(answer.get("value", [])) == 0:
        return "value", lambda one: one["value"]
    raise InstanceError("explain: the answers of this model have no class and no value")


def _sum_all_sets(ask: Callable, count: int) -> np.ndarray:
    """float64 [count]: exact."""
    sets = np.arange(1 << count)
    members = (sets[:, np.newaxis] >> np.arange(count) & 1).astype(bool)
    scores, sizes = ask(members), members.sum(axis=1)
    # Of a set without the feature, by its size.
    weights = np.array([1 / (count * math.comb(count - 1, size)) for size in range(count)])
    values = np.zeros(count)
    for i in range(count):
        without = sets[~members[:, i]]
        gains = scores[without | 1 << i] - scores[without]
        values[i] = (weights[sizes[without]] * gains).sum()
    return values


def _sample_orders(ask: Callable, count: int) -> np.ndarray:
    """float64 [count]: the mean gain when features come one by one, in random orders.

    Each order comes backwards, too, which halves the error of features that act in pairs.
    """
    random, values = np.random.default_rng(0), np.zeros(count)
    pairs = max(1, ROWS // (2 * (count + 1)))
    for _ in range(pairs):
        order = random.permutation(count)
        for turns in (order, order[::-1]):
            members = np.argsort(turns) < np.arange(count + 1)[:, np.newaxis]
            values[turns] += np.diff(ask(members))
    return values / (2 * pairs)
