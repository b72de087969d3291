"""Counters of the server as Prometheus reads them: GET /metrics."""

from __future__ import annotations

import bisect
import time
from collections import Counter
from collections.abc import Sequence

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Histogram:
    """Counts of values, by the first bound that is not below them."""

    def __init__(self, bounds: Sequence[float]):
        self.bounds, self.counts, self.total = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value

    def write(self, name: str) -> list[str]:
        lines, count = [f"# TYPE {name} histogram"], 0
        for bound, more in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            count += more
            lines.append(f'{name}_bucket{{le="{bound}"}} {count}')
        return [*lines, f"{name}_sum {self.total:.9g}", f"{name}_count {count}"]


class Metrics:
    """What the server has done since its start."""

    def __init__(self):
        self.requests: Counter[int] = Counter()  # to the prediction route, by status
        self.seconds = Histogram(SECONDS)  # from a request's head to its response
        self.rows = Histogram(ROWS)  # of the batches that the model was called with

    def write(self, waiting: int) -> str:
        """The page of metrics; `waiting`: requests that have no response yet."""
        lines = ["# TYPE predictor_requests_total counter"]
        for status, count in sorted(self.requests.items()):
            lines.append(f'predictor_requests_total{{status="{status}"}} {count}')
        lines += self.seconds.write("predictor_request_seconds")
        lines += self.rows.write("predictor_batch_rows")
        lines += [
            "# TYPE predictor_waiting_requests gauge",
            f"predictor_waiting_requests {waiting}",
        ]
        lines += ["# TYPE process_cpu_seconds_total counter"]
        lines += [f"process_cpu_seconds_total {time.process_time():.6f}"]
        return "\n".join(lines) + "\n"
