"""Serves a run's model on Vertex AI: uploads it, deploys it, asks it once, prints its price.

    python scripts/deploy.py [RUN | gs://…] [options]

RUN is a run's directory (default: the newest run that has a model), gs://… that of a run or a model in a
bucket, which is copied to runs/.models. The machines are those of
configs/endpoint.yaml, the container is that of configs/model.yaml. An endpoint is billed by the hour,
used or not, until scripts/endpoints.py undeploys it: nothing ends it by itself, --until included.
"""

import argparse
import re
from datetime import datetime, timedelta
from pathlib import Path

from launcher.cli import command
from launcher.project.settings import ROOT


def percent(text: str) -> int:
    if not 0 <= int(text) <= 100:
        raise ValueError
    return int(text)


def until(text: str) -> datetime:
    """ "18:00" is today or tomorrow; "2026-12-01T18:00" is that day; in this machine's time."""
    now = datetime.now().astimezone()
    try:
        if re.fullmatch(r"\d\d?:\d\d", text):
            hour, minute = map(int, text.split(":"))
            time = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
            return time if time > now else time + timedelta(days=1)
        time = datetime.fromisoformat(text).astimezone()
        if time <= now:
            raise ValueError("it has passed")
        return time
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r}: {error}; write 18:00 or 2026-12-01T18:00"
        ) from None


def main(argv: list[str]) -> int:
    parser = command.new_parser(__doc__)
    add = parser.add_argument
    add("run", nargs="?", metavar="RUN", help="default: the newest run with a model")
    text = "machines (default: configs/endpoint.yaml)"
    add("--config", type=Path, default=ROOT / "configs/endpoint.yaml", metavar="FILE", help=text)
    text = "of the requests; the other models share the rest (default: trafficSplit of the file)"
    add("--traffic", type=percent, metavar="PERCENT", help=text)
    text = "when it is to end, such as 18:00: a label; `endpoints.py list` and the doctor warn then"
    add("--until", type=until, metavar="TIME", help=text)
    text = "an endpoint without its own host: requests of 1.5 MB at most, and gcloud reaches it"
    kinds = parser.add_mutually_exclusive_group()
    kind = {"dest": "kind", "action": "store_const", "default": ""}
    kinds.add_argument("--shared", const="shared", help=text, **kind)
    text = "an endpoint that only your network reaches, by Private Service Connect; no prediction is made"
    kinds.add_argument("--private", const="private", help=text, **kind)
    text = "one instance in any form that predict.py takes (default: one that the run held out)"
    add("--instance", type=Path, metavar="FILE", help=text)
    text = "print the requests, for curl and gcloud; send nothing"
    add("--dry-run", action="store_true", help=text)
    options = parser.parse_args(argv)
    from launcher.endpoints import deploy  # --help needs none of it

    return command.run(lambda: deploy.deploy(options))
