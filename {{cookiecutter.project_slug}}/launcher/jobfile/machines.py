"""The machines that Vertex AI trains on, and the rules for machines, accelerators and disks of a pool.

machines.json lists them. A machine that is missing there is a fault in a job file: add it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launcher.jobfile.job import Pool
from launcher.jobfile.schema import Problem, suggest

NO_ACCELERATOR = ("", "ACCELERATOR_TYPE_UNSPECIFIED")
# {accelerator that the service takes no more: (its last day, what to write instead)}
GONE = {
    "NVIDIA_TESLA_K80": ("2024-05-01", "NVIDIA_TESLA_T4 on n1-standard-4 is the cheapest today"),
    "NVIDIA_TESLA_P100": ("2026-09-15", "take NVIDIA_L4 on g2-standard-8, which is faster"),
}
RESERVATION = {
    "key": "compute.googleapis.com/reservation-name",
    "values": "the name of the reservation",
}
DISKS = ("pd-ssd", "pd-standard", "hyperdisk-balanced")
DISK_GB = (100, 64_000)


@dataclass(frozen=True)
class Machine:
    """A machine type."""

    name: str
    cores: int
    memory_gb: float
    accelerators: Mapping[str, Sequence[int]] = field(default_factory=dict)  # {type: how many fit}
    comes_with: bool = False  # its accelerators are a part of it, and must be named
    local_ssd_gb: int = 0  # that it brings; on demand the machine's price includes them
    topologies: Sequence[str] = ()  # of a TPU: the first is one machine, the others are pods

    @property
    def is_tpu(self) -> bool:
        return bool(self.topologies) or self.name == "cloud-tpu"


_TABLE = json.loads(Path(__file__).with_name("machines.json").read_text(encoding="utf-8"))
MACHINES = {name: Machine(name, **row) for name, row in _TABLE["machines"].items()}


def is_tpu(name: str) -> bool:
    return name in MACHINES and MACHINES[name].is_tpu


def is_pod(pool: Pool) -> bool:
    """Whether the pool's TPU is one of many machines."""
    if not is_tpu(pool.machine):
        return False
    if topologies := MACHINES[pool.machine].topologies:
        return pool.topology not in ("", topologies[0])
    return pool.accelerators > 8  # of cloud-tpu


def check_machine(spec: dict) -> Iterator[Problem]:
    """Find problems of a MachineSpec."""
    name = spec.get("machineType")
    machine = MACHINES.get(name)
    if not name:
        return  # a required field
    if machine is None:
        families = sorted({machine.partition("-")[0] for machine in MACHINES})
        instead = suggest(name, MACHINES) or f"there are the families {', '.join(families)}"
        yield "machineType", f"{name} is no machine type for training", instead
    kind, count = spec.get("acceleratorType", ""), int(spec.get("acceleratorCount", 0))
    if kind in GONE:
        day, instead = GONE[kind]
        yield "acceleratorType", f"{kind} is gone since {day}", instead
    elif machine:
        yield from _check_accelerators("" if kind in NO_ACCELERATOR else kind, count, machine)
        topology, known = spec.get("tpuTopology", ""), machine.topologies or ("",)
        if topology not in known:
            what = f"{topology or 'nothing'} does not go with {name}"
            instead = f"possible here: {', '.join(known)}" if any(known) else "remove it"
            yield "tpuTopology", what, instead
    reservation = spec.get("reservationAffinity", {})
    if reservation.get("reservationAffinityType") == "SPECIFIC_RESERVATION":
        for key, instead in RESERVATION.items():
            if not reservation.get(key):
                what = "is missing, and SPECIFIC_RESERVATION needs it"
                yield f"reservationAffinity.{key}", what, f"write {instead}"


def _check_accelerators(kind: str, count: int, machine: Machine) -> Iterator[Problem]:
    possible = machine.accelerators
    if count in possible.get(kind, ()) if kind else not (count or machine.comes_with):
        return
    numbers = {kind: possible[kind]} if kind in possible else possible
    listed = [f"{', '.join(map(str, fitting[:6]))} × {name}" for name, fitting in numbers.items()]
    instead = f"possible here: {'; '.join(listed)}" if listed else "it takes none: remove it"
    others = [m for m in MACHINES.values() if count in m.accelerators.get(kind, ())]
    if others:  # with two cores, a GPU starves
        other = min(others, key=lambda m: (m.cores < 4, m.cores))
        instead += f"; {count} × {kind} go with {other.name}"
    what = f"{count} × {kind}" if kind and count else f"{kind or count or 'nothing'} alone"
    what += f" does not go with {machine.name}"
    right_kind = count and (not kind or kind in possible)
    yield "acceleratorCount" if right_kind else "acceleratorType", what, instead


def check_disk(spec: dict) -> Iterator[Problem]:
    """Find problems of a DiskSpec."""
    kind, size = spec.get("bootDiskType"), spec.get("bootDiskSizeGb")
    if kind and kind not in DISKS:
        yield "bootDiskType", f"{kind} is no boot disk for training", suggest(kind, DISKS)
    if size is not None and not DISK_GB[0] <= int(size) <= DISK_GB[1]:
        what = f"{size} GB is no size of a boot disk"
        yield "bootDiskSizeGb", what, "write 100 (the default) to 64000"
