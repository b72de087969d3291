"""Sets up what cloud jobs need: APIs, bucket, image repository, service account, budget alert.

    python scripts/setup_cloud.py             prints the commands, each with its reason
    python scripts/setup_cloud.py --apply     does what is not done yet; again: changes nothing

All names stand in project.yaml. The service account gets the roles that a job needs, no more.
"""

import argparse

from launcher.cli import command
from launcher.common.document import SpecError
from launcher.project.settings import read_settings


def main(argv: list[str]) -> int:
    parser = command.new_parser(__doc__)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="print the commands (the default)")
    how.add_argument("--apply", "--yes", action="store_true", help="do it")
    add = parser.add_argument
    text = "a month, in the currency of the billing account (default: 100); only warns"
    add("--budget", type=command.amount, default=100.0, metavar="AMOUNT", help=text)
    add("--no-budget", dest="budget", action="store_const", const=None, help="no warning")
    add("--no-scratch", action="store_true", help="keep what lies in scratch/ of the bucket")
    text = "also a Workbench instance for notebooks (default: e2-standard-4), which stops when idle"
    add("--workbench", nargs="?", const="e2-standard-4", metavar="MACHINE", help=text)
    options = parser.parse_args(argv)
    return command.run(lambda: _set_up(options), "stopped; the same command does the rest")


def _set_up(options: argparse.Namespace) -> int:
    from launcher.setup.create import NEEDED, Gcloud, set_up  # --help needs none of it

    settings = read_settings()
    if faults := settings.missing(*NEEDED):
        raise SpecError(*faults)
    gcloud = Gcloud(options.apply)
    set_up(gcloud, settings, options.budget, not options.no_scratch, options.workbench)
    if options.apply:
        print(f"\n{gcloud.changes} changes; look at it with: python scripts/doctor.py --cloud")
    else:
        print("# Nothing was done. To do what is not done yet: add --apply")
    return 0
