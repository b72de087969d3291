"""The billed parts of a worker pool, and what an hour of them costs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from launcher.cost import prices
from launcher.cost.prices import STRATEGIES, SUMS, Table
from launcher.jobfile.job import Pool
from launcher.jobfile.machines import MACHINES


@dataclass(frozen=True)
class Part:
    """A worker pool, and what an hour of all its replicas costs."""

    pool: Pool
    kind: str  # what it pays, a key of prices.SUMS; any other strategy has no price
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
        row = prices.find_row(table, region, name) if kind in SUMS else None
        if row is None or row.price(kind) is None:
            unknown.append(name)
        if row is not None:
            price += row.known_price(kind) * quantity
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
        if prices.find_row(table, region, f"{family}.core+ram"):
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
    if amount >= 1 or amount <= 0:
        return f"${amount:,.2f}"
    digits = 4 if amount >= 0.001 else 1 - math.floor(math.log10(amount))
    return f"${amount:.{digits}f}"
