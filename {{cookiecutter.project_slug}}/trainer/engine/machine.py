"""The machine: what it is, what the process takes of it, and how busy it was in a run."""

import os
import platform
import shutil
import subprocess
import sys
import threading
import time

from codec import files
from trainer.engine.runtime import join

MOST_SAMPLES = 1000  # beyond, every second one is dropped and the pace halved: enough for a plot
WRITE_EVERY = 60.0  # seconds; a file in a bucket is written whole each time
NAMES = ("seconds", "cpu", "memory", "gpu", "gpu_memory")
GPU_QUERY = ("--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits")


def describe() -> dict:
    """The machine, as far as it explains speed and rounding."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None  # Windows has none
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return {
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "gpus": [detail.get("device_name", "unknown") for detail in details],
        "memory_bytes": pages and pages * os.sysconf("SC_PAGE_SIZE"),
    }


def peak_memory_bytes() -> int | None:
    """The most memory that this process has held so far."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def memory_bytes() -> int | None:
    """What the process holds now; where the system does not tell, the most it has held so far."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak_memory_bytes()


class Utilisation:
    """Samples while it is entered; writes `utilisation.csv` into the log directory.

    Columns: seconds since the start; cpu, the process's share of all cores, percent; memory, bytes;
    where there are GPUs (not tried by us: none was at hand) gpu, percent, and gpu_memory, bytes.
    """

    def __init__(self, log_dir: str, every: float = 0.5):
        self.path, self.every = join(log_dir, "utilisation.csv"), every
        self.samples: list[tuple[float, ...]] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._smi = shutil.which("nvidia-smi")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_) -> None:
        self._end.set()
        self._thread.join()
        self._write()

    def _run(self) -> None:
        cores = os.cpu_count() or 1
        start = written = before = time.monotonic()
        busy_before = time.process_time()
        while not self._end.wait(self.every):
            now, busy = time.monotonic(), time.process_time()
            cpu = 100 * (busy - busy_before) / (now - before) / cores
            self.samples.append((now - start, cpu, memory_bytes() or 0, *self._measure_gpus()))
            before, busy_before = now, busy
            if len(self.samples) > MOST_SAMPLES:
                self.samples, self.every = self.samples[::2], self.every * 2
            if now - written > WRITE_EVERY:
                self._write()
                written = now

    def _measure_gpus(self) -> tuple[float, ...]:
        """(percent, bytes), the mean and the sum over all GPUs; () where there are none."""
        if not self._smi:
            return ()
        try:
            command = [self._smi, *GPU_QUERY]
            text = subprocess.run(command, capture_output=True, text=True, timeout=5).stdout
            rows = [map(float, line.split(",")) for line in text.splitlines()]
            busy, used = zip(*rows, strict=True)
            return sum(busy) / len(busy), sum(used) * 2**20
        except (OSError, ValueError, subprocess.SubprocessError):
            self._smi = None  # do not call a driver again that does not answer
            return ()

    def _write(self) -> None:
        width = max(map(len, self.samples), default=3)
        rows = [",".join(f"{value:.6g}" for value in sample) for sample in self.samples]
        files.write_text(self.path, "\n".join([",".join(NAMES[:width]), *rows]) + "\n")
