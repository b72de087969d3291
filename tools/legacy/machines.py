"""The machines of AI Platform Training, and what is nearest to each today."""

from __future__ import annotations

# What the tiers were, as (type, number) of master, workers, parameter servers.
TIERS = {
    "BASIC": (("standard", 1), ("", 0), ("", 0)),
    "BASIC_GPU": (("standard_gpu", 1), ("", 0), ("", 0)),
    "BASIC_TPU": (("cloud_tpu", 1), ("", 0), ("", 0)),
    "STANDARD_1": (("complex_model_s", 1), ("complex_model_s", 4), ("standard", 3)),
    "PREMIUM_1": (("complex_model_m", 1), ("complex_model_m", 19), ("large_model", 11)),
    "CUSTOM": None,
}
# The service's own names of machines, as (machine today, GPU, how many).
MACHINES = {
    "standard": ("n1-standard-4", "", 0),
    "large_model": ("n1-highmem-8", "", 0),
    "complex_model_s": ("n1-standard-8", "", 0),
    "complex_model_m": ("n1-highcpu-16", "", 0),
    "complex_model_l": ("n1-highcpu-32", "", 0),
    "standard_gpu": ("n1-standard-8", "NVIDIA_TESLA_K80", 1),
    "complex_model_m_gpu": ("n1-standard-16", "NVIDIA_TESLA_K80", 4),
    "complex_model_l_gpu": ("n1-standard-32", "NVIDIA_TESLA_K80", 8),
    "standard_p100": ("n1-standard-8", "NVIDIA_TESLA_P100", 1),
    "complex_model_m_p100": ("n1-standard-16", "NVIDIA_TESLA_P100", 4),
    "standard_v100": ("n1-standard-8", "NVIDIA_TESLA_V100", 1),
    "large_model_v100": ("n1-highmem-8", "NVIDIA_TESLA_V100", 1),
    "complex_model_m_v100": ("n1-standard-16", "NVIDIA_TESLA_V100", 4),
    "complex_model_l_v100": ("n1-standard-32", "NVIDIA_TESLA_V100", 8),
}
GONE = ("NVIDIA_TESLA_K80", "NVIDIA_TESLA_P100")
WITH_L4 = {1: "g2-standard-8", 2: "g2-standard-24", 4: "g2-standard-48", 8: "g2-standard-96"}
