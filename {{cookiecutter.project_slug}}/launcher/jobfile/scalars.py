"""The single values of the API's messages, and what to write where one is not of its type.

A check takes what YAML made of a value, and its text in the file. It returns what is wrong and what
to write instead, or None.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import yaml

from launcher.common.document import show

Check = Callable[[Any, str], tuple[str, str] | None]
LONGEST = 315_576_000_000  # seconds, of a duration
DOUBLE = sys.float_info.max
SURROGATES = re.compile("[\ud800-\udfff]")  # halves of a character, which UTF-8 cannot hold


def _check_string(value: Any, text: str) -> tuple[str, str] | None:
    if isinstance(value, (dict, list)):
        word = "a mapping" if isinstance(value, dict) else "a list"
        return f"is {word}, not a text", "write one text"
    if not isinstance(value, str):
        return f"is {show(text)}, which is no text to YAML", f'put it in quotes: "{text}"'
    if SURROGATES.search(value):
        return "holds half a character (\\ud800 to \\udfff)", "write the character itself"
    return None


def _check_number(value: Any, text: str) -> tuple[str, str] | None:
    """Refuse what YAML 1.1 does not read as most people do: 1e5 is a text to it, 010 is 8."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if (meant := _read_number(text)) is None:
        if not is_number or not -DOUBLE < value < DOUBLE:
            return f"is {show(text)}", "a number is expected"
        meant = value  # 1:30, in sixties
    elif is_number and value == meant:
        return None
    what = f"is {show(text)}, which YAML takes for {value if is_number else 'a text'}"
    return what, f"write {write_number(meant)}, without quotes"


def _check_whole(bits: int, value: Any, text: str) -> tuple[str, str] | None:
    if isinstance(value, str) and re.fullmatch("-?[0-9]{1,19}", value):
        value = int(value)  # JSON has 64 bits as a text
    if problem := _check_number(value, text):
        return problem
    if not isinstance(value, int) or not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        return f"is {show(text)}", f"a whole number of {bits} bits is expected"
    return None


def _read_number(text: str) -> float | None:
    """The number that a text stands for outside of YAML, such as 1e5 or 0o17; None for others."""
    for read in (lambda text: int(text, 0), float):
        try:
            number = read(text)
        except ValueError:
            continue
        return number if -DOUBLE < number < DOUBLE else None
    return None


def write_number(value: float) -> str:
    """A number as YAML 1.1 reads it: 16, 0.001, 1.0e-05."""
    is_whole = float(value).is_integer() and abs(value) < 1e15
    return yaml.safe_dump(int(value) if is_whole else float(value)).split()[0]


def _check_bool(value: Any, text: str) -> tuple[str, str] | None:
    wrong = f"is {show(text)}", "write true or false, without quotes"
    return None if isinstance(value, bool) else wrong


def _check_duration(value: Any, text: str) -> tuple[str, str] | None:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]{1,9})?s", value):
        too_long = abs(parse_duration(value)) > LONGEST
        return (f"is {show(value)}", "this is too long") if too_long else None
    return f"is {show(text)}", 'a time is seconds with an s: write "3600s" for an hour'


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
