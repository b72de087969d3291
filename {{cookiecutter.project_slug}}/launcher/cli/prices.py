"""Shows what Vertex AI asks for training, by the parts of a machine, in US dollars an hour.

    python scripts/prices.py                       of the region in project.yaml
    python scripts/prices.py --region europe-west4

They are in launcher/cost/prices.yaml; tools/refresh_prices.py of the template reads newer ones from Google.
"""

from launcher.cli import command
from launcher.common.document import SpecError
from launcher.cost import prices
from launcher.project.settings import read_settings


def main(argv: list[str]) -> int:
    parser = command.new_parser(__doc__)
    parser.add_argument("--region", help="such as us-central1; default: project.yaml's")
    region = parser.parse_args(argv).region
    return command.run(lambda: show(region, prices.load()))


def show(region: str | None, table: prices.Table) -> int:
    region = region or read_settings().region or "us-central1"
    if region not in table:
        known = ", ".join(sorted(set(table) - {prices.ANYWHERE}))
        raise SpecError(
            f"no prices of {region}, only of {known}; read them with tools/refresh_prices.py of the template"
        )
    print(f"{region:<20}{'on demand':>12}{'spot':>12}{'flex start':>12}   read")
    for name, row in sorted({**table.get(prices.ANYWHERE, {}), **table[region]}.items()):
        values = map(row.price, prices.SUMS)
        texts = ("unknown" if price is None else f"{price:.6f}" for price in values)
        print(f"{name:<20}{''.join(f'{text:>12}' for text in texts)}   {row.date}")
    print("USD an hour, of a core, a GB, an accelerator; the management fee included")
    return 0
