"""Dates and times of a table: which texts are some, and the numbers that a model gets of them.

A date is its days since 1970-01-01, with a fraction for the time, as it is written: no zone counts. Beside
these, the trend, a model gets sines and cosines of the day of the year, of the week, and of the hour.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from codec.schema import PERIODS

if TYPE_CHECKING:  # where a model is served, there is no Arrow
    import pyarrow as pa

_YEAR = r"(?:1[5-9]|2[01])\d\d"
_MONTH = r"(?:0?[1-9]|1[0-2])"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_CLOCK = r"\d\d?(?:[:.h-]?\d\d){0,2}(?:[.,]\d+)?(?:\s?[ap]\.?m\.?)?"
_ZONE = r"(?: ?[a-z]{1,4})?(?: ?[-+]\d\d(?::?\d\d)?)?"
_TIME = rf"(?:(?:[T ,:_]+|,? (?:at|um|à|a las) ){_CLOCK}{_ZONE})?"
# English, German, French, Spanish.
_NAME = (
    r"(?:jan|january|januar|jänner|janv|janvier|ene|enero|feb|february|februar|févr?|février|febrero|"
    r"mar|march|märz?|mrz|mars|marzo|apr|april|avr|avril|abr|abril|may|mai|mayo|june?|juni|juin|junio|"
    r"july?|juli|juil|juillet|julio|aug|august|août|ago|agosto|sept?|september|septembre|septiembre|"
    r"oct|october|okt|oktober|octobre|octubre|nov|november|novembre|noviembre|"
    r"dec|december|dez|dezember|déc|décembre|dic|diciembre)\.?"
)
_WEEKDAY = r"(?:[a-z]{2,10}\.?,? +)?"
_ORDINAL = rf"{_DAY}(?:st|nd|rd|th|\.)?"
_ANY_YEAR = rf"(?:{_YEAR}|'?\d\d)"

_FORMS = "|".join(
    (
        rf"{_YEAR}(?P<a>[-/._: ]){_MONTH}(?P=a){_DAY}{_TIME}",  # 2020-01-31 10:15
        rf"{_YEAR}{_MONTH}{_DAY}[T ]\d{{4,6}}(?:\.\d+)?Z?",  # 20200131T1015
        rf"{_DAY}(?P<b>[-/. ]){_DAY}(?P=b){_YEAR}{_TIME}",  # 31.01.2020, 1/31/2020
        rf"{_DAY}(?P<c>[-/]){_DAY}(?P=c)\d\d{_TIME}",  # 1/31/20
        rf"[0-3]\d\.[01]\d\.\d\d{_TIME}",  # 31.01.20
        rf"{_YEAR}[-/]{_MONTH}|{_MONTH}[-/]{_YEAR}",  # 2020-01
        rf"{_YEAR}[- ]?(?:W\d\d(?:-?[1-7])?|Q[1-4])|Q[1-4][- /]?{_YEAR}",  # 2020-W05
        rf"{_YEAR}年{_MONTH}月(?:{_DAY}日)?",
        rf"{_WEEKDAY}{_ORDINAL}[-/. ]*(?:of |de )?{_NAME}(?:(?:[-/., ]+| de )?{_ANY_YEAR})?{_TIME}",
        rf"{_WEEKDAY}{_NAME}[-/. ]+{_ORDINAL}(?:[-/, ]+{_ANY_YEAR})?{_TIME}",  # Jan 31, 2020
        rf"{_WEEKDAY}{_NAME} +{_DAY} +\d\d:\d\d:\d\d(?: [a-z]{{2,5}})? {_YEAR}",  # as `date` prints
        rf"{_NAME}[-/., ]*{_YEAR}|{_NAME}[-/., ]+'?\d\d",  # Jan 2020, Jan-20
        rf"{_YEAR}[-/_ ]+{_NAME}(?:[-/_ ]+{_DAY})?{_TIME}",
    )
)
_BEFORE = (
    r"(?:(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day|mon|tue|wed|thu|fri|sat|sun)[.,]* +"
    r"|\d\d?(?::\d\d){1,2}(?: ?[ap]m)?[ ,]+)?"
)
_AFTER = r"(?: ?\[[\w/+-]+\]| ?\([\w .+-]+\))?"  # a zone, or the day of the week
_DATE = re.compile(f"{_BEFORE}(?:{_FORMS}){_AFTER}", re.IGNORECASE)
_SHORT = re.compile(rf"({_DAY})\.{_MONTH}\.\d\d{_TIME}", re.IGNORECASE)  # 31.1.20


def are_dates(counts: Counter) -> bool:
    """Whether dates are most values of a column, given with their counts, or most different values."""
    common = counts.most_common(1000)
    # 1.2.20 may be a version; beside 13.2.20 it is a day.
    short = [match for text, _ in common if (match := _SHORT.fullmatch(text))]
    is_date = _SHORT if any(int(match[1]) > 12 for match in short) else _DATE
    dates = [count for text, count in common if _DATE.fullmatch(text) or is_date.fullmatch(text)]
    return 2 * len(dates) > len(common) or 2 * sum(dates) > sum(count for _, count in common)


# Forms that become numbers: patterns for RE2, which pyarrow and TensorFlow share, and for Python.
_Y, _SHORT_Y = rf"(?P<year>{_YEAR})", rf"(?P<year>{_YEAR}|\d\d)"
_M, _D, _TH = rf"(?P<month>{_MONTH})", rf"(?P<day>{_DAY})", r"(?:st|nd|rd|th|\.)?"
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_N = rf"(?P<name>{_MONTHS})(?:uary|ruary|ch|il|e|y|ust|t|tember|ober|ember)?\.?"
_T = (
    r"(?:(?:[T ,:_]+| at )(?P<hour>[01]?\d|2[0-4])(?:[:.h](?P<minute>[0-5]\d)"
    r"(?:[:.](?P<second>[0-5]\d(?:\.\d+)?))?)?(?:.?(?P<half>[ap])\.?m\.?)?"
    r"(?: ?[a-z]{1,4})?(?: ?[-+]\d\d(?::?\d\d)?)?)?"
)
_PATTERNS = {
    "year-month-day": rf"{_Y}[-/._: ]{_M}(?:[-/._: ]{_D}{_T})?",
    "month/day/year": rf"{_M}[-/]{_D}[-/]{_SHORT_Y}{_T}",
    "day/month/year": rf"{_D}[-/]{_M}[-/]{_SHORT_Y}{_T}",
    "day.month.year": rf"{_D}[. ]{_M}[. ]{_Y}{_T}",
    "month/year": rf"{_M}[-/]{_Y}",
    "year month's name": rf"{_Y}[-/_ ]+{_N}(?:[-/_ ]+{_D}{_T})?",
    "day month's name year": rf"{_D}{_TH}[-/. ]*{_N}[-/., ]*{_SHORT_Y}{_T}",
    "month's name day year": rf"{_N}[-/. ]+{_D}{_TH}[-/, ]+{_Y}{_T}",
    "month's name year": rf"{_N}[-/., ]*{_Y}",
    "year-week": rf"{_Y}[- ]?W(?P<week>0[1-9]|[1-4]\d|5[0-3])",
    "year-quarter": rf"{_Y}[- ]?Q(?P<quarter>[1-4])",
    "quarter-year": rf"Q(?P<quarter>[1-4])[-/ ]?{_Y}",
}
_DAY_NAME = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6}[.,]* +)?"
FORMS = {form: f"(?i)^{_DAY_NAME}{pattern}$" for form, pattern in _PATTERNS.items()}
NAMED = ("name", "half")  # fields that are words; each counts as its position here, from 1
WORDS = [*_MONTHS.split("|"), "a", "p"]


def find_form(texts: pa.Array, least: float = 0.5) -> tuple[str, str]:
    """The form that most of different texts have, and the first of these; ("", "") where they are fewer
    than this share."""
    import pyarrow.compute as pc

    texts = texts.filter(pc.not_equal(texts, ""))
    dates = {form: texts.filter(pc.match_substring_regex(texts, FORMS[form])) for form in FORMS}
    form = max(dates, key=lambda form: len(dates[form]))
    enough = len(dates[form]) >= max(1, least * len(texts))
    return (form, dates[form][0].as_py()) if enough else ("", "")


def parse(texts: pa.Array, form: str) -> pa.Array:
    """Days since 1970-01-01, float64, of texts without white space around; null for what is no date."""
    import pyarrow as pa
    import pyarrow.compute as pc

    matches = pc.extract_regex(texts, FORMS[form])
    fields = {}
    for name in list_fields(form):
        field = pc.struct_field(matches, name)
        if name in NAMED:
            field = pc.index_in(pc.ascii_lower(field), pa.array(WORDS))
            fields[name] = pc.fill_null(field, -1).to_numpy(zero_copy_only=False) + 1.0
        else:
            field = pc.if_else(pc.equal(field, ""), get_default(name), field)
            fields[name] = pc.cast(field, pa.float64()).to_numpy(zero_copy_only=False)
    days = count_days(fields, np.where)
    return pa.array(days, mask=matches.is_null().to_numpy(zero_copy_only=False))


def parse_texts(texts: Sequence[str | None], form: str) -> np.ndarray:
    """`parse` of a few texts without Arrow: float64 [texts], NaN for what is no date."""
    pattern = _compile(form)
    matches = [pattern.match(text) if text else None for text in texts]

    def read(name: str, match: re.Match | None) -> float:
        text = match[name] if match else None
        if name in NAMED:
            word = (text or "").lower()
            return WORDS.index(word) + 1.0 if word in WORDS else 0.0  # ſ is an s for a pattern
        return float(text or get_default(name))

    fields = {name: np.array([read(name, m) for m in matches]) for name in list_fields(form)}
    return np.where([m is not None for m in matches], count_days(fields, np.where), np.nan)


@functools.cache
def _compile(form: str) -> re.Pattern:
    # Python's \d knows the digits of all scripts.
    return re.compile(FORMS[form].replace(r"\d", "[0-9]"))


def list_fields(form: str) -> list[str]:
    """The groups in a form's pattern, in their order."""
    return list(re.compile(FORMS[form]).groupindex)


def get_default(field: str) -> str:
    """What a field counts as in a date that lacks it."""
    return "1" if field == "day" else "0"


def count_days(fields: Mapping, where: Callable):
    """Days since 1970-01-01, [dates], of the numbers in `FORMS`, float64 [dates] each.

    Args:
        where: NumPy's or TensorFlow's, as the numbers are.
    """
    year = fields["year"]
    year = where(year < 30, year + 2000, where(year < 100, year + 1900, year))  # as in Excel
    month = fields.get("month", fields.get("name", 3 * fields.get("quarter", 1) - 2))
    days = _count_whole_days(year, month, fields.get("day", 1))
    if "week" in fields:  # the first one has the fourth of January; 1970 began on a Thursday
        days += 3
        days += 7 * (fields["week"] - 1) - (days + 3) % 7
    if "hour" in fields:
        hour, half = fields["hour"], fields["half"]
        hour = where(half > 0, hour % 12 + 12 * (half - 13), hour)
        days += (hour + fields["minute"] / 60 + fields["second"] / 3600) / 24
    return days


def _count_whole_days(year, month, day):
    """Of the Gregorian calendar; years begin in March, so that a leap day is the last one."""
    month = (month + 9) % 12
    year = year - month // 10
    leap_days = year // 4 - year // 100 + year // 400
    return 365 * year + leap_days + (153 * month + 2) // 5 + day - 719469


def choose_parts(days: np.ndarray) -> list[str]:
    """Which of PERIODS say more of these dates, float64 [dates], than the trend.

    Dates have to span a period, and not always be at the same point of it. The days of a week count
    unless all dates are at one point of the month, as those of a month or a quarter are.
    """
    whole = np.floor(days)
    parts = []
    for part, period in PERIODS.items():
        varies = not _are_in_step(days if period == 1 else whole, period)
        if varies and np.ptp(days) >= 0.9 * period:
            parts.append(part)
    if "weekday" in parts and _are_in_step(whole, PERIODS["season"] / 12, 0.9):
        parts.remove("weekday")
    return parts


def _are_in_step(days: np.ndarray, period: float, least: float = 0.99) -> bool:
    """Whether dates are at the same point of a period: 1 is that of all, and 0 none."""
    return bool(abs(np.exp(2j * math.pi * days / period).mean()) > least)


def find_angle(days, period: float, shift: float):
    """Radians, of which the sine is a wave: for arrays of NumPy and of TensorFlow."""
    return 2 * math.pi * ((days / period + shift) % 1)


def show(days: float) -> str:
    """A date in a message."""
    return str(np.datetime64(math.floor(days), "D"))
