"""Google's price list, read into prices.yaml.

A server on this machine plays the catalog, with entries in the form of the real ones.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from conftest import PRODUCT, ROOT

# The product's launcher, unrendered: it holds no template variable.
sys.path += [str(PRODUCT), str(ROOT / "tools")]

import price_catalog
import refresh_prices
from launcher.common.document import Document
from launcher.cost import cost, prices
from launcher.jobfile import spec

IOWA = "us-central1"
KEY = "AIza-not-a-real-key-0123456789"

VERTEX, COMPUTE = price_catalog.VERTEX, price_catalog.COMPUTE


@pytest.mark.parametrize(
    ("service", "description", "expected"),
    [
        (VERTEX, "Vertex AI: Training/Pipelines on A3 Instance Core in Iowa", ("a3.core", 0)),
        (VERTEX, "Vertex AI: Training/Pipelines on A3 Instance RAM in Iowa", ("a3.ram", 0)),
        (
            VERTEX,
            "Vertex AI: Training/Pipelines on N1 Predefined Instance Core running in Singapore",
            ("n1.core", 0),
        ),
        (
            VERTEX,
            "Vertex AI: Training/Pipelines Management fee on E2 Instance RAM in Singapore",
            ("e2.ram", 3),
        ),
        (
            VERTEX,
            "Vertex AI: Training/Pipelines management fee on NVIDIA H100 80GB in Iowa",
            ("NVIDIA_H100_80GB", 3),
        ),
        (VERTEX, "Vertex AI: Training/Pipelines on SSD backed PD Capacity", ("pd-ssd", 0)),
        (COMPUTE, "Spot Preemptible Compute optimized Core running in Paris", ("c2.core", 1)),
        (
            COMPUTE,
            "Nvidia Tesla A100 GPU attached to Spot Preemptible VMs running in Americas",
            ("NVIDIA_TESLA_A100", 1),
        ),
        (
            COMPUTE,
            "Nvidia Tesla A100 80GB GPU attached to DWS Defined Duration VMs running in Americas",
            ("NVIDIA_A100_80GB", 2),
        ),
        (COMPUTE, "DWS Defined Duration A2 Ram running in Americas", ("a2.ram", 2)),
        (
            COMPUTE,
            "DWS Defined Duration SSD backed Local Storage running in Americas",
            ("local-ssd", 2),
        ),
        # On demand, of Compute Engine: not what a training job pays.
        (COMPUTE, "N1 Predefined Instance Core running in Americas", None),
        (COMPUTE, "Nvidia L4 GPU running in Americas", None),
        (COMPUTE, "SSD backed PD Capacity in Netherlands", None),
        # Other things of other names.
        (COMPUTE, "Spot Preemptible N2 Custom Instance Core running in Americas", None),
        (COMPUTE, "Spot Preemptible N2D AMD Instance Core running in Americas", None),
        (COMPUTE, "DWS Calendar Mode A2 Core in Americas", None),
        (COMPUTE, "Commitment v1: N2 Cpu in Americas for 1 Year", None),
        (COMPUTE, "Spot Preemptible A3Ultra Instance Core running in Iowa", None),
        (
            VERTEX,
            "Vertex AI: Online/Batch Prediction N1 Predefined Instance Core running in Iowa",
            None,
        ),
        (VERTEX, "Gemini 1.5 Flash Input tokens", None),
        # The name of one service's entry in the other.
        (VERTEX, "Spot Preemptible N1 Predefined Instance Core running in Americas", None),
    ],
)
def test_what_an_entry_of_the_catalog_is_the_price_of(service, description, expected):
    assert price_catalog.part(service, description) == expected


def sku(description: str, dollars: float, *regions: str, unit: str = "h") -> dict:
    """An entry as the Cloud Billing Catalog has it."""
    nanos = round(dollars * 1e9)
    rate = {"currencyCode": "USD", "units": str(nanos // 10**9), "nanos": nanos % 10**9}
    rates = [{"startUsageAmount": 0, "unitPrice": rate}]
    if unit == "h":  # some have a first tier that is free
        free = {"currencyCode": "USD", "units": "0", "nanos": 0}
        rates = [{"startUsageAmount": 0, "unitPrice": free}, {**rates[0], "startUsageAmount": 1}]
    usage = "Preemptible" if "Spot" in description else "OnDemand"
    return {
        "name": "services/C7E2-9256-1C43/skus/3F95-001E-B747",
        "skuId": "3F95-001E-B747",
        "description": description,
        "category": {
            "serviceDisplayName": "Vertex AI",
            "resourceFamily": "Compute",
            "resourceGroup": "CPU",
            "usageType": usage,
        },
        "serviceRegions": list(regions or [IOWA]),
        "pricingInfo": [
            {
                "summary": "",
                "pricingExpression": {
                    "usageUnit": unit,
                    "displayQuantity": 1,
                    "tieredRates": rates,
                    "usageUnitDescription": "hour",
                    "baseUnit": "s",
                    "baseUnitDescription": "second",
                    "baseUnitConversionFactor": 3600,
                },
                "currencyConversionRate": 1,
                "effectiveTime": "2026-11-20T08:00:00.000Z",
            }
        ],
        "serviceProviderName": "Google",
        "geoTaxonomy": {"type": "REGIONAL", "regions": [IOWA]},
    }


ON, FEE = "Vertex AI: Training/Pipelines on", "Vertex AI: Training/Pipelines management fee on"
CATALOG = {
    VERTEX: [
        sku(f"{ON} G2 Instance Core running in Iowa", 0.02873644),
        sku(f"{ON} G2 Instance Ram running in Iowa", 0.00336657, unit="GiBy.h"),
        sku(f"{ON} Nvidia L4 GPU running in Iowa", 0.64404627),
        sku(f"{FEE} G2 Instance Core in Iowa", 0.00374823),
        sku(f"{FEE} G2 Instance RAM in Iowa", 0.00043912, unit="GiBy.h"),
        sku(f"{FEE} Nvidia L4 in Iowa", 0.08400604),
        sku(f"{ON} SSD backed PD Capacity", 0.1955, "global", unit="GiBy.mo"),
        sku(f"{ON} G2 Instance Core running in Netherlands", 0.0302, "europe-west4"),
        sku("Gemini 1.5 Flash Input tokens", 0.1, "global", unit="count"),
    ],
    COMPUTE: [
        sku("Spot Preemptible G2 Instance Core running in Americas", 0.01499, IOWA, "us-east1"),
        sku("Spot Preemptible G2 Instance Ram running in Americas", 0.0018, unit="GiBy.h"),
        sku("Spot Preemptible G2 Instance Ram running in Iowa", 0.001844, unit="GiBy.h"),
        sku("Spot Preemptible G2 Instance Ram running in USA", 0.0017, unit="GiBy.h"),
        sku("Nvidia L4 GPU attached to Spot Preemptible VMs running in Americas", 0.3359),
        sku("Nvidia L4 GPU running in Americas", 99.0),
        sku("Nvidia L4 GPU attached to Spot Preemptible VMs running in Delhi", 1.0, "asia-south2"),
        sku("Commitment v1: G2 Cpu in Americas for 1 Year", 99.0),
    ],
}


class Catalog(BaseHTTPRequestHandler):
    """Two entries a page; `fault` may answer in its place."""

    fault = None
    questions: list[str] = []

    def do_GET(self):
        asked = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        self.questions.append(self.path)
        if self.fault and type(self).fault(self):
            return
        service = re.fullmatch(r"/v1/services/([0-9A-F-]+)/skus", asked.path)
        if self.headers["X-Goog-Api-Key"] != KEY:
            return self.answer(400, {"error": {"code": 400, "message": "API key not valid."}})
        if not service or query.get("currencyCode") != "USD":
            return self.answer(404, {"error": {"code": 404, "message": "Not found."}})
        first = int(query.get("pageToken") or 0)
        entries = CATALOG[service[1]]
        page = {"skus": entries[first : first + 2]}
        if first + 2 < len(entries):
            page["nextPageToken"] = str(first + 2)
        self.answer(200, page)

    def answer(self, status: int, body: object) -> bool:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        return True

    def log_message(self, *_):
        pass


@pytest.fixture
def catalog(monkeypatch):
    """Google's price list, on this machine; returns the class of its answers."""
    played = type("Played", (Catalog,), {"questions": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), played)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING", address)
    monkeypatch.setenv("BILLING_API_KEY", KEY)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(price_catalog, "WAIT", 0.001)
    yield played
    server.shutdown()
    server.server_close()


@pytest.fixture
def price_file(tmp_path, monkeypatch) -> Path:
    """A copy of prices.yaml, which a refresh may write."""
    copy = Path(shutil.copy(prices.PATH, tmp_path / "prices.yaml"))
    monkeypatch.setattr(prices, "PATH", copy)
    return copy


def refresh(*words: str) -> int:
    return refresh_prices.main(["--region", IOWA, *words])


def test_a_refresh_writes_the_prices_of_today(catalog, price_file, capsys):
    before = price_file.read_text(encoding="utf-8")
    assert refresh() == 0
    out, err = capsys.readouterr()
    text = price_file.read_text(encoding="utf-8")
    head = before[: before.index("groups:")]
    assert text.startswith(head + "groups:\n") and text.count("#") == head.count("#")
    rows = prices.load()
    expected = {
        "g2.core": (0.02873644, 0.01499, None, 0.00374823),
        "g2.ram": (0.00336657, 0.001844, None, 0.00043912),  # the dearest one of three
        "NVIDIA_L4": (0.64404627, 0.3359, None, 0.08400604),
        "pd-ssd": (*[pytest.approx(0.1955 / 730, abs=1e-10)] * 3, 0),
    }
    assert {name: row.prices for name, row in rows[IOWA].items()} == expected
    assert rows["europe-west4"]["g2.core"].prices == (0.0302, None, None, None)
    assert "asia-south2" not in rows  # nobody has asked for it
    assert {row.date for parts in rows.values() for row in parts.values()} == {date.today()}
    assert len(catalog.questions) == 5 + 4
    assert "prices of today" in out and not err
    for seen in (out, text, *catalog.questions):
        assert KEY not in seen
    # And a job is priced by them, as in the worked example.
    machine = {
        "machineType": "g2-standard-8",
        "acceleratorType": "NVIDIA_L4",
        "acceleratorCount": 1,
    }
    pools = [{"machineSpec": machine, "replicaCount": 1}]
    message = {"workerPoolSpecs": pools, "scheduling": {"strategy": "SPOT", "timeout": "3600s"}}
    job = spec.Job(Document(Path("a.yaml"), message), message, tuning=False)
    found = cost.estimate(job, IOWA)
    assert found.per_hour == pytest.approx(0.66965272, abs=1e-6)
    # A second time it changes nothing.
    assert refresh() == 0
    assert price_file.read_text(encoding="utf-8") == text


def test_a_region_that_was_not_there_is_added(catalog, price_file, capsys):
    CATALOG[VERTEX].append(sku(f"{ON} G2 Instance Core running in Delhi", 0.04, "asia-south2"))
    try:
        assert refresh("--region", "asia-south2") == 0
    finally:
        CATALOG[VERTEX].pop()
    assert prices.load()["asia-south2"]["g2.core"].prices[0] == 0.04
    assert re.search(r"^NVIDIA_L4 +unknown +unknown", capsys.readouterr().out, re.MULTILINE)


def test_a_passing_fault_is_got_over(catalog, price_file):
    answers = iter([429, 500, 503])

    def fault(asked) -> bool:
        status = next(answers, None)
        return bool(status) and asked.answer(status, {"error": {"message": "later"}})

    catalog.fault = fault
    assert refresh() == 0
    assert prices.load()[IOWA]["g2.core"].date == date.today()


def cut(asked) -> bool:
    asked.send_response(200)
    asked.send_header("Content-Length", "1000")
    asked.end_headers()
    asked.wfile.write(b'{"skus": [')
    asked.close_connection = True
    return True


def hang_up(asked) -> bool:
    asked.close_connection = True
    return True


def fails(status: int, message: str = ""):
    body = {"error": {"code": status, "message": message, "status": "NO"}} if message else b"<html>"
    return lambda asked: asked.answer(status, body)


def pages(*entries: object, **more):
    return lambda asked: asked.answer(200, {"skus": list(entries), **more})


EURO = sku(f"{ON} G2 Instance Core running in Iowa", 1.0)
EURO["pricingInfo"][0]["pricingExpression"]["tieredRates"][-1]["unitPrice"]["currencyCode"] = "EUR"


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (
            fails(403, "Cloud Billing API has not been used in project 12."),
            "gcloud services enable",
        ),
        (fails(400, f"API key {KEY} not valid."), "API key … not valid.; is the key whole?"),
        (fails(429, "Quota exceeded."), "HTTP 429; Quota exceeded.; too many questions"),
        (fails(500, "Internal error."), "HTTP 500; Internal error.; try again later"),
        (fails(502), "HTTP 502; try again later"),
        (cut, "not whole, or no JSON"),
        (hang_up, "RemoteDisconnected"),
        (lambda asked: asked.answer(200, b'{"skus": [{'), "not whole, or no JSON"),
        (lambda asked: asked.answer(200, [1]), "not whole, or no JSON"),
        (pages(nextPageToken="again"), "pages do not end"),
        (pages(), "the catalog has no price of Vertex AI training"),
        (pages({"description": f"{ON} G2 Instance Core in Iowa"}), "not in the form"),
        (pages(EURO), "not in the form"),
        (pages(None), "not in the form"),
    ],
)
def test_a_refresh_that_fails_is_one_line_and_leaves_the_prices(
    catalog, price_file, capsys, fault, what
):
    before = price_file.read_bytes()
    catalog.fault = staticmethod(fault)
    assert refresh() == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: ") and err.count("\n") == 1 and what in err
    assert not out and KEY not in err
    assert price_file.read_bytes() == before
    assert [path.name for path in price_file.parent.iterdir()] == ["prices.yaml"]


def test_a_fault_on_a_later_page_leaves_the_prices(catalog, price_file, capsys):
    before = price_file.read_bytes()
    catalog.fault = lambda asked: len(asked.questions) > 6 and cut(asked)
    assert refresh() == 2
    assert price_file.read_bytes() == before


def test_nobody_there(price_file, monkeypatch, capsys):
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING", "http://127.0.0.1:1")
    monkeypatch.setenv("BILLING_API_KEY", KEY)
    monkeypatch.setattr(price_catalog, "WAIT", 0.001)
    assert refresh() == 2
    assert "no prices from http://127.0.0.1:1: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "what"), [("", "needs an API key"), ("a b", "blanks"), ("kéy", "letters")]
)
def test_a_key_that_is_none(catalog, price_file, monkeypatch, capsys, key, what):
    monkeypatch.setenv("BILLING_API_KEY", key)
    assert refresh() == 2
    assert what in capsys.readouterr().err
    assert not catalog.questions


def test_a_file_that_cannot_be_written(catalog, price_file, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    before = price_file.read_bytes()
    monkeypatch.setattr(os, "replace", full)
    assert refresh() == 2
    assert "No space left" in capsys.readouterr().err
    assert price_file.read_bytes() == before
    assert [path.name for path in price_file.parent.iterdir()] == ["prices.yaml"]


def test_the_script_runs_in_the_folder_of_a_repo(tmp_path):
    command = [sys.executable, ROOT / "tools" / "refresh_prices.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert done.returncode == 1 and "run this in the folder of your repo" in done.stderr
    environ = {**os.environ, "BILLING_API_KEY": ""}
    done = subprocess.run(command, cwd=PRODUCT, env=environ, capture_output=True, encoding="utf-8")
    assert done.returncode == 2 and done.stderr.startswith("error: this needs an API key")
