"""The single values of the API's messages, and what to write where one is not of its type.

A check takes what YAML made of a value, and its text in the file. It returns what is wrong and what
to write instead, or None.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from launcher.common.document import show

Check = Callable[[Any, str], tuple[str, str] | None]
LONGEST = 315_576_000_000  # seconds, of a duration
SURROGATES = re.compile("[\ud800-\udfff]")  # halves of a character, which UTF-8 cannot hold
UNITS = {"": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}  # seconds


def _check_string(value: Any, text: str) -> tuple[str, str] | None:
    if isinstance(value, (dict, list)):
        word = "a mapping" if isinstance(value, dict) else "a list"
        return f"is {word}, not a text", "write one text"
    if not isinstance(value, str):
        kind = "a number" if isinstance(value, (int, float)) else "a date"
        kind = "true or false" if isinstance(value, bool) else kind
        return f"is {show(text)}, which YAML takes for {kind}", f'put it in quotes: "{text}"'
    if SURROGATES.search(value):
        return "holds half a character (\\ud800 to \\udfff)", "write the character itself"
    return None


def _check_whole(bits: int, value: Any, text: str) -> tuple[str, str] | None:
    if isinstance(value, str) and re.fullmatch("-?[0-9]{1,19}", value):
        value = int(value)  # JSON has 64 bits as a text
    if isinstance(value, bool) or not isinstance(value, int):
        number = _read_number(text)
        whole = number is not None and number.is_integer() and abs(number) < 2**63
        return f"is {show(text)}", f"write {int(number)}" if whole else "a whole number is expected"
    if problem := _check_base(value, text):
        return problem
    fits = -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)
    return None if fits else (f"is {show(text)}", f"a number of {bits} bits is expected")


def _check_number(value: Any, text: str) -> tuple[str, str] | None:
    number = _read_number(value) if isinstance(value, str) else None
    if number is not None:
        right = write_number(number)
        why = " with a dot and a sign, as YAML 1.1 wants it" if "e" in right else ""
        what = f"is {show(value)}, which YAML takes for a text"
        return what, f"write {right}{why}, without quotes"
    wrong = f"is {show(text)}", "a number is expected"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return wrong
    try:
        return _check_base(value, text) if math.isfinite(value) else wrong
    except OverflowError:  # more digits than a double holds
        return wrong


def _read_number(text: str) -> float | None:
    """The number that a text stands for outside of YAML, such as 1e5 or 0o17; None for others."""
    for read in (float, lambda text: float(int(text, 0))):
        try:
            number = read(text)
        except (ValueError, OverflowError):
            continue
        return number if math.isfinite(number) else None
    return None


def _check_base(value: float, text: str) -> tuple[str, str] | None:
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


def _check_bool(value: Any, text: str) -> tuple[str, str] | None:
    wrong = f"is {show(text)}", "write true or false, without quotes"
    return None if isinstance(value, bool) else wrong


def _check_duration(value: Any, text: str) -> tuple[str, str] | None:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]{1,9})?s", value):
        too_long = abs(parse_duration(value)) > LONGEST
        return (f"is {show(value)}", "this is too long") if too_long else None
    match = re.fullmatch(r"([0-9]{1,9})\s*(min|[mhd]|)", text)
    seconds = f"{int(match[1]) * UNITS[match[2]]}s" if match else "3600s"
    if isinstance(value, int) and ":" in text:  # 1:30:00, in sixties
        seconds = f"{value}s"
    return f"is {show(text)}", f'a time is seconds with an s: write "{seconds}"'


def parse_duration(text: str) -> float:
    """ "3600s" → 3600.0, in seconds."""
    return float(text.removesuffix("s"))


def _check_timestamp(value: Any, text: str) -> tuple[str, str] | None:
    form = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"
    try:
        if isinstance(value, str) and re.fullmatch(form, value):
            datetime.strptime(value[:19], "%Y-%m-%dT%H:%M:%S")
            return None
    except ValueError:
        pass
    return f"is {show(text)}", 'write it as "2030-12-31T23:59:59Z", in quotes'


SCALARS: dict[str, Check] = {
    "string": _check_string,
    "bool": _check_bool,
    "int32": partial(_check_whole, 32),
    "int64": partial(_check_whole, 64),
    "double": _check_number,
    "duration": _check_duration,
    "timestamp": _check_timestamp,
}
