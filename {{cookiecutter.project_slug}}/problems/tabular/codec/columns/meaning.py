"""What the numbers of a column mean: row numbers, codes for missing values, values far from all others.

All of it is decided from a sample, of which `sample.py` says what is in it.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

import numpy as np

from codec.columns.profiles import Profile
from codec.schema import LARGEST

FEWEST = 20  # rows: in a smaller table, numbers may all differ, or be far from others, by chance

# Names of row numbers; and of what may ascend from row to row and is still a feature.
_WHO = (
    r"row|case|obs|observation|record|index|serial|sample|specimen|unit|subject|subj|participant|patient|pat|"
    r"person|user|customer|client|member|employee|student|pupil|child|kid|school|district|household|firm"
)
_ID = re.compile(
    rf"(.* )?({_WHO}|p|s|u|uu)?ids?( .*)?|({_WHO}|doc|seq|reg)? ?(no|nr|num|code|names?)|{_WHO}|idx|"
    r"unnamed( .*)?|.* (no|nr)"
)
_ORDER = re.compile(
    r"(.* )?(years?|yrs?|quarters?|months?|weeks?|days?|dates?|hours?|minutes?|seconds?|times?|timestamp|"
    r"periods?|age|height|depth|distance|dose|temperature|wavelength|frequency|angle)( .*)?|t|x"
)
_YEARS = (1500, 2100)

# As people write a missing value: -1, -9, -999, 9999, 999.9, and beside them 98 (refused), -8.
_CODE = re.compile(r"-[1789]|-?(9{2,}|8{2,}|7{2,}|9+[678])(\.([89]+|25))?")
_GAP = 2  # from a code to the other values, in ranges of these
_MANY = 5  # different values: beside fewer, a number below zero is one of them
_FAR = 10  # from the middle of the values, in ranges of that


def are_row_numbers(profile: Profile, values: np.ndarray, files: int, alone: bool) -> bool:
    """Whether a column numbers the rows, over all files or in each of them.

    The whole numbers of `values`, float64 [rows] in file order, are then all different under the
    name of an id; or they ascend, and have few gaps, under any other name but that of a time.
    (Those in any order may be ranks; and where a table has nothing else, the x of a curve: `alone`.)
    """
    if len(values) < FEWEST or profile.missing or not (values == np.floor(values)).all():
        return False
    steps = np.diff(values)
    ascend = min(np.count_nonzero(steps <= 0), np.count_nonzero(steps >= 0)) < files  # or descend
    if not ascend and len(np.unique(values)) < len(values):
        return False
    name = re.sub(r"(?<=[a-z])(?=[A-Z])|[\W_]+", " ", profile.name).strip()
    are_dense = profile.high - profile.low <= 2 * profile.rows
    if _ID.fullmatch(name.lower()) or (name == "X" and are_dense):  # R's name for none
        return True
    are_years = _YEARS[0] <= profile.low and profile.high <= _YEARS[1]
    in_order = alone or are_years or _ORDER.fullmatch(name.lower())
    return ascend and are_dense and not in_order


@np.errstate(over="ignore")
def find_codes(values: np.ndarray) -> list[float]:
    """The values that stand for a missing one: at an end, repeated, far from the rest, and 999 or the like."""
    different, counts = np.unique(values, return_counts=True)

    def is_written(i: int) -> bool:
        return counts[i] > 1 and bool(_CODE.fullmatch(f"{different[i]:.10g}"))

    ends = range(len(different)), range(len(different) - 1, -1, -1)
    low, high = (len([*itertools.takewhile(is_written, end)]) for end in ends)
    codes, rest = [], different[low : len(different) - high]
    if len(rest) < 2 or not low + high:
        return []
    near = _find_range(values[(rest[0] <= values) & (values <= rest[-1])])
    rest = rest[(near[0] <= rest) & (rest <= near[1])]
    reach = rest[-1] - rest[0]
    if low and different[0] < 0:
        gap, text = rest[0] - different[low - 1], f"{different[0]:g}"
        is_only_negative = text.startswith("-9") and rest[0] >= 0
        is_far = gap >= (1 if text.startswith("-99") else _GAP) * reach and len(rest) >= _MANY
        codes += [*different[:low]] if is_only_negative or is_far else []
    if high and different[-high] > 0 and different[-high] - rest[-1] >= _GAP * reach:
        codes += [*different[-high:]]
    return [float(code) for code in codes]


@dataclass
class Scale:
    """How numbers become small ones: cut off at low and high, less the mean, divided by std."""

    mean: float
    std: float
    low: float
    high: float
    about: str = ""  # what is unusual, for the log


@np.errstate(over="ignore", invalid="ignore")
def find_scale(profile: Profile, values: np.ndarray, codes: list[float]) -> Scale:
    """The mean and standard deviation of all values but codes and those that are far from all others.

    Far values are cut off at the last one that is not; other columns, at their range away from it.
    """
    values = values[~np.isin(values, codes)]
    if not len(values):
        return Scale(0.0, 1.0, -LARGEST, LARGEST)
    mean, std, low, high = profile.mean, profile.std, profile.low, profile.high
    if codes:
        mean, std, low, high = values.mean(), values.std(), values.min(), values.max()
    near = _find_range(values)
    margin = high - low
    scale = Scale(float(mean), float(std), float(low - margin), float(high + margin))
    if low < near[0] or near[1] < high:
        values = values[(near[0] <= values) & (values <= near[1])]
        low, high = float(values.min()), float(values.max())
        about = f"values far below {low:.4g} or above {high:.4g} count as these"
        scale = Scale(float(values.mean()), float(values.std()), low, high, about)
    return scale


def _find_range(values: np.ndarray) -> tuple[float, float]:
    """Where values are not far from all others; a column of one value and few others has no such range."""
    values = np.sort(values)
    while len(values) >= FEWEST:
        few = max(len(values) // 100, min(3, len(values) // 20))  # that may be far, at each end
        low, high = values[few], values[-1 - few]
        if low < high:
            return low - _FAR * (high - low), high + _FAR * (high - low)
        values = values[values != low]
    return -np.inf, np.inf
