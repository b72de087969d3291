"""Read prices.yaml and look up a price. Its head says what a price is made of: US dollars an hour."""

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
# {what a job pays: the columns to add up}
SUMS = {"on demand": (0,), "spot": (1, 3), "flex start": (2, 3)}
# {scheduling.strategy: what a job pays}; ON_DEMAND and LOW_COST are the API's old names.
STRATEGIES = {
    "STANDARD": "on demand",
    "ON_DEMAND": "on demand",
    "SPOT": "spot",
    "LOW_COST": "spot",
    "FLEX_START": "flex start",
}


class PriceError(SpecError):
    """A price file, a catalog, or a limit that cannot be kept: one line."""


@dataclass(frozen=True)
class Row:
    """What one part costs: the four columns, None where a price is unknown."""

    prices: tuple[float | None, ...]
    date: date

    def price(self, kind: str) -> float | None:
        """Of a core, a GB or an accelerator for an hour, by a key of SUMS; None: unknown."""
        prices = [self.prices[column] for column in SUMS[kind]]
        return None if None in prices else sum(prices)

    def known_price(self, kind: str) -> float:
        """What of it is known: the price without the fee, or the fee without the price."""
        return sum(self.prices[column] or 0 for column in SUMS[kind])


Table = dict[str, dict[str, Row]]  # {region: {part: row}}


def find_row(table: Table, region: str, part: str) -> Row | None:
    return table.get(region, {}).get(part) or table.get(ANYWHERE, {}).get(part)


def load(path: Path | None = None) -> Table:
    """Read a price file; without a path, the one beside this module.

    Raises:
        PriceError: it cannot be read, or is no table of prices.
    """
    path = path or PATH
    table: Table = {}
    try:
        file = document.read(path)
        for group in file.value["groups"]:
            day, source = group["date"], group["source"]
            if type(day) is not date or not isinstance(source, str):
                raise ValueError(f"date is {day!r}, source is {source!r}")
            for regions, rows in group["prices"].items():
                for region in regions.split():
                    for part, prices in rows.items():
                        table.setdefault(region, {})[part] = _make_row(part, prices, day)
    except SpecError as error:
        raise PriceError(str(error).splitlines()[0]) from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        hint = f"git checkout {path.name}, or python TEMPLATE/tools/refresh_prices.py"
        raise PriceError(f"{path}: not a table of prices ({error!s:.80}); {hint}") from None
    return table


def _make_row(part: str, prices: object, day: date) -> Row:
    if not isinstance(prices, list) or len(prices) != len(COLUMNS):
        raise ValueError(f"{part} is {prices!r}, not four prices")
    for price in prices:
        number = type(price) in (int, float)  # not a bool
        if price is not None and not (number and 0 <= price < math.inf):
            raise ValueError(f"{part} is {prices!r}, and {price!r} is no price")
    return Row(tuple(prices), day)
