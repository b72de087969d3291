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
OLD_TPUS = ("TPU_V2", "TPU_V3")  # on cloud-tpu; 8 are one machine, more are a pod
# {accelerator that the service takes no more: (its last day, what to write instead)}
GONE = {
    "NVIDIA_TESLA_K80": ("2024-05-01", "NVIDIA_TESLA_T4 on n1-standard-4 is the cheapest today"),
    "NVIDIA_TESLA_P100": ("2026-09-15", "take NVIDIA_L4 on g2-standard-8, which is faster"),
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
    return pool.accelerators > 8


def check_machine(spec: dict) -> Iterator[Problem]:
    """Find problems of a MachineSpec."""
    name = spec.get("machineType")
    machine = MACHINES.get(name)
    if not name:
        return  # a required field
    if machine is None:
        yield "machineType", f"{name} is no machine type for training", _find_machine_like(name)
    yield from _check_accelerators(spec, machine)
    if machine:
        yield from _check_topology(spec.get("tpuTopology"), machine)
    reservation = spec.get("reservationAffinity", {})
    if reservation.get("reservationAffinityType") == "SPECIFIC_RESERVATION":
        what = "is missing, and SPECIFIC_RESERVATION needs it"
        if not reservation.get("key"):
            instead = "write compute.googleapis.com/reservation-name"
            yield "reservationAffinity.key", what, instead
        if not reservation.get("values"):
            yield "reservationAffinity.values", what, "name the reservation"


def _check_accelerators(spec: dict, machine: Machine | None) -> Iterator[Problem]:
    kind, count = spec.get("acceleratorType", ""), int(spec.get("acceleratorCount", 0))
    fitting = machine.accelerators if machine else {}
    if count < 0:
        yield "acceleratorCount", f"is {count}", "write how many each machine has"
    elif kind in NO_ACCELERATOR:
        own = "remove it, or name an acceleratorType and a machine that has it"
        if fitting:
            name = next(iter(fitting))
            own = f"write acceleratorType: {name} and acceleratorCount: {fitting[name][0]}"
        if count:
            what = f"is {count} without an acceleratorType: no accelerator is attached"
            yield "acceleratorCount", what, own
        elif machine and machine.comes_with:
            what = f"is missing: {machine.name} comes with accelerators, which must be named"
            yield "acceleratorType", what, own
    elif kind in GONE:
        day, instead = GONE[kind]
        yield "acceleratorType", f"{kind} is gone since {day}", instead
    elif kind.startswith("TPU") and kind not in OLD_TPUS:
        instead = "write machineType: ct5lp-hightpu-1t and tpuTopology: 1x1, without an accelerator"
        yield "acceleratorType", f"{kind} is not chosen here but by the machine", instead
    elif not count:
        what = f"there is no {kind} without an acceleratorCount"
        yield "acceleratorType", what, f"write acceleratorCount: {fitting.get(kind, (1,))[0]}"
    elif machine and kind not in fitting:
        has = " and ".join(fitting) or "no accelerator"
        what = f"{kind} does not go with {machine.name}, which takes {has}"
        yield "acceleratorType", what, _find_machine_with(kind, count)
    elif machine and count not in fitting[kind]:
        instead = f"possible here: {', '.join(str(n) for n in fitting[kind] if n <= 64)}"
        if " go with " in (advice := _find_machine_with(kind, count)):
            instead += f"; {advice}"
        yield "acceleratorCount", f"{count} × {kind} do not go with {machine.name}", instead


def _check_topology(topology: str | None, machine: Machine) -> Iterator[Problem]:
    name, known = machine.name, machine.topologies
    if topology and not known:
        what = f"{name} has no topology to choose"
        yield "tpuTopology", what, "remove it, or take ct5lp-hightpu-1t"
    elif known and not topology:
        what = f"is missing, and {name} needs it"
        yield "tpuTopology", what, f"write tpuTopology: {known[0]}"
    elif known and topology not in known:
        what = f"{topology} does not go with {name}"
        yield "tpuTopology", what, f"possible here: {', '.join(known)}"


def _find_machine_like(name: str) -> str:
    """What to write instead of an unknown machine type."""
    lower = name.strip().lower().replace("_", "-")
    if "custom" in lower:
        return "custom machine types are not for training; n2-standard-8 has 8 cores and 32 GB"
    family = lower.rpartition("-")[0]
    sizes = [machine for machine in MACHINES if machine.rpartition("-")[0] == family]
    if sizes and lower not in sizes:
        return f"there are {', '.join(sizes)}"
    if hint := suggest(lower, MACHINES):
        return hint
    families = sorted({machine.partition("-")[0] for machine in MACHINES})
    return f"take for instance n2-standard-4; there are the families {', '.join(families)}"


def _find_machine_with(kind: str, count: int) -> str:
    """The smallest machine with that accelerator, as advice; "" where there is none."""
    fitting = [machine for machine in MACHINES.values() if kind in machine.accelerators]
    fitting.sort(key=lambda m: (m.cores < 4, m.cores))  # with two cores, a GPU starves
    for machine in fitting:
        if count in machine.accelerators[kind]:
            return f"{count} × {kind} go with {machine.name}"
    counts = sorted({n for machine in fitting for n in machine.accelerators[kind] if n <= 32})
    return f"{kind} comes in numbers of {', '.join(map(str, counts))}" if fitting else ""


def check_disk(spec: dict) -> Iterator[Problem]:
    """Find problems of a DiskSpec."""
    kind, size = spec.get("bootDiskType"), spec.get("bootDiskSizeGb")
    if kind and kind not in DISKS:
        yield "bootDiskType", f"{kind} is no boot disk for training", suggest(kind, DISKS)
    if size is not None and not DISK_GB[0] <= int(size) <= DISK_GB[1]:
        what = f"{size} GB is no size of a boot disk"
        yield "bootDiskSizeGb", what, "write 100 (the default) to 64000"
