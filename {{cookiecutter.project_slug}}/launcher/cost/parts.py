"""What a worker pool is made of, and what an hour of it costs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from launcher.cost import prices
from launcher.cost.prices import STRATEGIES, Table
from launcher.jobfile import machines

DISK = ("pd-ssd", 100)  # GB: the boot disk where diskSpec is not set
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


def part(pool: dict, region: str, strategy: str, table: Table) -> Part:
    """A pool of a CustomJobSpec, priced."""
    spec, disk = pool.get("machineSpec") or {}, pool.get("diskSpec") or {}
    replicas = int(pool.get("replicaCount", 1))
    disk_type = disk.get("bootDiskType") or DISK[0]
    disk_gb = int(disk.get("bootDiskSizeGb") or DISK[1])
    price, unknown, read = 0.0, [], set()
    for name, quantity in (*_machine(spec, region, strategy, table), (disk_type, disk_gb)):
        row = prices.row(table, region, name) if strategy in STRATEGIES else None
        if row is None or row.price(strategy) is None:
            unknown.append(name)
        if row is not None:
            price += row.least(strategy) * quantity
            read.add((row.date, row.source))
    count = int(spec.get("acceleratorCount") or 0)
    return Part(
        replicas=replicas,
        machine=spec.get("machineType") or "no machine",
        accelerators=f"{count} × {spec.get('acceleratorType')}" if count else "",
        disk=f"{disk_gb} GB {disk_type}",
        strategy=strategy,
        price=None if unknown else price * replicas,
        least=price * replicas,
        unknown=tuple(unknown),
        read=tuple(sorted(read)),
    )


def _machine(spec: dict, region: str, strategy: str, table: Table) -> Iterator[tuple[str, float]]:
    """What a machine is made of, without its boot disk: (name in prices.yaml, how many of it)."""
    name, count = spec.get("machineType") or "", int(spec.get("acceleratorCount") or 0)
    found = machines.MACHINES.get(name)
    family = name.partition("-")[0]
    if found is None:
        yield name or "no machine", 1
    elif found.is_tpu:
        yield family if found.topologies else spec.get("acceleratorType") or name, _chips(spec)
    else:
        if prices.row(table, region, f"{family}.core+ram"):
            yield f"{family}.core+ram", found.cores
        else:
            yield f"{family}.core", found.cores
            yield f"{family}.ram", found.memory_gb
        if count:
            yield spec.get("acceleratorType") or "", count
        ssd = LOCAL_SSD.get(name.rpartition("-")[0])
        if ssd and CALLED.get(strategy) != "on demand":
            yield "local-ssd", ssd * count


def _chips(spec: dict) -> int:
    """Of a TPU, on all its machines: topology "4x4" has 16."""
    sides = re.findall(r"\d+", spec.get("tpuTopology") or "")
    return math.prod(map(int, sides)) if sides else int(spec.get("acceleratorCount") or 8)


def dollars(amount: float) -> str:
    """ "$1,234.50", "$0.2233", "$0.000030": never rounded down to nothing."""
    if amount >= 1 or amount <= 0:
        return f"${amount:,.2f}"
    digits = 4 if amount >= 0.001 else 1 - math.floor(math.log10(amount))
    return f"${amount:.{digits}f}"
