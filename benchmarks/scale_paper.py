"""A hundred machines, on paper: arithmetic on measured points and on prices.yaml."""

from measure import short, table
from scale_plot import is_quiet

MACHINES = (1, 10, 100)
TYPE, REGION = "n2-standard-4", "us-central1"
LINK, BUCKET, HOP = 10e9, 200e9, 100e-6  # bits/s, bits/s, seconds
PRICE = f"""
import json
from launcher.cost import prices
from launcher.jobfile.machines import MACHINES
table, machine = prices.load(), MACHINES["{TYPE}"]
family = "{TYPE}".partition("-")[0]
parts = {{"core": machine.cores, "ram": machine.memory_gb}}
print(json.dumps({{
    kind: sum(count * prices.find_row(table, "{REGION}", f"{{family}}.{{part}}").price(kind)
              for part, count in parts.items())
    for kind in ("on demand", "spot")}}))
"""


def describe_hundred(lab, kept):
    """The table, and the arithmetic behind it.

    Args:
        kept: {axis: {size: point}}.
    """
    price = lab.run(["-c", PRICE]).answer  # USD an hour
    alone, pair = kept["replicas"]["1"], kept["replicas"]["2"]
    step = alone["clock"]["a step"]
    weights = pair["traffic"]["sent in a step, by all"] / 2
    points = {int(size): point for size, point in kept["rows"].items()}
    size = max(points)
    quiet = max(points, key=lambda size: (is_quiet(points[size]), size))
    csv = points[size]["count"]["bytes of CSV"]
    encode = points[quiet]["clock"]["read and encode"] / quiet * size
    checkpoint = alone["count"]["bytes of a checkpoint"]
    batch = alone["count"]["rows of a batch"]
    columns = []
    for n in MACHINES:
        sent = 2 * (n - 1) / n * weights
        network = sent * 8 / LINK + 2 * (n - 1) * HOP
        whole = step + network
        rate = n * batch / whole
        start = max(encode, csv * 8 / min(LINK, BUCKET / n))
        epoch = size / rate
        hours = (start + epoch) / 3600
        columns.append(
            [
                f"{sent / 1e6:.1f} MB",
                f"{1e3 * network:.1f} ms",
                f"{1e3 * whole:.1f} ms",
                short(rate),
                f"{100 * step / whole:.0f} %",
                f"{rate * csv / size / 1e6:.0f} MB/s",
                f"{n * csv / 1e9:,.0f} GB",
                f"{start:.0f} s",
                f"{epoch:.0f} s",
                f"{checkpoint / 1e6:.1f} MB",
                f"{n * price['on demand']:.2f} USD",
                f"{n * price['on demand'] * hours:.2f} USD",
                f"{n * price['spot'] * hours:.2f} USD",
            ]
        )
    names = (
        "sent by a machine in a step",
        "time of that",
        "a step",
        "rows/s, all machines",
        "of the time computing",
        "CSV that these rows come to",
        "read from the bucket at the start",
        "until the first step",
        f"an epoch of {size:,} rows",
        "a checkpoint, by the chief",
        "price of an hour, on demand",
        "price of start and epoch, on demand",
        "the same, spot",
    )
    lines = [
        [name, *values] for name, values in zip(names, zip(*columns, strict=True), strict=True)
    ]
    head = ["machines", *map(str, MACHINES)]
    return "\n".join(
        [
            "### A hundred machines, on paper\n",
            f"Computed, not measured, from the points above. A machine computes a step of {batch} rows "
            f"in {1e3 * step:.1f} ms, as one replica on one core here; gradients come to "
            f"{weights / 1e6:.1f} MB, half of what two replicas sent in a step. Of n machines in a ring "
            f"each sends 2 (n − 1) / n × that, in 2 (n − 1) hops. Every machine reads and encodes the "
            f"whole file of {csv / 1e9:.1f} GB before its first step, which takes {encode:.0f} s (at the speed of "
            f"{quiet:,} rows, measured while others took {points[quiet]['others'] or 0:.1f} of the cores), or as "
            f"long as the bucket needs. Assumed, not measured: {LINK / 1e9:.0f} Gbit/s for a {TYPE}, "
            f"{BUCKET / 1e9:.0f} Gbit/s out of a bucket's region (Google's default quota), "
            f"{1e6 * HOP:.0f} µs a hop. Where the network takes most of a step, more machines do not pay: a "
            f"larger batch, or several jobs of a study, do. Prices of {REGION}, cores and memory, from prices.yaml.\n",
            table(head, *lines),
        ]
    )
