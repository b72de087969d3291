"""What a worker pool pays for an hour of each of its parts, in US dollars, from prices.yaml.

The head of that file says what a price is made of.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from launcher.common import document
from launcher.common.document import SpecError
from launcher.jobfile.job import Pool
from launcher.jobfile.machines import MACHINES

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


@dataclass(frozen=True)
class Row:
    """What one part costs: the four columns, None where a price is unknown."""

    prices: tuple[float | None, ...]
    date: date

    def price(self, kind: str) -> float | None:
        """Of a core, a GB or an accelerator for an hour, by a key of SUMS; None: unknown."""
        prices = [self.prices[column] for column in SUMS[kind]]
        return None if None in prices else sum(prices)


Table = dict[str, dict[str, Row]]  # {region: {part: row}}


def find_row(table: Table, region: str, part: str) -> Row | None:
    return table.get(region, {}).get(part) or table.get(ANYWHERE, {}).get(part)


def load() -> Table:
    """Read prices.yaml.

    Raises:
        SpecError: it cannot be read, or is no table of prices.
    """
    table: Table = {}
    file = document.read(PATH)
    try:
        for group in file.value["groups"]:
            day, source = group["date"], group["source"]
            if type(day) is not date or not isinstance(source, str):
                raise ValueError(f"date is {day!r}, source is {source!r}")
            for regions, rows in group["prices"].items():
                for region in regions.split():
                    for part, prices in rows.items():
                        table.setdefault(region, {})[part] = _make_row(part, prices, day)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        hint = f"git checkout {PATH.name}, or python TEMPLATE/tools/refresh_prices.py"
        raise SpecError(f"{PATH}: not a table of prices ({error!s:.80}); {hint}") from None
    return table


def _make_row(part: str, prices: object, day: date) -> Row:
    if not isinstance(prices, list) or len(prices) != len(COLUMNS):
        raise ValueError(f"{part} is {prices!r}, not four prices")
    for price in prices:
        number = type(price) in (int, float)  # not a bool
        if price is not None and not (number and 0 <= price < math.inf):
            raise ValueError(f"{part} is {prices!r}, and {price!r} is no price")
    return Row(tuple(prices), day)


@dataclass(frozen=True)
class Part:
    """A worker pool, and what an hour of all its replicas costs."""

    pool: Pool
    kind: str  # what it pays, a key of SUMS; any other strategy has no price
    known_price: float  # USD an hour: what of it is known
    unknown: tuple[str, ...]  # what has no price: ("g2.core", "NVIDIA_L4")
    dates: frozenset[date]  # when its prices were read

    @property
    def price(self) -> float | None:
        """USD an hour; None: unknown."""
        return None if self.unknown else self.known_price

    def __str__(self) -> str:
        pool = self.pool
        gpus = f"{pool.accelerators} × {pool.accelerator}" if pool.accelerators else ""
        words = (pool.machine or "no machine", gpus, f"{pool.disk_gb} GB {pool.disk_type}")
        price = "unknown" if self.price is None else f"{dollars(self.price)} an hour"
        return f"{pool.replicas} × {', '.join(filter(None, words))}, {self.kind}: {price}"


def price_pool(pool: Pool, region: str, strategy: str, table: Table) -> Part:
    """Price a pool under a scheduling.strategy."""
    kind = STRATEGIES.get(strategy, strategy)
    price, unknown, dates = 0.0, [], set()
    for name, quantity in _list_quantities(pool, region, kind, table):
        row = find_row(table, region, name) if kind in SUMS else None
        if row is None or row.price(kind) is None:
            unknown.append(name)
        if row is not None:  # the price may be known and the fee not, or the other way round
            price += quantity * sum(row.prices[column] or 0 for column in SUMS[kind])
            dates.add(row.date)
    return Part(pool, kind, price * pool.replicas, tuple(unknown), frozenset(dates))


def _list_quantities(
    pool: Pool, region: str, kind: str, table: Table
) -> Iterator[tuple[str, float]]:
    """What one machine of a pool is made of: (name in prices.yaml, how many of it)."""
    machine = MACHINES.get(pool.machine)
    family = pool.machine.partition("-")[0]
    if machine is None:
        yield pool.machine or "no machine", 1
    elif machine.is_tpu:
        yield family if machine.topologies else pool.accelerator or pool.machine, _chips(pool)
    else:
        if find_row(table, region, f"{family}.core+ram"):
            yield f"{family}.core+ram", machine.cores
        else:
            yield f"{family}.core", machine.cores
            yield f"{family}.ram", machine.memory_gb
        if pool.accelerators:
            yield pool.accelerator, pool.accelerators
        if machine.local_ssd_gb and kind != "on demand":
            yield "local-ssd", machine.local_ssd_gb
    yield pool.disk_type, pool.disk_gb


def _chips(pool: Pool) -> int:
    """The chips of a TPU on all its machines: topology "4x4" has 16."""
    sides = re.findall(r"\d+", pool.topology)
    return math.prod(map(int, sides)) if sides else pool.accelerators or 8


def dollars(amount: float) -> str:
    """ "$1,234.50", "$0.2233", "$0.000030": never rounded down to nothing."""
    if not 0 < amount < 1:  # or NaN
        return f"${amount:,.2f}"
    digits = 4 if amount >= 0.001 else 1 - math.floor(math.log10(amount))
    return f"${amount:.{digits}f}"
