"""Look for what local work and cloud jobs need, and print the commands that fix what is missing.

Works in a bare Python, where the checks of the cloud are skipped, and ends in 5 s (not the first day).
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence

from launcher.doctor import checkup, first_day, local
from launcher.doctor.checkup import CLOUD, HERE, OK, WARN, WRONG, Check, Finding, Skip, Wrong

HELP = """Shows what is there and what is missing on this machine and in the cloud project.

Each line: ok, warn (works, but), wrong, or skipped (could not be looked at), and below it the
commands that fix it. Nothing is changed. Exit code 1 where local work lacks something.
With --first-day each step is really done; its run stays in runs/."""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="the findings as JSON, for programs")
    text = "train two epochs, run the tests, look for sign-in and data: a minute or two"
    forms.add_argument("--first-day", action="store_true", help=text)
    parser.add_argument(
        "--cloud", action="store_true", help="exit code 1 also where cloud jobs lack something"
    )
    options = parser.parse_args(argv)
    sys.stdout.reconfigure(errors="replace")  # no letter may stop a Windows terminal
    if options.first_day:
        return first_day.run_first_day()
    findings: list[Finding] = []
    for finding in checkup.run(list_checks(), checkup.ALL_SECONDS):
        if not options.json:
            print_finding(finding, findings)
        findings.append(finding)
    local_works = all(f.state != WRONG for f in findings if f.where == HERE)
    # What could not be looked at is not known to be good.
    cloud_works = all(f.state in (OK, WARN) for f in findings if f.where == CLOUD)
    if options.json:
        checks = [dataclasses.asdict(finding) for finding in findings]
        answer = {"local": local_works, "cloud": cloud_works, "checks": checks}
        print(json.dumps(answer, indent=2))
    else:
        words = {True: "all is there", False: "not ready: look at what is wrong or skipped above"}
        print(f"\nlocal work: {words[local_works]}\ncloud jobs: {words[cloud_works]}")
    sys.stdout.flush()
    return 0 if local_works and (cloud_works or not options.cloud) else 1


def list_checks() -> list[Check]:
    """All checks, local ones first. Those of the cloud need a project.yaml that names a project."""
    checks = [Check(name, look) for name, look in local.CHECKS.items()]
    checks.append(Check("project.yaml", local.check_project_file, CLOUD))
    try:
        settings = local.read_project()
    except (Skip, Wrong):  # which the check of project.yaml reports
        return checks
    from launcher.doctor.cloud import Cloud

    return [*checks, *(Check(name, look, CLOUD) for name, look in Cloud(settings).checks().items())]


def print_finding(finding: Finding, before: Sequence[Finding]) -> None:
    """Print a finding after those before it."""
    if finding.where == CLOUD and all(f.where == HERE for f in before):
        print("\nin the cloud")
    print(f"{finding.state:<8} {finding.name:<16} {finding.text}", flush=True)
    for remedy in finding.remedies:
        print(f"{'':26}run: {remedy}")
