"""Intervals of held-out figures hold the true value as often as they promise."""

import importlib.util

import numpy as np
import pytest

from conftest import PRODUCT


@pytest.fixture(scope="module")
def intervals():
    path = PRODUCT / "codec" / "intervals.py"
    spec = importlib.util.spec_from_file_location("intervals", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_share_has_wilsons_interval(intervals):
    share, low, high = intervals.wilson(67, 69)
    assert (share, low, high) == pytest.approx((67 / 69, 0.9003, 0.9920), abs=1e-4)
    assert intervals.wilson(70, 70)[1:] == pytest.approx((0.9480, 1.0), abs=1e-4)
    assert intervals.wilson(0, 9)[1] == pytest.approx(0)


@pytest.mark.parametrize("rows", [100, pytest.param(3000, marks=pytest.mark.slow)])
def test_a_bootstrap_covers_the_truth(intervals, rows):
    """Of 100 samples about 95, whether rows are drawn one by one or in groups."""
    random, covered = np.random.default_rng(rows), 0
    for _ in range(100):
        x = random.normal(1e6, 2.0, rows)
        y = x + random.normal(0, 1.0, rows)
        shifted = y - 1e6
        value, low, high = intervals.bootstrap(
            lambda squares, means, of_squares: 1 - squares / (of_squares - means**2),
            *((y - x) ** 2, shifted, shifted**2),
        )
        assert low < value < high
        covered += low < 0.8 < high
    assert 88 <= covered <= 99


@pytest.mark.parametrize("count", [4, 8, 20])
def test_rows_of_a_group_count_together(intervals, count):
    """Thirty rows of a participant are alike; with its rows as so many, half of these would miss."""
    random, groups = np.random.default_rng(count), np.repeat(np.arange(count), 30)
    covered = {"share": 0, "mean": 0, "drawn": 0, "alone": 0}
    for _ in range(200):
        right = random.random(len(groups)) < random.beta(2, 1, count)[groups]
        values = random.normal(size=count)[groups] + random.normal(size=len(groups))
        share, low, high = intervals.average(right, groups)
        covered["share"] += low < 2 / 3 < high
        assert 0 <= low <= share <= high <= 1
        _, low, high = intervals.average(values, groups)
        covered["mean"] += low < 0 < high
        _, low, high = intervals.bootstrap(lambda mean: mean, values, groups=groups)
        covered["drawn"] += low < 0 < high
        _, low, high = intervals.average(right)
        covered["alone"] += low < 2 / 3 < high
    assert min(covered[name] for name in ("share", "mean", "drawn")) >= 178
    assert covered["alone"] < 130


def test_one_group_says_nothing_of_others(intervals):
    share, *ends = intervals.average(np.ones(30, bool), np.zeros(30))
    assert share == 1 and not np.isfinite(ends).any()
    _, low, high = intervals.average(np.ones(30, bool), np.repeat([0, 1, 2], 10))
    assert low < 0.5 and high == pytest.approx(1)


def test_a_statistic_without_a_value_has_no_interval(intervals):
    alike = np.zeros(5)
    value, *ends = intervals.bootstrap(lambda a, b: a / b, np.ones(5), alike)
    assert not np.isfinite([value, *ends]).any()
