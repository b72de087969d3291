"""What a worker pool is made of, and what an hour of it costs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from launcher.cost import prices
from launcher.cost.prices import STRATEGIES, Table
from launcher.jobfile.job import Pool
from launcher.jobfile.machines import MACHINES

# GB of local SSD that a GPU of these machines brings; on demand they are in the machine's price.
LOCAL_SSD = {
    "a2-ultragpu": 375,
    "a3-highgpu": 750,
    "a3-megagpu": 750,
    "a3-ultragpu": 1500,
    "a4-highgpu": 1500,
}
CALLED = {
    "STANDARD": "on demand",
    "ON_DEMAND": "on demand",
    "SPOT": "spot",
    "LOW_COST": "spot",
    "FLEX_START": "flex start",
}


@dataclass(frozen=True)
class Part:
    """A worker pool, and what an hour of all its replicas costs."""

    replicas: int
    machine: str
    accelerators: str  # "2 × NVIDIA_L4"; "" where there are none
    disk: str  # "100 GB pd-ssd"
    strategy: str
    price: float | None  # USD an hour; None: unknown
    least: float  # USD an hour: what of it is known
    unknown: tuple[str, ...]  # what has no price: ("g2.core", "NVIDIA_L4")
    read: tuple[tuple[date, str], ...]  # when its prices were read, and where

    def __str__(self) -> str:
        what = ", ".join(filter(None, (self.machine, self.accelerators, self.disk)))
        price = "unknown" if self.price is None else f"{dollars(self.price)} an hour"
        return f"{self.replicas} × {what}, {CALLED.get(self.strategy, self.strategy)}: {price}"


def part(pool: Pool, region: str, strategy: str, table: Table) -> Part:
    """A pool, priced."""
    price, unknown, read = 0.0, [], set()
    for name, quantity in (
        *_machine(pool, region, strategy, table),
        (pool.disk_type, pool.disk_gb),
    ):
        row = prices.row(table, region, name) if strategy in STRATEGIES else None
        if row is None or row.price(strategy) is None:
            unknown.append(name)
        if row is not None:
            price += row.least(strategy) * quantity
            read.add((row.date, row.source))
    return Part(
        replicas=pool.replicas,
        machine=pool.machine or "no machine",
        accelerators=f"{pool.accelerators} × {pool.accelerator}" if pool.accelerators else "",
        disk=f"{pool.disk_gb} GB {pool.disk_type}",
        strategy=strategy,
        price=None if unknown else price * pool.replicas,
        least=price * pool.replicas,
        unknown=tuple(unknown),
        read=tuple(sorted(read)),
    )


def _machine(pool: Pool, region: str, strategy: str, table: Table) -> Iterator[tuple[str, float]]:
    """What a machine is made of, without its boot disk: (name in prices.yaml, how many of it)."""
    machine = MACHINES.get(pool.machine)
    family = pool.machine.partition("-")[0]
    if machine is None:
        yield pool.machine or "no machine", 1
    elif machine.is_tpu:
        yield family if machine.topologies else pool.accelerator or pool.machine, _chips(pool)
    else:
        if prices.row(table, region, f"{family}.core+ram"):
            yield f"{family}.core+ram", machine.cores
        else:
            yield f"{family}.core", machine.cores
            yield f"{family}.ram", machine.memory_gb
        if pool.accelerators:
            yield pool.accelerator, pool.accelerators
        ssd = LOCAL_SSD.get(pool.machine.rpartition("-")[0])
        if ssd and CALLED.get(strategy) != "on demand":
            yield "local-ssd", ssd * pool.accelerators


def _chips(pool: Pool) -> int:
    """Of a TPU, on all its machines: topology "4x4" has 16."""
    sides = re.findall(r"\d+", pool.topology)
    return math.prod(map(int, sides)) if sides else pool.accelerators or 8


def dollars(amount: float) -> str:
    """ "$1,234.50", "$0.2233", "$0.000030": never rounded down to nothing."""
    if amount >= 1 or amount <= 0:
        return f"${amount:,.2f}"
    digits = 4 if amount >= 0.001 else 1 - math.floor(math.log10(amount))
    return f"${amount:.{digits}f}"
