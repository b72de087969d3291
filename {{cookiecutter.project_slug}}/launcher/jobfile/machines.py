"""The machines that Vertex AI trains on: cores, memory, and which accelerators go with them.

From Google's pages "Configure compute resources for serverless training" and "Accelerator-optimized
machine family", read in 2026. A machine that is missing here is a fault in a job file: add it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date


@dataclass(frozen=True)
class Machine:
    """A machine type."""

    name: str
    cores: int
    memory_gb: float
    # {type: (numbers that go with it, …)}; empty: none can be attached.
    accelerators: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    comes_with: bool = False  # its accelerators are a part of it, and must be named
    topologies: tuple[str, ...] = ()  # of TPU machines; the first ones fit on one machine

    @property
    def is_tpu(self) -> bool:
        return bool(self.topologies) or self.name == "cloud-tpu"


# {family: (GB a core, numbers of cores)}
FAMILIES = {
    "e2-standard": (4, (4, 8, 16, 32)),
    "e2-highmem": (8, (2, 4, 8, 16)),
    "e2-highcpu": (1, (16, 32)),
    "n1-standard": (3.75, (4, 8, 16, 32, 64, 96)),
    "n1-highmem": (6.5, (2, 4, 8, 16, 32, 64, 96)),
    "n1-highcpu": (0.9, (16, 32, 64, 96)),
    "n2-standard": (4, (4, 8, 16, 32, 48, 64, 80)),
    "n2-highmem": (8, (2, 4, 8, 16, 32, 48, 64, 80)),
    "n2-highcpu": (1, (16, 32, 48, 64, 80)),
    "n4-standard": (4, (2, 4, 8, 16, 32, 48, 64, 80)),
    "n4-highmem": (8, (2, 4, 8, 16, 32, 48, 64, 80)),
    "n4-highcpu": (2, (2, 4, 8, 16, 32, 48, 64, 80)),
    "c2-standard": (4, (4, 8, 16, 30, 60)),
    "m1-ultramem": (24.025, (40, 80, 160)),
    "m1-megamem": (14.9375, (96,)),
}

# {machine: (cores, GB, accelerator, its number)}
WITH_GPUS = {
    "a2-highgpu-1g": (12, 85, "NVIDIA_TESLA_A100", 1),
    "a2-highgpu-2g": (24, 170, "NVIDIA_TESLA_A100", 2),
    "a2-highgpu-4g": (48, 340, "NVIDIA_TESLA_A100", 4),
    "a2-highgpu-8g": (96, 680, "NVIDIA_TESLA_A100", 8),
    "a2-megagpu-16g": (96, 1360, "NVIDIA_TESLA_A100", 16),
    "a2-ultragpu-1g": (12, 170, "NVIDIA_A100_80GB", 1),
    "a2-ultragpu-2g": (24, 340, "NVIDIA_A100_80GB", 2),
    "a2-ultragpu-4g": (48, 680, "NVIDIA_A100_80GB", 4),
    "a2-ultragpu-8g": (96, 1360, "NVIDIA_A100_80GB", 8),
    "a3-highgpu-1g": (26, 234, "NVIDIA_H100_80GB", 1),
    "a3-highgpu-2g": (52, 468, "NVIDIA_H100_80GB", 2),
    "a3-highgpu-4g": (104, 936, "NVIDIA_H100_80GB", 4),
    "a3-highgpu-8g": (208, 1872, "NVIDIA_H100_80GB", 8),
    "a3-megagpu-8g": (208, 1872, "NVIDIA_H100_MEGA_80GB", 8),
    "a3-ultragpu-8g": (224, 2952, "NVIDIA_H200_141GB", 8),
    "a4-highgpu-8g": (224, 3968, "NVIDIA_B200", 8),
    "a4x-highgpu-4g": (140, 884, "NVIDIA_GB200", 4),
    "g2-standard-4": (4, 16, "NVIDIA_L4", 1),
    "g2-standard-8": (8, 32, "NVIDIA_L4", 1),
    "g2-standard-12": (12, 48, "NVIDIA_L4", 1),
    "g2-standard-16": (16, 64, "NVIDIA_L4", 1),
    "g2-standard-32": (32, 128, "NVIDIA_L4", 1),
    "g2-standard-24": (24, 96, "NVIDIA_L4", 2),
    "g2-standard-48": (48, 192, "NVIDIA_L4", 4),
    "g2-standard-96": (96, 384, "NVIDIA_L4", 8),
    "g4-standard-48": (48, 180, "NVIDIA_RTX_PRO_6000", 1),
    "g4-standard-96": (96, 360, "NVIDIA_RTX_PRO_6000", 2),
    "g4-standard-192": (192, 720, "NVIDIA_RTX_PRO_6000", 4),
    "g4-standard-384": (384, 1440, "NVIDIA_RTX_PRO_6000", 8),
}

# {machine: (cores, GB, topologies)}: the first is one machine, the others are many, a pod.
_PODS = ("2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBES = ("2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16")
WITH_TPUS = {
    "ct5lp-hightpu-1t": (24, 48, ("1x1",)),
    "ct5lp-hightpu-4t": (112, 192, ("2x2", *_PODS)),
    "ct5lp-hightpu-8t": (224, 384, ("2x4",)),
    "ct6e-standard-1t": (44, 48, ("1x1",)),
    "ct6e-standard-4t": (180, 720, ("2x2", *_PODS)),
    "ct6e-standard-8t": (180, 1440, ("2x4",)),
    "tpu7x-standard-4t": (224, 960, ("2x2x1", *_CUBES)),
}
OLD_TPUS = ("TPU_V2", "TPU_V3")  # on cloud-tpu: 8, or a pod of a multiple of 32

# After this day the service takes them no more.
GONE = {
    "NVIDIA_TESLA_K80": (
        date(2024, 5, 1),
        "NVIDIA_TESLA_T4 on n1-standard-4 is the cheapest today",
    ),
    "NVIDIA_TESLA_P100": (date(2026, 9, 15), "take NVIDIA_L4 on g2-standard-8, which is faster"),
}


def _n1_accelerators(cores: int) -> dict[str, tuple[int, ...]]:
    """GPUs bring cores with them: a large machine needs many."""
    small = (1, 2, 4) if cores <= 16 else (2, 4) if cores <= 32 else (4,)
    v100 = {16: (2, 4, 8), 32: (4, 8), 64: (8,), 96: (8,)}.get(cores, (1, 2, 4, 8))
    p100 = {"NVIDIA_TESLA_P100": small} if cores <= 32 else {}
    return {"NVIDIA_TESLA_T4": small, "NVIDIA_TESLA_P4": small, "NVIDIA_TESLA_V100": v100, **p100}


def _all() -> dict[str, Machine]:
    machines = []
    for family, (memory, sizes) in FAMILIES.items():
        for cores in sizes:
            gpus = _n1_accelerators(cores) if family.startswith("n1-") else {}
            machines.append(Machine(f"{family}-{cores}", cores, cores * memory, gpus))
    for name, (cores, memory, gpu, count) in WITH_GPUS.items():
        machines.append(Machine(name, cores, memory, {gpu: (count,)}, comes_with=True))
    for name, (cores, memory, topologies) in WITH_TPUS.items():
        machines.append(Machine(name, cores, memory, topologies=topologies))
    old = dict.fromkeys(OLD_TPUS, (8, *range(32, 2049, 32)))
    machines.append(Machine("cloud-tpu", 96, 340, old, comes_with=True))
    return {machine.name: machine for machine in machines}


MACHINES = _all()


def nearest(name: str) -> str:
    """What to write instead of an unknown machine type."""
    lower = name.strip().lower().replace("_", "-")
    if lower in MACHINES:
        return f"did you mean {lower}?"
    if "custom" in lower:
        return "custom machine types are not for training; n2-standard-8 has 8 cores and 32 GB"
    family = lower.rpartition("-")[0]
    sizes = [machine for machine in MACHINES if machine.rpartition("-")[0] == family]
    if sizes:
        return f"there are {', '.join(sizes)}"
    close = difflib.get_close_matches(lower, MACHINES, n=1)
    if close:
        return f"did you mean {close[0]}?"
    families = sorted({machine.partition("-")[0] for machine in MACHINES})
    return f"take for instance n2-standard-4; there are the families {', '.join(families)}"


def for_accelerator(kind: str, count: int) -> str:
    """The smallest machine with that accelerator, as advice; "" where there is none."""
    fitting = [m for m in MACHINES.values() if kind in m.accelerators]
    fitting.sort(key=lambda m: (m.cores < 4, m.cores))  # with two cores, a GPU starves
    for machine in fitting:
        if count in machine.accelerators[kind]:
            return f"{count} × {kind} go with {machine.name}"
    if fitting:
        counts = sorted({n for machine in fitting for n in machine.accelerators[kind] if n <= 32})
        return f"{kind} comes in numbers of {', '.join(map(str, counts))}"
    return ""
