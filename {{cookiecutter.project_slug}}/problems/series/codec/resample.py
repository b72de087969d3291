"""Samples at any times to samples at equal steps: the same for training and for predictions."""

from __future__ import annotations

import numpy as np

NEAR = 0.01  # of a step: a value so near to the grid stays as it is
FAR = 1.5  # steps of the recording between two samples: beyond it, samples between them are lost
LOOKED_AT = 1 << 12  # samples that show the step of a recording
CHUNK = 1 << 16  # samples in memory
LONGEST = 10  # times as many steps as samples: beyond it, time has jumped
FINEST = 100  # times the rate of a recording, at most


def find_step(time: np.ndarray) -> float:
    """The time between neighbours, without the gaps: a mean, since clocks round to milliseconds.

    Args:
        time: float64 [n], ascending.
    """
    steps = np.diff(time[:LOOKED_AT])
    return float(steps[steps <= FAR * np.median(steps)].mean()) if len(steps) else 1.0


def check_time(time: np.ndarray) -> None:
    """Raise a ValueError that says where time, float64 [n], does not ascend."""
    for start in range(0, len(time), CHUNK):
        part = time[max(start - 1, 0) : start + CHUNK]
        steps = np.diff(part)
        if not np.isfinite(part).all():
            raise ValueError(
                f"its sample {start + np.flatnonzero(~np.isfinite(part))[0]} has no time"
            )
        if len(steps) and steps.min() <= 0:
            i = int(np.flatnonzero(steps <= 0)[0])
            how = "repeats" if steps[i] == 0 else "runs backwards"
            raise ValueError(f"time {how}: {part[i + 1]:.12g} follows {part[i]:.12g}")


def count_steps(time: np.ndarray, step: float) -> int:
    """How many samples `resample` makes; a ValueError where time jumps by more than a gap."""
    steps = float(time[-1] - time[0]) / step
    own = min(max(1.0, find_step(time) / step), FINEST)  # a higher rate makes more of them
    if steps > LONGEST * own * (len(time) + 100):
        raise ValueError(f"time jumps: {len(time)} samples from {time[0]:.12g} to {time[-1]:.12g}")
    return int(steps + NEAR) + 1


def is_even(time: np.ndarray, step: float) -> bool:
    """Whether all samples already follow each other by this step."""
    chunks = (time[start : start + CHUNK + 1] for start in range(0, len(time), CHUNK))
    return all((np.abs(np.diff(chunk) - step) <= NEAR * step).all() for chunk in chunks)


def find_places(time: np.ndarray, step: float, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Where samples are among those that `resample` makes of them, int64 [n]; and the times of these.

    Args:
        time: float64 [n], ascending.
        length: how many there are, m.

    Returns:
        int64 [n], from 0 on; float64 [m].
    """
    if is_even(time, step):  # they stay as they are, and a clock may drift by many steps
        return np.arange(len(time)), time
    places = np.round((time - time[0]) / step).astype(np.int64).clip(0, length - 1)
    return places, time[0] + step * np.arange(length)


def resample(time: np.ndarray, values: np.ndarray, step: float) -> np.ndarray:
    """Values at time[0], time[0] + step, …: float32 [m, channels], NaN where they are lost.

    A value on the grid stays; between two neighbours it is on the line through both; where neighbours
    are far apart it is lost. With a longer step than the recording has, each is the mean around it.

    Args:
        time: float64 [n], ascending.
        values: float32 [n, channels], NaN where they are lost.

    Raises:
        ValueError: time does not ascend, or jumps.
    """
    check_time(time)
    if is_even(time, step):
        return values
    grid = time[0] + step * np.arange(count_steps(time, step))
    return interpolate(time, values, step, find_step(time), grid)


def interpolate(
    time: np.ndarray, values: np.ndarray, step: float, own: float, grid: np.ndarray
) -> np.ndarray:
    """Values at the times of a grid, float64 [m], as `resample` says; `own` is the recording's step."""
    if step >= FAR * own:
        return _average(time, values, step, grid)
    right = np.clip(np.searchsorted(time, grid), 1, len(time) - 1) if len(time) > 1 else 0 * grid
    right = right.astype(np.int64)
    left = np.maximum(right - 1, 0)
    width = np.maximum(time[right] - time[left], np.finfo(float).tiny)
    weight = ((grid - time[left]) / width)[:, np.newaxis]
    nearest = np.where(weight[:, 0] < 0.5, left, right)
    is_on_grid = np.abs(time[nearest] - grid) <= NEAR * step
    line = (1 - weight) * values[left] + weight * values[right]
    is_between = (width <= FAR * max(own, NEAR * step)) & (weight[:, 0] >= 0) & (weight[:, 0] <= 1)
    line[~is_between] = np.nan
    line[is_on_grid] = values[nearest[is_on_grid]]
    return line.astype(np.float32)


def _average(time: np.ndarray, values: np.ndarray, step: float, grid: np.ndarray) -> np.ndarray:
    """The mean of the values in half a step around each time of the grid."""
    places = np.floor((time - grid[0]) / step + 0.5).astype(np.int64)
    inside = (places >= 0) & (places < len(grid))
    places, values = places[inside], values[inside]
    means = np.full((len(grid), values.shape[1]), np.nan, np.float32)
    for i in range(values.shape[1]):
        known = np.isfinite(values[:, i])
        counts = np.bincount(places[known], minlength=len(grid))
        sums = np.bincount(places[known], values[known, i].astype(np.float64), len(grid))
        np.divide(sums, counts, out=means[:, i], where=counts > 0, casting="unsafe")
    return means


def find_nearest(time: np.ndarray, grid: np.ndarray, step: float) -> np.ndarray:
    """int64 [m]: for each time of the grid the sample within half a step of it, or -1."""
    right = np.clip(np.searchsorted(time, grid), 0, len(time) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(np.abs(time[left] - grid) < np.abs(time[right] - grid), left, right)
    return np.where(np.abs(time[nearest] - grid) <= 0.5 * step * (1 + NEAR), nearest, -1)
