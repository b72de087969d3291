"""Looks at this project's endpoints, shares out their traffic, takes them down.

    python scripts/endpoints.py list                        what each costs, a day and so far
    python scripts/endpoints.py traffic NAME two=90 one=10  percents, by the names of the models
    python scripts/endpoints.py logs NAME
    python scripts/endpoints.py undeploy NAME [MODEL]       ends the cost; without MODEL: all of them
    python scripts/endpoints.py cleanup [--older 1d]        lists what is this project's, asks, deletes

NAME is an endpoint's name or number. An endpoint costs by the hour until it is undeployed.
cleanup deletes what bears the label project: endpoints, models, TensorBoards, running Workbench instances;
and images under the project's name, and folders in scratch/NAME-OF-THE-PROJECT/ of the bucket.
"""

import argparse
import re

from launcher.cli import command

VERBS = ("list", "traffic", "logs", "undeploy", "cleanup")
UNITS = {"m": 60, "h": 3600, "d": 86_400}


def span(text: str) -> float:
    match = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: write 30m, 12h or 1d")
    return int(match[1]) * UNITS[match[2]]


def main(argv: list[str]) -> int:
    parser = command.new_parser(__doc__)
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for name in VERBS:
        verb = verbs.add_parser(name)
        verb.set_defaults(verb=name)
        if name in ("traffic", "logs", "undeploy"):
            verb.add_argument("name", metavar="NAME")
        if name == "traffic":
            verb.add_argument("share", nargs="+", metavar="MODEL=PERCENT", help="they sum to 100")
        if name == "undeploy":
            verb.add_argument("model", nargs="?", metavar="MODEL")
        if name == "cleanup":
            text = "only what was created so long ago, such as 1d"
            verb.add_argument("--older", type=span, default=0.0, metavar="SPAN", help=text)
            verb.add_argument("--yes", action="store_true", help="do not ask")
    options = parser.parse_args(argv)
    from launcher.endpoints import cleanup, manage  # --help needs none of it

    special = {"list": manage.list_, "cleanup": cleanup.cleanup}
    run = special.get(options.verb) or getattr(manage, options.verb)
    return command.run(lambda: run(options))
