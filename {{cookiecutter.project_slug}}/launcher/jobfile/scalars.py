"""The single values of the API's messages, and what to write where one is not of its type.

A check takes what YAML made of a value, and the text in the file; it returns what is wrong and what
to write instead, or None.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from launcher.common.document import show

LONGEST = 315_576_000_000  # seconds, of a duration
SURROGATES = re.compile("[\ud800-\udfff]")  # halves of a character, which UTF-8 cannot hold


def _string(value: Any, text: str) -> tuple[str, str] | None:
    if not isinstance(value, str):
        word = {dict: "a mapping", list: "a list"}.get(type(value))
        if word:
            return f"is {word}, not a text", "write one text"
        return (
            f"is {show(text)}, which YAML takes for {_kind(value)}",
            f'put it in quotes: "{text}"',
        )
    if SURROGATES.search(value):
        return "holds half a character (\\ud800 to \\udfff)", "write the character itself"
    return None


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    return "a number" if isinstance(value, (int, float)) else "a date"


def _whole(bits: int) -> Callable[[Any, str], tuple[str, str] | None]:
    def check(value: Any, text: str) -> tuple[str, str] | None:
        if isinstance(value, str) and re.fullmatch("-?[0-9]{1,19}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            number = _meant(text or str(value))
            whole = number is not None and number.is_integer() and abs(number) < 2**63
            instead = f"write {int(number)}" if whole else "a whole number is expected"
            return f"is {show(text or value)}", instead
        if other := _other_base(value, text):
            return other
        if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            return f"is {show(text or value)}", f"a number of {bits} bits is expected"
        return None

    return check


def _number(value: Any, text: str) -> tuple[str, str] | None:
    if isinstance(value, str):
        number = _meant(value)
        if number is None:
            return f"is {show(value)}", "a number is expected"
        right = write_number(number)
        why = " with a dot and a sign, as YAML 1.1 wants it" if "e" in right else ""
        what = f"is {show(value)}, which YAML takes for a text"
        return what, f"write {right}{why}, without quotes"
    try:
        if not isinstance(value, bool) and math.isfinite(value):
            return _other_base(value, text)
    except (TypeError, OverflowError):
        pass
    return f"is {show(text or value)}", "a number is expected"


def _meant(text: str) -> float | None:
    """The number that a text stands for outside of YAML, such as 1e5 or 0o17; None for others."""
    for read in (float, lambda text: float(int(text, 0))):
        with contextlib.suppress(ValueError, OverflowError):
            number = read(text)
            return number if math.isfinite(number) else None
    return None


def _other_base(value: float, text: str) -> tuple[str, str] | None:
    """YAML 1.1 reads 1:30 in sixties, and 010 in eights, without a word."""
    what = f"is {show(text)}, which YAML takes for {value}"
    if ":" in text:
        return what, f"write {value}, if sixties are meant"
    if re.fullmatch("[-+]?0[0-7_]+", text):
        return what, f"write {int(text.replace('_', ''))}, or {value} if eights are meant"
    return None


def write_number(value: float) -> str:
    """A number as YAML 1.1 reads it: 16, 0.001, 1.0e-05."""
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    digits, e, exponent = repr(value).partition("e")
    return digits + (".0" if e and "." not in digits else "") + e + exponent


def _bool(value: Any, text: str) -> tuple[str, str] | None:
    if isinstance(value, bool):
        return None
    return f"is {show(text or value)}", "write true or false, without quotes"


UNITS = {"": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def _duration(value: Any, text: str) -> tuple[str, str] | None:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]{1,9})?s", value):
        return (
            None if abs(float(value[:-1])) <= LONGEST else (f"is {show(value)}", "this is too long")
        )
    found = re.fullmatch(r"([0-9]{1,9})\s*(min|[mhd]|)", text or "")
    seconds = f"{int(found[1]) * UNITS[found[2]]}s" if found else "3600s"
    if isinstance(value, int) and ":" in text:  # 1:30:00, in sixties
        seconds = f"{value}s"
    return f"is {show(text or value)}", f'a time is seconds with an s: write "{seconds}"'


def _timestamp(value: Any, text: str) -> tuple[str, str] | None:
    form = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"
    if isinstance(value, str) and re.fullmatch(form, value):
        try:
            datetime.strptime(value[:19], "%Y-%m-%dT%H:%M:%S")
            return None
        except ValueError:
            pass
    return f"is {show(text or value)}", 'write it as "2030-12-31T23:59:59Z", in quotes'


SCALARS = {
    "string": _string,
    "bool": _bool,
    "int32": _whole(32),
    "int64": _whole(64),
    "double": _number,
    "duration": _duration,
    "timestamp": _timestamp,
}
