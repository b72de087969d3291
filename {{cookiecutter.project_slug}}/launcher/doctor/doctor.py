"""Looks for what local work and cloud jobs need, and prints the commands that fix what is missing.

Works in a bare Python, where the checks of the cloud are skipped, and ends in 5 s.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import sys
from collections.abc import Sequence

from launcher.doctor import checkup
from launcher.doctor import local as doctor_local
from launcher.doctor.checkup import OK, SKIPPED, WARN, WRONG, Check, Finding
from launcher.doctor.environment import python_fits

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
    findings = []
    printer = Printer()
    for finding in checkup.run(checks()):
        findings.append(finding)
        if not options.json:
            printer.print(finding)
    local = all(f.state != WRONG for f in findings if not f.cloud)
    # What could not be looked at is not known to be good.
    cloud = all(f.state in (OK, WARN) for f in findings if f.cloud)
    if options.json:
        print(json.dumps({"local": local, "cloud": cloud, "checks": _to_json(findings)}, indent=2))
    else:
        printer.end(local, cloud)
    return 0 if local and (cloud or not options.cloud) else 1


def checks() -> list[Check]:
    """All of them, local ones first."""
    try:
        cloud = _cloud_checks()
    except Exception as error:  # a file of ours that is broken must not hide what else is wrong
        cloud = [_fixed("cloud", SKIPPED, f"could not be checked ({error!r})")]
    return [*doctor_local.checks(), *cloud]


def _cloud_checks() -> list[Check]:
    if not python_fits():
        return [_fixed("cloud", SKIPPED, "not looked at from this Python, see python")]
    if importlib.util.find_spec("yaml") is None:
        return [
            _fixed("cloud", SKIPPED, "project.yaml cannot be read without pyyaml, see packages")
        ]
    from launcher.doctor import cloud as doctor_cloud
    from launcher.jobfile import spec
    from launcher.project.settings import load_settings

    try:
        settings, faults = load_settings()
    except spec.SpecError:
        return [_fixed("cloud", SKIPPED, "project.yaml cannot be read, see there")]
    wrong = [_fixed("project.yaml", WRONG, str(fault)) for fault in faults]
    if not settings.project:
        why = "gcp.project in project.yaml is empty; all local work goes without"
        return wrong or [_fixed("cloud", SKIPPED, why)]
    return [*wrong, *doctor_cloud.Cloud(settings).checks()]


def _fixed(name: str, state: str, text: str) -> Check:
    return Check(name, lambda: (state, text), cloud=True)


class Printer:
    """Prints findings as lines as they come; neighbours skipped for the same reason share a line."""

    def __init__(self):
        self.skipped: list[str] = []
        self.why = ""
        self.remedies: set[tuple[str, ...]] = set()
        self.cloud = False
        self.wrong = False  # in the cloud
        self.reasons: list[str] = []  # why something was skipped there

    def print(self, finding: Finding) -> None:
        if finding.cloud and not self.cloud:
            self.cloud = True
            self._print_skipped()
            print("\nin the cloud")
        if self.skipped and (finding.state != SKIPPED or finding.text != self.why):
            self._print_skipped()
        if finding.cloud:
            self.wrong |= finding.state == WRONG
            self.reasons += [finding.text] if finding.state == SKIPPED else []
        if finding.state == SKIPPED:
            self.skipped.append(finding.name)
            self.why = finding.text
            return
        self._line(finding.state, finding.name, finding.text)
        if finding.remedies in self.remedies:
            print(" " * 26 + "run the same")
            return
        for remedy in finding.remedies:
            print(" " * 26 + f"run: {remedy}")
        if finding.remedies:
            self.remedies.add(finding.remedies)

    def end(self, local: bool, cloud: bool) -> None:
        self._print_skipped()
        first = "all is there" if local else "fix what is wrong above"
        second = "all is there" if cloud else self._missing_in_cloud()
        print(f"\nlocal work: {first}\ncloud jobs: {second}", flush=True)

    def _missing_in_cloud(self) -> str:
        if self.wrong:
            return "not ready: fix what is wrong above"
        return f"not known: {'; '.join(dict.fromkeys(self.reasons))}"

    def _print_skipped(self) -> None:
        if self.skipped:
            self._line(SKIPPED, ", ".join(self.skipped), self.why)
        self.skipped = []

    def _line(self, state: str, name: str, text: str) -> None:
        print(f"{state:<8} {name:<16} {text}", flush=True)


def _to_json(findings: Sequence[Finding]) -> list[dict]:
    return [
        {
            "name": f.name,
            "where": "cloud" if f.cloud else "here",
            "state": f.state,
            "text": f.text,
            "remedies": list(f.remedies),
        }
        for f in findings
    ]
