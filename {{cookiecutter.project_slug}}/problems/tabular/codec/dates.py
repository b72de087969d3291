"""Texts that are dates: a day, a month or a week of some year, with or without a time."""

from __future__ import annotations

import re
from collections import Counter

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
        rf"[0-3]\d\.[01]\d\.\d\d{_TIME}",  # 31.01.20; 1.2.20 may be a version
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


def are_dates(counts: Counter) -> bool:
    """Whether dates are most values of a column, given with their counts, or most different values."""
    common = counts.most_common(1000)
    dates = [count for text, count in common if _DATE.fullmatch(text)]
    return 2 * len(dates) > len(common) or 2 * sum(dates) > sum(count for _, count in common)
