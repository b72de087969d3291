"""Recordings to windows, and windows to what a network takes: for training and for predictions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from codec.resample import CHUNK, check_time, find_step, resample
from codec.schema import Schema

OTHER_UNIT = 50  # times the step of training, or less than one part of so many


def drop_zeros(values: np.ndarray, channels: Sequence[int]) -> None:
    """Make lost the zeros beside lost values, float [n, channels], in these channels: a blink.

    Eye trackers write a pupil of 0 while the eye is closed, and a dot for the gaze.
    """
    if len(channels):
        is_lost = np.isnan(values).any(axis=1)
        for i in channels:
            values[is_lost & (values[:, i] == 0), i] = np.nan


def find_starts(length: int, window: int, hop: int) -> np.ndarray:
    """int64 [k]: where windows of a recording begin; the last one ends with it. At least one."""
    last = max(length - window, 0)
    starts = np.arange(0, last + 1, hop)
    return starts if starts[-1] == last else np.append(starts, last)


def cut(
    samples: np.ndarray,
    starts: Iterable[int],
    ends: Iterable[int],
    window: int,
    nothing: float = np.nan,
) -> np.ndarray:
    """Windows [k, window, …] of samples [n, …], which may lie on disk; `nothing` stands beyond an end.

    Args:
        starts, ends: of each window its first sample, and where its recording ends.
    """
    starts = list(starts)
    windows = np.empty((len(starts), window, *samples.shape[1:]), samples.dtype)
    for target, start, end in zip(windows, starts, ends, strict=True):
        if start + window <= end:
            target[:] = samples[start : start + window]
        else:
            target[: end - start] = samples[start:end]
            target[end - start :] = nothing
    return windows


def measure(samples: np.ndarray) -> np.ndarray:
    """float64 [3, channels]: count, mean, and sum of squared distances to it of the values that are there.

    Args:
        samples: float32 [n, channels], which may lie on disk.
    """
    parts = []
    for start in range(0, len(samples), CHUNK):
        values = np.array(samples[start : start + CHUNK], np.float64)
        present = np.isfinite(values)
        lost = None if present.all() else ~present
        if lost is not None:
            values[lost] = 0
        count = present.sum(axis=0)
        mean = values.sum(axis=0) / np.maximum(count, 1)
        values -= mean
        if lost is not None:
            values[lost] = 0
        parts.append(np.stack([count, mean, np.einsum("ij,ij->j", values, values)]))
    return merge(np.array(parts)) if len(parts) > 1 else parts[0]


def merge(measures: np.ndarray) -> np.ndarray:
    """The measures of all parts as one, [3, channels]: those of parts are [parts, 3, channels]."""
    count, mean, spread = np.moveaxis(measures, 1, 0)
    total = count.sum(axis=0)
    middle = (count * mean).sum(axis=0) / np.maximum(total, 1)
    return np.stack([total, middle, (spread + count * (mean - middle) ** 2).sum(axis=0)])


def to_scale(measures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, float32 […, channels]; 1 where all values are the same.

    Args:
        measures: float64 […, 3, channels], as `measure` gives them.
    """
    count, mean, spread = np.moveaxis(measures, -2, 0)
    std = np.sqrt(spread / np.maximum(count, 1))
    is_flat = std <= 1e-6 * np.abs(mean)  # no more than rounding leaves
    return mean.astype(np.float32), np.where(is_flat, 1, std).astype(np.float32)


def normalize(windows: np.ndarray, mean: np.ndarray, std: np.ndarray) -> dict[str, np.ndarray]:
    """What a network takes of windows, float32 [k, window, channels], which are overwritten.

    Args:
        mean, std: float32 [channels], or [k, channels] where each window has its own.

    Returns:
        samples float32 [k, window, channels], 0 where they are lost, and mask bool, false there.
    """
    mask = np.isfinite(windows)
    windows -= mean[..., np.newaxis, :]
    windows /= std[..., np.newaxis, :]
    windows[~mask] = 0
    return {"samples": windows, "mask": mask}


def encode(
    schema: Schema, values: np.ndarray, time: np.ndarray | None = None
) -> tuple[dict[str, np.ndarray], np.ndarray, int]:
    """What a network takes of a whole recording.

    A forecast begins where the recording ends: it has one window.

    Args:
        values: float [n, channels] in the order of `schema.names`, NaN where they are lost.
        time: float64 [n]; None where they follow each other evenly, at the step of the schema.

    Returns:
        The inputs of its windows that have a value; where these begin, int64 [k]; how many samples it has at that step.

    Raises:
        ValueError: time does not ascend, jumps, or is in another unit; or no window has a value.
    """
    if time is not None:
        check_time(time)
    if time is not None and len(time) > 2 and schema.own_step:
        own = find_step(time)
        if not 1 / OTHER_UNIT < own / schema.own_step < OTHER_UNIT:
            raise ValueError(
                f"a sample each {own:.6g} of {schema.time!r}, but each {schema.own_step:.6g} in training; give "
                f"times in the unit of training{f', {schema.unit}' if schema.unit else ''}"
            )
    samples = values.astype(np.float32)
    drop_zeros(samples, [i for i, c in enumerate(schema.channels) if c.blinks])
    if time is not None:
        samples = resample(time, samples, schema.step)
    length = len(samples)
    mean, std = schema.scale
    if schema.normalize == "recording":
        mean, std = to_scale(measure(samples))
    starts = find_starts(length, schema.window, schema.hop)
    if schema.horizon:
        starts = starts[-1:]
        lacking = max(0, schema.window - length)  # before the samples: the forecast follows them
        samples = np.pad(samples, ((lacking, 0), (0, 0)), constant_values=np.nan)
    windows = cut(samples, starts, np.full(len(starts), len(samples)), schema.window)
    has_value = np.isfinite(windows).any(axis=(1, 2))  # as in training: of others nothing is known
    if not has_value.any():
        what = f"its last {schema.window} samples" if schema.horizon else "all its values"
        raise ValueError(f"{what} are lost")
    if not has_value.all():
        windows, starts = windows[has_value], starts[has_value]
    return normalize(windows, mean, std), starts, length
