"""What a job costs: worked examples with the arithmetic written out, limits, and the price list.

The examples use prices of their own, so that they stay right when prices.yaml is refreshed.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from unittest import mock

import pytest
import yaml
from conftest import ROOT, write

from launcher.common.document import Document, SpecError
from launcher.cost import cost, prices
from launcher.jobfile import spec

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
CONFIGS = [path for path in CONFIGS if path.stem not in ("batch", "endpoint", "model")]  # no jobs
IOWA = "us-central1"
KEY = "AIza-not-a-real-key-0123456789"

# What is known of us-central1: on demand, spot, flex start, fee. The prices of A3 and of pd-ssd are
# those of a real bill of August 2025, of G2 and L4 those of the catalog on 2026-09-02.
PRICES = {
    IOWA: {
        "n2.core": [0.03635265, 0.01363, None, 0.00474165],
        "n2.ram": [0.00487255, 0.001827, None, 0.00063555],
        "g2.core": [0.02873644, 0.01499, None, 0.00374823],
        "g2.ram": [0.00336657, 0.001844, None, 0.00043912],
        "NVIDIA_L4": [0.64404627, 0.3359, None, 0.08400604],
        "a3.core": [0.0293227, None, 0.010934, 0.0038247],
        "a3.ram": [0.0025534, None, 0.000952, 0.0003331],
        "NVIDIA_H100_80GB": [11.2660332, None, 4.200761, 1.4694826],
        "local-ssd": [None, None, 0.00010959, 0],
        "pd-ssd": [0.00026781, 0.00026781, 0.00026781, 0],
    },
    "europe-west4": {"g2.core+ram": [0.04435665, 0.02024, None, 0.00578565]},
}
H100S = {"acceleratorType": "NVIDIA_H100_80GB", "acceleratorCount": 8}
L4 = {"acceleratorType": "NVIDIA_L4", "acceleratorCount": 1}


def table(age: int = 0) -> prices.Table:
    """Those prices, read so many days ago."""
    day = date.today() - timedelta(age)
    return {
        region: {name: prices.Row(tuple(row), day) for name, row in rows.items()}
        for region, rows in PRICES.items()
    }


def pool(machine: str, replicas: int = 1, disk_gb: int = 0, **machine_spec) -> dict:
    disk = {"diskSpec": {"bootDiskType": "pd-ssd", "bootDiskSizeGb": disk_gb}} if disk_gb else {}
    machine_spec = {"machineType": machine, **machine_spec}
    return {"machineSpec": machine_spec, "replicaCount": replicas, **disk}


def job(
    *pools: dict, timeout: str | None = "3600s", strategy: str = "STANDARD", **study
) -> spec.Job:
    scheduling = {"strategy": strategy, **({"timeout": timeout} if timeout else {})}
    one = {"workerPoolSpecs": list(pools), "scheduling": scheduling}
    message = {**study, "trialJobSpec": one} if study else one
    return spec.Job(Document(Path("a.yaml"), message), message, bool(study))


@contextlib.contextmanager
def prices_of(rows: prices.Table):
    """In place of prices.yaml."""
    with (
        mock.patch.object(prices, "load", lambda: rows),
        mock.patch.object(cost, "_load_prices", lambda: rows),
    ):
        yield


def estimate(one: spec.Job, region: str = IOWA, rows: prices.Table | None = None) -> cost.Estimate:
    with prices_of(rows or table()):
        return cost.estimate(one, region)


# --- before: each strategy by hand ---


def test_on_demand_is_all_in_as_on_the_bill():
    """The billing report says: 8 GPUs $90.1282656, 208 cores $6.0991216, 1872 GB $4.7799648 and 2000 GB
    of SSD $0.5356, together $101.5430 an hour. No fee, and the local SSD is in it."""
    hourly = 8 * 11.2660332 + 208 * 0.0293227 + 1872 * 0.0025534 + 2000 * 0.00026781
    assert hourly == pytest.approx(101.5430, abs=5e-5)
    price = estimate(job(pool("a3-highgpu-8g", disk_gb=2000, **H100S), timeout="5400s"))
    assert price.per_hour == pytest.approx(hourly)
    assert price.most == pytest.approx(1.5 * hourly)
    assert price.lines() == [
        "1 × a3-highgpu-8g, 8 × NVIDIA_H100_80GB, 2000 GB pd-ssd, on demand: $101.54 an hour",
        "at most: $152.31, for 1 h 30 min: the timeout, restarts included",
    ]


def test_flex_start_is_compute_engines_price_and_a_fee_as_on_the_bill():
    """The billing report says $52.0306 an hour, of which $13.17 was the fee."""
    machine = 8 * 4.200761 + 208 * 0.010934 + 1872 * 0.000952 + 6000 * 0.00010959
    fee = 8 * 1.4694826 + 208 * 0.0038247 + 1872 * 0.0003331
    disk = 2000 * 0.00026781
    assert machine + fee + disk == pytest.approx(52.0306, abs=5e-5)
    price = estimate(job(pool("a3-highgpu-8g", disk_gb=2000, **H100S), strategy="FLEX_START"))
    assert price.per_hour == price.most == pytest.approx(machine + fee + disk)


def test_spot_is_compute_engines_price_and_a_fee():
    # By the parts: 8 cores, 32 GB, one L4, and the 100 GB that a boot disk has by default.
    machine = 8 * 0.01499 + 32 * 0.001844 + 0.3359  # 0.514828
    fee = 8 * 0.00374823 + 32 * 0.00043912 + 0.08400604  # 0.12804372
    disk = 100 * 0.00026781  # 0.026781
    assert machine + fee + disk == pytest.approx(0.66965272)
    price = estimate(job(pool("g2-standard-8", **L4), timeout="14400s", strategy="SPOT"))
    assert price.per_hour == pytest.approx(0.66965272)
    assert price.most == pytest.approx(4 * 0.66965272)
    assert price.lines()[0].endswith("100 GB pd-ssd, spot: $0.6697 an hour")


def test_a_study_is_all_its_trials_each_with_its_own_timeout():
    trial = 4 * 0.03635265 + 16 * 0.00487255 + 100 * 0.00026781  # 0.2501524 an hour
    study = {"maxTrialCount": 12, "parallelTrialCount": 2}
    price = estimate(job(pool("n2-standard-4"), **study))
    assert price.per_hour == pytest.approx(2 * trial)
    assert price.most == pytest.approx(12 * trial) == pytest.approx(3.0018288)
    assert "12 trials, 2 at a time: $0.5003 an hour" in price.lines()
    assert "at most: $3.00, for 12 h: the timeout, restarts included" in price.lines()
    # Faster is not dearer, and no more trials run at a time than there are.
    faster = estimate(job(pool("n2-standard-4"), **{**study, "parallelTrialCount": 50}))
    assert (faster.most, faster.per_hour) == pytest.approx((12 * trial, 12 * trial))


def test_all_replicas_of_all_pools_count():
    one = 4 * 0.03635265 + 16 * 0.00487255 + 100 * 0.00026781
    two = 8 * 0.03635265 + 32 * 0.00487255 + 300 * 0.00026781
    price = estimate(job(pool("n2-standard-4"), {}, pool("n2-standard-8", 3, disk_gb=300)))
    assert price.per_hour == pytest.approx(one + 3 * two)
    assert [part.price for part in price.parts] == pytest.approx([one, 3 * two])
    assert price.lines()[2] == f"together: ${one + 3 * two:.2f} an hour"


def test_without_a_timeout_it_is_the_week_that_the_service_takes():
    price = estimate(job(pool("n2-standard-4"), timeout=None))
    assert price.most == pytest.approx(168 * price.per_hour)


def test_cores_that_were_only_found_with_their_memory():
    rows = table()
    rows["europe-west4"] |= {name: rows[IOWA][name] for name in ("NVIDIA_L4", "pd-ssd")}
    price = estimate(job(pool("g2-standard-8", **L4)), "europe-west4", rows)
    assert price.per_hour == pytest.approx(8 * 0.04435665 + 0.64404627 + 100 * 0.00026781)


# --- unknown is neither 0 nor below a limit ---


@pytest.mark.parametrize(
    ("pool_spec", "region", "strategy", "names"),
    [
        (pool("n1-standard-4"), IOWA, "STANDARD", "n1"),
        (pool("n2-standard-4"), "me-west1", "STANDARD", "n2, pd-ssd"),
        (pool("g2-standard-8", **L4), IOWA, "FLEX_START", "g2, NVIDIA_L4"),
        (pool("a3-highgpu-8g", **H100S), IOWA, "SPOT", "a3, NVIDIA_H100_80GB, local-ssd"),
        (pool("n9-standard-4"), IOWA, "STANDARD", "n9-standard-4"),
        (pool("ct5lp-hightpu-4t", tpuTopology="2x2"), IOWA, "STANDARD", "ct5lp"),
        (pool("n2-standard-4"), IOWA, "CHEAP", "n2, pd-ssd"),
    ],
)
def test_an_unknown_price_is_called_unknown(pool_spec, region, strategy, names):
    price = estimate(job(pool("n2-standard-4"), pool_spec, strategy=strategy), region)
    assert price.per_hour is price.most is None
    assert any("unknown price of " in note and names in note for note in price.notes)
    assert "at most: unknown, for 1 h: the timeout, restarts included" in price.lines()
    assert not any("$0.00" in line for line in price.lines())


def test_no_machines_are_no_price():
    price = estimate(job())
    assert price.per_hour is price.most is None
    assert cost.find_excess(price, 1e9)


def test_a_limit():
    price = estimate(job(pool("n2-standard-4")))  # $0.2501524
    assert cost.find_excess(price, 0.2502) == ""
    excess = cost.find_excess(price, 0.25)
    assert "may cost $0.2502, and the limit is $0.2500: low" in excess
    assert cost.find_excess(price, float("nan"))


def test_an_unknown_price_is_above_every_limit():
    price = estimate(job(pool("n1-standard-4")))
    excess = cost.find_excess(price, float("inf"))
    assert "unknown price of n1 in us-central1 (on demand)" in excess
    assert "\n" not in excess


# --- the age of a price ---


def test_an_old_price_shows_its_age():
    fresh = estimate(job(pool("n2-standard-4")), rows=table(age=90))
    assert not fresh.notes
    old = estimate(job(pool("n2-standard-4")), rows=table(age=91))
    day = date.today() - timedelta(91)
    assert old.notes == (f"prices of {day}, 91 days old: python TEMPLATE/tools/refresh_prices.py",)
    assert old.lines()[-1] == old.notes[0]


def test_of_several_ages_the_oldest_counts():
    rows = table(age=7)
    oldest, newest = (date.today() - timedelta(days) for days in (383, 7))
    rows[IOWA]["pd-ssd"] = prices.Row(rows[IOWA]["pd-ssd"].prices, oldest)
    price = estimate(job(pool("n2-standard-4")), rows=rows)
    assert price.notes[0].startswith(f"prices of {oldest} to {newest}, up to 383 days old: ")


# --- after ---


def spent(one: spec.Job, *times) -> cost.Estimate:
    with prices_of(table()):
        return cost.spent(one, IOWA, times)


def test_spent_is_the_jobs_own_time_without_the_queue():
    hourly = 4 * 0.03635265 + 16 * 0.00487255 + 100 * 0.00026781
    start = "2026-09-01T10:00:00.123456789Z"  # startTime, not createTime
    price = spent(job(pool("n2-standard-4")), (start, "2026-09-01T11:45:00.123Z"))
    assert price.most == pytest.approx(1.75 * hourly) == pytest.approx(0.4377667)
    assert price.hours == pytest.approx(1.75)


def test_spent_by_a_study_is_spent_by_its_trials():
    start = "2026-09-01T10:00:00Z"
    times = [(start, "2026-09-01T10:30:00Z"), (start, "2026-09-01T11:30:00Z"), (None, None)]
    price = spent(job(pool("n2-standard-4"), maxTrialCount=3), *times)
    assert price.most == pytest.approx(2 * price.per_hour)
    assert price.hours == pytest.approx(2)


def test_a_job_that_never_ran_cost_nothing_even_at_an_unknown_price():
    price = spent(job(pool("n1-standard-4")), (None, "2026-09-01T11:45:00Z"))
    assert price.most == 0
    assert price.hours == 0
    assert price.notes == ("no machine ever ran, and the queue is free",)


def test_a_job_that_runs_costs_until_now():
    start = (datetime.now(timezone.utc) - timedelta(hours=2)).isoformat()
    price = spent(job(pool("n2-standard-4")), (start, None))
    assert price.most == pytest.approx(2 * price.per_hour, rel=0.01)
    assert price.notes[0] == "so far: it is still running"


def test_a_time_that_is_none():
    with pytest.raises(SpecError, match="'yesterday' is no time"):
        spent(job(pool("n2-standard-4")), ("yesterday", None))


# --- prices.yaml, as it is shipped or refreshed ---


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_job_file_has_an_estimate_or_says_that_there_is_none(path):
    price = cost.estimate(spec.read(path), IOWA)
    text = "\n".join(price.lines())
    assert "at most: " in text
    if price.most is None:
        assert "at most: unknown" in text and "unknown price of " in text
    else:
        assert price.most > 0 and price.per_hour > 0


def test_each_price_has_a_date_and_a_source_and_none_is_0():
    groups = yaml.safe_load(prices.PATH.read_text(encoding="utf-8"))["groups"]
    seen = []
    for group in groups:
        assert group["date"] <= date.today() and group["source"].startswith("https://")
        for regions, rows in group["prices"].items():
            seen += [(region, name) for region in regions.split() for name in rows]
            for name, row in rows.items():
                assert len(row) == 4 and 0 not in row[:3], f"{name} in {regions}"
    assert len(seen) == len(set(seen)), "one price twice"


# Each figure of Vertex AI's own that could be found, by whom it was read, and when.
PUBLISHED = [
    # https://github.com/api-evangelist/google-vertex-ai, of Google's page, 2026-10-07
    (IOWA, {"n1.core": 4, "n1.ram": 15}, 0.21849885, 1e-8),
    # A course on clouds, of Google's page, 2026-09-20: n1-, e2- and n2-standard-4
    ("asia-southeast1", {"n1.core": 4, "n1.ram": 15}, 0.269544, 1e-6),
    ("asia-southeast1", {"e2.core": 4, "e2.ram": 16}, 0.190132, 1e-6),
    ("asia-southeast1", {"n2.core": 4, "n2.ram": 16}, 0.275554, 1e-6),
    # A comparison of platforms, of Google's page, 2026-10-04: g2-standard-4 and -8, of prediction,
    # which costs the same; the page rounds each part to five places.
    (IOWA, {"g2.core": 4, "g2.ram": 16, "NVIDIA_L4": 1}, 0.81293, 1e-4),
    (IOWA, {"g2.core": 8, "g2.ram": 32, "NVIDIA_L4": 1}, 0.98181, 2e-4),
    # Another course on clouds, of the Billing Catalog, 2026-09-07: n1-standard-4, of prediction, in
    # bahts of 2 decimals
    ("asia-southeast1", {"n1.core": 4, "n1.ram": 15}, 0.27, 5e-4),
    # Job files of others, of Google's page, 2024: a T4, an L4 in Belgium
    (IOWA, {"NVIDIA_TESLA_T4": 1}, 0.4025, 1e-8),
    ("europe-west1", {"NVIDIA_L4": 1}, 0.709, 5e-4),
    # The bill of the first example: a3-highgpu-8g, and the disk
    (IOWA, {"a3.core": 208, "a3.ram": 1872, "NVIDIA_H100_80GB": 8}, 101.007352, 1e-5),
    (IOWA, {"pd-ssd": 2000}, 0.53561644, 1e-4),
]


@pytest.mark.skipif(
    "services/C7E2-9256-1C43" in prices.PATH.read_text(encoding="utf-8"),
    reason="the prices were refreshed since, and may have changed",
)
@pytest.mark.parametrize(("region", "parts", "published", "off"), PUBLISHED)
def test_the_shipped_prices_are_those_that_vertex_ai_published(region, parts, published, off):
    rows = prices.load()
    price = sum(prices.find_row(rows, region, name).prices[0] * n for name, n in parts.items())
    assert price == pytest.approx(published, abs=off)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "not a table of prices"),
        ("groups: 5", "not a table of prices"),
        ("groups:\n  - date: soon\n    source: here\n    prices: {}", "date is 'soon'"),
        ("groups: [", "YAML"),
        ("x.core: [1, 2, 3]", "not four prices"),
        ("x.core: [1, -2, null, null]", "-2 is no price"),
        ("x.core: [yes, null, null, null]", "True is no price"),
        ("x.core: ['1', null, null, null]", "'1' is no price"),
        ("x.core: [.nan, null, null, null]", "nan is no price"),
    ],
)
def test_a_broken_price_file_is_one_line(text, what):
    if text.startswith("x.core"):
        text = f"groups:\n- date: 2026-01-01\n  source: a\n  prices:\n    us-east1:\n      {text}\n"
    with (
        mock.patch.object(prices, "PATH", Path(write("prices.yaml", text))),
        pytest.raises(SpecError) as error,
    ):
        prices.load()
    assert "prices.yaml" in str(error.value) and what in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command_shows_the_prices_of_a_region(project):
    command = [sys.executable, "scripts/prices.py", "--region"]
    words = {"cwd": project, "capture_output": True, "text": True, "encoding": "utf-8"}
    shown = subprocess.run([*command, IOWA], env={**os.environ, "PYTHONUTF8": "1"}, **words)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[0].split()[:3] == [IOWA, "on", "demand"]
    assert re.search(r"^pd-ssd +0\.000\d+", shown.stdout, re.MULTILINE)
    elsewhere = subprocess.run([*command, "mars-east1"], **words)
    assert elsewhere.returncode == 2 and not elsewhere.stdout
    assert elsewhere.stderr.startswith("error: no prices of mars-east1, only of ")
