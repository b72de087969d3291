"""Look for what local work and cloud jobs need, and print the commands that fix what is missing.

Works in a bare Python, where the checks of the cloud are skipped, and ends in 5 s.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import sys
from collections.abc import Iterable, Sequence

from launcher.doctor import checkup, local
from launcher.doctor.checkup import CLOUD, OK, SKIPPED, WARN, WRONG, Check, Finding, Skip, Wrong

HELP = """Shows what is there and what is missing on this machine and in the cloud project.

Each line: ok, warn (works, but), wrong, or skipped (could not be looked at), and below it the
commands that fix it. Nothing is changed. Exit code 1 where local work lacks something."""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="the findings as JSON, for programs")
    parser.add_argument(
        "--cloud", action="store_true", help="exit code 1 also where cloud jobs lack something"
    )
    options = parser.parse_args(argv)
    with contextlib.suppress(AttributeError, ValueError):
        sys.stdout.reconfigure(errors="replace")  # no letter may stop a Windows terminal
    findings = checkup.run(list_checks(), checkup.ALL_SECONDS)
    findings = list(findings) if options.json else print_findings(findings)
    local_works = all(f.state != WRONG for f in findings if f.where != CLOUD)
    # What could not be looked at is not known to be good.
    cloud_works = all(f.state in (OK, WARN) for f in findings if f.where == CLOUD)
    if options.json:
        checks = [dataclasses.asdict(finding) for finding in findings]
        answer = {"local": local_works, "cloud": cloud_works, "checks": checks}
        print(json.dumps(answer, indent=2))
    else:
        print_verdict(findings, local_works, cloud_works)
    return 0 if local_works and (cloud_works or not options.cloud) else 1


def list_checks() -> list[Check]:
    """All checks, local ones first."""
    try:
        settings, faults = local.read_project()
        if faults:
            known = [("project.yaml", WRONG, str(fault)) for fault in faults]
        elif not settings.project:
            why = "gcp.project in project.yaml is empty; all local work goes without"
            known = [("cloud", SKIPPED, why)]
        else:
            from launcher.doctor.cloud import Cloud

            return [*local.checks(), *Cloud(settings).checks()]
    except Skip as skip:
        known = [("cloud", SKIPPED, str(skip))]
    except Wrong:
        known = [("cloud", SKIPPED, "project.yaml cannot be read, see there")]
    except Exception as error:  # a file of ours that is broken must not hide what else is wrong
        known = [("cloud", SKIPPED, f"could not be checked ({error!r})")]
    cloud = [Check(name, lambda f=tuple(finding): f, CLOUD) for name, *finding in known]
    return [*local.checks(), *cloud]


def print_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Print findings as they come, and return them.

    Neighbours that were skipped for the same reason share a line.
    """
    printed, remedies = [], set()
    by_reason = itertools.groupby(findings, lambda f: (f.where, f.state == SKIPPED and f.text))
    for (where, reason), group in by_reason:
        if where == CLOUD and not any(f.where == CLOUD for f in printed):
            print("\nin the cloud")
        if reason:
            group = list(group)
            _print_line(SKIPPED, ", ".join(f.name for f in group), reason)
            printed += group
            continue
        for finding in group:  # printed before the next one is there
            _print_line(finding.state, finding.name, finding.text)
            if finding.remedies and finding.remedies in remedies:
                print(" " * 26 + "run the same")
            else:
                print("".join(f"{'':26}run: {remedy}\n" for remedy in finding.remedies), end="")
            remedies.add(finding.remedies)
            printed.append(finding)
    return printed


def print_verdict(findings: Sequence[Finding], local_works: bool, cloud_works: bool) -> None:
    first = second = "all is there"
    if not local_works:
        first = "fix what is wrong above"
    cloud = [f for f in findings if f.where == CLOUD]
    if any(f.state == WRONG for f in cloud):
        second = "not ready: fix what is wrong above"
    elif not cloud_works:
        reasons = dict.fromkeys(f.text for f in cloud if f.state == SKIPPED)
        second = f"not known: {'; '.join(reasons)}"
    print(f"\nlocal work: {first}\ncloud jobs: {second}", flush=True)


def _print_line(state: str, name: str, text: str) -> None:
    print(f"{state:<8} {name:<16} {text}", flush=True)
