"""The prices in prices.yaml: reads them, looks one up.

Its head says what a price is made of. All prices are US dollars an hour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from launcher.common import document
from launcher.common.document import SpecError

PATH = Path(__file__).with_name("prices.yaml")
ANYWHERE = "anywhere"  # in place of a region
COLUMNS = ("on demand", "spot", "flex start", "fee")
# {scheduling.strategy: the columns to add up}
STRATEGIES = {
    "STANDARD": (0,),
    "SPOT": (1, 3),
    "FLEX_START": (2, 3),
    "ON_DEMAND": (0,),  # the API's old names
    "LOW_COST": (1, 3),
}


class PriceError(SpecError):
    """A price file, a catalog, or a limit that cannot be kept: one line."""


@dataclass(frozen=True)
class Row:
    """What one part costs: the four columns, None where a price is unknown."""

    prices: tuple[float | None, ...]
    date: date
    source: str

    def price(self, strategy: str) -> float | None:
        """A core, a GB, an accelerator, for an hour; None: unknown."""
        prices = [self.prices[column] for column in STRATEGIES[strategy]]
        return None if None in prices else sum(prices)

    def least(self, strategy: str) -> float:
        """What of it is known: the price without the fee, or the fee without the price."""
        return sum(self.prices[column] or 0 for column in STRATEGIES[strategy])


Table = dict[str, dict[str, Row]]  # {region: {part: row}}


def row(table: Table, region: str, part: str) -> Row | None:
    return table.get(region, {}).get(part) or table.get(ANYWHERE, {}).get(part)


def load(path: Path | None = None) -> Table:
    """Reads a price file; without a path, the one beside this module.

    Raises:
        PriceError: it cannot be read, or is none.
    """
    path = path or PATH
    try:
        file = document.read(path)
    except document.SpecError as error:
        raise PriceError(str(error).splitlines()[0]) from None
    table: Table = {}
    try:
        for group in file.value["groups"]:
            day, source = group["date"], group["source"]
            if type(day) is not date or not isinstance(source, str):
                raise ValueError(f"date is {day!r}, source is {source!r}")
            for regions, rows in group["prices"].items():
                for region in regions.split():
                    for part, prices in rows.items():
                        table.setdefault(region, {})[part] = _row(part, prices, day, source)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        hint = f"git checkout {path.name}, or python TEMPLATE/tools/refresh_prices.py"
        raise PriceError(f"{path}: not a table of prices ({error!s:.80}); {hint}") from None
    return table


def _row(part: str, prices: object, day: date, source: str) -> Row:
    if not isinstance(prices, list) or len(prices) != len(COLUMNS):
        raise ValueError(f"{part} is {prices!r}, not four prices")
    for price in prices:
        number = isinstance(price, int | float) and not isinstance(price, bool)
        if price is not None and not (number and math.isfinite(price) and price >= 0):
            raise ValueError(f"{part} is {prices!r}, and {price!r} is no price")
    return Row(tuple(prices), day, source)
