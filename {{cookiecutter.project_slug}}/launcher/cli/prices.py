"""Shows what Vertex AI asks for training, by the parts of a machine, in US dollars an hour.

    python scripts/prices.py                       of the region in project.yaml
    python scripts/prices.py --region europe-west4
    BILLING_API_KEY=… python scripts/prices.py --refresh

--refresh reads Google's price list and writes launcher/cost/prices.yaml; it takes an API key of any project.
"""

import argparse
import os
import sys
from datetime import date

from launcher.cost import price_catalog, prices
from launcher.jobfile import spec
from launcher.project import settings

KEY, PAGE = "BILLING_API_KEY", "https://console.cloud.google.com/apis/credentials"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--region", help="such as us-central1; default: project.yaml's")
    parser.add_argument("--refresh", action="store_true", help="read Google's price list first")
    asked = parser.parse_args()
    try:
        region = asked.region or (settings.read() or {}).get("gcp", {}).get("region")
        if asked.refresh:
            refresh(region or "us-central1")
        show(region or "us-central1", prices.load())
    except (prices.PriceError, spec.SpecError, OSError) as error:
        print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return 2
    return 0


def refresh(region: str) -> None:
    if not (key := os.environ.get(KEY, "").strip()):
        raise prices.PriceError(f"--refresh needs an API key: make one at {PAGE}, set {KEY} to it")
    found = price_catalog.read(key, sorted({region, *prices.load()} - {prices.ANYWHERE}))
    prices.write(found, date.today(), price_catalog.SOURCE)
    print(f"{prices.PATH}: prices of today, of {len(found)} regions")


def show(region: str, table: prices.Table) -> None:
    if region not in table:
        known = ", ".join(sorted(set(table) - {prices.ANYWHERE}))
        raise prices.PriceError(f"no prices of {region}, only of {known}; run with --refresh")
    print(f"{region:<20}{'on demand':>12}{'spot':>12}{'flex start':>12}   read")
    for name, row in sorted({**table.get(prices.ANYWHERE, {}), **table[region]}.items()):
        found = (row.price(strategy) for strategy in ("STANDARD", "SPOT", "FLEX_START"))
        texts = ("unknown" if price is None else f"{price:.6f}" for price in found)
        print(f"{name:<20}{''.join(f'{text:>12}' for text in texts)}   {row.date}")
    print("USD an hour, of a core, a GB, an accelerator; the management fee included")
