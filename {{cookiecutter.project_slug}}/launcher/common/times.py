"""Times as Google's APIs write them, in RFC 3339, and times and spans as people read them."""

from __future__ import annotations

import re
from datetime import datetime, timezone


def parse_time(text: str) -> datetime:
    """An RFC 3339 time, "2026-08-01T10:00:00.123456789Z", in UTC; without a zone it is UTC already.

    Raises:
        ValueError: the text is no time.
    """
    # Python 3.10 reads neither Z nor nanoseconds nor tenths.
    digits = re.sub(r"\.\d+", lambda fraction: f"{fraction[0]:0<7.7}", text.strip())
    try:
        time = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", digits))
    except ValueError:
        raise ValueError(f"{text!r} is no time, such as 2026-08-01T10:00:00Z") from None
    return time.replace(tzinfo=time.tzinfo or timezone.utc).astimezone(timezone.utc)


def seconds_between(start: str, end: str | None) -> float:
    """Seconds from one RFC 3339 time to another; without an end, until now."""
    last = parse_time(end) if end else datetime.now(timezone.utc)
    return (last - parse_time(start)).total_seconds()


def format_span(seconds: float) -> str:
    """ "0.12 s", "45 s", "12 min", "1 h 05 min" """
    if seconds < 120:
        return f"{max(0.0, seconds):{'.2g' if seconds < 10 else '.0f'}} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


def format_age(seconds: float) -> str:
    """The same of what may be old: "47 h 12 min", "3 days" """
    days = seconds / 86_400
    return format_span(seconds) if days < 2 else f"{days:.0f} days"


def format_time(text: str | None) -> str:
    """An RFC 3339 time as "2026-11-21 14:43", in this machine's time; "–" for none."""
    return parse_time(text).astimezone().strftime("%Y-%m-%d %H:%M") if text else "–"
