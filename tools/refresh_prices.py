#!/usr/bin/env python3
"""Read the prices of Vertex AI training from Google's price list into launcher/cost/prices.yaml.

    cd YOUR-REPO
    BILLING_API_KEY=… python TEMPLATE/tools/refresh_prices.py [--region europe-west4]

An API key of any project will do. All regions in the file are read, and the one that you name.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    if not Path("launcher/cost/prices.yaml").is_file():
        sys.exit(
            "error: there is no launcher/cost/prices.yaml here; run this in the folder of your repo"
        )

import price_catalog
from launcher.cli.prices import show
from launcher.common.document import SpecError
from launcher.cost import prices

KEY, PAGE = "BILLING_API_KEY", "https://console.cloud.google.com/apis/credentials"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--region", default="us-central1", help="such as us-central1, the default")
    region = parser.parse_args(argv).region
    try:
        refresh(region)
        show(region, prices.load())
    except (SpecError, OSError) as error:
        print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return 2
    return 0


def refresh(region: str) -> None:
    if not (key := os.environ.get(KEY, "").strip()):
        raise SpecError(f"this needs an API key: make one at {PAGE}, set {KEY} to it")
    found = price_catalog.read(key, sorted({region, *prices.load()} - {prices.ANYWHERE}))
    write(found, date.today(), price_catalog.SOURCE)
    print(f"{prices.PATH}: prices of today, of {len(found)} regions")


def write(rows: Mapping[str, Mapping[str, Iterable[float | None]]], day: date, source: str) -> None:
    """Replace what is below the head comments of prices.yaml with {region: {part: four prices}}.

    Afterwards the file is either wholly new or the old one.
    """
    path = prices.PATH
    lines = path.read_text(encoding="utf-8").splitlines()
    body = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    lines[body:] = ["groups:", f"  - date: {day}", f"    source: {source}", "    prices:"]
    alike: dict[tuple, list[str]] = {}  # regions with the same prices share their lines
    for region, parts in rows.items():
        texts = tuple(f"        {part}: [{_texts(parts[part])}]" for part in sorted(parts))
        alike.setdefault(texts, []).append(region)
    for texts, regions in alike.items():
        lines += [f"      {' '.join(sorted(regions))}:", *texts]
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, suffix=".tmp", encoding="utf-8", newline="\n", delete=False
    ) as file:
        try:
            file.write("\n".join(lines) + "\n")
            file.close()
            os.chmod(file.name, path.stat().st_mode & 0o777)
            os.replace(file.name, path)
        except BaseException:
            file.close()
            Path(file.name).unlink(missing_ok=True)
            raise


def _texts(prices: Iterable[float | None]) -> str:
    # YAML 1.1 takes 5e-05 for a text, so that no number may be written with an exponent.
    return ", ".join("null" if p is None else f"{p:.10f}".rstrip("0").rstrip(".") for p in prices)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
