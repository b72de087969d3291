"""How busy the machine was: a thread that looks now and then, and a small CSV beside the logs."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time

from codec import files
from trainer.engine.record import peak_memory_bytes
from trainer.engine.runtime import join

MOST_SAMPLES = 1000  # beyond, every second one is dropped and the pace halved: enough for a picture
WRITE_EVERY = 60.0  # seconds; a file in a bucket is written whole each time
GPU_QUERY = "--query-gpu=utilization.gpu,memory.used"


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

    def __enter__(self) -> Utilisation:
        self._start = self._written = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._end.set()
        self._thread.join()
        self._write()

    def _run(self) -> None:
        cores = os.cpu_count() or 1
        before, busy_before = time.monotonic(), time.process_time()
        while not self._end.wait(self.every):
            now, busy = time.monotonic(), time.process_time()
            cpu = 100 * (busy - busy_before) / (now - before) / cores
            sample = (now - self._start, cpu, memory_bytes() or 0, *self._gpu())
            self.samples.append(sample)
            before, busy_before = now, busy
            if len(self.samples) > MOST_SAMPLES:
                self.samples, self.every = self.samples[::2], self.every * 2
            if now - self._written > WRITE_EVERY:
                self._write()

    def _gpu(self) -> tuple[float, ...]:
        """(percent, bytes), the mean and the sum over all GPUs; () where there are none."""
        if not self._smi:
            return ()
        try:
            command = [self._smi, GPU_QUERY, "--format=csv,noheader,nounits"]
            text = subprocess.run(command, capture_output=True, text=True, timeout=5).stdout
            rows = [tuple(map(float, line.split(","))) for line in text.splitlines()]
            return sum(r[0] for r in rows) / len(rows), sum(r[1] for r in rows) * 2**20
        except (OSError, ValueError, ZeroDivisionError, subprocess.SubprocessError):
            self._smi = None  # do not call a driver again that does not answer
            return ()

    def _write(self) -> None:
        names = ("seconds", "cpu", "memory", "gpu", "gpu_memory")
        width = max(map(len, self.samples), default=3)
        lines = [",".join(names[:width])]
        lines += [",".join(f"{value:.6g}" for value in sample) for sample in self.samples]
        files.write_text(self.path, "\n".join(lines) + "\n")
        self._written = time.monotonic()


def memory_bytes() -> int | None:
    """What the process holds now; where the system does not tell, the most it has held so far."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak_memory_bytes()
