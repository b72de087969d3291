"""Numbers: as files hold them, and as people read them."""

from __future__ import annotations

import math
from typing import Any


def number(value: Any) -> float:
    """A float; NaN for anything that is none. Strict JSON writes NaN as null or as a text."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def figures(value: Any) -> str:
    """Four significant digits; a dash for what is no number."""
    value = number(value)
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    whole = abs(value) < 1e15 and (abs(value) >= 1000 or value.is_integer())
    text = f"{abs(value):,.0f}" if whole else f"{abs(value):.4g}"
    return "−" + text if value < 0 else text


def shorten(value: Any) -> str:
    """The value of a parameter: a float with four significant digits, anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def percent(share: Any) -> str:
    share = number(share)
    return f"{100 * share:.1f} %" if math.isfinite(share) else "–"


def measured(value: Any, interval: Any, of_100: bool = False) -> tuple[str, str]:
    """A value and its interval as texts, with no more digits than the interval supports.

    The half width of the interval gets one digit, or two below 3.55, as the Particle Data Group
    rounds, and the value as many decimals: ("0.97", "0.90 to 0.99").

    Args:
        interval: (low, high); anything else gives the value as `figures` or `percent` has it, and "".
        of_100: shares as percent.
    """
    value, scale, unit = number(value), 100 if of_100 else 1, " %" if of_100 else ""
    try:
        low, high = map(number, interval)
        exponent = math.floor(math.log10(scale * (high - low) / 2))
    except (TypeError, ValueError, OverflowError):  # no interval, or one of no width
        return (percent if of_100 else figures)(value), ""
    leading = scale * (high - low) / 2 / 10**exponent
    decimals = (leading < 3.55) - exponent
    if not math.isfinite(value) or decimals > 6:
        return figures(value), f"{figures(low)} to {figures(high)}"
    rounded = (round(scale * x, decimals) + 0.0 for x in (value, low, high))  # -0.0 becomes 0.0
    texts = [f"{x:,.{max(0, decimals)}f}".replace("-", "−") for x in rounded]
    return texts[0] + unit, f"{texts[1]} to {texts[2]}{unit}"


def ratio(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"
