"""From what a network says of the windows of a recording to one answer, in training and predictions."""

from __future__ import annotations

import numpy as np


def average(outputs: np.ndarray) -> np.ndarray:
    """float32 […]: the mean over windows, float32 [windows, …]."""
    return outputs.mean(axis=0, dtype=np.float64).astype(np.float32)


def stitch(outputs: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """float32 [length, …]: for each sample of a recording, the mean over the windows that hold it.

    NaN where none does.

    Args:
        outputs: float32 [windows, window, …].
        starts: int [windows], where they begin.
        length: samples of the recording.
    """
    whole = np.zeros((max(length, starts[-1] + outputs.shape[1]), *outputs.shape[2:]))
    counts = np.zeros(len(whole))
    for values, start in zip(outputs, starts, strict=True):
        whole[start : start + len(values)] += values
        counts[start : start + len(values)] += 1
    counts[counts == 0] = np.nan
    counts = counts[:length].reshape(-1, *[1] * (outputs.ndim - 2))
    return (whole[:length] / counts).astype(np.float32)
