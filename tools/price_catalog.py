"""Reads Google's price list, the Cloud Billing Catalog, into the rows of prices.yaml.

Vertex AI's own entries give the price on demand and the management fee, those of Compute Engine the
prices of spot and flex start. An entry, a SKU, is known by its description alone, such as
    Vertex AI: Training/Pipelines on N1 Predefined Instance Core running in Singapore
    Vertex AI: Training/Pipelines management fee on NVIDIA H100 80GB in Iowa
    Spot Preemptible G2 Instance Ram running in Americas
    Nvidia L4 GPU attached to Spot Preemptible VMs running in Americas
    DWS Defined Duration A2 Core running in Americas
and must fit as a whole: commitments, reservations, custom machines and Windows stay out. An entry
that Google words anew is not found, and its price is then unknown.

CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING sends the questions elsewhere, as it does gcloud's.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator

from launcher.common.document import SpecError
from launcher.cost.prices import COLUMNS

BASE = "https://cloudbilling.googleapis.com/"
VERTEX, COMPUTE = "C7E2-9256-1C43", "6F81-5844-456A"  # services
SOURCE = f"{BASE}v1/services/{VERTEX}/skus and {COMPUTE}/skus"
TRIES, WAIT, SECONDS = 4, 1.0, 60.0  # of a page: how often, the first pause, for one answer
MOST_PAGES, PAGE_BYTES = 500, 100_000_000
HOURS_A_MONTH = 730  # as Google counts
ON_DEMAND, SPOT, FLEX, FEE = range(len(COLUMNS))

_THERE = r"(?: running)?(?: in .+)?"  # the region comes last, and not always
_FORMS = {
    VERTEX: (
        (FEE, rf"vertex ai: training/pipelines management fee on (.+?){_THERE}"),
        (ON_DEMAND, rf"vertex ai: training/pipelines on (.+?){_THERE}"),
    ),
    COMPUTE: (
        (SPOT, rf"(.+?) attached to spot preemptible vms{_THERE}"),
        (SPOT, rf"spot preemptible (.+?){_THERE}"),
        (FLEX, rf"(.+?) attached to dws defined duration vms{_THERE}"),
        (FLEX, rf"dws defined duration (.+?){_THERE}"),
    ),
}
_CORES = r"(compute optimized|[a-z]\d)(?: predefined)?(?: instance)? (core|ram)"
_GPUS = {
    "t4": "NVIDIA_TESLA_T4",
    "p4": "NVIDIA_TESLA_P4",
    "v100": "NVIDIA_TESLA_V100",
    "l4": "NVIDIA_L4",
    "a100": "NVIDIA_TESLA_A100",
    "a100 80gb": "NVIDIA_A100_80GB",
    "h100 80gb": "NVIDIA_H100_80GB",
}
_DISKS = {
    "ssd backed pd capacity": "pd-ssd",
    "storage pd capacity": "pd-standard",
    "hyperdisk balanced capacity": "hyperdisk-balanced",
}
_LOCAL_SSD = "ssd backed local storage"

Rows = dict[str, dict[str, list[float | None]]]  # {region: {part: four prices}}


def read(key: str, regions: Iterable[str]) -> Rows:
    """The prices of some regions, as of now.

    Args:
        key: an API key of any project in which the Cloud Billing API is enabled.

    Raises:
        SpecError: no whole answer, or one without prices of training.
    """
    if not re.fullmatch(r"[!-~]+", key):
        raise SpecError("the API key is none: it has blanks, or letters that no key has")
    rows: Rows = {region: {} for region in regions}
    for service in (VERTEX, COMPUTE):
        for sku in _skus(service, key):
            _add(rows, service, sku)
    _complete(rows)
    # Without them every job would be of an unknown price: the old file is better.
    if not any(row[ON_DEMAND] for parts in rows.values() for row in parts.values()):
        raise SpecError(
            f"the catalog has no price of Vertex AI training in {', '.join(rows)}: its entries are"
            " worded anew, or no such region"
        )
    return {region: parts for region, parts in rows.items() if parts}


def part(service: str, description: str) -> tuple[str, int] | None:
    """What an entry is the price of: a part of prices.yaml and its column; None: of nothing there."""
    text = " ".join(description.lower().split())
    for column, form in _FORMS[service]:
        if found := re.fullmatch(form, text):
            name = _name(found[1])
            # Boot disks have one price, Vertex AI's; Compute Engine's are for its own machines.
            return (name, column) if name else None
    return None


def _name(what: str) -> str | None:
    if cores := re.fullmatch(_CORES, what):
        family = "c2" if cores[1] == "compute optimized" else cores[1]
        return f"{family}.{cores[2]}"
    if gpu := re.fullmatch(r"nvidia (?:tesla )?(.+?)(?: gpu)?", what):
        return _GPUS.get(gpu[1])
    return "local-ssd" if what == _LOCAL_SSD else _DISKS.get(what)


def _add(rows: Rows, service: str, sku: dict) -> None:
    try:
        found = part(service, sku["description"])
        if found is None:
            return
        price, regions = _hourly(sku["pricingInfo"]), sku.get("serviceRegions") or ["global"]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise SpecError(
            f"the catalog's entry {str(sku)[:120]!r} is not in the form that Google documents"
        ) from None
    name, column = found
    if not price:
        return
    for region in rows if "global" in regions else set(regions) & set(rows):
        row = rows[region].setdefault(name, [None] * len(COLUMNS))
        # Of two entries for one thing the dearer counts, so that nobody is surprised by the bill.
        row[column] = max(price, row[column] or 0)


def _hourly(timeline: list[dict]) -> float | None:
    """The price of an hour of one piece, or of one GB; None where it is counted otherwise."""
    if not timeline:
        return None
    expression = timeline[-1]["pricingExpression"]
    hours = {"h": 1, "GiBy.h": 1, "GBy.h": 1, "GiBy.mo": HOURS_A_MONTH, "GBy.mo": HOURS_A_MONTH}
    rates = expression["tieredRates"]
    if expression["usageUnit"] not in hours or not rates:
        return None
    money = rates[-1]["unitPrice"]
    if money.get("currencyCode", "USD") != "USD":
        raise ValueError(money)
    price = int(money.get("units") or 0) + int(money.get("nanos") or 0) / 1e9
    return round(price / hours[expression["usageUnit"]], 10)


def _complete(rows: Rows) -> None:
    """Vertex AI's price of a disk holds however a machine is scheduled, and there is no fee on it."""
    for parts in rows.values():
        for name, row in parts.items():
            if name in _DISKS.values():
                row[SPOT], row[FLEX], row[FEE] = row[ON_DEMAND], row[ON_DEMAND], 0
            elif name == "local-ssd":
                row[FEE] = row[FEE] or 0


def _skus(service: str, key: str) -> Iterator[dict]:
    """All entries of a service, page after page."""
    token, seen = "", set()
    for _ in range(MOST_PAGES):
        page = _page(service, token, key)
        yield from page.get("skus") or ()
        token = page.get("nextPageToken") or ""
        if not token:
            return
        if token in seen:
            break
        seen.add(token)
    raise SpecError("the catalog's pages do not end")


def _page(service: str, token: str, key: str) -> dict:
    override = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING")
    base = (override or BASE).rstrip("/")
    query = {"currencyCode": "USD", "pageSize": "5000", "pageToken": token}
    url = f"{base}/v1/services/{service}/skus?{urllib.parse.urlencode(query)}"
    if not url.startswith(("https://", "http://")):
        raise SpecError(f"{base!r} is no address: write https://cloudbilling.googleapis.com")
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    # In a header the key gets into no log of addresses, and into no redirect.
    request.add_unredirected_header("X-Goog-Api-Key", key)
    for left in reversed(range(TRIES)):
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                page = json.loads(answer.read(PAGE_BYTES))
            if not isinstance(page, dict) or not isinstance(page.get("skus", []), list):
                raise ValueError("it is not a page of entries")
            return page
        except urllib.error.HTTPError as error:
            passing = left and (error.code == 429 or error.code >= 500)
            with error:
                why = None if passing else _refusal(error)
        except ValueError:
            why = None if left else "its answer is not whole, or no JSON"
        except (OSError, http.client.HTTPException) as error:
            said = getattr(error, "reason", None) or error
            why = None if left else " ".join(f"{type(said).__name__} {said}".split())[:150]
        if why:
            raise SpecError(f"no prices from {base}: {why}".replace(key, "…")) from None
        time.sleep(WAIT * 2 ** (TRIES - 1 - left))
    raise AssertionError


def _refusal(error: urllib.error.HTTPError) -> str:
    try:
        said = " ".join(str(json.loads(error.read(100_000))["error"]["message"]).split())[:200]
    except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException):
        said = ""
    helps = {
        400: "is the key whole? https://console.cloud.google.com/apis/credentials has it",
        401: "is the key whole? https://console.cloud.google.com/apis/credentials has it",
        403: "in the key's project run: gcloud services enable cloudbilling.googleapis.com",
        429: "too many questions; try again in a minute",
    }
    words = (f"HTTP {error.code}", said, helps.get(error.code, "try again later"))
    return "; ".join(filter(None, words))
